"""A funnel of fidelities: the best rows of a screen again, with an interatomic potential.

Thousands of crystals by the network, the best few hundred again with single energies of the ion on
its bond-valence path, the best of them with a short relaxation or the nudged elastic band. Only the
hops that decide, those of the percolating path, are computed; where they turn out higher than
others, these follow. A model that reads a method joins it with what it knows itself, with the
spread that is left. What any other method says of a hop is combined with what the network says in
the proportion in which both were found to predict DFT barriers, and the spread is the measured
error of that combination.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ionbridge.models.barriers.hop_model import HopEnergies, HopModel
from ionbridge.screening.campaign.candidates import Candidate, Candidates
from ionbridge.screening.campaign.ranking import ranking
from ionbridge.screening.campaign.refine_settings import RefineSettings
from ionbridge.screening.campaign.settings import Objective
from ionbridge.screening.execution.executor import Executor
from ionbridge.screening.execution.shards import ShardFolder, StoredRows
from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError
from ionbridge.screening.prediction.conduction import conduction_row
from ionbridge.screening.prediction.crystals import CrystalPredictor, loaded_model
from ionbridge.screening.prediction.fidelity import (
    METHODS,
    WEIGHS_NOTHING,
    Fidelity,
    HopBarrier,
    Method,
    barrier_by,
    choice_of,
    is_read_by,
    measured_fidelities,
    with_relaxation,
)
from ionbridge.screening.table import Row, checked_row, crystal_row
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal, UnusableStructureError


def refined_energies(
    energies: HopEnergies, found: Mapping[int, HopBarrier], fidelities: Mapping[str, Fidelity]
) -> HopEnergies:
    """The network's energies with those hops replaced that a method it does not read has computed.

    The mean of both ends stays the network's, so that hops of different fidelity share one scale.

    Args:
        energies: What the network says.
        found: Results by number of the hop.
        fidelities: How to combine both, by method.
    """
    start, end, kra = (v.copy() for v in (energies.start_eV, energies.end_eV, energies.kra_eV))
    aleatoric = energies.aleatoric_std_eV.copy()
    target = energies.target
    difference = (energies.end_eV - energies.start_eV).mean(axis=0)
    forward = energies.central_barrier_eV
    for k, result in found.items():
        fidelity = fidelities[result.method]
        both = np.array([forward[k], forward[k] - difference[k]])
        own = np.array([result.forward_eV, result.backward_eV])
        t = fidelity.joined(both, own, target)
        there, back = target.inverse(t)
        middle = 0.5 * (start[:, k] + end[:, k])
        start[:, k], end[:, k] = middle - 0.5 * (there - back), middle + 0.5 * (there - back)
        kra[:, k] = 0.5 * (there + back)
        aleatoric[k] = target.inverse_std(kra[:1, k], np.array([fidelity.std]))[0]
    return energies._replace(start_eV=start, end_eV=end, kra_eV=kra, aleatoric_std_eV=aleatoric)


def joined_energies(
    model: HopModel, graph: MigrationGraph, found: Mapping[int, HopBarrier]
) -> HopEnergies:
    """Energies of a crystal's hops by a model and what better methods say of some of them.

    Args:
        model: Of hops.
        graph: The crystal.
        found: Results by number of the hop.
    """
    hops = list(graph.hops)
    others = {}
    for k, result in found.items():
        if is_read_by(model, result.method):
            hops[k] = with_relaxation(hops[k], result)
        else:
            others[k] = result
    (energies,) = model.crystal_energies([replace(graph, hops=tuple(hops))])
    return refined_energies(energies, others, measured_fidelities())


@dataclass(frozen=True)
class Refiner:
    """A function from candidates to rows of a better fidelity, for an executor.

    Attributes:
        method: ``energies``, ``short`` or ``neb``.
        predictor: The screen's own predictor.
        settings: Calculator and limits.
        until: Of ``time.time()``; nothing is begun after it.
    """

    method: Method
    predictor: CrystalPredictor
    settings: RefineSettings
    until: float = float("inf")

    def __call__(self, candidates: Sequence[Candidate]) -> list[Row]:
        """One row a candidate; one without ``status: ok`` is no better than what there was."""
        return [self._row(candidate) for candidate in candidates]

    def _row(self, candidate: Candidate) -> Row:
        started = time.time()
        if not isinstance(candidate, Crystal):
            return refused_row(candidate, candidate.reason)
        if started > self.until:
            return refused_row(candidate, "time budget spent")
        try:
            crystal = self.predictor.classified(candidate)
            graph = find_hops(crystal)
            row = self._refined(crystal, graph)
        except (UnusableStructureError, BrokenCalculationError) as error:
            row = refused_row(candidate, str(error))
        return {**row, "refine_s": round(time.time() - started, 2)}

    def _refined(self, crystal: Crystal, graph: MigrationGraph) -> Row:
        network = loaded_model(self.predictor.model, self.predictor.device)
        found: dict[int, HopBarrier] = {}
        labels: list[Row] = []
        alone = joined_energies(network, graph, found)
        while True:
            combined = joined_energies(network, graph, found) if found else alone
            values = conduction_row(graph, combined, self.predictor.conditions, crystal.lattice)
            deciding = [int(k) for k in str(values["percolating_hops"]).split()]
            missing = [k for k in deciding if k not in found]
            if not missing or len(found) + len(missing) > self.settings.max_hops:
                break
            if time.time() > self.until:
                break
            for k in missing:
                found[k] = barrier_by(
                    self.method, graph.hops[k], graph.crystal, self.settings, self.until, labels
                )
        methods = [found[k].method if k in found else METHODS[0] for k in deciding]
        worst = min(methods, key=METHODS.index)
        if worst == METHODS[0]:
            raise UnusableStructureError(
                f"{crystal.id}: its percolating path needs more than {self.settings.max_hops} hops "
                "or more time"
            )
        notes = [f"{graph.hops[k].id}: {one.note}" for k, one in sorted(found.items()) if one.note]
        before, after = (x.central_barrier_eV[deciding] for x in (alone, combined))
        if is_read_by(network, worst) and np.allclose(after, before, rtol=1e-9, atol=0.0):
            notes.append(WEIGHS_NOTHING)
            worst = METHODS[0]
        return crystal_row(
            crystal,
            status="ok",
            model=self.predictor.model,
            **values,
            **fidelity_columns(worst),
            n_refined_hops=len(found),
            labels=labels,
            **({"refine_reason": "; ".join(notes)} if notes else {}),
        )


def fidelity_columns(method: Method) -> Row:
    """The columns that say how good the barriers of a row are."""
    return {
        "barrier_fidelity": method,
        "barrier_error_eV": measured_fidelities()[method].mae_eV,
    }


def refused_row(candidate: Candidate, reason: str) -> Row:
    """What stands for a candidate that could not be refined; its screened row stays."""
    reason = " ".join(reason.removeprefix(f"{candidate.id}: ").split())
    return {"candidate_id": candidate.id, "status": "failed", "reason": reason}


def refine(
    rows: StoredRows,
    candidates: Candidates,
    predictor: CrystalPredictor,
    settings: RefineSettings,
    objectives: Sequence[Objective],
    rank_by: str,
    executor: Executor,
    finished: ShardFolder,
    report: Callable[[str], object] = lambda message: None,
) -> StoredRows:
    """The rows of a screen, the best of them at a better fidelity.

    Every finished candidate is a file, and the time that it took counts on when the run is resumed.

    Args:
        rows: Of the screen, in the order of the candidates.
        candidates: Of these rows.
        predictor: That of the screen.
        settings: How many, by which calculator, for how long.
        objectives: What decides who is best.
        rank_by: See :func:`ionbridge.screening.campaign.ranking.ranking`.
        executor: Where it is computed.
        finished: Where the finished pieces lie, numbered by the place of the row.
        report: Is told what goes on.

    Returns:
        As many rows, each with ``barrier_fidelity``, ``barrier_error_eV`` and, where it was tried
        in vain or is in doubt, ``refine_reason``.

    Raises:
        InputError: The calculator cannot be made.
    """
    counts: tuple[tuple[Method, int], ...] = (
        ("energies", settings.n_energies),
        ("short", settings.n_short),
        ("neb", settings.n_neb),
    )
    for choice in (choice_of("energies", settings), choice_of("short", settings)):
        if any(count and choice_of(method, settings) == choice for method, count in counts):
            choice.make()
    best = replace(rows, added=fidelity_columns("network"))
    spent_s = 0.0
    for method, count in counts:
        if method == "short" and not count:
            continue
        placed = ranking(best, objectives, rank_by)
        chosen = placed.order[: min(count, placed.n_ranked)].tolist()
        shards = replace(finished, path=finished.path / method)
        before = best.at({*chosen, *shards.finished()})
        ids = {k: [row["candidate_id"]] for k, row in before.items()}
        whole, damaged = shards.kept(ids)
        for index, why in damaged.items():
            report(f"{shards.file(index)}: {why}; computed again")
        done = {k: row for k in whole for row in shards.read(k)}
        spent_s += sum(row["refine_s"] for row in done.values()) / max(executor.n_workers, 1)
        left_s = 60 * settings.time_budget_min - spent_s
        missing = [k for k in chosen if k not in done]
        report(f"{method}: {len(chosen)} candidates, {len(missing)} to compute")
        refiner = Refiner(method, predictor, settings, time.time() + left_s)
        started = time.time()
        if left_s > 0:
            given = candidates.at(missing)
            pieces = [(k, [given[k]]) for k in missing]
            for k, found in executor.map_shards(refiner, pieces, refused_row):
                done[k] = checked_row(found[0])
                if "refine_s" in done[k]:  # others ran out of time
                    shards.write(k, ids[k], [done[k]])
        spent_s += time.time() - started
        better_rows = {k: better(before[k], done[k]) for k in chosen if k in done}
        best = replace(best, changed={**best.changed, **better_rows})
    return best


def better(row: Row, refined: Row) -> Row:
    """The refined row where there is a result, else the row as it was with the reason.

    A refined row of the network alone stands: a method was computed and weighs nothing beside it.
    """
    if refined["status"] != "ok":
        return {**row, "refine_reason": refined["reason"]}
    surest, before = (METHODS.index(one["barrier_fidelity"]) for one in (refined, row))
    return row if 0 < surest < before else refined
