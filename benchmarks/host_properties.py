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
from pymatgen.core import Composition

from benchmarks.electrochemical_limits import Phases
from ionbridge.models.checkpoint import sha256
from ionbridge.models.conductors.host_properties import PropertyTrees, host_group
from ionbridge.models.metrics import bootstrap, interval_coverage, mae, r2, spearman
from ionbridge.models.validation import GROUPED, validation_row, write_validation
from ionbridge.structures.features.conductor_descriptors import conductor_ion
from ionbridge.structures.features.host_descriptors import redox_block
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Crystal, UnusableStructureError
from ionbridge.structures.sources import materials_project

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
    "band_gap": "eV",
    "reduction_limit": "V",
    "oxidation_limit": "V",
}
PREDICTS = {
    "voltage": "average insertion voltage against the metal of the ion, V",
    "formation_energy": "energy of formation from the elements, eV/atom",
    "volume_change": "largest relative change of volume between charged and discharged host",
    "energy_above_hull": "energy above the convex hull of all known phases, eV/atom",
    "band_gap": "gap between occupied and empty bands by GGA or GGA+U, eV: too small by nature",
    "reduction_limit": "voltage below which more of the ion is taken up, V against its metal",
    "oxidation_limit": "voltage above which the ion is given off, V against its metal",
}
WINDOW = [
    "equilibrium of known phases: layers that form in use may protect beyond it",
    "hull of the bulk set of the Materials Project; a phase missing there makes a limit wrong",
]
PAIR = "full range of the pair that the source lists, which a cell may not use"
LIMITS = {
    "voltage": [PAIR],
    "volume_change": [PAIR],
    "band_gap": ["semilocal functionals: a third to a half of a measured gap may be missing"],
    "reduction_limit": WINDOW,
    "oxidation_limit": WINDOW,
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
    "band_gap": (materials_project.BULK_FILE, "bulk"),
    "reduction_limit": (materials_project.BULK_FILE, "bulk"),
    "oxidation_limit": (materials_project.BULK_FILE, "bulk"),
}
"""File and name of the data set that the labels come from."""
ALKALI = ("Li", "Na", "K")
ANIONS = frozenset(("N", "P", "O", "S", "Se", "Te", "F", "Cl", "Br", "I", "H"))
PUBLISHED_V: dict[str, tuple[float | None, float]] = {
    "Li2S": (None, 2.01),
    "Li3N": (None, 0.44),
    "LiF": (None, 6.36),
    "Li10GeP2S12": (1.71, 2.14),
    "Li3PS4": (1.71, 2.31),
    "Li4GeS4": (1.62, 2.14),
    "Li6PS5Cl": (1.71, 2.01),
    "Li7P2S8I": (1.71, 2.31),
    "Li7La3Zr2O12": (0.05, 2.91),
    "Li1.3Al0.3Ti1.7(PO4)3": (2.17, 4.21),
    "Li1.5Al0.5Ge1.5(PO4)3": (2.70, 4.27),
    "Li3.5Zn0.25GeO4": (1.44, 3.39),
    "Li2PO2N": (0.68, 2.63),
}
"""Limits of electrolytes, V against Li (10.1021/acsami.5b07517); None where it bears lithium."""
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
    if quantity.endswith("_limit"):
        yield from window_limits(data, quantity)
    elif quantity == "band_gap":
        crystals = [c for c in materials_project.load_bulk(data).records if holds_ion(c)]
        for c in crystals[:: max(1, len(crystals) // MAX_ROWS)]:
            yield c, c.id, c.extra["band_gap_eV"], None
    elif quantity == "formation_energy":
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


def holds_ion(crystal: Crystal) -> bool:
    """Whether an alkali ion and an anion are in it."""
    elements = {str(e) for e in crystal.composition}
    return bool(elements.intersection(ALKALI)) and bool(elements & ANIONS)


def known_phases(data: Path) -> Phases:
    """The hull of the bulk set."""
    bulk = materials_project.load_bulk(data).records
    return Phases.of((c.composition, c.extra["formation_energy_per_atom_eV"]) for c in bulk)


def window_limits(
    data: Path, quantity: str
) -> Iterator[tuple[Crystal, str, float | None, str | None]]:
    """Limits of crystals of the bulk set on its own hull."""
    phases, which = known_phases(data), ("reduction_limit", "oxidation_limit").index(quantity)
    crystals = [c for c in materials_project.load_bulk(data).records if holds_ion(c)]
    for c in crystals[:: max(1, len(crystals) // MAX_ROWS)]:
        ion = next(e for e in ALKALI if c.composition[e])
        yield c, c.id, phases.limits_V(c.composition, ion)[which], ion


def against_published(
    data: Path, quantity: str, rows: Sequence[ConductivityRow], value: Floats
) -> dict[str, Any]:
    """The hull's limits and those of the model beside published ones; its hosts left out of it."""
    phases, which = known_phases(data), ("reduction_limit", "oxidation_limit").index(quantity)
    asked = {f: limits[which] for f, limits in PUBLISHED_V.items() if limits[which] is not None}
    own = [ConductivityRow(f, f, Composition(f)) for f in asked]
    hosts = {host_group(row) for row in own}
    rest = [i for i, row in enumerate(rows) if host_group(row) not in hosts]
    model = PropertyTrees(quantity, UNITS[quantity]).fit([rows[i] for i in rest], value[rest])
    predicted = model.predict(own)
    lower, upper = model.interval(predicted)
    published = np.array(list(asked.values()), dtype=float)
    hull = np.array([phases.limits_V(row.composition, "Li")[which] for row in own])
    return {
        "n": len(own),
        "hull_mae": round(mae(published, hull), 3),
        "model_mae": round(mae(published, predicted.mean), 3),
        "mean_of_all_mae": round(mae(published, np.full(len(own), value[rest].mean())), 3),
        "interval_coverage_90": round(interval_coverage(published, lower, upper), 3),
        "by_formula": {
            f: [p, round(float(h), 2), round(float(m), 2)]
            for f, p, h, m in zip(asked, asked.values(), hull, predicted.mean, strict=True)
        },
    }


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
        if quantity.endswith("_limit"):
            compared = against_published(args.data, quantity, rows, value)
            stored[quantity]["published"] = entry["published"] = compared
            print(quantity, "published", json.dumps(compared), flush=True)
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
