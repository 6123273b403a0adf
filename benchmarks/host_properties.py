"""Voltage, energies and volume change of insertion hosts: shipped trees and simpler models.

    python -m benchmarks.host_properties --data DIR [--quantity Q ...] [--ship LIBRARY_DIR]

Out of fold, hosts (formulas without the working ion) kept together. Prints the table, writes
benchmarks/results/host_properties.json and, with --ship, the model folders with their validation
rows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.checkpoint import sha256
from ionbridge.models.metrics import bootstrap, interval_coverage, mae, r2, spearman
from ionbridge.models.property_trees import PropertyTrees, host_group
from ionbridge.models.validation import GROUPED, validation_row, write_validation
from ionbridge.structures.conductor_descriptors import conductor_ion
from ionbridge.structures.host_descriptors import redox_block
from ionbridge.structures.records import Crystal, UnusableStructureError
from ionbridge.structures.sources import materials_project
from ionbridge.structures.splits import GroupedKFold
from ionbridge.structures.tables import ConductivityRow

RESULT = Path(__file__).parent / "results" / "host_properties.json"
N_FOLDS = 5
SEEDS = (0,)
"""Ways to deal the hosts into folds; the first one is shipped."""
MAX_ROWS = 4500
"""More make a model larger and hardly better."""
LARGEST_VOLUME_CHANGE = 1.0
LARGEST_HULL_DISTANCE_EV_ATOM = 1.0
"""Above this an entry is a mistake or a structure that nobody makes."""
UNITS = {
    "voltage": "V",
    "formation_energy": "eV/atom",
    "volume_change": "fraction",
    "energy_above_hull": "eV/atom",
}
PREDICTS = {
    "voltage": "average insertion voltage against the metal of the ion, V",
    "formation_energy": "energy of formation from the elements, eV/atom",
    "volume_change": "largest relative change of volume between charged and discharged host",
    "energy_above_hull": "energy above the convex hull of all known phases, eV/atom",
}
PAIR = "full range of the pair that the source lists, which a cell may not use"
LIMITS = {
    "voltage": [PAIR],
    "volume_change": [PAIR],
    "formation_energy": ["a sign of stability only beside the energies of competing phases"],
    "energy_above_hull": [
        "entries of a data base, most of them near the hull: what is unlike them is less stable",
        "from the composition and the density alone: polymorphs are told apart by their cell only",
    ],
}
SETS = {
    "voltage": (materials_project.PAIRS_FILE, "electrode_pairs"),
    "formation_energy": (materials_project.BULK_FILE, "bulk"),
    "volume_change": (materials_project.PAIRS_FILE, "electrode_pairs"),
    "energy_above_hull": (materials_project.ELECTRODE_FILE, "electrode_materials"),
}
"""File and name of the data set that the labels come from."""
Floats = NDArray[np.float64]


def row_of(crystal: Crystal, id: str) -> ConductivityRow:
    a, b, c, alpha, beta, gamma = map(float, crystal.to_pymatgen().lattice.parameters)
    return ConductivityRow(
        id=id,
        formula=crystal.formula,
        composition=crystal.composition,
        cell=(a, b, c, alpha, beta, gamma),
        family=crystal.family,
    )


def labelled(data: Path, quantity: str) -> tuple[list[ConductivityRow], Floats]:
    """Hosts with a working ion and their values; pairs with their discharged host."""
    rows: list[ConductivityRow] = []
    values: list[float] = []
    for crystal, id, value, ion in candidates(data, quantity):
        if value is None or not np.isfinite(value) or not is_plausible(quantity, value):
            continue
        row = row_of(crystal, id)
        try:
            own = conductor_ion(row)
        except UnusableStructureError:
            continue
        if ion in (None, own):
            rows.append(row)
            values.append(float(value))
    return rows[:MAX_ROWS], np.array(values)[:MAX_ROWS]


def candidates(
    data: Path, quantity: str
) -> Iterator[tuple[Crystal, str, float | None, str | None]]:
    """Crystal, id, value and, where the set names it, working ion."""
    if quantity == "formation_energy":
        crystals = materials_project.load_bulk(data).records
        for c in crystals[:: max(1, len(crystals) // (3 * MAX_ROWS))]:
            yield c, c.id, c.extra["formation_energy_per_atom_eV"], None
    elif quantity == "energy_above_hull":
        for c in materials_project.load_electrode_materials(data).records:
            yield c, c.id, c.extra.get("e_above_hull_eV"), None
    else:
        for p in materials_project.load_electrode_pairs(data).records:
            value = p.voltage_V if quantity == "voltage" else p.extra.get("max_delta_volume_frac")
            if p.discharged is not None:
                yield p.discharged, p.id, value, p.working_ion


def is_plausible(quantity: str, value: float) -> bool:
    if quantity == "volume_change":
        return 0.0 <= value <= LARGEST_VOLUME_CHANGE
    return quantity != "energy_above_hull" or 0.0 <= value <= LARGEST_HULL_DISTANCE_EV_ATOM


def rounded(interval: Any) -> list[float]:
    return [round(v, 4) for v in (interval.value, interval.lower, interval.upper)]


def out_of_fold(
    quantity: str, rows: Sequence[ConductivityRow], value: Floats, seed: int
) -> dict[str, Floats]:
    """(3, n) mean, lower and upper end by model."""
    names = ("global_mean", "ion_mean", "redox_couples", "trees_composition", "shipped")
    found = {name: np.zeros((3, len(rows))) for name in names}
    ions = np.array([conductor_ion(row) for row in rows])
    couple = np.array([redox_block(row)[2] for row in rows])
    for fold in GroupedKFold(N_FOLDS, seed, host_group).split(rows):
        train, test = fold.train, fold.test
        spread = np.quantile(value[train], [0.05, 0.95])[:, None]
        found["global_mean"][:, test] = np.vstack([[[value[train].mean()]], spread])
        for ion in set(ions[test]):
            own = value[train][ions[train] == ion]
            own = own if len(own) else value[train]
            found["ion_mean"][:, test[ions[test] == ion]] = own.mean()
        line = np.polyfit(couple[train], value[train], 1)
        found["redox_couples"][:, test] = np.polyval(line, couple[test])
        model = PropertyTrees(quantity, UNITS[quantity], seed=seed).fit(
            [rows[i] for i in train], value[train]
        )
        for name, view in (("trees_composition", bare), ("shipped", whole)):
            prediction = model.predict([view(rows[i]) for i in test])
            found[name][:, test] = np.array([prediction.mean, *model.interval(prediction)])
    return found


def bare(row: ConductivityRow) -> ConductivityRow:
    return ConductivityRow(row.id, row.formula, row.composition)


def whole(row: ConductivityRow) -> ConductivityRow:
    return row


def scores(rows: Sequence[ConductivityRow], value: Floats, found: Floats) -> dict[str, Any]:
    groups = [host_group(row) for row in rows]
    mean, lower, upper = found
    result: dict[str, Any] = {
        "mae": rounded(bootstrap(mae, value, mean, groups=groups, n_resamples=300)),
        "r2": round(r2(value, mean), 3),
        "spearman": round(spearman(value, mean), 3),
    }
    if np.any(upper > lower):
        result["interval_coverage_90"] = round(interval_coverage(value, lower, upper), 3)
    return result


def card(quantity: str, rows: Sequence[ConductivityRow], entry: dict[str, Any]) -> dict[str, Any]:
    source = next(s for s in materials_project.SOURCES if s.name.endswith(SETS[quantity][1]))
    return {
        "name": quantity.replace("_", "-"),
        "predicts": PREDICTS[quantity],
        "quantity": quantity,
        "unit": UNITS[quantity],
        "inputs": ["composition of the (discharged) host; its cell where known"],
        "working_ions": sorted({conductor_ion(row) for row in rows}),
        "elements": sorted({str(e) for row in rows for e in row.composition}),
        "trained_on": {
            "data": [
                {
                    "name": source.title,
                    "home": source.home,
                    "citation": source.citation,
                    "licence": source.licence,
                    "n_rows": len(rows),
                    "n_hosts": len({host_group(row) for row in rows}),
                }
            ],
            "methods": ["dft"],
        },
        "validation": {
            "split": f"{N_FOLDS} folds, hosts kept together",
            "n": len(rows),
            "mae": entry["shipped"]["mae"][0],
            "models": entry,
        },
        "limits": [
            "Materials Project values (GGA and GGA+U), not measured ones",
            *LIMITS[quantity],
        ],
        "cost_s": 0.05,
        "licence": "MIT",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--quantity", nargs="*", default=list(UNITS))
    parser.add_argument("--ship", type=Path, help="library folder to write the models into")
    args = parser.parse_args()
    stored = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    for quantity in args.quantity:
        started = time.perf_counter()
        rows, value = labelled(args.data, quantity)
        runs = [out_of_fold(quantity, rows, value, seed) for seed in SEEDS]
        entry: dict[str, Any] = {name: scores(rows, value, runs[0][name]) for name in runs[0]}
        for name in entry:
            entry[name]["mae_by_fold_seed"] = [round(mae(value, r[name][0]), 4) for r in runs]
            print(quantity, name, json.dumps(entry[name]), flush=True)
        stored[quantity] = {
            "n": len(rows),
            "unit": UNITS[quantity],
            "data_sha256": sha256(args.data / SETS[quantity][0]),
            "models": entry,
            "seconds": round(time.perf_counter() - started),
        }
        RESULT.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
        if args.ship is not None:
            folder = args.ship / quantity.replace("_", "-")
            model = PropertyTrees(quantity, UNITS[quantity]).fit(rows, value)
            model.save(folder, card(quantity, rows, entry))
            write_validation(
                folder,
                GROUPED,
                [
                    validation_row(row.id, None, conductor_ion(row), p, v)
                    for row, p, v in zip(rows, runs[0]["shipped"][0], value, strict=True)
                ],
            )
            print(f"wrote {folder}", flush=True)


if __name__ == "__main__":
    main()
