"""Carrying a cell model to another chemistry: strategies against the number of its simulations.

The target is LiFePO4. Sources are LiCoO2 alone, all other chemistries, these with cathodes of
varied open-circuit curves beside them, and all others meta-learnt. A second target is LiCoO2, from
all that hold none: there the closed form leaves more to be learnt. Errors are those of 200 held-out
discharges of the target that nothing was chosen on: RMSE of the voltage over the share of the
capacity, and error of the capacity. One JSON file a piece of the grid, so that it goes on after a
kill. What base cells are is taken from the shipped models: no PyBaMM is needed.

    python -m benchmarks.cell_transfer --data results/cell_simulations --work results/cell_transfer
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.cell_meta import Reptile
from ionbridge.models.cells.cell_correction import Curves, Training
from ionbridge.models.cells.cell_rom import CellRom
from ionbridge.models.cells.cell_transfer import CAREFUL, CELL_TRANSFERS, Automatic, CellTransfer
from ionbridge.models.cells.single_particle import Cells, CellTables
from ionbridge.models.library import load
from ionbridge.screening.cell.rom import training_data
from ionbridge.screening.cell.simulation import SHARDS_FOLDER, load_simulations
from ionbridge.screening.execution.executor import LocalProcesses
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.table import Row

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

RESULT = Path(__file__).parent / "results" / "cell_transfer.json"
LFP, LCO = "Prada2013_balanced", "Ai2020_extended"
OTHERS = (LCO, "Marquis2019", "Chen2020", "Mohtat2020", "OKane2022")
"""All but Ramadass2004, whose fitted open-circuit curve has poles."""
SOURCES: dict[str, tuple[str, ...]] = {
    "lco": (LCO,),
    "all": OTHERS,
    "varied": (*OTHERS, f"{LCO}.curves", "Chen2020.curves", "Mohtat2020.curves"),
    "meta": OTHERS,
    "no_lco": (LFP, "Chen2020", "Mohtat2020", "OKane2022"),
}
TARGETS = {"lfp": LFP, "lco": LCO}
N_TEST, N_VALIDATION = 200, 100
SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
SEEDS = (0, 1, 2, 3, 4)
FIXED = ("closed_form", "no_learning")
"""Do not depend on the target's simulations: one piece of the grid says all."""
LIMIT = 0.15
"""Diffusion limits below this Fo."""
SOURCE_TRAINING = Training(steps=1500, batch=24, n_points=10)
SOURCE_HIDDEN = (24, 24)

TARGET_ONLY = ("closed_form", "scratch", "scratch_anchored", "process_target")
TRANSFERRED = (
    "no_learning", "anchored", "full", "last_layers", "heads", "lora", "process_transferred",
)  # fmt: skip
AUTO = "auto"
ALL_STRATEGIES: dict[str, CellTransfer] = {**CELL_TRANSFERS, AUTO: Automatic()}


@dataclass(frozen=True)
class Piece:
    """One piece of the grid.

    Attributes:
        target: Key of TARGETS.
        sampling: ``stratified`` or ``unstratified``.
        source: Key of SOURCES; ``none`` for what knows the target alone.
        strategy: Key of ALL_STRATEGIES.
        n: Simulations of the target.
        seed: Of their draw.
    """

    target: str
    sampling: str
    source: str
    strategy: str
    n: int
    seed: int

    @property
    def file(self) -> str:
        """Where its result lies."""
        return "-".join(["piece", *map(str, asdict(self).values())])


def grid() -> list[Piece]:
    """All pieces, what is cheap and matters most first."""
    plan = [
        ("lfp", "stratified", "lco"),
        ("lfp", "stratified", "all"),
        ("lfp", "unstratified", "lco"),
        ("lfp", "unstratified", "all"),
        ("lco", "stratified", "no_lco"),
        ("lfp", "stratified", "varied"),
        ("lfp", "stratified", "meta"),
    ]
    pieces = []
    for target, sampling, source in plan:
        for seed in SEEDS:
            for n in SIZES:
                pieces += [
                    Piece(target, sampling, "none", name, n, seed) for name in TARGET_ONLY
                ] + [
                    Piece(target, sampling, source, name, n, seed) for name in (*TRANSFERRED, AUTO)
                ]
    return [
        p
        for p in dict.fromkeys(pieces)
        if p.strategy not in FIXED or (p.n, p.seed) == (SIZES[0], SEEDS[0])
    ]


@lru_cache
def tables() -> dict[str, CellTables]:
    """Base cells as the shipped models carry them."""
    return {**load("cell-rom-source").tables_, **load("cell-rom-lfp").tables_}


def simulated(folder: Path) -> tuple[list[Cells], list[Curves], Floats]:
    """Cells and curves of a folder of simulations, and Fo of each curve."""
    simulations = load_simulations(folder)
    records, labels, rows = training_data(simulations, tables()[simulations.base_cell])
    return records, labels, simulations.results["fourier"][rows]


def parts(n: int) -> tuple[Rows, Rows, Rows]:
    """Rows of n discharges to test on, to validate on, and to learn from."""
    order = np.random.default_rng(0).permutation(n)
    return order[:N_TEST], order[N_TEST : N_TEST + N_VALIDATION], order[N_TEST + N_VALIDATION :]


def source_data(data: Path, names: Sequence[str]) -> tuple[list[Cells], list[Curves]]:
    """What sources learn from: of base cells that models are tested on, only the last part."""
    records: list[Cells] = []
    labels: list[Curves] = []
    for name in names:
        cells, curves, _ = simulated(data / name)
        if name in TARGETS.values():
            rows = parts(len(curves[0]))[2]
            cells, curves = [cells[0].take(rows)], [curves[0].take(rows)]
        records += cells
        labels += curves
    return records, labels


def source_model(data: Path, source: str, work: Path) -> CellRom:
    """A source, trained once."""
    folder = work / f"source-{source}"
    if not (folder / "config.json").exists():
        cells, curves = source_data(data, SOURCES[source])
        if source == "meta":
            model = Reptile()(source_model(data, "all", work), cells, curves)
        else:
            model = CellRom(SOURCE_TRAINING, hidden=SOURCE_HIDDEN)
            model.fit(cells, curves, calibrate=False)
        model.carry_only(tables())  # not every varied curve
        model.save(folder, {"name": folder.name})
    return CellRom.load(folder)


@dataclass(frozen=True, eq=False)
class Target:
    """A base cell to carry to: its discharges, and which are for what.

    Attributes:
        cells: All of them.
        curves: All of them.
        fourier: Fo of each.
        test: Rows that errors are measured on.
        pool: Rows to draw from, whose salt lasts.
    """

    cells: Cells
    curves: Curves
    fourier: Floats
    test: Rows
    pool: Rows

    @classmethod
    def read(cls, folder: Path) -> Target:
        """From simulations."""
        cells, curves, fourier = simulated(folder)
        test, _, pool = parts(len(fourier))
        return cls(cells[0], curves[0], fourier, test, pool[cells[0].salt_lasts[pool]])

    def pick(self, n: int, seed: int, sampling: str) -> Rows:
        """Rows to learn from.

        ``stratified``: half of them diffusion-limited. ``unstratified``: as log-uniform Fo gives
        them.
        """
        rng = np.random.default_rng(1000 + seed)
        limited = self.fourier[self.pool] < LIMIT
        if sampling == "stratified":
            halves = [rng.permutation(self.pool[limited]), rng.permutation(self.pool[~limited])]
            return np.concatenate([halves[0][: n // 2], halves[1][: n - n // 2]])
        share = np.log(LIMIT / 0.02) / np.log(10.0 / 0.02)
        weight = np.where(limited, share / limited.sum(), (1.0 - share) / (~limited).sum())
        return np.asarray(rng.choice(self.pool, n, replace=False, p=weight / weight.sum()))

    def scores(self, model: CellRom) -> dict[str, float]:
        """Errors on held-out discharges."""
        cells, curves = self.cells.take(self.test), self.curves.take(self.test)
        found = model.predict(cells, uncertainty=False, stepped=False)
        rmse = 1e3 * np.sqrt(((found.voltage_V - curves.voltage_V) ** 2).mean(axis=1))
        capacity = 100.0 * np.abs(found.capacity_Ah / curves.capacity_Ah - 1.0)
        limited, fast = self.fourier[self.test] < LIMIT, cells.c_rate[:, 0] > 3.0
        lasts = cells.salt_lasts
        return {
            "rmse_mV": float(rmse.mean()),
            "rmse_median_mV": float(np.median(rmse)),
            "rmse_95_mV": float(np.quantile(rmse, 0.95)),
            "rmse_limited_mV": float(rmse[limited].mean()),
            "rmse_not_limited_mV": float(rmse[~limited].mean()),
            "rmse_above_3C_mV": float(rmse[fast].mean()),
            "rmse_salt_lasts_mV": float(rmse[lasts].mean()),
            "capacity_percent": float(capacity.mean()),
            "capacity_95_percent": float(np.quantile(capacity, 0.95)),
            "capacity_salt_lasts_percent": float(capacity[lasts].mean()),
        }


@dataclass(frozen=True)
class Pieces:
    """The work of one process: pieces of the grid to their results.

    Attributes:
        data: Folder of simulations.
        work: Folder of sources.
    """

    data: Path
    work: Path

    def __call__(self, pieces: Sequence[Piece]) -> list[Row]:
        """One row a piece."""
        return [self._one(piece) for piece in pieces]

    def _one(self, piece: Piece) -> Row:
        target = _target(self.data / TARGETS[piece.target])
        rows = target.pick(piece.n, piece.seed, piece.sampling)
        # what knows the target alone asks the source for its size only
        own = "no_lco" if piece.target == "lco" else "all"
        source = _source(self.work / f"source-{own if piece.source == 'none' else piece.source}")
        before = time.process_time()
        model = ALL_STRATEGIES[piece.strategy].adapt(
            source, target.cells.take(rows), target.curves.take(rows), calibrate=False
        )
        seconds = round(time.process_time() - before, 2)
        return {**asdict(piece), "cpu_s": seconds, "scores": target.scores(model)}


@lru_cache
def _target(folder: Path) -> Target:
    return Target.read(folder)


@lru_cache
def _source(folder: Path) -> CellRom:
    return CellRom.load(folder)


def failed_piece(piece: Piece, reason: str) -> Row:
    """The row of a piece that killed its worker."""
    return {**asdict(piece), "reason": reason}


def finished(work: Path) -> Iterator[dict[str, Any]]:
    """Results of the pieces that are there."""
    for file in sorted(work.glob("piece-*.json")):
        yield json.loads(file.read_text(encoding="utf-8"))


def summary(work: Path) -> dict[str, Any]:
    """Mean and spread over seeds of what is there."""
    table: dict[str, Any] = {}
    for row in finished(work):
        key = "/".join(row[k] for k in ("target", "sampling", "source", "strategy"))
        table.setdefault(key, {}).setdefault(row["n"], []).append(row["scores"])
    return {
        key: {
            str(n): {
                "n_seeds": len(rows),
                **{
                    k: [
                        round(float(np.mean([r[k] for r in rows])), 4),
                        round(float(np.std([r[k] for r in rows])), 4),
                    ]
                    for k in rows[0]
                },
            }
            for n, rows in sorted(by_n.items())
        }
        for key, by_n in sorted(table.items())
    }


def main() -> None:
    """Fill the grid and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("results/cell_simulations"))
    parser.add_argument("--work", type=Path, default=Path("results/cell_transfer"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="of the grid, to be solved")
    parser.add_argument("--sources-only", action="store_true", help="train the sources and stop")
    parser.add_argument("--summary-only", action="store_true", help="of the pieces that are there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        source_model(args.data, source, args.work)
    if args.sources_only:
        return
    pieces = [] if args.summary_only else [p for p in grid() if p.seed < args.seeds]
    open_pieces = [p for p in pieces if not (args.work / f"{p.file}.json").exists()]
    shards = {i: [p] for i, p in enumerate(open_pieces)}
    processes = LocalProcesses(args.workers, ("benchmarks.cell_transfer",))
    bar = tqdm(total=len(shards), disable=not sys.stderr.isatty())
    for i, rows in processes.map_shards(Pieces(args.data, args.work), shards.items(), failed_piece):
        bar.update()
        if "scores" in rows[0]:
            write_json(args.work / f"{open_pieces[i].file}.json", rows[0])
        else:
            print(rows[0], file=sys.stderr)
    table = summary(args.work)
    result: dict[str, Any] = {
        "targets": TARGETS,
        "sources": {k: list(v) for k, v in SOURCES.items()},
        "n_test": N_TEST,
        "n_validation_unused_here": N_VALIDATION,
        "settings": {
            "source": asdict(SOURCE_TRAINING),
            "tuning": asdict(CAREFUL),
            "meta": asdict(Reptile()),
        },
        "data_sha256": {
            name: checksum(args.data / name)
            for name in dict.fromkeys(n for names in ((LFP,), *SOURCES.values()) for n in names)
        },
        "mean_and_std_over_seeds": table,
    }
    write_json(RESULT, result)
    for key, by_n in table.items():
        figures = [f"{n}: {v['rmse_mV'][0]}/{v['capacity_percent'][0]}" for n, v in by_n.items()]
        print(f"{key:46s}", "  ".join(figures))


def checksum(folder: Path) -> str:
    """Of all the shards of a folder of simulations."""
    digest = hashlib.sha256()
    for file in sorted((folder / SHARDS_FOLDER).glob("*.jsonl")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
