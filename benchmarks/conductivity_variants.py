"""What was tried to predict measured conductivities better, each variant on the same folds.

    python -m benchmarks.conductivity_variants --data DIR --work DIR [--only VARIANT ...]

Extremely randomised trees on composition, space group and cell stand for the composition model:
a variant changes what they learn from, what they see, or the learner. Papers are kept together and
no composition of a fold is in its training, in three dealings of ten folds. Scored are measured
crystals as refined, as ordered cells and as computed cells of their formula, and all rows; for
sodium, oxides that are not NASICON and the known conductors of the package's table. The work folder
is that of `benchmarks.conductivity`, which runs first: it keeps what the hops say. With --only,
variants of lithium rows are scored by name, and the results of all others stay.

With --hops, what was tried for the hop network alone: that ions block each other on the partly
filled lattice (`ionbridge label kmc`) in place of independent carriers. What the simulation says
takes the place of the percolation barrier of these crystals; others stay as they are, and the
calibration is that of the estimate, coefficients from other papers. The work folder keeps what was
simulated.
Writes benchmarks/results/conductivity_variants.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from chgnet.model import CHGNet
from numpy.typing import NDArray
from pymatgen.core import Composition
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks import json_lines
from benchmarks.conductivity import (
    KNOWN,
    N_FOLDS,
    ORDERED,
    as_crystal,
    as_form,
    computed_cells,
    hop_results,
    label_of,
    ordered_cells,
    rounded,
    training_rows,
)
from benchmarks.conductivity import scores as paper_scores
from ionbridge.models.checkpoint import sha256
from ionbridge.models.conductors.conduction_estimate import (
    CompositionResult,
    ConductionEstimate,
    HopNetworkResult,
)
from ionbridge.models.conductors.conductivity import (
    SCALE,
    SIDE,
    composition_keys,
    kept_together,
    source_group,
)
from ionbridge.models.conductors.measured_neighbours import (
    LENGTH,
    NOISE,
    MeasuredNeighbours,
    element_positions,
)
from ionbridge.models.library import DEFAULTS, load
from ionbridge.models.metrics import bootstrap, mae, spearman
from ionbridge.models.regressors.boosting import Boosting
from ionbridge.models.regressors.committee import MAX_SEARCH_ROWS, CommitteeSettings
from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.screening.labelling.dynamics.kmc_labels import KmcLabeller, KmcSettings
from ionbridge.screening.prediction.conduction import site_energies
from ionbridge.screening.prediction.crystals import hops_and_energies
from ionbridge.structures.chemistry.magpie import magpie_statistics
from ionbridge.structures.features.conductor_descriptors import (
    CELL_FEATURES,
    OPTIONAL_BLOCKS,
    SPACE_GROUP_FEATURES,
    conductor_descriptors,
    conductor_ion,
    known_blocks,
)
from ionbridge.structures.features.descriptors import ANIONS
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.io.tables import ConductivityRow, composition_key, is_room_temperature
from ionbridge.structures.records import Crystal
from ionbridge.structures.sources import conductivity_extra, obelix
from ionbridge.structures.transport.closed_forms import (
    decades_per_eV,
    nernst_einstein,
)
from ionbridge.structures.transport.lattice_gas import LEAST_SHARE
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, ROOM_TEMPERATURE_K

RESULT = Path(__file__).parent / "results" / "conductivity_variants.json"
DEALINGS = (1, 2, 3)
BLOCKING = KmcSettings((ROOM_TEMPERATURE_K, 450.0), jumps_per_ion=500)
DIELECTRIC_CONSTANT, N_REPELLED = 20.0, 40
"""Repulsion beside blocking, and the number of crystals, drawn at random, that it is tried on."""
FREE_CM2_S = 3e-3
"""Diffusivity without a barrier: 10 THz, and steps of 4 angstrom."""
UNKNOWN = -1.0
"""Stands for a column that a row does not have."""
FAR = -99.0
"""The same where columns may be negative."""
N_COMPONENTS = 16
BOND = 1.3
"""Anions within so many shortest distances are neighbours of an ion."""
SETTINGS = CommitteeSettings()
Floats = NDArray[np.float64]
Learner = Callable[[Floats, Floats, Floats, int], Floats]
"""Training columns and targets, columns that are asked for, seed -> predictions."""


def blocks(rows: Sequence[ConductivityRow], elements: Sequence[str]) -> Floats:
    """Composition, and space group and cell where known."""
    sizes = dict(zip(OPTIONAL_BLOCKS, (len(SPACE_GROUP_FEATURES), len(CELL_FEATURES)), strict=True))
    n_bare = len(conductor_descriptors(rows[0], elements))
    result = []
    for row in rows:
        parts = [conductor_descriptors(row, elements)]
        for name, size in sizes.items():
            known = name in known_blocks(row)
            found = conductor_descriptors(row, elements, (name,))[n_bare:] if known else ()
            parts.append(np.array(found) if known else np.full(size, UNKNOWN))
        result.append(np.concatenate(parts))
    return np.array(result)


def structure_columns(crystal: Crystal | None, ion: str) -> Floats:
    """(10,) occupancies, distances and coordination of the ion; unknown without a crystal.

    Mean and least occupancy of the ion's sites, shares of host sites that are partly filled and
    shared, mean and spread of ion-anion distances, coordination, nearest other ion and host cation,
    volume an anion; angstrom.
    """
    result = np.full(10, UNKNOWN)
    if crystal is None:
        return result
    filled = crystal.occupancy(ion)
    anion = np.array([sum(x for e, x in s.items() if e in ANIONS) > 0.5 for s in crystal.species])
    own, host = filled > 0.01, filled <= 0.01
    if not own.any() or not anion.any() or not host.any():
        return result
    i, j, _, d = crystal.to_pymatgen().get_neighbor_list(6.0)

    def nearest(others: NDArray[np.bool_], least: float) -> Floats:
        use = own[i] & others[j] & (d > least)
        found = np.full(len(filled), 6.0)
        np.minimum.at(found, i[use], d[use])
        return found

    shortest = nearest(anion, 0.5)
    bond = own[i] & anion[j] & (d <= BOND * shortest[i])
    if not bond.any():
        return result
    weight = filled[own] / filled[own].sum()
    site = [s for s, h in zip(crystal.species, host, strict=True) if h]
    result[:] = [
        weight @ filled[own],
        filled[own].min(),
        np.mean([sum(s.values()) < 0.985 for s in site]),
        np.mean([len(s) > 1 for s in site]),
        np.average(d[bond], weights=filled[i[bond]]),
        np.std(d[bond]),
        np.bincount(i[bond], minlength=len(filled))[own] @ weight,
        weight @ nearest(own, 0.8)[own],
        weight @ nearest(host & ~anion, 0.5)[own],
        crystal.volume_A3 / anion.sum(),
    ]
    return result


def hop_columns(found: HopNetworkResult | None) -> Floats:
    """(8,) barrier and its spread, diffusivity, carriers, and of what kind the crystal is."""
    if found is None:
        return np.full(8, UNKNOWN)
    return np.array(
        [
            np.log(max(found.barrier_eV, 0.03)),
            found.barrier_std_eV,
            found.log10_diffusivity_cm2_s,
            np.log10(found.carrier_density_cm3),
            found.is_ion_full,
            found.is_host_ordered,
            found.is_ion_full_by_symmetry,
            found.is_host_ordered_by_symmetry,
        ],
        dtype=float,
    )


def potential_columns(cells: Sequence[Crystal | None], kept: Path) -> Floats:
    """(n, N_COMPONENTS) principal components of CHGNet's features: crystal, ion, and the rest.

    What a potential that was trained on 1.5 million crystals takes an environment for, each a mean
    over its atoms; unknown without an ordered cell.

    Args:
        cells: (n,) ordered cells of lithium rows.
        kept: File of features by id, which is read and added to.
    """
    known = {row["id"]: row["found"] for row in json_lines.read(kept)}
    model = None
    for cell in cells:
        if cell is None or cell.id in known:
            continue
        model = model or CHGNet.load(use_device="cpu", verbose=False)
        said: Any = model.predict_structure(
            cell.to_pymatgen(), task="e", return_atom_feas=True, return_crystal_feas=True
        )
        own = cell.occupancy("Li") > 0.5
        whole, atoms = (np.asarray(said[name]) for name in ("crystal_fea", "atom_fea"))
        parts = [whole, atoms[own].mean(axis=0), atoms[~own].mean(axis=0)]
        known[cell.id] = np.concatenate(parts).tolist()
        json_lines.append(kept, {"id": cell.id, "found": known[cell.id]})
    given = np.array([cell is not None for cell in cells])
    features = StandardScaler().fit_transform([known[c.id] for c in cells if c is not None])
    result = np.full((len(cells), N_COMPONENTS), FAR)
    result[given] = PCA(N_COMPONENTS).fit_transform(features)
    return result


def trees(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
    grown = ExtraTreesRegressor(
        SETTINGS.n_trees,
        min_samples_leaf=SETTINGS.min_leaf,
        max_features=SETTINGS.max_features,
        random_state=seed,
    )
    return np.asarray(grown.fit(x, y).predict(asked))


def boosting(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
    side = np.zeros(len(y), dtype=int)
    return Boosting.fit(x, y, side, SETTINGS.n_rounds, SETTINGS.depth, seed).predict(asked)


def process(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
    few = np.random.default_rng(seed).permutation(len(y))[:MAX_SEARCH_ROWS]
    theta = PathProcess(x[few], y[few]).theta
    return np.clip(PathProcess(x, y, theta).mean_of(asked), y.min(), y.max())


def all_three(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
    found = [learner(x, y, asked, seed) for learner in (trees, boosting, process)]
    return np.asarray(np.mean(found, axis=0))


def with_element_distances(n: int) -> Learner:
    """Mean of the three and, by 0.3, a process on element distances: the last n columns."""

    def learner(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
        mean = y.mean()
        near, far = (
            np.exp(-cdist(one[:, -n:], x[:, -n:], "cityblock") / LENGTH) for one in (asked, x)
        )
        found = mean + near @ np.linalg.solve(far + NOISE * np.eye(len(y)), y - mean)
        return np.asarray(0.7 * all_three(x[:, :-n], y, asked[:, :-n], seed) + 0.3 * found)

    return learner


def with_neighbours(rows: Sequence[ConductivityRow], learner: Learner) -> Learner:
    """The learner with the columns of measured neighbours; its last column is the row's number."""
    groups = [kept_together(row) for row in rows]
    elements = sorted({str(e) for row in rows for e in row.composition})

    def with_columns(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
        own, new = x[:, -1].astype(int), asked[:, -1].astype(int)
        near, columns = MeasuredNeighbours.fit(
            [rows[i] for i in own], y, [groups[i] for i in own], elements
        )
        found = near.columns([rows[i] for i in new])
        return learner(np.hstack([x[:, :-1], columns]), y, np.hstack([asked[:, :-1], found]), seed)

    return with_columns


def targets(rows: Sequence[ConductivityRow]) -> Floats:
    value = np.array([label_of(row).value for row in rows])
    side = np.array([SIDE[label_of(row).bound] for row in rows])
    return SCALE.forward(-value) + SETTINGS.bound_step * side


def predicted(
    rows: Sequence[ConductivityRow], x: Floats, learnt: NDArray[np.bool_], learner: Learner
) -> Floats:
    """(n_dealings, n) log10 S/cm by models that saw neither paper nor composition of a row.

    Args:
        rows: (n,) rows.
        x: (n, n_columns) what the learner sees.
        learnt: (n,) which of them are learnt from.
        learner: See above.
    """
    y, keys = targets(rows), np.array([composition_keys(row) for row in rows])
    result = np.full((len(DEALINGS), len(rows)), np.nan)
    for k, seed in enumerate(DEALINGS):
        for fold in GroupedKFold(N_FOLDS, seed, source_group).split(rows):
            known = np.isin(keys[fold.train], keys[fold.test]).any(axis=1)
            train = fold.train[learnt[fold.train] & ~known]
            found = learner(x[train], y[train], x[fold.test], seed)
            result[k, fold.test] = -SCALE.inverse(found)
    return result


def warm_rows(data: Path, estimate: ConductionEstimate, known: set[Any]) -> list[ConductivityRow]:
    """Rows of other temperatures and new compositions, carried to room temperature.

    Prefactor and activation energy go together as the estimate has them.
    """
    result = []
    start, slope = estimate.neldel_eV
    for row in conductivity_extra.load(data).records:
        kelvin = row.label.temperature_K if row.label else None
        if kelvin is None or is_room_temperature(kelvin):
            continue
        if composition_key(row.composition) in known or not row.composition["Li"]:
            continue
        step = decades_per_eV(kelvin) - decades_per_eV(ROOM_TEMPERATURE_K)
        at_room = label_of(row).value - np.log10(ROOM_TEMPERATURE_K / kelvin) + start * step
        value = min(float(at_room / (1.0 - slope * step)), -0.5)
        result.append(replace(row, label=replace(label_of(row), value=value)))
    return result


def scores(
    true: Floats, found: Floats, subsets: dict[str, NDArray[np.bool_]]
) -> dict[str, dict[str, Any]]:
    """MAE in decades and rank correlation: mean over the dealings and their standard deviation."""
    result = {}
    for name, own in subsets.items():
        each = np.array([[mae(true[own], f[own]), spearman(true[own], f[own])] for f in found])
        result[name] = {
            "n": int(own.sum()),
            "mae": [round(float(v), 3) for v in (each[:, 0].mean(), each[:, 0].std())],
            "spearman": [round(float(v), 3) for v in (each[:, 1].mean(), each[:, 1].std())],
        }
    return result


def lithium(
    data: Path, work: Path, rows: list[ConductivityRow], only: Sequence[str]
) -> dict[str, Any]:
    """Scores of variants on lithium rows.

    Args:
        data: Folder of the data sets.
        work: Folder of what hops and potential say.
        rows: Of all ions.
        only: Names of variants; without one, all are scored.

    Raises:
        ValueError: A name that is not a variant's.
    """
    li = [row for row in rows if conductor_ion(row) == "Li"]
    cells, computed = ordered_cells(li), computed_cells(data, li)
    forms = [
        *(as_form(li[i], replace(cell, id=ORDERED)) for i, cell in cells.items()),
        *(as_form(li[i], cell) for i, cell in computed),
    ]
    warm = warm_rows(
        data, load(DEFAULTS["conduction"]), {composition_key(row.composition) for row in rows}
    )
    every = [*li, *forms, *warm]
    kind = np.repeat(
        ["refined", "ordered", "computed", "warm"], [len(li), len(cells), len(computed), len(warm)]
    )
    crystals = [
        *(row.crystal for row in li),
        *cells.values(),
        *(cell for _, cell in computed),
        *(None for _ in warm),
    ]
    elements = sorted({str(e) for row in every for e in row.composition})
    x = blocks(every, elements)
    bare = x[:, : -len(SPACE_GROUP_FEATURES) - len(CELL_FEATURES)]
    true = np.array([label_of(row).value for row in every])
    exact = np.array([label_of(row).bound == "=" for row in every])
    given = np.array([c is not None for c in crystals])
    subsets = {
        "measured crystals": (kind == "refined") & given & exact,
        "ordered cells": (kind == "ordered") & exact,
        "computed cells": (kind == "computed") & exact,
        "all rows": (kind == "refined") & exact,
    }
    distances = element_positions(every, elements)
    refined, both = kind == "refined", np.isin(kind, ("refined", "ordered"))
    forms_too = kind != "warm"

    def structures() -> Floats:
        return np.array([structure_columns(c, "Li") for c in crystals])

    def from_hops() -> Floats:
        hops = [
            *hop_results([row.crystal for row in li], work / "hops.jsonl"),
            *hop_results(list(cells.values()), work / "ordered_hops.jsonl"),
        ]
        hops += [None] * (len(every) - len(hops))
        return np.array([hop_columns(h) for h in hops])

    def magpie() -> Floats:
        return np.array([magpie_statistics(row.composition.get_el_amt_dict()) for row in every])

    def from_potential() -> Floats:
        whole = [*(cells.get(i) for i in range(len(li))), *crystals[len(li) :]]
        return potential_columns(whole, work / "chgnet_features.jsonl")

    def numbers() -> Floats:
        return np.arange(len(every), dtype=float)[:, None]

    def with_further(columns: Callable[[], Floats]) -> Callable[[], Floats]:
        return lambda: np.hstack([x, columns()])

    n = distances.shape[1]
    variants: dict[str, tuple[Callable[[], Floats], NDArray[np.bool_], Learner]] = {
        "composition alone, refined cells": (lambda: bare, refined, trees),
        "refined cells": (lambda: x, refined, trees),
        "refined and ordered cells": (lambda: x, both, trees),
        "refined, ordered and computed cells": (lambda: x, forms_too, trees),
        "these, with Magpie statistics": (with_further(magpie), forms_too, trees),
        "these, with structure columns": (with_further(structures), forms_too, trees),
        "these, with columns of the hops": (with_further(from_hops), forms_too, trees),
        "these, with other temperatures": (lambda: x, np.ones(len(every), dtype=bool), trees),
        "these, boosting": (lambda: x, forms_too, boosting),
        "these, Gaussian process": (lambda: x, forms_too, process),
        "these, with features of CHGNet": (with_further(from_potential), forms_too, trees),
        "these, mean of the three": (lambda: x, forms_too, all_three),
        "these, mean of the three and of element distances": (
            with_further(lambda: distances),
            forms_too,
            with_element_distances(n),
        ),
        "these, columns of measured neighbours": (
            with_further(numbers),
            forms_too,
            with_neighbours(every, trees),
        ),
        "these, columns of measured neighbours, mean of the three (as it ships)": (
            with_further(numbers),
            forms_too,
            with_neighbours(every, all_three),
        ),
    }
    unknown = sorted(set(only) - set(variants))
    if unknown:
        raise ValueError(f"no variant {unknown[0]!r}; there are: {'; '.join(variants)}")
    result = {}
    for name in only or variants:
        columns, learnt, learner = variants[name]
        result[name] = scores(true, predicted(every, columns(), learnt, learner), subsets)
        print(name, json.dumps(result[name]), flush=True)
    return result


def sodium(rows: list[ConductivityRow]) -> dict[str, Any]:
    """What lithium rows are worth for sodium, formulas read with one alkali for the other."""
    ion = np.array([conductor_ion(row) for row in rows])
    rows = [row for row, own in zip(rows, np.isin(ion, ("Li", "Na")), strict=True) if own]
    ion = np.array([conductor_ion(row) for row in rows])
    elements = sorted({str(e) for row in rows for e in row.composition})
    as_written = np.array([conductor_descriptors(row, elements) for row in rows])
    blind = np.array([conductor_descriptors(alkali_blind(row), elements) for row in rows])
    flag = (ion == "Na").astype(float)[:, None]
    true = np.array([label_of(row).value for row in rows])
    exact = np.array([label_of(row).bound == "=" for row in rows])
    known = np.array([row.id.startswith(KNOWN) for row in rows])
    other = np.array([row.family != "NASICON" for row in rows])
    na, li = ion == "Na", ion == "Li"
    subsets = {
        "sodium oxides, not NASICON": na & other & ~known & exact,
        "known sodium conductors": na & known & exact,
    }
    variants = {
        "sodium rows of the data sets": (as_written, na & ~known),
        "and known conductors": (as_written, na),
        "lithium rows alone, read as lithium": (blind, li),
        "all, one alkali for the other, and a flag": (np.hstack([blind, flag]), na | li),
    }
    result = {}
    for name, (columns, learnt) in variants.items():
        result[name] = scores(true, predicted(rows, columns, learnt, trees), subsets)
        print(name, json.dumps(result[name]), flush=True)
    return result


def alkali_blind(row: ConductivityRow) -> ConductivityRow:
    """The row with lithium in the place of sodium."""
    amounts = row.composition.get_el_amt_dict()
    amounts["Li"] = amounts.get("Li", 0.0) + amounts.pop("Na", 0.0)
    return replace(row, composition=Composition(amounts))


def simulated(
    crystals: Sequence[Crystal], settings: KmcSettings, kept: Path
) -> dict[str, dict[str, Any]]:
    """Labels of `label kmc` by crystal, as far as there are any; kept in a file."""
    found = {row["id"]: row for row in json_lines.read(kept)}
    for crystal in crystals:
        if crystal.id not in found:
            (found[crystal.id],) = KmcLabeller(settings)([crystal])
            json_lines.append(kept, found[crystal.id])
    wanted = {crystal.id for crystal in crystals}
    return {
        id: label for id, label in found.items() if id in wanted and label["status"] != "failed"
    }


def site_energy_spread(crystals: Sequence[Crystal]) -> dict[str, Any]:
    """Energies of partly filled sites, by the model of hops and by what was refined.

    Differences to the mean of a crystal, eV; what was refined is -kT ln(x / (1 - x)).
    """
    by_model: list[float] = []
    refined: list[float] = []
    n_crystals = 0
    for crystal in crystals:
        graph, energies = hops_and_energies(crystal, DEFAULTS["migration_barrier"])
        kind = np.unique(graph.site_orbit, return_inverse=True)[1]
        count = np.bincount(kind)
        filled = np.bincount(kind, graph.site_occupancy) / count
        energy = np.bincount(kind, site_energies(graph, energies).mean(axis=0)) / count
        partly = (filled > LEAST_SHARE) & (filled < 1.0 - LEAST_SHARE)
        if partly.sum() < 2:
            continue
        own = -np.log(filled[partly] / (1.0 - filled[partly]))
        own *= BOLTZMANN_EV_PER_K * ROOM_TEMPERATURE_K
        n_crystals += 1
        by_model += (energy[partly] - energy[partly].mean()).tolist()
        refined += (own - own.mean()).tolist()
    return {
        "n_crystals": n_crystals,
        "n_kinds_of_sites": len(refined),
        "std_model_eV": round(float(np.std(by_model)), 3),
        "std_refined_eV": round(float(np.std(refined)), 3),
        "spearman": round(spearman(np.array(refined), np.array(by_model)), 3),
    }


def jump_log10(run: dict[str, Any]) -> float:
    """log10 of the jump diffusivity of a run, or of its upper end where nothing moved."""
    return float(np.log10(run["jump_diffusivity_cm2_s"] or run["jump_diffusivity_cm2_s_upper"]))


def height_eV(log10_diffusivity: float) -> float:
    """Barrier of independent ions with this diffusivity at room temperature."""
    gap = np.log10(FREE_CM2_S) - log10_diffusivity
    return float(gap / decades_per_eV(ROOM_TEMPERATURE_K))


def slope_eV(label: dict[str, Any]) -> float:
    """Slope of the jump diffusivity over temperature."""
    low, high = label["runs"]
    step = decades_per_eV(low["temperature_K"]) - decades_per_eV(high["temperature_K"])
    return float((jump_log10(high) - jump_log10(low)) / step)


def carriers_log10(hops: HopNetworkResult) -> float:
    """log10 of the jump diffusivity of independent carriers."""
    share = hops.carrier_density_cm3 / hops.ion_density_cm3
    return float(hops.log10_diffusivity_cm2_s + np.log10(share))


def by_hops(
    hops: list[HopNetworkResult], true: NDArray[np.float64], papers: list[str]
) -> NDArray[np.float64]:
    """(n,) calibrated hop network, coefficients from other papers; log10 of S/cm."""
    nothing = [CompositionResult(float(np.median(true)), 2.0, False)] * len(hops)
    return ConductionEstimate().fit(hops, nothing, true, papers).hops_out_of_fold_


def hop_variants(data: Path, work: Path, rows: list[ConductivityRow]) -> dict[str, Any]:
    """Errors of the hop network alone, with and without what blocking ions do."""
    rows = [r for r in rows if r.crystal is not None and label_of(r).bound == "="]
    found = hop_results([row.crystal for row in rows], work / "hops.jsonl")
    rows = [row for row, hops in zip(rows, found, strict=True) if hops is not None]
    hops = [h for h in found if h is not None]
    true = np.array([label_of(row).value for row in rows])
    papers = [source_group(row) for row in rows]
    at = {row.crystal.id: k for k, row in enumerate(rows) if row.crystal is not None}
    partly = [
        row.crystal
        for row, h in zip(rows, hops, strict=True)
        if row.crystal is not None and not h.is_ion_full
    ]
    few = np.random.default_rng(0).permutation(len(partly))[:N_REPELLED]
    blocking = simulated(partly, BLOCKING, work / "blocking.jsonl")
    repelled = simulated(
        [partly[k] for k in few],
        replace(BLOCKING, dielectric_constant=DIELECTRIC_CONSTANT),
        work / "repulsion.jsonl",
    )
    repelled = {id: label for id, label in repelled.items() if id in blocking}
    estimate = load(DEFAULTS["conduction"])

    def calibrated(barrier_eV: dict[str, float]) -> Floats:
        own = {at[id]: value for id, value in barrier_eV.items()}
        changed = [replace(h, barrier_eV=own.get(k, h.barrier_eV)) for k, h in enumerate(hops)]
        return by_hops(changed, true, papers)

    def posterior(log10_D: float, barrier: float, std: float, id: str) -> float:
        """log10 S/cm without a calibration, the posterior of a barrier in its place."""
        shift = estimate.barrier(max(barrier, 0.0), std)[0] - barrier
        log10_D -= shift * float(decades_per_eV(ROOM_TEMPERATURE_K))
        density = hops[at[id]].ion_density_cm3
        return float(log10_D + np.log10(nernst_einstein(1.0, density, ROOM_TEMPERATURE_K)))

    def variants(labels: dict[str, dict[str, Any]], name: str) -> dict[str, Floats]:
        index = [at[id] for id in labels]
        diffusivity = {id: height_eV(jump_log10(x["runs"][0])) for id, x in labels.items()}
        slope = {id: slope_eV(x) for id, x in labels.items()}
        bare = [
            posterior(jump_log10(x["runs"][0]), slope[id], x["percolation_barrier_std_eV"], id)
            for id, x in labels.items()
        ]
        return {
            f"{name}: diffusivity": calibrated(diffusivity)[index],
            f"{name}: slope over temperature": calibrated(slope)[index],
            f"{name}: not calibrated": np.array(bare),
        }

    ships = calibrated({})
    own = [at[id] for id in blocking]
    columns = {
        "independent carriers: percolation barrier (as it ships)": ships[own],
        "independent carriers: the same, site energies from occupancies": calibrated(
            {id: x["percolation_barrier_eV"] for id, x in blocking.items()}
        )[own],
        "independent carriers: diffusivity": calibrated(
            {id: height_eV(carriers_log10(hops[at[id]])) for id in blocking}
        )[own],
        "independent carriers: not calibrated": np.array(
            [
                posterior(carriers_log10(h), h.barrier_eV, h.barrier_std_eV, id)
                for id, h in ((id, hops[at[id]]) for id in blocking)
            ]
        ),
        **variants(blocking, "blocking"),
    }
    few_own = [at[id] for id in repelled]
    few_columns = {
        "independent carriers: percolation barrier (as it ships)": ships[few_own],
        **variants({id: blocking[id] for id in repelled}, "blocking"),
        **variants(repelled, "blocking and repulsion"),
    }
    factors = [x["runs"][0] for x in blocking.values() if x["runs"][0]["haven_ratio"]]
    return {
        "n_with_hops": len(rows),
        "n_partly_filled": len(partly),
        "n_simulated": len(own),
        "n_without_motion": len(own) - len(factors),
        "simulated_rows": compared(true[own], columns, [papers[k] for k in own]),
        "random_rows": compared(true[few_own], few_columns, [papers[k] for k in few_own]),
        **{
            f"{key}_quartiles": [
                round(float(q), 3)
                for q in np.quantile([run[key] for run in factors], [0.25, 0.5, 0.75])
            ]
            for key in (
                "tracer_correlation_factor",
                "collective_correlation_factor",
                "haven_ratio",
            )
        },
        "site_energies": site_energy_spread(partly),
        "settings": {**asdict(BLOCKING), "dielectric_constant": DIELECTRIC_CONSTANT},
        "data_sha256": {obelix.TABLE_FILE: sha256(data / obelix.TABLE_FILE)},
    }


def compared(true: Floats, columns: dict[str, Floats], papers: Sequence[str]) -> dict[str, Any]:
    """Scores of every column, and what it changes of the first one's error, paired by paper."""
    first = np.abs(next(iter(columns.values())) - true)
    result = {}
    for name, value in columns.items():
        error = np.abs(value - true)
        change = bootstrap(lambda a, b: float(np.mean(b - a)), first, error, groups=papers)
        result[name] = {**paper_scores(true, value, papers), "change_of_mae": rounded(change)}
        print(f"{name:65s} {json.dumps(result[name])}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="of `benchmarks.conductivity`")
    parser.add_argument("--hops", action="store_true", help="the variants of the hop network alone")
    parser.add_argument("--only", nargs="+", default=[], help="variants of lithium rows, by name")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    rows = [as_crystal(row) for row in training_rows(args.data)]
    results = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    if args.hops:
        results["hop network"] = hop_variants(args.data, args.work, rows)
    elif args.only:
        results["lithium"] |= lithium(args.data, args.work, rows, args.only)
    else:
        results |= {"sodium": sodium(rows), "lithium": lithium(args.data, args.work, rows, ())}
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
