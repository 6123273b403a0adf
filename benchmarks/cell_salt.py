"""Cells stepped along their thickness: how far they and the mesh of a simulation may be off.

Discharges of every base cell that has a reduced-order model, in four kinds: short of salt (thin and
thick coatings up to 1.9 mm, 0.5 to 5C, 263 to 323 K, slow and fast electrolytes), its like whose
salt lasts, single-ion conductors (transference number 1, 0.003 to 1 S/m) and half cells. DFN with
80 graded mesh cells through each electrode is what the stepped cell
(``models/cells/porous_cell.py``) and DFN with 20 are compared with; some are solved with 160 as
well.

    python -m benchmarks.cell_salt --out runs/cell_salt    (resumes; all that is there counts)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from ionbridge.models.cells.cell_rom import DRAWN, FRACTIONS, CellRom
from ionbridge.models.cells.porous_cell import porous_discharge
from ionbridge.models.library import find
from ionbridge.screening.cell.base_cells import BASE_CELLS, base_cell, scalars
from ionbridge.screening.cell.cell_model import cell_model
from ionbridge.screening.cell.designs import Design, check
from ionbridge.screening.cell.discharge import discharge
from ionbridge.screening.cell.inputs import CONDUCTIVITY, TRANSFERENCE
from ionbridge.screening.cell.rom import STEPPED, cell_of, unfit
from ionbridge.screening.cell.shipped import rom_for
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.units import SECONDS_PER_HOUR

RESULTS = Path(__file__).parent / "results" / "cell_salt.json"
SEED = 7
COARSE, FINE, FINEST = 20, 80, 160
SAME_AS = ("Ai2020", "Prada2013", "Prada2013_thermal")
"""Left out: their salt is that of another base cell."""
RATES, KELVIN, COATING, FASTER = (0.5, 5.0), (263.0, 323.0), (1.0, 8.0), (0.1, 2.0)
SHORT, LASTING, SINGLE_ION, HALF_CELL = "short of salt", "salt lasts", "single ion", "half cell"
CONDUCTIVITY_S_M, SLOWER_RATES, THINNER = (0.003, 1.0), (0.1, 5.0), (0.7, 3.0)
"""Of single-ion conductors; rates and coatings of these and of half cells."""
THICKEST_M = 1.9e-3
LEVEL, HALF_WIDTH = 0.9, 1.6448536269514722
KINDS = (SHORT, LASTING, SINGLE_ION, HALF_CELL)
LEAST_DRAWN = STEPPED["share of the charge drawn"][0]
"""Designs that give less have no place in the stepped cell's domain."""


def main() -> None:
    """Solve what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--designs", type=int, default=6, help="of a kind, a base cell")
    parser.add_argument("--finest", type=int, default=1, help="of them with 160 mesh cells")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for base in BASE_CELLS:
        if unfit(base) or base in SAME_AS:
            continue
        cell_model.cache_clear()
        few = max(2, args.designs // 3)
        for kind, n in ((SHORT, args.designs), (LASTING, few), (SINGLE_ION, args.designs)):
            for k, design in enumerate(spread(base, n, kind)):
                file = args.out / f"{design.design_id}.json"
                if not file.exists():
                    row = compared(design, kind, k < args.finest and kind != LASTING)
                    file.write_text(json.dumps(row), encoding="utf-8")
                    print(line(row), flush=True)
        for side in ("positive", "negative"):
            for design in spread(f"{base}_{side}_half_cell", few + 1, HALF_CELL):
                file = args.out / f"{design.design_id}.json"
                if not file.exists():
                    row = compared(design, HALF_CELL, False)
                    file.write_text(json.dumps(row), encoding="utf-8")
                    print(line(row), flush=True)
    files = sorted(args.out.glob("*.json"))
    results = summary([json.loads(file.read_text(encoding="utf-8")) for file in files])
    write_json(RESULTS, results)
    print(json.dumps({k: v for k, v in results.items() if k != "rows"}, indent=1))


def spread(base: str, n: int, kind: str) -> Iterator[Design]:
    """The first n designs of a kind in a Sobol sequence."""
    values, found = scalars(base), 0
    usual = kind in (SHORT, LASTING)
    coatings, rates = (COATING, RATES) if usual else (THINNER, SLOWER_RATES)
    for k, u in enumerate(qmc.Sobol(5, seed=SEED).random(512)):
        given = {}
        coating = logarithmic(u[2], coatings)
        for domain in ("Positive",) if kind == HALF_CELL else ("Negative", "Positive"):
            name = f"{domain} electrode thickness [m]"
            given[name] = min(values[name] * coating, THICKEST_M)
        if kind == SINGLE_ION:
            given[TRANSFERENCE] = 1.0
            given[CONDUCTIVITY] = logarithmic(u[3], CONDUCTIVITY_S_M)
        elif usual and k % 3:
            law = ("diffusivity", "conductivity")[k % 3 - 1]
            given[f"Electrolyte {law} factor"] = logarithmic(u[3], FASTER)
        kelvin = 298.15
        if base_cell(base).temperature_dependent and k % 2:
            kelvin = KELVIN[0] + float(u[4]) * (KELVIN[1] - KELVIN[0])
        name = f"{base}-{k}" if usual else f"{base}-{kind.replace(' ', '-')}-{k}"
        design = check(Design(name, base, logarithmic(u[0], rates), kelvin, given))
        if design.trouble:
            continue
        if usual and bool(cell_of(design).salt_is_short[0]) != (kind == SHORT):
            continue
        yield design
        found += 1
        if found == n:
            return


def logarithmic(u: float, bounds: tuple[float, float]) -> float:
    """Evenly spread in the logarithm."""
    return float(np.exp(np.log(bounds[0]) + float(u) * np.log(bounds[1] / bounds[0])))


def compared(design: Design, kind: str, finest: bool) -> dict[str, Any]:
    """Capacity and mean voltage by every way."""
    cells = cell_of(design)
    row: dict[str, Any] = {
        **design.to_dict(),
        "kind": kind,
        "depletion": float(cells.positive.depletion[0, 0]),
        "crowding": float(cells.positive.crowding[0, 0]),
        "full_Ah": float(cells.full_capacity_Ah[0, 0]),
    }
    for mesh in (COARSE, FINE, *([FINEST] if finest else [])):
        start = time.process_time()
        found = discharge(design, n_through=mesh)
        row[f"dfn{mesh}"] = {
            "s": time.process_time() - start,
            **{k: found.get(k) for k in ("capacity_Ah", "mean_voltage_V", "reason")},
        }
    if kind != LASTING:
        porous_discharge(cells)  # compiled
        start = time.process_time()
        end, volts = porous_discharge(cells).curves(cells.lower_V, FRACTIONS)
        row["stepped"] = {
            "s": time.process_time() - start,
            "capacity_Ah": float((cells.current * end / SECONDS_PER_HOUR)[0, 0]),
            "mean_voltage_V": float(np.trapezoid(volts[0], FRACTIONS)),
        }
    if kind in (SINGLE_ION, HALF_CELL):
        row["learnt"] = learnt(design)
    return row


def learnt(design: Design) -> dict[str, Any]:
    """By the shipped model alone, whether or not it was taught such cells."""
    model, cells = shipped(rom_for(design.base_cell)), cell_of(design)
    found = model.predict(cells, uncertainty=False, stepped=False)
    return {
        "in_domain": bool(model.in_domain(cells)[0]),
        "capacity_Ah": float(found.capacity_Ah[0]),
        "mean_voltage_V": float(found.mean_voltage_V[0]),
    }


@cache
def shipped(name: str) -> CellRom:
    """A shipped reduced-order model."""
    return CellRom.load(find(name))


def line(row: dict[str, Any]) -> str:
    """One design for a person."""
    errors = " ".join(
        f"{way} {100.0 * error:+.2f} %" if np.isfinite(error) else f"{way} -"
        for way in ("dfn20", "dfn160", "stepped")
        for error in [off(row, way)[0]]
    )
    return f"{row['design_id']:24s} {row['c_rate']:.2f}C {row['temperature_K']:.0f} K  {errors}"


def off(row: dict[str, Any], way: str) -> tuple[float, float]:
    """Relative error of the capacity, and of the mean voltage in V, against the fine mesh."""
    found, truth = row.get(way, {}), row[f"dfn{FINE}"]
    if not found.get("capacity_Ah") or not truth["capacity_Ah"]:
        return float("nan"), float("nan")
    return (
        found["capacity_Ah"] / truth["capacity_Ah"] - 1.0,
        found["mean_voltage_V"] - truth["mean_voltage_V"],
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors by way, and of the stepped cell by base cell and by what was drawn."""
    stepped = [r for r in rows if "stepped" in r]
    drawn = np.array([(r[f"dfn{FINE}"]["capacity_Ah"] or 0.0) / r["full_Ah"] for r in stepped])
    late = [r for r, d in zip(stepped, drawn, strict=True) if d > DRAWN]
    early = [r for r, d in zip(stepped, drawn, strict=True) if LEAST_DRAWN < d <= DRAWN]
    kinds = {kind: [r for r in rows if r["kind"] == kind] for kind in KINDS}
    parts = {f"more than {DRAWN:g} drawn": late, "less drawn": early}
    for kind in (SHORT, SINGLE_ION, HALF_CELL):
        for name, own in (("more", late), ("less", early)):
            parts[f"{kind}, {name} drawn"] = [r for r in own if r["kind"] == kind]
    return {
        "truth": f"DFN, {FINE} graded mesh cells through each electrode",
        "least_drawn": LEAST_DRAWN,
        "mesh": {
            kind: {way: errors(own, way) for way in ("dfn20", "dfn160")}
            for kind, own in kinds.items()
        },
        "stepped": {k: errors(v, "stepped") for k, v in parts.items() if v},
        "outside_what_was_learnt": {
            f"{way}, {name}": errors([r for r in own if not r["learnt"]["in_domain"]], way)
            for name, part in (("more drawn", late), ("less drawn", early))
            for own in [[r for r in part if "learnt" in r]]
            for way in ("learnt", "stepped")
        },
        "seconds_median": {
            way: float(np.median([r[way]["s"] for r in stepped if way in r]))
            for way in ("dfn20", "dfn80", "stepped")
        },
        "rows": rows,
    }


def errors(rows: list[dict[str, Any]], way: str) -> dict[str, Any]:
    """Of capacity and mean voltage: bias, scatter, largest, and the deviation that covers."""
    pairs = np.array([off(r, way) for r in rows]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(pairs):
        return {"n": 0}
    return {
        "n": len(pairs),
        "capacity_percent": stated(100.0 * pairs[:, 0]),
        "mean_voltage_mV": stated(1e3 * pairs[:, 1]),
    }


def stated(errors: NDArray[np.float64]) -> dict[str, float]:
    """Mean, root mean square, largest; and the standard deviation whose 90 % interval covers."""
    scores = np.sort(np.abs(errors))
    rank = min(int(np.ceil(LEVEL * (len(scores) + 1))) - 1, len(scores) - 1)
    return {
        "mean": round(float(errors.mean()), 3),
        "rms": round(float(np.sqrt(np.mean(errors**2))), 3),
        "largest": round(float(scores[-1]), 3),
        "std_that_covers": round(float(scores[rank]) / HALF_WIDTH, 3),
    }


if __name__ == "__main__":
    main()
