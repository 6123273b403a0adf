"""Carrying a cell model to LiFePO4: strategies against the number of LiFePO4 simulations.

Sources are LiCoO2 alone, and all other chemistries. Errors are those of 200 held-out LiFePO4
discharges that nothing was chosen on: RMSE of the voltage over the share of the capacity, and error
of the capacity. One JSON file a cell of the grid, so that it goes on after a kill.

    python -m benchmarks.cell_transfer --data results/cell_simulations --work results/cell_transfer
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.cell_correction import Curves, Training
from models.cell_rom import CellRom, at_fractions
from models.cell_transfer import CAREFUL, STRATEGIES, Automatic, Strategy
from models.single_particle import Cells
from screening.cell.rom import training_data
from screening.cell.simulation import SHARDS_FOLDER, load_simulations
from screening.shards import write_json

Floats = NDArray[np.float64]

RESULT = Path(__file__).parent / "results" / "cell_transfer.json"
TARGET = "Prada2013_balanced"
LCO = ("Ai2020_extended",)
OTHERS = ("Ai2020_extended", "Marquis2019", "Chen2020", "Mohtat2020", "OKane2022")
"""All but Ramadass2004, whose fitted open-circuit curve has poles."""
N_SOURCE, N_TEST, N_VALIDATION = 400, 200, 100
SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
SIZES_IN_ORDER = (8, 32, 2, 16, 4, 64, 128, 256)
SEEDS = (0, 1, 2, 3, 4)
FIXED = ("closed_form", "no_learning")
"""Do not depend on the target's simulations: one cell of the grid says all."""
LIMIT = 0.15
"""Diffusion limits below this Fo."""
SOURCE_TRAINING = Training(steps=1500, batch=24, n_points=10)
SOURCE_HIDDEN = (24, 24)

TARGET_ONLY = ("closed_form", "scratch", "scratch_anchored", "process_target")
TRANSFERRED = (
    "no_learning", "anchored", "full", "last_layers", "heads", "lora", "process_transferred",
)  # fmt: skip
AUTO = "auto"


def source_data(data: Path, names: tuple[str, ...]) -> tuple[list[Cells], list[Curves]]:
    """Up to N_SOURCE discharges of each folder."""
    records: list[Cells] = []
    labels: list[Curves] = []
    for name in names:
        cells, curves, _ = training_data(load_simulations(data / name))
        if len(cells) > 1:
            records += cells[:N_SOURCE]
            labels += curves[:N_SOURCE]
            continue
        rows = np.random.default_rng(1).permutation(len(curves[0]))[:N_SOURCE]
        records.append(cells[0].take(rows))
        labels.append(curves[0].take(rows))
    return records, labels


def source_model(data: Path, names: tuple[str, ...], folder: Path) -> CellRom:
    """The source, trained once."""
    if not (folder / "config.json").exists():
        cells, curves = source_data(data, names)
        model = CellRom(SOURCE_TRAINING, hidden=SOURCE_HIDDEN).fit(cells, curves, calibrate=False)
        model.save(folder, {"name": folder.name})
    return CellRom.load(folder)


def pick(fourier: Floats, pool: NDArray[np.intp], n: int, seed: int, kind: str) -> Any:
    """Rows of the pool to learn from.

    ``stratified``: half of them diffusion-limited. ``unstratified``: as log-uniform Fo gives them.
    """
    rng = np.random.default_rng(1000 + seed)
    limited = fourier[pool] < LIMIT
    share = 0.5 if kind == "stratified" else np.log(LIMIT / 0.02) / np.log(10.0 / 0.02)
    weight = np.where(limited, share / limited.sum(), (1.0 - share) / (~limited).sum())
    if kind == "stratified":
        halves = [rng.permutation(pool[limited]), rng.permutation(pool[~limited])]
        return np.concatenate([halves[0][: n // 2], halves[1][: n - n // 2]])
    return rng.choice(pool, n, replace=False, p=weight / weight.sum())


def scores(model: CellRom, cells: Cells, curves: Curves, fourier: Floats) -> dict[str, float]:
    """Errors on held-out discharges."""
    found = model.predict(cells, uncertainty=False)
    rmse = 1e3 * np.sqrt(((found.voltage_V - at_fractions(curves)) ** 2).mean(axis=1))
    capacity = 100.0 * np.abs(found.capacity_Ah / curves.capacity_Ah - 1.0)
    limited, fast = fourier < LIMIT, cells.c_rate[:, 0] > 3.0
    return {
        "rmse_mV": float(rmse.mean()),
        "rmse_median_mV": float(np.median(rmse)),
        "rmse_95_mV": float(np.quantile(rmse, 0.95)),
        "rmse_limited_mV": float(rmse[limited].mean()),
        "rmse_not_limited_mV": float(rmse[~limited].mean()),
        "rmse_above_3C_mV": float(rmse[fast].mean()),
        "capacity_percent": float(capacity.mean()),
        "capacity_95_percent": float(np.quantile(capacity, 0.95)),
    }


def grid() -> list[tuple[str, str, str, int, int]]:
    """(sampling, source, strategy, n, seed), what is cheap and matters most first."""
    cells = []
    for names, source, sampling in (
        (
            ("closed_form", "no_learning", "process_target", "process_transferred"),
            "all",
            "stratified",
        ),
        (("full", "scratch", AUTO), "all", "stratified"),
        (("no_learning", "process_transferred", "full"), "lco", "stratified"),
        (("process_target", AUTO, "full", "scratch"), "all", "unstratified"),
        ((*TARGET_ONLY, *TRANSFERRED), "all", "stratified"),
    ):
        for seed in SEEDS:
            for n in SIZES_IN_ORDER:
                cells += [(sampling, source, name, n, seed) for name in names]
    return [c for c in dict.fromkeys(cells) if c[2] not in FIXED or c[3:] == (SIZES[0], SEEDS[0])]


def summary(work: Path) -> dict[str, Any]:
    """Mean and spread over seeds of what is there."""
    table: dict[str, Any] = {}
    for file in sorted(work.glob("cell-*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        key = f"{row['sampling']}/{row['source']}/{row['strategy']}"
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
    parser.add_argument("--minutes", type=float, default=1e9, help="CPU time for the grid")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    simulations = load_simulations(args.data / TARGET)
    records, labels, _ = training_data(simulations)
    cells, curves, fourier = records[0], labels[0], simulations.results["fourier"]
    order = np.random.default_rng(0).permutation(len(curves))
    test, pool = order[:N_TEST], order[N_TEST + N_VALIDATION :]
    tested = (cells.take(test), curves.take(test), fourier[test])
    names = {"lco": LCO, "all": OTHERS}
    sources = {k: source_model(args.data, v, args.work / f"source-{k}") for k, v in names.items()}
    result: dict[str, Any] = {
        "target": TARGET,
        "sources": {k: list(v) for k, v in names.items()},
        "n_source": N_SOURCE,
        "n_test": N_TEST,
        "n_validation_unused_here": N_VALIDATION,
        "settings": {"source": asdict(SOURCE_TRAINING), "tuning": asdict(CAREFUL)},
        "data_sha256": {
            name: checksum(args.data / name) for name in (TARGET, *dict.fromkeys((*LCO, *OTHERS)))
        },
    }
    strategies: dict[str, Strategy] = {**STRATEGIES, AUTO: Automatic()}
    for sampling, source, name, n, seed in grid():
        file = args.work / f"cell-{sampling}-{source}-{name}-{n}-{seed}.json"
        if file.exists() or seed >= args.seeds:
            continue
        if time.process_time() > 60.0 * args.minutes:
            break
        rows = pick(fourier, pool, n, seed, sampling)
        before = time.process_time()
        model = strategies[name].adapt(
            sources[source], cells.take(rows), curves.take(rows), calibrate=False
        )
        row = {
            "sampling": sampling, "source": source, "strategy": name, "n": n, "seed": seed,
            "cpu_s": round(time.process_time() - before, 2), "scores": scores(model, *tested),
        }  # fmt: skip
        write_json(file, row)
        write_json(RESULT, {**result, "mean_and_std_over_seeds": summary(args.work)})
    write_json(RESULT, {**result, "mean_and_std_over_seeds": summary(args.work)})
    for key, by_n in summary(args.work).items():
        figures = [f"{n}: {v['rmse_mV'][0]}/{v['capacity_percent'][0]}" for n, v in by_n.items()]
        print(f"{key:40s}", "  ".join(figures))


def checksum(folder: Path) -> str:
    """Of all the shards of a folder of simulations."""
    digest = hashlib.sha256()
    for file in sorted((folder / SHARDS_FOLDER).glob("*.jsonl")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
