"""A campaign: candidates in, a ranked table, a report and the top hop paths out.

A campaign is a folder. ``campaign.json`` says what is run; ``shards/`` holds finished pieces.
Killed at any moment, the campaign goes on from there and ends in the same table.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from ionbridge.models.checkpoint import IncompatibleModelError, model_checksum
from ionbridge.models.estimator import table_html
from ionbridge.models.library import DEFAULTS, find
from ionbridge.screening.campaign.candidates import (
    Candidate,
    Candidates,
    built,
    files_checksum,
    read_crystals,
    without_duplicates,
)
from ionbridge.screening.campaign.filters import Filters, read_known_formulas
from ionbridge.screening.campaign.hop_paths import write_hop_paths
from ionbridge.screening.campaign.prescreen import Prescreen
from ionbridge.screening.campaign.provenance import write_cells, write_crate
from ionbridge.screening.campaign.ranked_table import RankedTable, in_order
from ionbridge.screening.campaign.ranking import check_objectives, ranking
from ionbridge.screening.campaign.settings import EMBEDDED_CAMPAIGN, CampaignSettings
from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.execution.executor import Executor
from ionbridge.screening.execution.executors import executor_from
from ionbridge.screening.execution.folder_lock import LOCK_FILE, locked_folder
from ionbridge.screening.execution.machine import machine
from ionbridge.screening.execution.program import code_checksum, installed_version
from ionbridge.screening.execution.progress import is_shown
from ionbridge.screening.execution.shards import (
    DamagedShardError,
    ShardFolder,
    StoredRows,
    fingerprint,
    write_atomically,
    write_json,
)
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.crystals import CrystalPredictor, loaded_model
from ionbridge.screening.prediction.reference_hull import Entry, ReferenceHull, reference_entries
from ionbridge.screening.report.report import Network, render
from ionbridge.screening.table import COLUMNS, Row, checked_row, csv_lines, failed_row
from ionbridge.structures.records import Crystal

if TYPE_CHECKING:
    from ionbridge.screening.campaign.active import Round
    from ionbridge.screening.cell.stage import CellStage

CAMPAIGN_FILE, REPORT_FILE = "campaign.json", "report.html"
RANKED_FILE, TABLE_FILE = "ranked.parquet", "ranked.csv"
"""All rows, twice: for programs, and for people."""
SETTINGS_FILE, CURVES_FILE = "campaign.yaml", "cell_curves.json"
VERSIONED = ("ionbridge", "torch", "pymatgen", "numpy", "scipy")
STATUSES = ("ok", "filtered", "failed")
BEST = (
    "rank",
    "candidate_id",
    "formula",
    "role",
    "log10_conductivity_S_cm",
    "log10_conductivity_std",
    "log10_diffusivity_cm2_s",
    "log10_diffusivity_std",
    "in_domain",
)
"""What a notebook shows of the first rows."""
N_BEST = 10
N_TIMED = 16
"""Candidates that a dry run predicts to estimate the cost of all."""
N_PRESCREENED = 256
"""Candidates that a dry run gives to a prescreen, to see how many go on."""


@dataclass(frozen=True)
class CostEstimate:
    """What a campaign would run, and how long it would take.

    Attributes:
        n_candidates: Rows of the table.
        n_timed: Candidates predicted for the estimate.
        seconds_each: Mean time of one of them on one core.
        n_workers: Workers that share the work.
        n_screens: How often all are predicted: once, and once before each round of labelling.
        stages: What follows or goes between: how much of what, and its longest time in seconds
            where there is a limit.
        prescreened: Candidates that a prescreen was tried on, and how many of these went on; None
            without one.
    """

    n_candidates: int
    n_timed: int
    seconds_each: float
    n_workers: int
    n_screens: int = 1
    stages: tuple[tuple[str, float | None], ...] = ()
    prescreened: tuple[int, int] | None = None

    @property
    def seconds(self) -> float:
        """Estimated time of all predictions, without start-up, report and other stages."""
        return self.n_screens * self.n_candidates * self.seconds_each / self.n_workers

    def __str__(self) -> str:
        screens = f", {self.n_screens} times" if self.n_screens > 1 else ""
        parts = [
            f"{self.n_candidates} candidates{screens}, about {self.seconds_each:.2f} s each "
            f"({self.n_timed} timed), {self.n_workers} workers: about {self.seconds / 60:.1f} min"
        ]
        if self.prescreened is not None:
            n_tried, n_passed = self.prescreened
            parts.append(f"prescreen: {n_passed} of {n_tried} tried go on")
        for what, most_s in self.stages:
            parts.append(what if most_s is None else f"{what}: at most {most_s / 60:.0f} min")
        return "; ".join(parts)


class Campaign:
    """Settings that can be run; after `run`, `results` is the ranked table.

    Args:
        settings: What to screen, and how to rank it: settings, the same as a mapping with the keys
            of a campaign file, or the path of one.
        limit: Keep only the first so many candidates.
    """

    def __init__(
        self, settings: CampaignSettings | Mapping[str, Any] | str | Path, limit: int | None = None
    ) -> None:
        if isinstance(settings, Mapping):
            settings = CampaignSettings.from_mapping(settings, Path())
        elif isinstance(settings, str | Path):
            settings = CampaignSettings.from_yaml(Path(settings))
        self.settings = settings
        self.limit = limit

    @classmethod
    def from_yaml(
        cls, path: str | Path | None = None, limit: int | None = None, seed: int | None = None
    ) -> Campaign:
        """A campaign from its file; without one, the campaign that comes with the package.

        Raises:
            InputError: One line that says what in the file cannot be used.
        """
        settings = CampaignSettings.from_yaml(EMBEDDED_CAMPAIGN if path is None else Path(path))
        if seed is not None:
            settings = dataclasses.replace(settings, seed=seed)
        return cls(settings, limit)

    @property
    def results(self) -> pd.DataFrame:
        """The rows of ``ranked.csv``, best first; empty cells are missing values.

        Raises:
            InputError: The campaign has not been run.
        """
        if not hasattr(self, "table_"):
            raise InputError("this campaign has not been run; call run(folder) first")
        return pd.read_parquet(self.table_.path)

    def _repr_html_(self) -> str:
        settings = self.settings
        asked = {
            "working ions": settings.working_ions,
            "temperature": f"{settings.temperature_K:g} K",
            "ranked by": settings.rank_by,
            "objectives": [f"{o.goal} {o.column}" for o in settings.ranking_objectives()],
        }
        head = table_html(f"Campaign {settings.name}", asked)
        if not hasattr(self, "table_"):
            return f"{head}<p>Not run yet; run(folder) runs it.</p>"
        found = ", ".join(f"{n} {status}" for status, n in self.record_["counts"].items() if n)
        first = pd.DataFrame(islice(self.table_, N_BEST), columns=list(BEST))
        best: str = first.to_html(index=False, float_format="{:.3g}".format)
        return f"{head}<p>{found}; the first of <code>results</code>:</p>{best}"

    def candidates(self) -> list[Candidate]:
        """All candidates, in the order of the shards."""
        return [built(one) for one in self.candidate_stream()]

    def candidate_stream(self) -> Candidates:
        """The same, one after the other, generated ones not built yet."""
        settings = self.settings
        return Candidates(settings.candidates, settings.working_ions, settings.seed, self.limit)

    def predictor(self, device: str = "auto") -> CrystalPredictor:
        """What is applied to the candidates.

        Args:
            device: Where the networks run: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            InputError: Unknown or broken model, unreadable list of known compounds.
        """
        settings = self.settings
        known = settings.filters.known_compounds
        predictor = CrystalPredictor(
            model=settings.model or DEFAULTS["migration_barrier"],
            conditions=Conditions(
                temperature_K=settings.temperature_K,
                attempt_frequency_THz=settings.attempt_frequency_THz,
                dimensionality_margin_eV=settings.dimensionality_margin_eV,
                n_draws=settings.n_draws,
                seed=settings.seed,
            ),
            working_ions=settings.working_ions,
            filters=Filters(
                settings.filters,
                frozenset() if known is None else read_known_formulas(Path(known)),
            ),
            prescreen=None if settings.prescreen is None else Prescreen(settings.prescreen),
            device=device,
            time_limit_s=settings.time_limit_s,
        )
        try:
            loaded_model(predictor.model, device)
        except IncompatibleModelError as error:
            raise InputError(str(error)) from error
        return predictor

    def estimate(self, executor: str = "local", workers: int | None = None) -> CostEstimate:
        """Predict a few candidates, spread over the list, and say what all would cost."""
        predictor = self.predictor()
        timed: Sequence[Candidate]
        if predictor.prescreen is None:
            count, timed = self.candidate_stream().counted(N_TIMED)
            each, tried, passing = 0.0, None, 1.0
        else:
            count, sample = self.candidate_stream().counted(N_PRESCREENED)
            predictor.prescreened(sample[:1])  # its model is loaded
            started = time.perf_counter()
            admitted = [one for one in predictor.prescreened(sample) if isinstance(one, Crystal)]
            each = (time.perf_counter() - started) / len(sample)
            tried, passing = (len(sample), len(admitted)), len(admitted) / len(sample)
            timed = admitted[:: -(-len(admitted) // N_TIMED) or 1]
        started = time.perf_counter()
        predictor(timed)
        each += passing * (time.perf_counter() - started) / max(len(timed), 1)
        n_workers = max(executor_from(executor, workers).n_workers, 1)
        active = self.settings.active
        n_screens = 1 if active is None else 1 + active.rounds
        return CostEstimate(
            count, len(timed), each, n_workers, n_screens, self._stages(count, n_workers), tried
        )

    def _stages(self, n_candidates: int, n_workers: int) -> tuple[tuple[str, float | None], ...]:
        """What is computed beside the screen, and its longest time in seconds."""
        stages: list[tuple[str, float | None]] = []
        active, refined, cell = self.settings.active, self.settings.refine, self.settings.cell
        if active is not None:
            n_hops = active.rounds * min(active.batch, n_candidates) * active.max_hops
            most_s = 60 * active.time_limit_min * -(-n_hops // n_workers)
            stages.append(
                (
                    f"active: {active.rounds} rounds, bands of up to {n_hops} hops with "
                    f"{active.calculator}, and {active.rounds} fine-tunings",
                    most_s,
                )
            )
        if refined is not None:
            n = {
                "energies": refined.n_energies,
                "short relaxations": refined.n_short,
                "bands": refined.n_neb,
            }
            what = ", ".join(f"{name} of {min(k, n_candidates)}" for name, k in n.items() if k)
            stages.append(
                (f"refine: {what} candidates (time_budget_min)", 60 * refined.time_budget_min)
            )
        if cell is not None:
            stages.append(
                (
                    f"cell: all candidates in {cell.base_cell}, {cell.protocol} and curves of the "
                    f"best {min(cell.top_n, n_candidates)}",
                    None,
                )
            )
        return tuple(stages)

    def run(
        self,
        out: str | Path,
        resume: bool = False,
        executor: str = "local",
        workers: int | None = None,
        device: str = "auto",
        progress: bool | None = None,
        renew: bool = False,
    ) -> Campaign:
        """Run to the end, or go on from where it was stopped.

        Args:
            out: Folder of the campaign; not there, empty, or, to resume, of the same campaign.
            resume: Use what the folder holds.
            executor: ``local`` or ``dask://HOST:PORT``.
            workers: Local processes; None for one a core, 0 for none beside this one.
            device: Where the networks run: ``auto``, ``cpu`` or ``cuda``.
            progress: Show a progress bar; by default on a terminal and in a notebook.
            renew: Resume, but start afresh where settings, model, candidates or versions changed,
                or where the folder's record of them is broken.

        Returns:
            Itself, with `results`.

        Raises:
            InputError: The folder, the model or a file cannot be used.
        """
        folder = Path(out)
        check_folder(folder, resume or renew)
        with locked_folder(folder):
            return self._run(folder, executor, workers, device, progress, renew)

    def _run(
        self,
        folder: Path,
        executor: str,
        workers: int | None,
        device: str,
        progress: bool | None,
        renew: bool,
    ) -> Campaign:
        """See `run`; the folder is there and held by this process alone."""
        self._check_inputs_lie_elsewhere(folder)
        check_objectives(self.settings.objectives)
        left_out = self._cells_left_out()
        if left_out:
            print(f"ionbridge: {left_out}", file=sys.stderr)
        started = time.time()
        references = self._stability_references()
        pool = executor_from(executor, workers)
        n_workers = pool.n_workers  # asks a cluster: one that does not answer is refused here
        predictor = self.predictor(device)
        candidates = self.candidate_stream()
        iter(candidates)  # what cannot be had is said before anything is written
        record = self._record(predictor)
        changed = changes(folder, record)
        if changed and not renew:
            raise InputError(
                f"{folder}: cannot be resumed, {changed}; name another folder, restore it, or pass "
                "--renew to start afresh in this one"
            )
        if changed:
            print(f"ionbridge: {folder}: started afresh, {changed}", file=sys.stderr)
            discard(folder)
        for partial in folder.rglob(".*.partial"):  # of runs that were killed
            partial.unlink(missing_ok=True)
        record["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started))
        write_json(folder / CAMPAIGN_FILE, record)
        settings = self.settings.with_files_relative_to(Path.cwd())
        write_atomically(folder / SETTINGS_FILE, settings.to_yaml())
        ready = time.time()
        decides = record["fingerprint"]
        predictor = dataclasses.replace(predictor, hull=self._hull(folder, references, decides))
        if self.settings.active is not None:
            rounds = self._rounds(folder / "rounds", candidates, predictor, pool, progress, decides)
            predictor = dataclasses.replace(predictor, model=rounds[-1].model)
            record["rounds"] = [done.to_dict() for done in rounds]
        rows, n_computed = self._predicted_rows(
            folder, candidates, predictor, pool, progress, decides
        )
        predicted = time.time()
        rows = self._refined(rows, folder, candidates, predictor, pool, decides)
        ranked = ranking(rows, self.settings.ranking_objectives(), self.settings.rank_by)
        self.table_ = RankedTable(folder / RANKED_FILE)
        tally = Tally()
        self.table_.write(tally.of(in_order(rows, ranked, folder)))
        self._write_csv(folder)
        here = workers if executor == "local" else None  # a queue's workers are not this machine's
        cell = None if left_out else self._cell_stage(predictor, here)
        if cell is not None:
            self.table_.write(cell.rows, cell.columns)
            write_json(folder / CURVES_FILE, cell.curves)
            self._write_csv(folder)
        best = ranked.order[: min(ranked.n_ranked, self.settings.n_paths)].tolist()
        given = candidates.at(best)
        best_rows = zip(self.table_, (given[k] for k in best), strict=False)
        tops = write_hop_paths(folder / "paths", best_rows)
        record |= {
            "status": "complete",
            "executor": executor,
            "device": loaded_model(predictor.model, device).device,
            "n_workers": n_workers,
            "n_predicted_in_this_run": n_computed,
            "crystals_per_s": round(n_computed / max(predicted - ready, 1e-6), 2),
            "counts": {s: tally.counts[s] for s in STATUSES},
            "reasons": {s: dict(tally.reasons[s].most_common()) for s in ("failed", "filtered")},
            **({"left_out": left_out} if left_out else {}),
        }
        model = loaded_model(predictor.model, device)
        energies = model.crystal_energies([top.graph for top in tops]) if tops else []
        networks = [Network(*pair) for pair in zip(tops, energies, strict=True)]
        page = render(self.table_, record, cell, networks, self.table_.columns)
        write_atomically(folder / REPORT_FILE, page)
        record["timings_s"] = {
            "candidates": round(ready - started, 1),
            "prediction": round(predicted - ready, 1),
            "table_and_report": round(time.time() - predicted, 1),
        }
        write_json(folder / CAMPAIGN_FILE, record)
        self.record_ = record
        self._describe(folder, record)
        return self

    def _write_csv(self, folder: Path) -> None:
        write_atomically(folder / TABLE_FILE, csv_lines(self.table_, self.table_.columns))

    def _describe(self, folder: Path, record: dict[str, Any]) -> None:
        """What another group needs to repeat it, and the cells as linked data."""
        if self.settings.cell is not None:
            in_cells = (row for row in self.table_ if row.get("cell_status") == "ok")
            write_cells(folder, ({"id": row["candidate_id"], **row} for row in in_cells))
        counts = ", ".join(f"{n} {status}" for status, n in record["counts"].items())
        write_crate(
            folder,
            self.settings.name,
            f"a screening campaign of IonBridge: {counts}",
            record,
            [Path(f) for f in self._files()],
        )

    def _files(self) -> list[str]:
        """All files and folders that the settings name as input."""
        settings = self.settings
        known = settings.filters.known_compounds
        competing = () if settings.stability is None else settings.stability.references
        return [*settings.candidates.files, *([known] if known else []), *competing]

    def _check_inputs_lie_elsewhere(self, folder: Path) -> None:
        """Refuse a folder that holds what the campaign reads: it is written to, and emptied."""
        settings = self.settings
        given = [*self._files(), settings.model]
        for name in given:
            if (
                name
                and Path(name).exists()
                and Path(name).resolve().is_relative_to(folder.resolve())
            ):
                raise InputError(f"{name}: lies in the output folder {folder}; move one of them")

    def _stability_references(self) -> list[Crystal]:
        """The crystals that energies above hull are counted from; none where not asked for.

        Raises:
            InputError: A file or a record cannot be used.
        """
        if self.settings.stability is None:
            return []
        files = [Path(f) for f in self.settings.stability.references]
        records = [built(one) for one in without_duplicates(read_crystals(files))]
        for record in records:
            if not isinstance(record, Crystal):
                what = f"{record.file}: reference {record.id}"
                raise InputError(f"stability: {what}: {record.reason}")
        return [record for record in records if isinstance(record, Crystal)]

    def _hull(
        self, folder: Path, references: Sequence[Crystal], decides: str
    ) -> ReferenceHull | None:
        """The hull of the references, relaxed once for the folder."""
        settings = self.settings.stability
        if settings is None:
            return None
        kept, ids = ShardFolder(folder / "stability", decides), [r.id for r in references]
        if not kept.kept({0: ids})[0]:
            print(f"stability: relaxing {len(ids)} references", file=sys.stderr)
            entries = reference_entries(references, settings)
            kept.write(0, ids, [dataclasses.asdict(entry) for entry in entries])
        return ReferenceHull(settings, tuple(Entry(**row) for row in kept.read(0, ids)))

    def _predicted_rows(
        self,
        folder: Path,
        candidates: Candidates,
        predictor: CrystalPredictor,
        pool: Executor,
        progress: bool | None,
        decides: str,
    ) -> tuple[StoredRows, int]:
        """Rows of all candidates in their order, and how many were not there yet."""
        model = model_checksum(find(predictor.model))  # of a round: not the campaign's own
        shards = ShardFolder(folder / "shards", fingerprint([decides, model]))
        hidden = not is_shown(progress)
        ids: dict[int, list[str]] = {}  # of the shards that are being computed
        n_shards = n_computed = 0
        total = None if hidden else candidates.number()
        with tqdm(total=total, unit=" crystals", desc=self.settings.name, disable=hidden) as bar:

            def missing() -> Iterator[tuple[int, list[Candidate]]]:
                nonlocal n_shards
                for index, piece in candidates.pieces(self.settings.shard_size):
                    n_shards = index + 1
                    own = [one.id for one in piece]
                    try:
                        if shards.holds(index, own):
                            bar.update(len(own))
                            continue
                    except DamagedShardError as error:
                        print(
                            f"ionbridge: {shards.file(index)}: {error}; its {len(own)} candidates "
                            "are computed again",
                            file=sys.stderr,
                        )
                    ids[index] = own
                    yield index, [built(one) for one in piece]

            for index, rows in pool.map_shards(predictor, missing(), failed_row):
                shards.write(index, ids.pop(index), [checked_row(row) for row in rows])
                n_computed += len(rows)
                bar.update(len(rows))
        return StoredRows(shards, n_shards), n_computed

    def _refined(
        self,
        rows: StoredRows,
        folder: Path,
        candidates: Candidates,
        predictor: CrystalPredictor,
        pool: Executor,
        decides: str,
    ) -> StoredRows:
        """The rows, the best of them at a better fidelity where that is asked for."""
        if self.settings.refine is None:
            return rows
        from ionbridge.screening.campaign.refinement import (
            refine,  # needs the extras of the calculators
        )

        return refine(
            rows,
            candidates,
            predictor,
            self.settings.refine,
            self.settings.ranking_objectives(),
            self.settings.rank_by,
            pool,
            ShardFolder(folder / "refined", decides),
            lambda message: print(f"refine: {message}", file=sys.stderr),
        )

    def _cells_left_out(self) -> str:
        """Why the cell stage that is asked for cannot be run here; empty where it can."""
        if self.settings.cell is None or find_spec("pybamm") is not None:
            return ""
        return f"the table will have no cell columns: {MissingExtraError('cell', 'the cell stage')}"

    def _cell_stage(self, predictor: CrystalPredictor, workers: int | None) -> CellStage | None:
        """The ranked rows in cells, where that is asked for."""
        settings = self.settings.cell
        if settings is None:
            return None
        from ionbridge.screening.cell.base_cells import base_cell  # needs the extra `cell`
        from ionbridge.screening.cell.reference import reference_log10_diffusivity
        from ionbridge.screening.cell.simulation import processes
        from ionbridge.screening.cell.solvers import solver
        from ionbridge.screening.cell.stage import cell_columns

        cell = base_cell(settings.base_cell)
        name, solve = solver(settings.model, settings.base_cell, processes(workers))
        print(f"cells: {settings.base_cell}, discharged by {name}", file=sys.stderr)
        reference = reference_log10_diffusivity(cell, predictor.model, predictor.conditions)
        return cell_columns(self.table_, settings, solve, reference)

    def _rounds(
        self,
        folder: Path,
        candidates: Candidates,
        predictor: CrystalPredictor,
        pool: Executor,
        progress: bool | None,
        decides: str,
    ) -> list[Round]:
        """The rounds of active learning, each screened with the model of the one before."""
        from ionbridge.screening.campaign.active import (  # needs the calculators
            considered,
            run_round,
        )

        settings, active = self.settings, self.settings.active
        assert active is not None
        objective = settings.ranking_objectives()[0]
        rounds: list[Round] = []

        def report(message: str) -> None:
            print(f"round {len(rounds)}: {message}", file=sys.stderr)

        for k in range(active.rounds):
            place = folder / str(k)
            rows, _ = self._predicted_rows(place, candidates, predictor, pool, progress, decides)
            ranked = ranking(rows, settings.ranking_objectives(), settings.rank_by)
            table = RankedTable(place / RANKED_FILE)
            table.write(in_order(rows, ranked, place))
            write_atomically(place / TABLE_FILE, csv_lines(table, COLUMNS))
            known = {name for earlier in rounds for name in earlier.chosen}
            best = considered(candidates, ranked, active.batch, known)
            stored, given = rows.at(best), candidates.at(best)
            crystals = {
                one.id: predictor.classified(one)
                for one in given.values()
                if isinstance(one, Crystal)
            }
            rounds.append(
                run_round(
                    place,
                    [ranked.placed(k, stored[k]) for k in best],
                    crystals,
                    objective,
                    active,
                    predictor.model,
                    rounds,
                    pool,
                    settings.seed,
                    report,
                )
            )
            predictor = dataclasses.replace(predictor, model=rounds[-1].model)
        return rounds

    def _record(self, predictor: CrystalPredictor) -> dict[str, Any]:
        """What ``campaign.json`` says before anything is run."""
        settings = {**self.settings.to_dict(), "limit": self.limit}
        stability = self.settings.stability
        folder = find(predictor.model)
        decides = {
            "settings": settings,
            "model": {"name": predictor.model, "sha256": model_checksum(folder)},
            "data": {
                "sha256": files_checksum(self.settings.candidates.files),
                **(
                    {"references_sha256": files_checksum(stability.references)} if stability else {}
                ),
            },
            "versions": {
                **{name: installed_version(name) for name in VERSIONED},
                "code_sha256": code_checksum(),
            },
        }
        return {
            "name": self.settings.name,
            "status": "running",
            "fingerprint": fingerprint(decides),
            **decides,
            "objectives": [dataclasses.asdict(o) for o in self.settings.ranking_objectives()],
            "seeds": {"campaign": self.settings.seed},
            "machine": machine(),
        }


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse an output folder that cannot be used, before any work is done.

    Raises:
        InputError: It is a file, cannot be written, holds something else, or a campaign that was
            not asked to be resumed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable.partial"
        probe.touch()
        probe.unlink()
        names = {p.name for p in folder.iterdir() if p.suffix != ".partial"} - {LOCK_FILE}
        holds_campaign = (folder / CAMPAIGN_FILE).is_file()
    except OSError as error:
        raise InputError(f"{folder}: output folder cannot be written ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{str(folder)!r}: no path of a folder ({error})") from error
    if not names:
        return
    if not resume:
        raise InputError(
            f"{folder}: not empty; pass --resume to go on with the campaign in it, or name another "
            "folder"
        )
    if not holds_campaign:
        raise InputError(f"{folder}: holds no {CAMPAIGN_FILE}, so no campaign to resume")


def changes(folder: Path, record: dict[str, Any]) -> str:
    """What is not the same as in the campaign that a folder holds, as a clause; empty if nothing.

    A campaign file that cannot be understood is a change, too.
    """
    path = folder / CAMPAIGN_FILE
    if not path.is_file():
        return ""
    now = json.loads(json.dumps(record))
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        parts = {part: dict(before[part]) for part in ("settings", "model", "data", "versions")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return f"its {CAMPAIGN_FILE} is broken ({why})"
    changed = [part for part, values in parts.items() if values != now[part]]
    if "settings" in changed:
        new, old = now["settings"], parts["settings"]
        changed = [key for key in {**new, **old} if key not in new or old.get(key) != new[key]]
    if changed:
        return f"changed since: {', '.join(changed)}"
    if before.get("fingerprint") != now["fingerprint"]:
        return f"its {CAMPAIGN_FILE} was altered (fingerprint)"
    return ""


def discard(folder: Path) -> None:
    """Remove what a campaign wrote into its folder, and nothing else."""
    for name in ("shards", "paths", "rounds", "refined", "stability"):
        shutil.rmtree(folder / name, ignore_errors=True)
    written = (CAMPAIGN_FILE, SETTINGS_FILE, RANKED_FILE, TABLE_FILE, REPORT_FILE, CURVES_FILE)
    for name in written:
        (folder / name).unlink(missing_ok=True)


@dataclass
class Tally:
    """How many rows went by, by status, and how often each reason, numbers in it merged.

    Attributes:
        counts: Rows by status.
        reasons: Status -> kind of reason -> rows.
    """

    counts: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, counted as they pass."""
        for row in rows:
            self.counts[row["status"]] += 1
            if row["status"] in ("failed", "filtered"):
                self.reasons[row["status"]][reason_kind(row["reason"])] += 1
            yield row


def reason_kind(reason: str) -> str:
    """A reason without what differs from row to row: everything in brackets, and numbers."""
    return re.sub(r"\d+(\.\d+)?", "…", re.sub(r"\s*\([^)]*\)", "", reason))
