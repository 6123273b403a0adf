"""The settings of a campaign: a tree of frozen dataclasses, read from YAML.

The keys of the YAML file are the fields of these classes, their annotations what is allowed. The
campaign of agents (`ionbridge.screening.agents.campaign_argument`) is made from them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt, Le, MinLen

from ionbridge.screening.campaign.refine_settings import RefineSettings
from ionbridge.screening.cell.settings import CellSettings
from ionbridge.screening.prediction.sampling import N_DRAWS
from ionbridge.screening.temperatures import COLDEST_K, HOTTEST_K
from ionbridge.structures.configuration import ConfigurationError, from_mapping
from ionbridge.structures.io.file_text import MAX_FILE_MB
from ionbridge.structures.records import WorkingIon

EMBEDDED_CAMPAIGN = Path(__file__).parent / "campaigns" / "embedded.yaml"
"""The campaign of ``ionbridge screen`` without a file."""


@dataclass(frozen=True)
class PrototypeSettings:
    """Candidates made by substitution in the known frameworks.

    Attributes:
        families: Framework families; empty for all of them.
        max_count: Upper bound of the number of candidates.
    """

    families: tuple[str, ...] = ()
    max_count: Annotated[int, Ge(0)] = 1000


@dataclass(frozen=True)
class CandidateSettings:
    """Where the candidates come from; the sources are used in the order of the fields.

    Attributes:
        references: Put the well-known reference crystals first.
        prototypes: Generated candidates.
        files: Files or folders of crystals, relative to the campaign file.
        max_file_MB: Largest file that is read, after unpacking.
    """

    references: bool = False
    prototypes: PrototypeSettings | None = None
    files: tuple[str, ...] = ()
    max_file_MB: Annotated[float, Gt(0)] = MAX_FILE_MB


@dataclass(frozen=True)
class FilterSettings:
    """What a candidate must be to be predicted; a candidate refused keeps its row and a reason.

    A filter on a value that is nowhere known refuses the record and says so: nothing passes in
    silence.

    Attributes:
        min_atoms: Smallest number of sites in the cell as given.
        max_atoms: Largest number of sites in the cell as given.
        elements_allowed: No other element may occur (the working ion included in the list).
        elements_excluded: None of these may occur.
        role: ``electrode`` or ``electrolyte``: keeps mixed conductors out of electrolyte rankings.
        families: Framework families to keep.
        max_energy_above_hull_eV_atom: Largest energy above hull: of the record, else as
            ``stability`` says, else by the shipped model (0.04 eV/atom in error).
        min_band_gap_eV: Smallest ``band_gap_eV``, which records must bring.
        known_compounds: Text file, one formula a line; a candidate of a listed reduced formula is
            not novel and is refused. Relative to the campaign file.
    """

    min_atoms: int | None = None
    max_atoms: int | None = None
    elements_allowed: tuple[str, ...] = ()
    elements_excluded: tuple[str, ...] = ()
    role: Literal["electrode", "electrolyte"] | None = None
    families: tuple[str, ...] = ()
    max_energy_above_hull_eV_atom: float | None = None
    min_band_gap_eV: float | None = None
    known_compounds: str | None = None


@dataclass(frozen=True)
class PrescreenSettings:
    """What is asked of a candidate before its hops are looked for; a discarded one keeps its row
    and a reason. A candidate that a threshold cannot judge goes on.

    Attributes:
        max_charge_imbalance: Largest charge that usual oxidation states may leave over, as a share
            of the anions' charge (0.05 takes what refined occupancies leave).
        min_log10_conductivity_S_cm: Discard an electrolyte of which the model of measured
            compositions expects less at room temperature. Electrodes, and ions other than Li and
            Na, go on. -6 loses 2 % of the measured conductors above 1e-4 S/cm, -5 loses 8 %
            (docs/validation.md).
    """

    max_charge_imbalance: Annotated[float, Gt(0)] | None = None
    min_log10_conductivity_S_cm: float | None = None


@dataclass(frozen=True)
class Objective:
    """One column of the table to make large or small.

    Attributes:
        column: A numeric column of ``ranked.csv``.
        goal: Direction.
        target: Value to exceed (``max``) or to stay below (``min``); needed to rank by probability.
    """

    column: str
    goal: Literal["max", "min"] = "max"
    target: float | None = None


@dataclass(frozen=True)
class ActiveSettings:
    """Rounds of labelling and fine-tuning before the final screen.

    Attributes:
        rounds: How often to choose, label and fine-tune.
        batch: Candidates labelled in a round.
        calculator: ``chgnet``, ``sevennet``, or an ASE calculator, ``package.module:Class``.
        calculator_arguments: Its keyword arguments.
        acquisition: ``expected_improvement``, ``upper_confidence_bound``, ``greedy`` or ``spread``.
        strategy: How the networks are fine-tuned; ``physics_fed`` joins the labels with those that
            the base learnt from, and trains no network.
        max_hops: Only so many of the shortest hops of a candidate are labelled.
        max_atoms: Largest cell of a label.
        time_limit_min: Longest time for the label of one hop.
    """

    rounds: Annotated[int, Gt(0)] = 2
    batch: Annotated[int, Gt(0)] = 4
    calculator: str = "chgnet"
    calculator_arguments: dict[str, Any] = field(default_factory=dict)
    acquisition: Literal["expected_improvement", "upper_confidence_bound", "greedy", "spread"] = (
        "expected_improvement"
    )
    strategy: Literal["physics_fed", "full", "gradual", "frozen", "heads", "lora"] = "frozen"
    max_hops: Annotated[int, Gt(0)] = 2
    max_atoms: Annotated[int, Gt(0)] = 200
    time_limit_min: Annotated[float, Gt(0)] = 60.0


@dataclass(frozen=True)
class StabilitySettings:
    """Energies above hull by a potential, for records that bring none.

    Attributes:
        references: Files or folders of ordered crystals, the competing phases, relative to the
            campaign file; relaxed once, with the same calculator as the candidates.
        calculator: ``chgnet``, ``sevennet``, or an ASE calculator, ``package.module:Class``.
        calculator_arguments: Its keyword arguments.
        max_atoms: Largest cell that is relaxed; a larger candidate, a disordered one, or one that
            no mixture of the references can make gets its energy by the shipped model.
    """

    references: Annotated[tuple[str, ...], MinLen(1)]
    calculator: str = "chgnet"
    calculator_arguments: dict[str, Any] = field(default_factory=dict)
    max_atoms: Annotated[int, Gt(0)] = 60


@dataclass(frozen=True)
class CampaignSettings:
    """Everything that decides what a campaign's table contains.

    Attributes:
        name: Name of the campaign.
        seed: Seed of candidate generation and of the sampled uncertainty.
        working_ions: Mobile ions of interest; a crystal that names none gets the first it holds.
        temperature_K: Temperature of diffusivity and conductivity.
        attempt_frequency_THz: Attempt frequency of every hop.
        candidates: Sources of candidates.
        filters: What a candidate must be.
        prescreen: A first stage that discards by what costs next to nothing; not by default.
        model: Shipped model by name, or a model folder; empty for the best shipped one.
        objectives: What to rank by; empty for diffusivity (conductivity if ``filters.role`` is
            ``electrolyte``).
        rank_by: ``mean``, ``lcb`` (one standard deviation on the safe side) or ``probability`` (of
            reaching the target).
        n_draws: Samples for the spread of a crystal's results.
        dimensionality_margin_eV: Energy above the percolation barrier at which percolating
            directions are counted.
        time_limit_s: Longest time for one crystal; a slower one is a failed row.
        shard_size: Crystals of one batch, and of one file of the campaign folder.
        n_paths: Number of top candidates whose hop paths are written out.
        active: Rounds of labelling and fine-tuning before the final screen; none by default.
        stability: Energies above hull by a potential against named references; by default those of
            the record, else of the shipped model.
        refine: The best rows again with an interatomic potential; not by default.
        cell: The cell that candidates are put into; none by default.
    """

    name: str
    seed: int = 0
    working_ions: Annotated[tuple[WorkingIon, ...], MinLen(1)] = ("Li", "Na")
    temperature_K: Annotated[float, Ge(COLDEST_K), Le(HOTTEST_K)] = 300.0
    attempt_frequency_THz: Annotated[float, Gt(0)] = 10.0
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    prescreen: PrescreenSettings | None = None
    model: str | None = None
    objectives: tuple[Objective, ...] = ()
    rank_by: Literal["mean", "lcb", "probability"] = "mean"
    n_draws: Annotated[int, Gt(0)] = N_DRAWS
    dimensionality_margin_eV: float = 0.10
    time_limit_s: Annotated[float, Gt(0)] = 120.0
    shard_size: Annotated[int, Gt(0)] = 16
    n_paths: Annotated[int, Ge(0)] = 10
    active: ActiveSettings | None = None
    stability: StabilitySettings | None = None
    refine: RefineSettings | None = None
    cell: CellSettings | None = None

    @classmethod
    def from_yaml(cls, path: Path) -> CampaignSettings:
        """Read and check a campaign file.

        Raises:
            ConfigurationError: The file is missing, is not YAML, or holds what is no setting.
        """
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            line = " ".join(str(error).split())
            raise ConfigurationError(f"{path}: not a YAML file ({line})") from error
        if data is None:
            raise ConfigurationError(
                f"{path}: empty campaign file; it needs at least 'name' and 'candidates'"
            )
        return cls.from_mapping(data, path.parent, str(path))

    @classmethod
    def from_mapping(cls, data: Any, folder: Path, where: str = "campaign") -> CampaignSettings:
        """Check the content of a campaign file.

        Args:
            data: Keys and values as in the file.
            folder: What relative paths are relative to.
            where: Named in messages.

        Raises:
            ConfigurationError: It holds what is no setting.
        """
        return from_mapping(cls, data, where).with_files_relative_to(folder)

    def __post_init__(self) -> None:
        """Refuse to rank by the probability of a target that is not named."""
        if self.rank_by != "probability":
            return
        if not self.objectives:
            raise ConfigurationError("rank_by: probability needs objectives with a target each")
        for i, objective in enumerate(self.objectives):
            if objective.target is None:
                raise ConfigurationError(
                    f"objectives[{i}]: rank_by: probability needs a target for '{objective.column}'"
                )

    def with_files(self, place: Callable[[str], str]) -> CampaignSettings:
        """The same settings, every file that they read at the path that a function gives for it."""
        known, stability = self.filters.known_compounds, self.stability
        if stability is not None:
            stability = dataclasses.replace(
                stability, references=tuple(map(place, stability.references))
            )
        return dataclasses.replace(
            self,
            candidates=dataclasses.replace(
                self.candidates, files=tuple(map(place, self.candidates.files))
            ),
            filters=dataclasses.replace(
                self.filters, known_compounds=None if known is None else place(known)
            ),
            stability=stability,
        )

    def with_files_relative_to(self, folder: Path) -> CampaignSettings:
        """The same settings, files and a model's folder resolved against a folder."""
        model = self.model
        if model is not None and (folder / model).is_dir():
            model = str(folder / model)
        return dataclasses.replace(self.with_files(lambda f: str(folder / f)), model=model)

    def ranking_objectives(self) -> tuple[Objective, ...]:
        """The objectives as given, or the default one for the role that is screened."""
        if self.objectives:
            return self.objectives
        if self.filters.role == "electrolyte":
            return (Objective("log10_conductivity_S_cm"),)
        return (Objective("log10_diffusivity_cm2_s"),)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return dataclasses.asdict(self)

    def to_yaml(self) -> str:
        """A campaign file with these settings, every key stated."""
        plain = json.loads(json.dumps(self.to_dict()))
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
