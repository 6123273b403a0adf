"""The settings of a campaign: a tree of frozen dataclasses, read from YAML.

The keys of the YAML file are the fields of these classes; every one but ``name`` has a default.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from ionbridge.screening.campaign.refine_settings import RefineSettings
from ionbridge.screening.cell.stage import CellSettings
from ionbridge.screening.prediction.sampling import N_DRAWS
from ionbridge.structures.configuration import ConfigurationError, from_mapping, nearest
from ionbridge.structures.io.file_text import MAX_FILE_MB
from ionbridge.structures.records import WORKING_IONS

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
    max_count: int = 1000


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
    max_file_MB: float = MAX_FILE_MB


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
            Na, go on. -6 loses 2 % of the measured conductors above 1e-4 S/cm, -5 loses 9 %
            (docs/validation.md).
    """

    max_charge_imbalance: float | None = None
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
        strategy: How the networks are fine-tuned.
        max_hops: Only so many of the shortest hops of a candidate are labelled.
        max_atoms: Largest cell of a label.
        time_limit_min: Longest time for the label of one hop.
    """

    rounds: int = 2
    batch: int = 4
    calculator: str = "chgnet"
    calculator_arguments: dict[str, Any] = field(default_factory=dict)
    acquisition: Literal["expected_improvement", "upper_confidence_bound", "greedy", "spread"] = (
        "expected_improvement"
    )
    strategy: Literal["full", "gradual", "frozen", "heads", "lora"] = "frozen"
    max_hops: int = 2
    max_atoms: int = 200
    time_limit_min: float = 60.0


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

    references: tuple[str, ...] = ()
    calculator: str = "chgnet"
    calculator_arguments: dict[str, Any] = field(default_factory=dict)
    max_atoms: int = 60


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
    working_ions: tuple[str, ...] = ("Li", "Na")
    temperature_K: float = 300.0
    attempt_frequency_THz: float = 10.0
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    prescreen: PrescreenSettings | None = None
    model: str | None = None
    objectives: tuple[Objective, ...] = ()
    rank_by: Literal["mean", "lcb", "probability"] = "mean"
    n_draws: int = N_DRAWS
    dimensionality_margin_eV: float = 0.10
    time_limit_s: float = 120.0
    shard_size: int = 16
    n_paths: int = 10
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
        settings = from_mapping(cls, data, where)
        settings.check(where)
        return settings.with_files_relative_to(folder)

    def check(self, where: str) -> None:
        """Refuse values that no run could use."""
        for ion in self.working_ions:
            if ion not in WORKING_IONS:
                raise ConfigurationError(
                    f"{where}: working_ions: '{ion}' is not one; {nearest(ion, WORKING_IONS)}"
                )
        positive = {
            "temperature_K": self.temperature_K,
            "attempt_frequency_THz": self.attempt_frequency_THz,
            "n_draws": self.n_draws,
            "time_limit_s": self.time_limit_s,
            "shard_size": self.shard_size,
            "candidates: max_file_MB": self.candidates.max_file_MB,
        }
        if self.active is not None:
            for key in ("rounds", "batch", "max_hops", "max_atoms", "time_limit_min"):
                positive[f"active: {key}"] = getattr(self.active, key)
        if self.stability is not None:
            positive["stability: max_atoms"] = self.stability.max_atoms
            if not self.stability.references:
                raise ConfigurationError(
                    f"{where}: stability: references: expected files of the competing phases"
                )
        if self.prescreen is not None and self.prescreen.max_charge_imbalance is not None:
            positive["prescreen: max_charge_imbalance"] = self.prescreen.max_charge_imbalance
        for key, value in positive.items():
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"{where}: {key}: expected a positive number, got {value}")
        prototypes = self.candidates.prototypes
        counts = {
            "n_paths": self.n_paths,
            "candidates: prototypes: max_count": 0 if prototypes is None else prototypes.max_count,
            "cell: top_n": 0 if self.cell is None else self.cell.top_n,
        }
        for key, count in counts.items():
            if count < 0:
                raise ConfigurationError(f"{where}: {key}: expected 0 or more, got {count}")
        if not self.working_ions:
            raise ConfigurationError(
                f"{where}: working_ions: expected at least one of {WORKING_IONS}"
            )
        for i, objective in enumerate(self.objectives):
            if self.rank_by == "probability" and objective.target is None:
                raise ConfigurationError(
                    f"{where}: objectives[{i}]: rank_by: probability needs a target for "
                    f"'{objective.column}'"
                )
        if self.rank_by == "probability" and not self.objectives:
            raise ConfigurationError(
                f"{where}: rank_by: probability needs objectives with a target each"
            )

    def with_files_relative_to(self, folder: Path) -> CampaignSettings:
        """The same settings with the paths inside resolved against a folder."""
        candidates = dataclasses.replace(
            self.candidates, files=tuple(str(folder / f) for f in self.candidates.files)
        )
        known = self.filters.known_compounds
        filters = dataclasses.replace(
            self.filters, known_compounds=None if known is None else str(folder / known)
        )
        stability = self.stability
        if stability is not None:
            references = tuple(str(folder / f) for f in stability.references)
            stability = dataclasses.replace(stability, references=references)
        model = self.model
        if model is not None and (folder / model).is_dir():
            model = str(folder / model)
        return dataclasses.replace(
            self, candidates=candidates, filters=filters, model=model, stability=stability
        )

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
        """A campaign file with these settings, every key stated, its paths absolute."""
        here = self.with_files_relative_to(Path.cwd())
        plain = json.loads(json.dumps(here.to_dict()))
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
