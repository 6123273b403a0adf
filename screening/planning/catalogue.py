"""The catalogue: every model, formula, potential and simulation as a typed entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ionbridge.models.prediction import HALF_WIDTH_90
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import Row
from ionbridge.screening.temperatures import check_temperature
from ionbridge.structures.configuration import nearest
from ionbridge.structures.quantities import QUANTITIES, Quantity

Kind = Literal["network", "trees", "process", "formula", "potential", "simulation", "rom", "means"]

EXTRA_MODULES = {"chgnet": "chgnet", "cell": "pybamm"}
"""What to import to see whether an optional part is installed."""


@dataclass(frozen=True)
class Conditions:
    """Under which conditions a plan is made and run.

    Attributes:
        temperature_K: Of diffusivity, conductivity and cells.
        c_rate: Of cells, relative to the nominal capacity of the base cell.
        seed: Of everything drawn.
        stated: Names of those that the user asked for; None: those that differ from the defaults.

    Raises:
        InputError: No ions move in solids at this temperature.
    """

    temperature_K: float = 300.0
    c_rate: float = 1.0
    seed: int = 0
    stated: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Refuse a temperature at which no ions move in a solid."""
        check_temperature(self.temperature_K)

    @property
    def asked(self) -> frozenset[str]:
        """Names of the conditions that the user asked for."""
        if self.stated is not None:
            return self.stated
        usual = Conditions.__dataclass_fields__
        names = ("temperature_K", "c_rate")
        return frozenset(n for n in names if getattr(self, n) != usual[n].default)


@dataclass(frozen=True)
class ValidatedError:
    """How far a model is off, one standard deviation, and what says so.

    Attributes:
        std: In the unit of the quantity.
        n_rows: Validation rows that it rests on; 0 where it is a stated property of a formula.
        basis: How it was found.
        half_90: Half of the 90 % interval; None for that of a normal distribution.
    """

    std: float
    n_rows: int
    basis: str
    half_90: float | None = None

    @property
    def tail(self) -> float:
        """How much wider the 90 % interval is than that of a normal distribution."""
        if self.half_90 is None or not self.std:
            return 1.0
        return self.half_90 / (HALF_WIDTH_90 * self.std)

    def beside(self, other_std: float) -> ValidatedError:
        """The error where an independent one, normally distributed, comes on top."""
        half = None
        if self.half_90 is not None:
            half = math.hypot(self.half_90, HALF_WIDTH_90 * other_std)
        return replace(self, std=math.hypot(self.std, other_std), half_90=half)


@dataclass(frozen=True)
class EntryDomain:
    """For what an entry may be used; empty sets and missing ranges mean everything.

    Attributes:
        working_ions: Symbols of the mobile ions.
        elements: Elements that were seen.
        families: Framework families that were seen.
        ranges: (lowest, highest) of a condition, by its name in :class:`Conditions`.
    """

    working_ions: frozenset[str] = frozenset()
    elements: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class StepContext:
    """What a running step knows beside its inputs.

    Attributes:
        at: Conditions of the plan.
        folder: Where the step may keep its own unfinished work.
    """

    at: Conditions
    folder: Path


Tables = Mapping[str, Sequence[Row]]
Run = Callable[[Tables, StepContext], Mapping[str, list[Row]]]
Sensitivities = Callable[[Conditions], Mapping[tuple[str, str], float]]


def _insensitive(at: Conditions) -> Mapping[tuple[str, str], float]:
    return {}


@dataclass(frozen=True, eq=False)
class Entry:
    """One model, formula, potential or simulation.

    Attributes:
        name: Unique in the catalogue.
        kind: What it is.
        about: What it does, in a line.
        inputs: Quantities that it needs, all of them.
        outputs: Quantities that it gives.
        fidelity: What its values are as good as: ``experiment``, ``dft``, ``potential``,
            ``bond_valence``, ``physics``.
        errors: Of each output by scope: ``all``, ``family:NAME``, ``ion:SYMBOL``,
            ``unseen_family``, ``unseen_ion``. An output without errors is not validated.
        sensitivities: (output, input) -> change of the output for a unit change of the input.
        cost_s: Seconds for one record on one core.
        domain: For what it may be used.
        conditions: Names of the :class:`Conditions` that its values depend on, or hold for.
        licence: Of the entry.
        training_sets: Names of the data it learnt from.
        extra: Optional part that it needs.
        missing: Why it cannot run although declared; empty where it can.
        checksum: Of its weights; of a formula, its version.
        folder: Model folder, where there is one.
        origin: ``shipped``, ``built in``, or where a user's model comes from.
        run: Inputs to outputs, one row a record.
        measure: Distance of given records to its training set, 1 being the edge of its domain;
            None where it cannot be measured.
        largest_errors: Of an output, the error beyond which nothing is left to be wrong about: a
            cell cannot lose more than its capacity.
        judge: Its errors on labels that are given, by output; None where it cannot be judged.
        judged_on: Quantity that holds those labels.
        learns: Whether it is made of these labels while a plan is.
    """

    name: str
    kind: Kind
    about: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fidelity: str
    cost_s: float
    errors: Mapping[str, Mapping[str, ValidatedError]] = field(default_factory=dict)
    sensitivities: Sensitivities = _insensitive
    domain: EntryDomain = field(default_factory=EntryDomain)
    conditions: tuple[str, ...] = ()
    licence: str = "MIT"
    training_sets: tuple[str, ...] = ()
    extra: str | None = None
    missing: str = ""
    checksum: str = "1"
    folder: Path | None = None
    origin: str = "built in"
    run: Run | None = None
    measure: Callable[[Tables], Sequence[float]] | None = None
    judge: Callable[[Tables], Mapping[str, ValidatedError]] | None = None
    judged_on: str = "hop_labels"
    learns: bool = False
    largest_errors: Mapping[str, float] = field(default_factory=dict)

    @property
    def unavailable(self) -> str:
        """Why it cannot run here; empty where it can."""
        if self.missing:
            return self.missing
        if self.extra and find_spec(EXTRA_MODULES[self.extra]) is None:
            return f"needs the optional part '{self.extra}': pip install 'ionbridge[{self.extra}]'"
        return "" if self.run is not None else "has no callable"

    def error_of(self, output: str, scopes: Iterable[str]) -> ValidatedError | None:
        """The error of the first scope that is known, else of all rows; None: not validated."""
        known = self.errors.get(output, {})
        return next((known[s] for s in (*scopes, "all") if s in known), None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for lists and servers."""
        return {
            "name": self.name,
            "kind": self.kind,
            "about": self.about,
            "inputs": [_typed(name) for name in self.inputs],
            "outputs": [_typed(name) for name in self.outputs],
            "fidelity": self.fidelity,
            "errors": {
                output: {
                    scope: {"std": e.std, "n_rows": e.n_rows, "basis": e.basis}
                    for scope, e in by_scope.items()
                }
                for output, by_scope in self.errors.items()
            },
            "cost_s": self.cost_s,
            "domain": {
                "working_ions": sorted(self.domain.working_ions),
                "elements": sorted(self.domain.elements),
                "families": sorted(self.domain.families),
                "ranges": {k: list(v) for k, v in self.domain.ranges.items()},
            },
            "licence": self.licence,
            "training_sets": list(self.training_sets),
            "checksum": self.checksum,
            "origin": self.origin,
            "unavailable": self.unavailable,
        }


def quantity(name: str) -> Quantity:
    """The quantity of a name.

    Raises:
        InputError: Unknown; the message names the nearest.
    """
    if name not in QUANTITIES:
        raise InputError(f"unknown quantity '{name}'; {nearest(name, list(QUANTITIES))}")
    return QUANTITIES[name]


def goals() -> tuple[str, ...]:
    """Names that ``plan --goal`` takes."""
    return tuple(name for name, known in QUANTITIES.items() if known.is_number)


def _typed(name: str) -> dict[str, str]:
    known = QUANTITIES[name]
    return {"quantity": name, "unit": known.unit, "carrier": known.carrier}


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Entries by name.

    Attributes:
        entries: All of them.
        broken: Model folders that could not become entries, with the reason.
    """

    entries: tuple[Entry, ...]
    broken: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that clash and quantities that nobody knows."""
        seen: dict[str, Entry] = {}
        for entry in self.entries:
            if entry.name in seen:
                raise InputError(
                    f"two entries of the catalogue are called '{entry.name}' "
                    f"({seen[entry.name].origin} and {entry.origin}): rename one"
                )
            seen[entry.name] = entry
            for name in (*entry.inputs, *entry.outputs):
                quantity(name)
            if not entry.outputs:
                raise InputError(f"entry '{entry.name}' gives nothing: name its outputs")

    def __getitem__(self, name: str) -> Entry:
        """The entry of a name.

        Raises:
            InputError: Unknown; the message names the nearest.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        known = [entry.name for entry in self.entries]
        raise InputError(f"unknown entry '{name}'; {nearest(name, known)}")

    def providers(self, name: str) -> tuple[Entry, ...]:
        """Entries that give a quantity."""
        return tuple(entry for entry in self.entries if name in entry.outputs)

    def cycle(self) -> tuple[str, ...]:
        """Quantities that need each other in a circle; empty where there is none."""
        needs: dict[str, set[str]] = {}
        for entry in self.entries:
            for output in entry.outputs:
                needs.setdefault(output, set()).update(entry.inputs)
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            return tuple(error.args[1])
        return ()
