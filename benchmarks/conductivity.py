"""Measured conductivities: the one estimate against its parts and simple rules, and its shipping.

    python -m benchmarks.conductivity --data DIR [--work DIR] [--ship LIBRARY_DIR] [--shipped-trees]

Every row is predicted by models that saw neither its paper nor its composition. Rows with a CIF
are predicted as crystals, as `predict` does. Baselines on the same rows: the median of the
training labels, the median of the training labels of the row's family, extra trees on the
composition alone, and the hop network alone. Bounds are learnt from as bounds and not scored.
Every crystal stands there a second time as an ordered cell, as computed crystals are, and every
measured composition as the computed cells of the Materials Project with its formula: trees and what
combines both sources are learnt from all forms and tested on each.
Beyond that, all rows that hold an element are predicted by models that have never seen it, and all
rows of a region of compositions by models without that region: what is learnt of the errors there
is tested on elements and regions that it was not learnt from. The work folder keeps what the hops
say and what is predicted without an element or a region, so that a run goes on.
Writes benchmarks/results/conductivity.json; with --ship, the model folders `conductivity-trees`
and `conduction-estimate` with these scores in their cards.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from benchmarks import json_lines
from ionbridge.models.checkpoint import sha256
from ionbridge.models.conductors.conduction_estimate import (
    CompositionResult,
    ConductionEstimate,
    HopNetworkResult,
)
from ionbridge.models.conductors.conductivity import (
    SIDE,
    ConductivityTrees,
    composition_keys,
    source_group,
)
from ionbridge.models.domain import Domain
from ionbridge.models.library import DEFAULTS, load
from ionbridge.models.metrics import bootstrap, interval_coverage, mae, spearman
from ionbridge.models.regressors.committee import CommitteeSettings
from ionbridge.models.regressors.trees import Forest
from ionbridge.models.validation import GROUPED, STARTER, validation_row, write_validation
from ionbridge.screening.planning.checking import starter_rows
from ionbridge.screening.prediction.conduction import Conditions, hop_network_row
from ionbridge.screening.prediction.estimate import hop_result
from ionbridge.structures.chemistry.known_conductors import known_rows
from ionbridge.structures.chemistry.ordering import ordered
from ionbridge.structures.crystals.symmetry import primitive_cell
from ionbridge.structures.features.conductor_descriptors import (
    composition_block,
    conductor_ion,
    table_row,
)
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.tables import ConductivityRow, composition_key, is_room_temperature
from ionbridge.structures.records import Crystal, Label, UnusableStructureError
from ionbridge.structures.sources import (
    conductivity_extra,
    materials_project,
    na_conductivity,
    obelix,
)
from ionbridge.structures.transport.closed_forms import decades_per_eV
from ionbridge.structures.units import ROOM_TEMPERATURE_K

RESULT = Path(__file__).parent / "results" / "conductivity.json"
HELD_OUT = RESULT.with_name("conductivity_held_out.csv")
PARTS = ("estimate", "composition model", "hop network")
WARM_K = 330.0
ORDERED = "ordered"
LOWEST = -12.0
"""log10 S/cm; lower values of the compilations, carried from high temperatures, are bounds."""
KNOWN = "known_conductors#"
"""How the ids of rows of the package's own table begin."""
N_FOLDS = 10
N_COMPUTED = 2
"""Most computed cells that a measured composition stands in."""
FEWEST_ATOMS = 24
"""A disordered primitive cell with fewer atoms is doubled before it is ordered."""
N_REGIONS, REGION_IONS = 14, ("Li",)
"""Parts that compositions of an ion are cut into (k-means); sodium has too few beside NASICON."""
ELEMENTS = ("P", "S", "Cl", "Ti", "Zr", "La", "Ge", "Sn")
"""Left out one by one: the commonest in the crystals beside the ions and oxygen."""
Floats = NDArray[np.float64]
Rows = Sequence[ConductivityRow]


def label_of(row: ConductivityRow) -> Label:
    assert row.label is not None
    return row.label


def at_room(row: ConductivityRow) -> bool:
    """Whether the row has a conductivity, measured at room temperature as far as is known."""
    if row.label is None:
        return False
    kelvin = row.label.temperature_K
    return kelvin is None or is_room_temperature(kelvin)


def bounded(row: ConductivityRow) -> ConductivityRow:
    """The row with a value below ``LOWEST`` as that upper bound: how deep it lies, no one saw."""
    label = label_of(row)
    if label.value > LOWEST:
        return row
    return replace(row, label=replace(label, value=LOWEST, bound="<"))


def sourced(row: ConductivityRow) -> ConductivityRow:
    """The row; without a source, rows of the same elements count as of one paper: a series."""
    if row.doi:
        return row
    return replace(row, doi=f"no source, {row.composition.chemical_system}")


def training_rows(data: Path) -> list[ConductivityRow]:
    """Room-temperature rows of all tables; of one paper and composition the first is kept.

    The package's own table of known conductors adds compositions that the others do not have.
    """
    extra = [sourced(bounded(r)) for r in conductivity_extra.load(data).records if at_room(r)]
    rows = [
        r for r in (*obelix.load(data).records, *na_conductivity.load(data).records) if at_room(r)
    ]
    seen = {(source_group(r), composition_key(r.composition)) for r in rows}
    for row in extra:
        key = source_group(row), composition_key(row.composition)
        if key not in seen and row.composition[conductor_ion(row)] > 0:
            seen.add(key)
            rows.append(row)
    measured = {composition_key(row.composition) for row in rows}
    known = [r for r in known_rows() if composition_key(r.composition) not in measured]
    return [*rows, *map(bounded, known)]


def as_crystal(row: ConductivityRow) -> ConductivityRow:
    """The row as `predict` sees its crystal; itself where it has none."""
    if row.crystal is None:
        return row
    seen = table_row(row.crystal)
    return replace(row, cell=seen.cell, space_group=seen.space_group, composition=seen.composition)


def approximant(crystal: Crystal) -> Crystal:
    """An ordered cell of a disordered crystal; itself where it is ordered."""
    if crystal.is_ordered:
        return crystal
    cell = primitive_cell(crystal)
    while sum(sum(site.values()) for site in cell.species) < FEWEST_ATOMS:
        cell = doubled(cell)
    return ordered(cell).crystal


def doubled(crystal: Crystal) -> Crystal:
    """The crystal with its shortest cell vector twice as long."""
    axis = int(np.argmin(np.linalg.norm(crystal.lattice, axis=1)))
    size = np.where(np.arange(3) == axis, 2, 1)
    other = crystal.frac + (np.arange(3) == axis)
    return replace(
        crystal,
        lattice=crystal.lattice * size[:, None],
        species=crystal.species * 2,
        frac=np.concatenate([crystal.frac, other]) / size,
    )


def as_form(row: ConductivityRow, cell: Crystal) -> ConductivityRow:
    """A measured row as `predict` sees it in another cell: label and paper are those of the row."""
    return replace(
        table_row(cell),
        id=f"{row.id} {cell.id}",
        doi=source_group(row),
        family=row.family,
        label=row.label,
        measured_composition=row.composition,
    )


def computed_cells(data: Path, rows: Rows) -> list[tuple[int, Crystal]]:
    """Computed cells of measured formulas, the smallest ones, each with the index of its row."""
    own: dict[Any, list[int]] = {}
    for i, row in enumerate(rows):
        own.setdefault(composition_key(row.composition), []).append(i)
    found: dict[Any, list[Crystal]] = {}
    for crystal in materials_project.load_pool(data).records:
        key = composition_key(crystal.composition)
        if key in own:
            found.setdefault(key, []).append(crystal)
    return [
        (i, replace(crystal, working_ion=conductor_ion(rows[i])))
        for key, crystals in found.items()
        for crystal in sorted(crystals, key=lambda c: (c.n_sites, c.id))[:N_COMPUTED]
        for i in own[key]
    ]


def by_fold(rows: Rows, predict: Callable[[NDArray[np.intp], NDArray[np.intp]], Floats]) -> Floats:
    """(n,) predictions, papers kept together and compositions of a fold out of its training."""
    key = np.array([str(composition_key(row.composition)) for row in rows])
    result = np.full(len(rows), np.nan)
    for fold in GroupedKFold(N_FOLDS, 0, source_group).split(rows):
        train = fold.train[~np.isin(key[fold.train], key[fold.test])]
        result[fold.test] = predict(train, fold.test)
    return result


def scores(true: Floats, found: Floats, papers: Sequence[str]) -> dict[str, Any]:
    known = np.isfinite(found)
    groups = [p for p, k in zip(papers, known, strict=True) if k]
    return {
        "n": int(known.sum()),
        **{
            name: rounded(bootstrap(metric, true[known], found[known], groups=groups))
            for name, metric in (("mae", mae), ("spearman", spearman))
        },
        "median_error": round(float(np.median(np.abs(found - true)[known])), 3),
    }


def rounded(interval: Any) -> list[float]:
    return [round(v, 3) for v in (interval.value, interval.lower, interval.upper)]


def by_family(rows: Rows, true: Floats, found: Floats) -> dict[str, Any]:
    """Number, MAE and bias of every family of ten rows or more."""
    families = np.array([row.family or "" for row in rows])
    return {
        str(name): {
            "n": int((families == name).sum()),
            "mae": round(float(np.abs(found - true)[families == name].mean()), 2),
            "bias": round(float((found - true)[families == name].mean()), 2),
        }
        for name in sorted(set(families))
        if name and (families == name).sum() >= 10
    }


def hop_results(
    crystals: Sequence[Crystal | None], kept: Path | None = None
) -> list[HopNetworkResult | None]:
    """What the shipped hop model says of each crystal at room temperature.

    Args:
        crystals: None where there is none.
        kept: File of results by id, which is read and added to.
    """
    model = load(DEFAULTS["migration_barrier"])
    known = {row["id"]: row["found"] for row in json_lines.read(kept)} if kept else {}
    result: list[HopNetworkResult | None] = []
    for crystal in crystals:
        if crystal is None:
            result.append(None)
            continue
        if crystal.id not in known:
            try:
                graph = find_hops(crystal)
                (energies,) = model.crystal_energies([graph])
                row = hop_network_row(graph, energies, Conditions(298.15, n_draws=64))
                known[crystal.id] = asdict(hop_result(row, graph.crystal))
            except UnusableStructureError:
                known[crystal.id] = None
            if kept:
                json_lines.append(kept, {"id": crystal.id, "found": known[crystal.id]})
        found = known[crystal.id]
        result.append(None if found is None else HopNetworkResult(**found))
    return result


def without_element(
    trees: ConductivityTrees, rows: Rows, forms: Rows, element: str
) -> dict[str, list[float]]:
    """Mean and spread of every row that holds an element, by committees that never saw it.

    Spreads are calibrated as those of the shipped model.

    Args:
        trees: The shipped model: settings, calibration.
        rows: All rows.
        forms: Their further forms.
        element: Left out.
    """
    result: dict[str, list[float]] = {}
    for ion in sorted({conductor_ion(row) for row in rows}):
        test = [row for row in rows if conductor_ion(row) == ion and row.composition[element]]
        known = [
            row
            for row in (*rows, *forms)
            if conductor_ion(row) == ion and not row.composition[element]
        ]
        if not test or len(known) < N_FOLDS:
            continue
        value = np.array([label_of(row).value for row in known])
        side = np.array([SIDE[label_of(row).bound] for row in known])
        found = trees.relearnt(ion, known, value, side).predict(test)
        for row, mean, std in zip(test, found.mean, found.std, strict=True):
            result[row.id] = [float(mean), float(std)]
    return result


@dataclass(frozen=True)
class Outside:
    """A labelled row as predicted by models that have seen nothing near it.

    Attributes:
        row: Index among the rows with a value.
        left_out: What the models lack: an element, or a region of compositions.
        found: Their prediction.
    """

    row: int
    left_out: str
    found: CompositionResult


def far_rows(
    trees: ConductivityTrees, rows: Rows, forms: Rows, exact: NDArray[np.bool_], kept: Path | None
) -> list[Outside]:
    """Every labelled row by models without one of its elements, or without all that is near it."""
    known = {r["left_out"]: r["found"] for r in json_lines.read(kept)} if kept else {}
    named = [row.id for row, own in zip(rows, exact, strict=True) if own]
    scored = {name: k for k, name in enumerate(named)}
    tasks: dict[str, Callable[[], dict[str, list[float]]]] = {
        element: lambda element=element: without_element(trees, rows, forms, element)
        for element in ELEMENTS
    }
    for ion in REGION_IONS:
        own = [row for row in rows if conductor_ion(row) == ion]
        block = np.array([composition_block(row) for row in own])
        block = (block - block.mean(axis=0)) / np.maximum(block.std(axis=0), 1e-9)
        region = KMeans(N_REGIONS, n_init=4, random_state=0).fit_predict(block)
        for k in range(N_REGIONS):
            test = [row for row, r in zip(own, region, strict=True) if r == k]
            tasks[f"{ion} region {k}"] = lambda test=test: without_region(trees, rows, forms, test)
    for name, predict in tasks.items():
        if name not in known:
            known[name] = predict()
            if kept:
                json_lines.append(kept, {"left_out": name, "found": known[name]})
    return [
        Outside(scored[i], name, CompositionResult(mean, std, False, name not in ELEMENTS))
        for name in tasks
        for i, (mean, std) in known[name].items()
        if i in scored
    ]


def without_region(
    trees: ConductivityTrees, rows: Rows, forms: Rows, test: Rows
) -> dict[str, list[float]]:
    """Mean and spread of rows by committees that saw neither them, their papers nor compositions.

    Those that still lie in the domain, or hold an element that is missing then, are left out.
    """
    ion = conductor_ion(test[0])
    papers = {source_group(row) for row in test}
    keys = {key for row in test for key in composition_keys(row)}
    known = [
        row
        for row in (*rows, *forms)
        if conductor_ion(row) == ion
        and source_group(row) not in papers
        and not keys.intersection(composition_keys(row))
    ]
    domain = Domain.fit(
        np.array([composition_block(row) for row in known]),
        [source_group(row) for row in known],
        frozenset(str(e) for row in known for e in row.composition),
    )
    far = domain.distance(np.array([composition_block(row) for row in test])) > 1.0
    seen = [{str(e) for e in row.composition} <= domain.elements for row in test]
    asked = [row for row, f, s in zip(test, far, seen, strict=True) if f and s]
    if not asked:
        return {}
    value = np.array([label_of(row).value for row in known])
    side = np.array([SIDE[label_of(row).bound] for row in known])
    found = trees.relearnt(ion, known, value, side).predict(asked)
    columns = zip(asked, found.mean, found.std, strict=True)
    return {row.id: [float(mean), float(std)] for row, mean, std in columns}


Fitted = tuple[list[HopNetworkResult | None], list[CompositionResult], Floats, list[str]]
"""Hops, compositions, labels and papers that the estimate is fitted to."""


def ordered_cells(rows: Rows) -> dict[int, Crystal]:
    """An ordered cell of every row with a crystal, by index; a refused one is named."""
    result: dict[int, Crystal] = {}
    for i, row in enumerate(rows):
        if row.crystal is None:
            continue
        try:
            result[i] = approximant(replace(row.crystal, id=row.id))
        except UnusableStructureError as error:
            print(f"not ordered: {error}")
    return result


def ordered_scores(estimate: ConductionEstimate, both: Fitted, n: int) -> dict[str, Any]:
    """Scores of the rows from the n-th on, which are crystals given as ordered cells."""
    hops, compositions, true, papers = (part[n:] for part in both)
    found = estimate.out_of_fold_[n:]
    by_hops = np.array([h is not None for h in hops])
    columns = {
        "composition model": np.array([c.mean for c in compositions]),
        "hop network": estimate.hops_out_of_fold_[n:],
        "estimate": np.array([f.mean for f in found]),
    }
    result: dict[str, Any] = {k: scores(true, v, papers) for k, v in columns.items()}
    result["estimate"] |= {
        "interval_coverage_90": round(
            interval_coverage(
                true, np.array([f.lower for f in found]), np.array([f.upper for f in found])
            ),
            3,
        ),
        "interval_width_mean": round(float(np.mean([f.upper - f.lower for f in found])), 2),
    }
    for name, value in columns.items():
        gap = (value - true)[by_hops]
        result[name]["bias"] = round(float(gap.mean()), 2)
    return result


def computed_values(
    rows: Rows, computed: Sequence[tuple[int, Crystal]], found: Floats
) -> tuple[Floats, Floats, list[str]]:
    """Labels, predictions and papers of values of which a computed cell was predicted."""
    own = [k for k, (i, _) in enumerate(computed) if label_of(rows[i]).bound == "="]
    index = [computed[k][0] for k in own]
    true = np.array([label_of(rows[i]).value for i in index])
    return true, found[own], [source_group(rows[i]) for i in index]


def beyond_domain(
    shipped: ConductionEstimate, both: Fitted, outside: Sequence[Outside]
) -> dict[str, Any]:
    """Rows far from all that was seen; weights and spreads learnt on other elements or regions."""
    _, _, true, papers = both
    at: list[int] = []
    columns: dict[str, list[float]] = {name: [] for name in (*PARTS, "as if near")}
    held: dict[str, list[bool]] = {"estimate": [], "as if near": []}
    weights = []
    for left_out in sorted({o.left_out for o in outside}):
        others = [(o.row, o.found) for o in outside if o.left_out != left_out]
        model = replace(shipped).fit(*both, others)
        for o in outside:
            by_hops = model.hops_out_of_fold_[o.row]
            if o.left_out != left_out or not np.isfinite(by_hops):
                continue
            at.append(o.row)
            value, weight = model.combined(o.found, float(by_hops))
            near, _ = model.combined(replace(o.found, in_domain=True), float(by_hops))
            columns["estimate"].append(value.mean)
            columns["as if near"].append(near.mean)
            columns["composition model"].append(o.found.mean)
            columns["hop network"].append(float(by_hops))
            held["estimate"].append(value.lower <= true[o.row] <= value.upper)
            held["as if near"].append(near.lower <= true[o.row] <= near.upper)
            weights.append(weight)
    y, paper = true[at], [papers[i] for i in at]
    result: dict[str, Any] = {k: scores(y, np.array(v), paper) for k, v in columns.items()}
    for name, inside in held.items():
        result[name]["interval_coverage_90"] = round(float(np.mean(inside)), 3)
    result["estimate"]["weight_of_compositions_mean"] = round(float(np.mean(weights)), 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--ship", type=Path, help="write the model folders into this library")
    parser.add_argument("--work", type=Path, help="folder that keeps what a run goes on from")
    parser.add_argument(
        "--shipped-trees", action="store_true", help="take the shipped model of compositions"
    )
    args = parser.parse_args()
    if args.work:
        args.work.mkdir(parents=True, exist_ok=True)
    rows = [as_crystal(row) for row in training_rows(args.data)]
    true = np.array([label_of(row).value for row in rows])
    exact = np.array([label_of(row).bound == "=" for row in rows])
    cells = ordered_cells(rows)
    own_cells = [i for i in cells if exact[i]]
    computed = computed_cells(args.data, rows)
    forms = [
        *(as_form(rows[i], replace(cell, id=ORDERED)) for i, cell in cells.items()),
        *(as_form(rows[i], cell) for i, cell in computed),
    ]
    learnt = [*rows, *forms]
    labels = [label_of(row) for row in learnt]
    if args.shipped_trees:
        trees = load(DEFAULTS["conductivity"])
    else:
        trees = ConductivityTrees().fit(learnt, labels)
    mean, std = trees.out_of_fold(learnt, labels)
    print(f"{len(rows)} rows, {exact.sum()} values, {len(forms)} further forms", flush=True)
    hops = hop_results([row.crystal for row in rows], args.work and args.work / "hops.jsonl")
    print(f"{sum(h is not None for h in hops)} crystals with hops", flush=True)

    scored = np.flatnonzero(exact)
    inside, seen = held_out_domain(rows)
    found_by_trees = [
        CompositionResult(float(m), float(s), bool(inside[i]), bool(seen[i]))
        for i, m, s in zip(range(len(rows)), mean, std, strict=False)
    ]
    compositions = [found_by_trees[i] for i in scored]
    papers = [source_group(rows[i]) for i in scored]
    estimate = ConductionEstimate()
    ordered_hops = hop_results(
        [cells[i] for i in own_cells], args.work and args.work / "ordered_hops.jsonl"
    )
    at = {i: len(rows) + k for k, i in enumerate(cells)}
    ordered_compositions = [
        replace(found_by_trees[i], mean=float(mean[at[i]]), std=float(std[at[i]]))
        for i in own_cells
    ]
    print(f"{sum(h is not None for h in ordered_hops)} ordered cells with hops", flush=True)
    energies = [
        (rows[i].extra["activation_energy"].value, true[i])
        for i in scored
        if "activation_energy" in rows[i].extra
    ]
    estimate.fit_activation_energies(*np.array(energies).T[::-1])
    far = far_rows(trees, rows, forms, exact, args.work and args.work / "left_out.jsonl")
    n = len(scored)
    both = (
        [*(hops[i] for i in scored), *ordered_hops],
        [*compositions, *ordered_compositions],
        true[[*scored, *own_cells]],
        [*papers, *(source_group(rows[i]) for i in own_cells)],
    )
    estimate.fit(*both, [(o.row, o.found) for o in far])
    print(estimate, flush=True)

    found_all = estimate.out_of_fold_
    found = found_all[:n]
    columns = {
        "constant": by_fold(rows, lambda tr, te: np.full(len(te), np.median(true[tr])))[scored],
        "family median": by_fold(rows, lambda tr, te: family_median(rows, true, tr, te))[scored],
        "extra trees on the composition": by_fold(rows, extra_trees(rows, true))[scored],
        "composition model": mean[scored],
        "hop network": estimate.hops_out_of_fold_[:n],
        "estimate": np.array([f.mean for f in found]),
    }
    lower = np.array([f.lower for f in found])
    upper = np.array([f.upper for f in found])
    subsets = {
        "OBELiX rows with a CIF": [rows[i].crystal is not None for i in scored],
        "crystals with hops": [hops[i] is not None for i in scored],
        "OBELiX rows": [label_of(rows[i]).source == "OBELiX" for i in scored],
        "all rows": [True for _ in scored],
        "known sodium conductors": [
            rows[i].id.startswith(KNOWN) and conductor_ion(rows[i]) == "Na" for i in scored
        ],
    }
    results: dict[str, Any] = {
        "data_sha256": {
            name: sha256(args.data / name)
            for name in (
                obelix.TABLE_FILE,
                na_conductivity.TABLE_FILE,
                conductivity_extra.TABLE_FILE,
                materials_project.POOL_FILE,
            )
        },
        "n_rows": len(rows),
        "n_further_forms": len(forms),
        "settings": asdict(CommitteeSettings()),
        "estimate": asdict(estimate),
    }
    for name, chosen in subsets.items():
        own = np.flatnonzero(chosen)
        y, p = true[scored][own], [papers[i] for i in own]
        results[name] = {
            k: scores(y, v[own], p) for k, v in columns.items() if np.isfinite(v[own]).any()
        }
        results[name]["estimate"] |= {
            "interval_coverage_90": round(interval_coverage(y, lower[own], upper[own]), 3),
            "interval_width_mean": round(float((upper - lower)[own].mean()), 2),
            "by_family": by_family([rows[scored[i]] for i in own], y, columns["estimate"][own]),
        }
        print(name, json.dumps(results[name], indent=1), flush=True)
    results["ordered cells"] = ordered_scores(estimate, both, n)
    results["computed cells"] = {
        "composition model": scores(*computed_values(rows, computed, mean[-len(computed) :]))
    }
    print(json.dumps(results["ordered cells"], indent=1), flush=True)
    for name, known in (("an element never seen", False), ("a region never seen", True)):
        own_far = [o for o in far if o.found.elements_known == known]
        results[name] = beyond_domain(estimate, both, own_far)
        print(name, json.dumps(results[name], indent=1))
    results["activation_energy"] = energy_scores(estimate, rows, mean[: len(rows)])
    print(results["activation_energy"])
    results["above room temperature"] = warm_scores(
        args.data, estimate, [rows[i] for i in scored], columns["estimate"]
    )
    print(results["above room temperature"])
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_held_out(
        [*(rows[i].id for i in scored), *(f"{rows[i].id} {ORDERED}" for i in own_cells)],
        {
            "estimate": np.array([f.mean for f in found_all]),
            "composition model": np.array([c.mean for c in both[1]]),
            "hop network": estimate.hops_out_of_fold_,
        },
    )
    if args.ship:
        folders = [args.ship / DEFAULTS[name] for name in ("conductivity", "conduction")]
        trees.save(folders[0], card(results, rows))
        estimate.save(folders[1], estimate_card(results, rows))
        for folder, name in zip(folders, ("composition model", "estimate"), strict=True):
            write_validation(
                folder,
                GROUPED,
                [
                    validation_row(
                        rows[i].id, rows[i].family, conductor_ion(rows[i]), value, true[i]
                    )
                    for i, value in zip(scored, columns[name], strict=True)
                ],
            )
        write_validation(folders[0], STARTER, starter_rows(trees, "conductivity"))


def write_held_out(ids: Sequence[str], columns: dict[str, Floats]) -> None:
    """Predictions of every row by models that saw neither its paper nor its composition.

    A crystal as an ordered cell has the row's id with ``ordered`` behind it.
    """
    with HELD_OUT.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", *PARTS])
        for k, name in enumerate(ids):
            writer.writerow([name, *(f"{columns[part][k]:.4f}" for part in PARTS)])


def held_out_estimates() -> dict[str, dict[str, float]]:
    """What :func:`write_held_out` wrote, by id; NaN where a part says nothing."""
    with HELD_OUT.open(encoding="utf-8", newline="") as stream:
        return {r["id"]: {p: float(r[p]) for p in PARTS} for r in csv.DictReader(stream)}


def held_out_domain(rows: Rows) -> NDArray[np.bool_]:
    """(2, n) whether each row lies in the domain of the rows of other papers and compositions, and
    whether these hold all its elements.
    """
    key = np.array([str(composition_key(row.composition)) for row in rows])
    ions = np.array([conductor_ion(row) for row in rows])
    block = np.array([composition_block(row) for row in rows])
    inside, seen = np.zeros((2, len(rows)), dtype=bool)
    for fold in GroupedKFold(N_FOLDS, 0, source_group).split(rows):
        for ion in np.unique(ions[fold.test]):
            train = fold.train[(ions[fold.train] == ion)]
            train = train[~np.isin(key[train], key[fold.test])]
            test = fold.test[ions[fold.test] == ion]
            if not len(train):
                continue
            elements = frozenset(str(e) for i in train for e in rows[i].composition)
            domain = Domain.fit(block[train], [source_group(rows[i]) for i in train], elements)
            near = domain.distance(block[test]) <= 1.0
            known = [{str(e) for e in rows[i].composition} <= elements for i in test]
            seen[test] = known
            inside[test] = near & seen[test]
    return np.array([inside, seen])


def family_median(rows: Rows, true: Floats, train: Any, test: Any) -> Floats:
    family = np.array([row.family or "" for row in rows])
    result = np.full(len(test), np.median(true[train]))
    for k, i in enumerate(test):
        own = train[family[train] == family[i]]
        if family[i] and len(own):
            result[k] = np.median(true[own])
    return result


def extra_trees(rows: Rows, true: Floats) -> Callable[[Any, Any], Floats]:
    elements = sorted({str(e) for row in rows for e in row.composition})
    features = np.array(
        [
            [*composition_block(r), *(r.composition.get_atomic_fraction(e) for e in elements)]
            for r in rows
        ]
    )

    def predict(train: Any, test: Any) -> Floats:
        forest = Forest.grown(features[train], true[train], 100, 2, 0.3, 0)
        return np.asarray(forest.predict(features[test])).mean(axis=0)

    return predict


def energy_scores(estimate: ConductionEstimate, rows: Rows, mean: Floats) -> dict[str, Any]:
    """Activation energies from the line, given the measured and the predicted conductivity."""
    own = [
        i
        for i, row in enumerate(rows)
        if "activation_energy" in row.extra and np.isfinite(mean[i]) and label_of(row).bound == "="
    ]
    tables = np.array([not rows[i].id.startswith(KNOWN) for i in own])
    true = np.array([rows[i].extra["activation_energy"].value for i in own])
    papers = [source_group(rows[i]) for i in own]
    start, slope = estimate.neldel_eV
    measured = np.array([label_of(rows[i]).value for i in own])
    return {
        "constant": scores(true, np.full(len(own), np.median(true)), papers),
        "from the measured conductivity": scores(true, start + slope * measured, papers),
        "from the predicted conductivity": scores(true, start + slope * mean[own], papers),
        "from the predicted conductivity, without known conductors": scores(
            true, np.where(tables, start + slope * mean[own], np.nan), papers
        ),
    }


def warm_scores(
    data: Path, estimate: ConductionEstimate, rows: Rows, room: Floats
) -> dict[str, Any]:
    """Conductivities measured above room temperature against the estimate carried there.

    Args:
        data: Folder of the data sets.
        estimate: Prefactor and activation energy go together as it says.
        rows: (n,) rows that were predicted without their papers and compositions.
        room: (n,) those predictions, log10 S/cm at room temperature; of one composition the mean.
    """
    known: dict[Any, list[float]] = {}
    for row, value in zip(rows, room, strict=True):
        known.setdefault(composition_key(row.composition), []).append(float(value))
    warm = [
        (row, label_of(row).temperature_K or 0.0)
        for row in conductivity_extra.load(data).records
        if row.label is not None and row.label.bound == "="
    ]
    warm = [(r, t) for r, t in warm if t > WARM_K and composition_key(r.composition) in known]
    kelvin = np.array([t for _, t in warm])
    true = np.array([label_of(row).value for row, _ in warm])
    at_room = np.array([np.mean(known[composition_key(row.composition)]) for row, _ in warm])
    start, slope = estimate.neldel_eV
    step = decades_per_eV(kelvin) - decades_per_eV(ROOM_TEMPERATURE_K)
    found = at_room - (start + slope * at_room) * step + np.log10(ROOM_TEMPERATURE_K / kelvin)
    result: dict[str, Any] = {"n_compositions": len({r.formula for r, _ in warm})}
    for name, own in {"all": kelvin > 0, "above 450 K": kelvin > 450.0}.items():
        papers = [source_group(row) for (row, _), o in zip(warm, own, strict=True) if o]
        result[name] = scores(true[own], found[own], papers)
        result[name]["bias"] = round(float((found - true)[own].mean()), 2)
    return result


def trained_on(rows: Rows, n_forms: int) -> dict[str, Any]:
    return {
        "data": [
            {
                "name": s.title,
                "home": s.home,
                "citation": s.citation,
                "licence": s.licence,
            }
            for s in (
                obelix.SOURCE,
                na_conductivity.SOURCE,
                conductivity_extra.SOURCE,
                materials_project.SOURCES[0],
            )
        ]
        + [
            {
                "name": "Known conductors, most of them of sodium (table of the package)",
                "home": "structures/chemistry/known_conductors.csv",
                "citation": "the source of each row",
                "licence": "facts",
            }
        ],
        "n_rows": len(rows),
        "n_further_forms": n_forms,
        "n_papers": len({source_group(row) for row in rows}),
        "n_bounds": sum(label_of(row).bound != "=" for row in rows),
        "methods": ["experiment"],
    }


PROTOCOL = (
    "papers kept together, no composition of a fold in its training; bounds not scored; value and "
    "95 % bootstrap over papers, decades"
)


def card(results: dict[str, Any], rows: Rows) -> dict[str, Any]:
    """The card of `conductivity-trees`."""
    return {
        "name": "conductivity-trees",
        "predicts": "ionic conductivity at room temperature, log10 of S/cm",
        "quantity": "conductivity",
        "inputs": ["row of a conductivity table: composition; space group and cell where known"],
        "method": "extremely randomised trees, gradient boosting with one-sided loss on bounds and "
        "a Gaussian process, on the composition and on the cell, weighted by their spreads",
        "working_ions": ["Li", "Na"],
        "families": sorted({str(row.family) for row in rows if row.family}),
        "trained_on": {
            **trained_on(rows, results["n_further_forms"]),
            "base_systems": sorted({row.composition.reduced_formula for row in rows}),
        },
        "validation": {
            "protocol": PROTOCOL,
            **{
                name: results[name]["composition model"]
                for name in ("OBELiX rows with a CIF", "OBELiX rows", "all rows")
            },
            "constant": results["all rows"]["constant"],
        },
        "limits": [
            "Na labels do not state their temperature, and most of them are NASICON",
            "bulk and total conductivities stand side by side in the tables",
            "ions other than Li and Na get the mean of all labels, in_domain false",
        ],
        "licence": "MIT",
    }


def estimate_card(results: dict[str, Any], rows: Rows) -> dict[str, Any]:
    """The card of `conduction-estimate`."""
    return {
        "name": "conduction-estimate",
        "predicts": "most probable measured conductivity and diffusivity of a crystal",
        "quantity": "conduction",
        "inputs": ["crystal: its hops by the hop model, its composition by conductivity-trees"],
        "method": "combination of least variance of the calibrated hop network and the model of "
        "measured compositions; Meyer-Neldel line for the activation energy",
        "working_ions": ["Li", "Na"],
        "trained_on": trained_on(rows, results["n_further_forms"]),
        "validation": {
            "protocol": PROTOCOL,
            **{
                name: results[name]
                for name in ("OBELiX rows with a CIF", "crystals with hops", "all rows")
            },
            "activation_energy": results["activation_energy"],
        },
        "limits": [
            "electrodes: diffusivity of one carrier from the hops alone, not measured",
            "grain boundaries and second phases are in the labels and not in the inputs",
        ],
        "licence": "MIT",
    }


if __name__ == "__main__":
    main()
