"""Crystals to rows of the table, many at a time: hops, energies of all hops in one batch, physics.

`CrystalPredictor` is what a worker runs on a shard. One bad crystal is one failed row, whatever it
does: every step of one crystal runs under a time limit and may fail on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, TypeVar

from ionbridge.models.barriers.hop_model import HopEnergies
from ionbridge.models.library import DEFAULTS, load
from ionbridge.screening.campaign.candidates import Candidate
from ionbridge.screening.campaign.filters import Filters
from ionbridge.screening.campaign.prescreen import Prescreen
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import TimeLimitExceededError, time_limit
from ionbridge.screening.labelling.bands.potential_profile import with_potential_profile
from ionbridge.screening.prediction.conduction import Conditions, hop_network_row
from ionbridge.screening.prediction.estimate import columns_by_composition, estimated_rows
from ionbridge.screening.prediction.reference_hull import ReferenceHull
from ionbridge.screening.prediction.stability import with_stability
from ionbridge.screening.table import Row, carried_fault, crystal_row, failed_row
from ionbridge.structures.chemistry import composition
from ionbridge.structures.frameworks import families
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import (
    Crystal,
    FailedRecord,
    TooManyHopsError,
    UnusableStructureError,
)

T = TypeVar("T")


@dataclass(frozen=True)
class CrystalPredictor:
    """Classifies, filters and predicts crystals; a function from candidates to rows.

    Attributes:
        model: Name of a shipped model or a model folder.
        conditions: Temperature and sampling.
        working_ions: For a crystal that names no ion, the first of these it holds; empty for the
            general order of precedence.
        filters: What a crystal must be; others become ``filtered`` rows.
        prescreen: What is asked before the hops are looked for; None for nothing.
        device: Where the networks run: ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.
        time_limit_s: Longest time for one crystal in any step.
        hull: Of the references that energies above hull are counted from; None for the shipped
            model of them.
    """

    model: str
    conditions: Conditions = field(default_factory=Conditions)
    working_ions: tuple[str, ...] = ()
    filters: Filters = field(default_factory=Filters)
    prescreen: Prescreen | None = None
    device: str = "auto"
    time_limit_s: float = 120.0
    hull: ReferenceHull | None = None

    def __call__(self, candidates: Sequence[Candidate]) -> list[Row]:
        """One row a candidate, in their order.

        Raises:
            InputError: Not a list of candidates: `ionbridge.predict` takes structures as well.
        """
        others = [type(c).__name__ for c in candidates if not isinstance(c, Crystal | FailedRecord)]
        if others:
            raise InputError(
                f"expected a list of Crystals, got a {others[0]} in a {type(candidates).__name__}; "
                "ionbridge.predict takes pymatgen and ASE structures, paths and tables"
            )
        rows: list[Row | None] = [None] * len(candidates)
        ready: dict[int, _Prepared] = {}
        for i, outcome in enumerate(self.prescreened(candidates)):
            prepared = self._prepared(outcome) if isinstance(outcome, Crystal) else outcome
            if isinstance(prepared, _Prepared):
                ready[i] = prepared
            else:
                rows[i] = prepared
        for i, row in zip(ready, self._predicted(list(ready.values())), strict=True):
            rows[i] = row
        return [row for row in rows if row is not None]

    def prescreened(self, candidates: Sequence[Candidate]) -> list[Crystal | Row]:
        """What costs next to nothing: crystals that go on, with ion and role, and rows of others.

        Args:
            candidates: (n,) crystals and failed records; the answers come in their order.
        """
        found = [self._admitted(candidate) for candidate in candidates]
        asked = [i for i, one in enumerate(found) if isinstance(one, Crystal)]
        if self.prescreen is None or not asked:
            return found
        crystals = [one for one in found if isinstance(one, Crystal)]
        try:
            with time_limit(self.time_limit_s):
                refusals = self.prescreen.refusals(crystals)
        except Exception:  # one of them spoils the batch: each on its own shows which
            refuse = self.prescreen.refusals
            alone = [self._guarded(one, partial(refuse, [one])) for one in crystals]
            refusals = [one[0] if isinstance(one, list) else None for one in alone]
            for i, one in zip(asked, alone, strict=True):
                found[i] = one if isinstance(one, dict) else found[i]
        for i, crystal, reason in zip(asked, crystals, refusals, strict=True):
            if reason is not None:
                found[i] = crystal_row(crystal, status="filtered", reason=reason)
        return found

    def _admitted(self, candidate: Candidate) -> Crystal | Row:
        """A candidate with working ion and role, or the row that says why it does not go on."""
        if not isinstance(candidate, Crystal):
            return failed_row(candidate, candidate.reason)
        if fault := carried_fault(candidate):
            return failed_row(candidate, fault)
        refusal = self.filters.refusal_by_content(candidate)
        if refusal is not None:
            return crystal_row(candidate, status="filtered", reason=refusal)
        crystal = self._guarded(candidate, lambda: self._with_role(candidate))
        if not isinstance(crystal, Crystal):
            return crystal
        refusal = self._other_ion(crystal) or self.filters.refusal_by_role(crystal)
        if refusal is not None:
            return crystal_row(crystal, status="filtered", reason=refusal)
        return crystal

    def _prepared(self, admitted: Crystal) -> _Prepared | Row:
        """The hops of a crystal, or the row that says why there are none."""
        crystal = self._guarded(admitted, lambda: self.classified(admitted))
        if not isinstance(crystal, Crystal):
            return crystal
        refusal = self.filters.refusal_by_class(crystal)
        if refusal is not None:
            return crystal_row(crystal, status="filtered", reason=refusal)
        return self._guarded(crystal, lambda: self._with_hops(crystal))

    def _with_hops(self, crystal: Crystal) -> _Prepared | Row:
        """The crystal with its hops; the row of its composition where there are too many."""
        try:
            with time_limit(self.time_limit_s):
                return _Prepared(crystal, self._hops_of(crystal))
        except (TooManyHopsError, TimeLimitExceededError) as error:
            reason = str(error).removeprefix(f"{crystal.id}: ")
            values = columns_by_composition(crystal, self.conditions.temperature_K, reason)
            return crystal_row(crystal, status="ok", model=DEFAULTS["conductivity"], **values)

    def _hops_of(self, crystal: Crystal) -> MigrationGraph:
        """The hops, with a potential's energies for a model that reads them."""
        return _hops_for(crystal, loaded_model(self.model, self.device))

    def _guarded(self, crystal: Crystal, step: Callable[[], T]) -> T | Row:
        """The step's result, or the failed row that says what went wrong in it."""
        try:
            with time_limit(self.time_limit_s):
                return step()
        except (UnusableStructureError, TimeLimitExceededError) as error:
            return failed_row(crystal, str(error).removeprefix(f"{crystal.id}: "))
        except Exception as error:  # one crystal of thousands: a row, with the kind of error
            return failed_row(crystal, f"{type(error).__name__}: {error}")

    def classified(self, crystal: Crystal) -> Crystal:
        """The crystal with working ion, role, family and energy above hull where it lacks them."""
        crystal = self._with_role(crystal)
        return with_stability(
            replace(crystal, family=crystal.family or families.family(crystal)),
            self.hull,
            0.5 * self.time_limit_s,
        )

    def _with_role(self, crystal: Crystal) -> Crystal:
        """The crystal with working ion and role, which its composition tells."""
        wanted = (ion for ion in self.working_ions if crystal.occupancy(ion).any())
        crystal = replace(crystal, working_ion=crystal.working_ion or next(wanted, None))
        return replace(
            crystal,
            working_ion=composition.working_ion(crystal),
            role=crystal.role or composition.role(crystal),
        )

    def _other_ion(self, crystal: Crystal) -> str | None:
        """Why the crystal's working ion is not one of those looked for; None if it is."""
        if self.working_ions and crystal.working_ion not in self.working_ions:
            return f"working ion {crystal.working_ion}, not in {', '.join(self.working_ions)}"
        return None

    def _predicted(self, ready: Sequence[_Prepared]) -> list[Row]:
        """Rows of crystals whose hops are known."""
        if not ready:
            return []
        model = loaded_model(self.model, self.device)
        try:
            energies = model.crystal_energies([one.graph for one in ready])
            rows = [
                self._guarded(one.crystal, partial(self._hop_row, one, own))
                for one, own in zip(ready, energies, strict=True)
            ]
            usable = [i for i, row in enumerate(rows) if "status" not in row]
            estimated = estimated_rows(
                [rows[i] for i in usable], [ready[i].crystal for i in usable]
            )
        except Exception:  # one of them spoils the batch: each on its own shows which
            return [self._guarded(one.crystal, partial(self._row_alone, one)) for one in ready]
        for i, values in zip(usable, estimated, strict=True):
            rows[i] = self._table_row(ready[i], values)
        return rows

    def _hop_row(self, one: _Prepared, energies: HopEnergies) -> Row:
        return hop_network_row(one.graph, energies, self.conditions, one.crystal.lattice)

    def _row_alone(self, one: _Prepared) -> Row:
        model = loaded_model(self.model, self.device)
        hops = self._hop_row(one, model.crystal_energies([one.graph])[0])
        return self._table_row(one, estimated_rows([hops], [one.crystal])[0])

    def _table_row(self, one: _Prepared, values: Row) -> Row:
        return crystal_row(one.crystal, status="ok", model=self.model, **values)


def hops_and_energies(crystal: Crystal, model: str) -> tuple[MigrationGraph, HopEnergies]:
    """Sites and hops of a crystal, and what a model says of them.

    Args:
        crystal: Ordered or disordered crystal.
        model: Name of a shipped model or a model folder.

    Raises:
        UnusableStructureError: See :func:`ionbridge.structures.hops.sites.find_hops`.
        IncompatibleModelError: Unknown or broken model.
        InputError: A model of another kind.
    """
    loaded = loaded_model(model)
    graph = _hops_for(crystal, loaded)
    (energies,) = loaded.crystal_energies([graph])
    return graph, energies


def _hops_for(crystal: Crystal, model: Any) -> MigrationGraph:
    """The hops, with a potential's energies for a model that reads them."""
    graph = find_hops(crystal)
    if not model.asks_for_profile:
        return graph
    return replace(graph, hops=tuple(with_potential_profile(hop) for hop in graph.hops))


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A crystal as it was given, and its hops (in a primitive cell)."""

    crystal: Crystal
    graph: MigrationGraph


@lru_cache(maxsize=2)
def loaded_model(name: str, device: str = "auto") -> Any:
    """The model of hops, loaded once a process.

    Raises:
        IncompatibleModelError: Unknown or broken model.
        InputError: A model of another kind, or no such device.
    """
    model = load(name)
    if model.inputs != "hop":
        raise InputError(
            f"model '{name}' ({type(model).__name__}) gives no barriers of hops; crystals need them"
        )
    try:
        return model.to(device)
    except ValueError as error:
        raise InputError(str(error)) from error
