"""What agents may say to the tools: every argument with its type, its bounds and its meaning.

Nothing else is accepted: unknown arguments, numbers out of bounds and texts of no known form are
refused before anything is done. The same models give the schemas that language models see.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ionbridge.screening.temperatures import COLDEST_K, HOTTEST_K

MOST_CORES = 256
LONGEST_WAIT_S = 50.0
LARGEST_PAGE = 100

WorkspacePath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="file or folder relative to the workspace, such as crystals/LiFePO4.cif",
    ),
]
ModelName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="name from list_models, or a model folder of the workspace",
    ),
]
JobId = Annotated[str, Field(pattern=r"^[a-z]{1,16}-[0-9a-f]{10}$", description="id of a job")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,39}$")]
Symbol = Annotated[str, Field(pattern=r"^[A-Z][a-z]?$", description="element symbol")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+()-]{0,63}$")]
Column = Annotated[str, Field(pattern=r"^[A-Za-z0-9#][A-Za-z0-9 #._/()\[\].-]{0,79}$")]
Given = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]{1,39}[=:][ -~]{1,80}$",
        description="chemistry:NAME or chemistry:FORMULA, such as chemistry:Na3V2(PO4)3, or "
        "QUANTITY=VALUE with its unit, such as diffusivity=1e-10 cm2/s",
    ),
]
Quantity = Literal["migration_barrier", "diffusivity", "conductivity"]
Temperature = Annotated[float, Field(ge=COLDEST_K, le=HOTTEST_K, description="K")]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Inputs = Annotated[
    list[WorkspacePath],
    Field(
        min_length=1,
        max_length=32,
        description="crystals (CIF, POSCAR, extxyz, JSON lines), hops (JSON lines), a conductivity "
        "table (CSV), or folders of them; one kind at a time",
    ),
]
Cores = Annotated[int, Field(ge=1, le=MOST_CORES, description="processor cores")]
Wait = Annotated[
    float,
    Field(
        ge=0.0,
        le=LONGEST_WAIT_S,
        description="seconds to wait for the result here; after them the job goes on and its id is "
        "answered",
    ),
]


class Arguments(BaseModel):
    """Arguments of a tool; nothing that is not named here is accepted.

    Clients that are written in other languages send 5.0 for 5, and null for what they leave out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: Any) -> Any:
        """Whole numbers as integers, which every number takes; null as the default."""
        if not isinstance(values, dict):
            return values
        return {name: _whole(value) for name, value in values.items() if value is not None}


def _whole(value: Any) -> Any:
    """A float that is a whole number as an integer, in lists, too."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return [_whole(one) for one in value] if isinstance(value, list) else value


T = TypeVar("T", bound=Arguments)


class ListModels(Arguments):
    """Which models of the library to list."""

    quantity: Word | None = Field(default=None, description="only what gives it")
    working_ion: Symbol | None = Field(default=None, description="only those that know this ion")


class ShowModel(Arguments):
    """Name of the model whose card is shown."""

    name: ModelName


class DescribeData(Arguments):
    """File or folder of the workspace to describe."""

    inputs: Inputs
    cifs: WorkspacePath | None = Field(
        default=None, description="folder with <ID>.cif for the rows of a conductivity table"
    )
    wait_s: Wait = 40.0


class Plan(Arguments):
    """A goal, and what there is to reach it."""

    goal: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,63}$")] = Field(
        description="quantity to reach: migration_barrier, percolation_barrier, diffusivity, "
        "conductivity, voltage, cell_capacity, cell_energy, cycle_life, ..."
    )
    files: list[WorkspacePath] = Field(
        default_factory=list, max_length=32, description="crystals, hops, labels, trajectories, ..."
    )
    values: list[Given] = Field(
        default_factory=list, max_length=32, description="chemistry:NAME or QUANTITY=VALUE"
    )
    temperature_K: Temperature | None = Field(
        default=None, description="default: 300; of a designs table, what it states"
    )
    c_rate: float | None = Field(
        default=None,
        ge=0.01,
        le=20.0,
        description="of cells; default: 1; of a designs table, what it states",
    )
    wait_s: Wait = 40.0


class ExecutePlan(Plan):
    """A goal, and what there is to reach it; the chosen chain is run."""

    allow_labels: bool = Field(
        False,
        description="where the plan proposes labels (wanted_labels) and none are given, compute "
        "them with CHGNet, adapt the nearest models to them and plan again; minutes to hours",
    )
    max_labels: int = Field(8, ge=4, le=64, description="most labels to compute")
    label_budget_min: float = Field(60.0, ge=1.0, le=1440.0, description="most time for all labels")
    wait_s: Wait = 20.0


class Predict(Arguments):
    """What to predict, and how."""

    inputs: Inputs
    quantity: Quantity | None = Field(default=None, description="default: what fits the inputs")
    model: ModelName | None = Field(default=None, description="default: the library's best")
    cifs: WorkspacePath | None = Field(default=None, description="folder with <ID>.cif for a table")
    temperature_K: Temperature = 300.0
    cores: Cores = 1
    wait_s: Wait = 20.0


class Finetune(Arguments):
    """Labels to learn from, and how."""

    labels: WorkspacePath = Field(
        description="hops (JSON lines) with barrier_eV, bounds as text '<0.3'; a table with a "
        "composition and 'Ionic conductivity (S/cm)', bounds as <1e-8, or with temperature_K and "
        "tracer_diffusivity_cm2_s; or what label md or kmc wrote"
    )
    quantity: Quantity | None = Field(default=None, description="default: what fits the labels")
    cifs: WorkspacePath | None = Field(default=None, description="folder with <ID>.cif for a table")
    method: Word | None = Field(
        default=None,
        description="whose values to predict where labels are of several methods, which are never "
        "pooled; default: the most trusted",
    )
    base: ModelName | None = Field(default=None, description="default: the library's best")
    strategy: Annotated[str, Field(pattern=r"^[a-z][a-z_-]{1,39}$")] = Field(
        "auto",
        description="auto measures by cross-validation what wins, and refuses what hurts; hops: "
        "physics_fed, full, frozen, gradual, heads, lora, scratch; conductivities: mean, trees, "
        "process, zero-shot, offset, trees-joint, residual, stacked",
    )
    seed: Seed = 0
    name: Name | None = Field(
        default=None, description="enter it into the library of the workspace under this name"
    )
    wait_s: Wait = 5.0


class Label(Arguments):
    """What to compute labels for, and by which method."""

    method: Literal["bvse", "neb", "kmc", "md"] = Field(
        description="bvse: bond-valence barriers (seconds); kmc: diffusivity of many ions that "
        "block each other on a partly filled lattice, by kinetic Monte Carlo on predicted barriers "
        "(seconds); neb: minimum-energy paths and md: molecular dynamics, both with a universal "
        "potential (minutes to hours each)"
    )
    inputs: Inputs
    calculator: Literal["chgnet"] = Field("chgnet", description="of neb and md")
    images: int = Field(5, ge=1, le=15, description="of neb, between the end points")
    fmax_eV_A: float = Field(0.1, ge=0.005, le=1.0, description="of neb: largest force at the end")
    max_hops: int | None = Field(
        default=None, ge=1, le=1000, description="of neb: only the shortest of each crystal"
    )
    time_limit_min: float = Field(default=60.0, ge=0.1, le=1440.0, description="of neb, each hop")
    temperatures_K: list[Temperature] = Field(
        default_factory=lambda: [800.0, 1000.0, 1200.0],
        min_length=1,
        max_length=8,
        description="of md and kmc",
    )
    vacancy_fraction: float | None = Field(
        default=None,
        ge=0.001,
        le=0.9,
        description="of kmc: share of the ions that is missing where all their sites are full",
    )
    steps: int = Field(2000, ge=10, le=1_000_000, description="of md, 2 fs each, at most")
    wait_s: Wait = 20.0


class JobStatusOf(Arguments):
    """One job, or all of them."""

    job: JobId | None = Field(default=None, description="default: list all jobs, newest first")
    wait_s: Wait = 0.0


class JobResultOf(Arguments):
    """A job that has ended."""

    job: JobId
    limit: int = Field(20, ge=1, le=LARGEST_PAGE, description="rows of its table")


class CancelJob(Arguments):
    """Id of the job that is to end."""

    job: JobId


class ReadSkill(Arguments):
    """Name of the skill page to read."""

    name: Word = Field(description="one of those that the instructions name")


class ListFiles(Arguments):
    """A folder of the workspace."""

    folder: Annotated[str, Field(max_length=512)] = Field("", description="default: the workspace")
    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(50, ge=1, le=LARGEST_PAGE)


class ReadTable(Arguments):
    """Table of the workspace, and which rows and columns of it."""

    path: WorkspacePath
    columns: list[Column] = Field(
        default_factory=list,
        max_length=30,
        description="default: the important ones; spread and domain are always shown",
    )
    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(20, ge=1, le=LARGEST_PAGE)
    sort_by: Column | None = None
    descending: bool = False
    only_ok: bool = Field(False, description="leave out rows that failed or were filtered")
