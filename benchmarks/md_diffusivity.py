"""Diffusivities of unseen compositions from labels of molecular dynamics.

    python -m benchmarks.md_diffusivity --data DIR

AIMD diffusivities of 207 amorphous Li alloys at 1000 to 2500 K, three dealings into five folds,
once grouped by formula (nearly every formula is a set of elements of its own, so this is by
chemical system, too) and once by the most abundant element beside lithium. The unit of D is not
stated, which moves all values alike. Baselines on the same rows: the common Arrhenius line; the
mean at each temperature; the composition with the nearest descriptors, its own line where it has
one; extremely randomised trees on the same descriptors and the temperature. Descriptors were
chosen on another dealing (seed 0) among three sets. Activation energies are compared with fits to
each composition's own labels, which are uncertain themselves. What bounds are worth: the lowest
fifth of the training labels is known only to lie below the highest of them, as of simulations that
were too short, and is left out, taken for a value at the bound, or for a bound. Writes
benchmarks/results/md_diffusivity.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ionbridge.models.conductors.diffusivity import DiffusivityProcess, diffusivity_descriptors
from ionbridge.models.metrics import bootstrap, interval_coverage, mae, paired_bootstrap, spearman
from ionbridge.models.regressors.trees import Forest
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.io.tables import ConductivityRow, conductivity_row
from ionbridge.structures.records import Label
from ionbridge.structures.sources import amorphous_diffusivity
from ionbridge.structures.transport.closed_forms import decades_per_eV, fit_arrhenius
from ionbridge.structures.units import BOLTZMANN_EV_PER_K

RESULT = Path(__file__).parent / "results" / "md_diffusivity.json"
SEEDS = (1, 2, 3)
N_FOLDS = 5
N_TREES, MIN_LEAF, MAX_FEATURES = 120, 2, 0.4
CENSORED_SHARE = 0.2
LN10 = float(np.log(10.0))
OURS = "process over composition and temperature"
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Table:
    """All labels.

    Attributes:
        rows: (n,) compositions.
        formula: (n,) reduced formulas.
        host: (n,) lithium and the most abundant other element.
        temperature_K: (n,).
        log10_D: (n,) in one unstated unit.
        descriptors: (n, n_columns).
    """

    rows: tuple[ConductivityRow, ...]
    formula: NDArray[np.str_]
    host: NDArray[np.str_]
    temperature_K: Floats
    log10_D: Floats
    descriptors: Floats


def table_of(data: Path) -> Table:
    rows, temperature_K, log10_D = [], [], []
    for series in amorphous_diffusivity.load(data).records:
        row = conductivity_row({"Formula": series.formula}, series.formula)
        assert isinstance(row, ConductivityRow)
        rows += [row] * len(series.inverse_kT)
        temperature_K += (1.0 / (BOLTZMANN_EV_PER_K * series.inverse_kT)).tolist()
        log10_D += (series.ln_diffusivity / LN10).tolist()
    return Table(
        tuple(rows),
        np.array([row.composition.reduced_formula for row in rows]),
        np.array([host_of(row) for row in rows]),
        np.array(temperature_K),
        np.array(log10_D),
        diffusivity_descriptors(rows),
    )


def host_of(row: ConductivityRow) -> str:
    """The most abundant element that is not lithium."""
    amounts = row.composition.get_el_amt_dict()
    return max((n, symbol) for symbol, n in amounts.items() if symbol != "Li")[1]


def common_line(t: Table, train: Rows, test: Rows) -> tuple[Floats, Floats]:
    x = decades_per_eV(t.temperature_K)
    slope, start = np.polyfit(x[train], t.log10_D[train], 1)
    return start + slope * x[test], np.full(len(test), -slope)


def mean_at_temperature(t: Table, train: Rows, test: Rows) -> tuple[Floats, Floats]:
    kelvin = np.round(t.temperature_K)
    means = {k: t.log10_D[train][kelvin[train] == k].mean() for k in np.unique(kelvin[train])}
    return np.array([means[k] for k in kelvin[test]]), common_line(t, train, test)[1]


def nearest_composition(t: Table, train: Rows, test: Rows) -> tuple[Floats, Floats]:
    scale = t.descriptors[train].std(axis=0) + 1e-6
    rows = t.descriptors[train] / scale
    shared = common_line(t, train, test)[1][0]
    x = decades_per_eV(t.temperature_K)
    found, energy = np.zeros(len(test)), np.zeros(len(test))
    for k, i in enumerate(test):
        nearest = np.argmin(np.linalg.norm(rows - t.descriptors[i] / scale, axis=1))
        own = train[t.formula[train] == t.formula[train[nearest]]]
        energy[k] = shared
        if len(own) > 1:
            energy[k] = -np.polyfit(x[own], t.log10_D[own], 1)[0]
        found[k] = np.mean(t.log10_D[own] + energy[k] * x[own]) - energy[k] * x[i]
    return found, energy


def trees(t: Table, train: Rows, test: Rows) -> tuple[Floats, Floats]:
    x = decades_per_eV(t.temperature_K)
    features = np.column_stack([t.descriptors, x])
    forest = Forest.grown(features[train], t.log10_D[train], N_TREES, MIN_LEAF, MAX_FEATURES, 0)
    ends = []
    for end in (x.min(), x.max()):
        at = np.column_stack([t.descriptors[test], np.full(len(test), end)])
        ends.append(forest.predict(at).mean(axis=0))
    energy = (ends[0] - ends[1]) / float(np.ptp(x))
    return forest.predict(features[test]).mean(axis=0), energy


BASELINES: dict[str, Callable[[Table, Rows, Rows], tuple[Floats, Floats]]] = {
    "common Arrhenius line": common_line,
    "mean at each temperature": mean_at_temperature,
    "nearest composition's line": nearest_composition,
    "extra trees": trees,
}


def out_of_fold(t: Table, group: NDArray[np.str_], seed: int) -> dict[str, Floats]:
    """(2, n) log10 D and activation energy by each way; of ours two spreads besides."""
    found = {name: np.zeros((2, len(t.rows))) for name in BASELINES} | {
        OURS: np.zeros((4, len(t.rows)))
    }
    for fold in GroupedKFold(N_FOLDS, seed, lambda i: str(group[i])).split(range(len(t.rows))):
        for name, way in BASELINES.items():
            found[name][:, fold.test] = way(t, fold.train, fold.test)
        labels = [
            Label("log10_D", t.log10_D[i], temperature_K=t.temperature_K[i], method="aimd")
            for i in fold.train
        ]
        model = DiffusivityProcess().fit([t.rows[i] for i in fold.train], labels)
        test = [t.rows[i] for i in fold.test]
        value = model.predict(test, t.temperature_K[fold.test])
        line = model.arrhenius(test)
        found[OURS][:, fold.test] = (
            value.mean,
            line.activation_energy_eV,
            value.std,
            line.activation_energy_std_eV,
        )
    return found


def with_bounds(t: Table, seed: int) -> dict[str, Floats]:
    """(n,) log10 D where a share of the training labels is only bounded, by three ways."""
    limit = float(np.quantile(t.log10_D, CENSORED_SHARE))
    low = t.log10_D < limit
    found = {way: np.zeros(len(t.rows)) for way in ("left out", "as values", "as bounds")}
    for fold in GroupedKFold(N_FOLDS, seed, lambda i: str(t.formula[i])).split(range(len(t.rows))):
        for way, store in found.items():
            train = fold.train[~low[fold.train]] if way == "left out" else fold.train
            labels = [
                Label(
                    "log10_D",
                    limit if low[i] else t.log10_D[i],
                    bound="<" if low[i] and way == "as bounds" else "=",
                    temperature_K=t.temperature_K[i],
                    method="aimd",
                )
                for i in train
            ]
            model = DiffusivityProcess().fit([t.rows[i] for i in train], labels)
            test = [t.rows[i] for i in fold.test]
            store[fold.test] = model.predict(test, t.temperature_K[fold.test]).mean
    return found


def bound_scores(t: Table, found: list[dict[str, Floats]]) -> dict[str, Any]:
    low = t.log10_D < np.quantile(t.log10_D, CENSORED_SHARE)
    true = np.tile(t.log10_D, len(found)) * LN10
    groups = np.tile(t.formula, len(found)).tolist()
    values = {way: np.concatenate([f[way] for f in found]) * LN10 for way in found[0]}
    result: dict[str, Any] = {}
    for way, value in values.items():
        gap = paired_bootstrap(true, values["as bounds"], value, groups=groups)
        result[way] = {
            "mae_ln_D": round(mae(true, value), 3),
            "mae_ln_D_of_the_low": round(
                mae(true[np.tile(low, len(found))], value[np.tile(low, len(found))]), 3
            ),
            "mae_as_bounds_minus_this": [round(v, 3) for v in (gap.value, gap.lower, gap.upper)],
        }
    return result


def own_energies(t: Table) -> tuple[Rows, Floats, Floats]:
    """First row of each composition with three temperatures or more, its fitted slope and error."""
    scatter = 0.1  # decades, of a point about its line: benchmarks.amorphous_arrhenius
    first, energy, std = [], [], []
    for formula in np.unique(t.formula):
        own = np.flatnonzero(t.formula == formula)
        if len(own) > 2:
            fit = fit_arrhenius(t.temperature_K[own], t.log10_D[own], std=scatter)
            first.append(own[0])
            energy.append(fit.activation_energy_eV)
            std.append(fit.activation_energy_std_eV)
    return np.array(first), np.array(energy), np.array(std)


def scores(t: Table, found: list[dict[str, Floats]]) -> dict[str, Any]:
    first, energy, energy_std = own_energies(t)
    kelvin = np.round(t.temperature_K)
    n = len(found)
    true = np.tile(t.log10_D, n) * LN10
    groups = np.tile(t.formula, n).tolist()
    result: dict[str, Any] = {}
    for name in (*BASELINES, OURS):
        values = np.concatenate([f[name][0] for f in found]) * LN10
        slopes = np.concatenate([f[name][1][first] for f in found])
        error = bootstrap(mae, true, values, groups=groups)
        entry = {
            "mae_ln_D": [round(v, 3) for v in (error.value, error.lower, error.upper)],
            "mae_ln_D_by_seed": [round(mae(t.log10_D, f[name][0]) * LN10, 3) for f in found],
            "mae_ln_D_at_K": {
                f"{k:g}": round(
                    float(
                        np.mean(
                            [mae(t.log10_D[kelvin == k], f[name][0][kelvin == k]) for f in found]
                        )
                    )
                    * LN10,
                    3,
                )
                for k in np.unique(kelvin)
            },
            "spearman": round(spearman(true, values), 3),
            "mae_activation_energy_eV": round(mae(np.tile(energy, n), slopes), 3),
        }
        if name == OURS:
            std = np.concatenate([f[name][2] for f in found]) * LN10
            both = np.hypot(
                np.concatenate([f[name][3][first] for f in found]), np.tile(energy_std, n)
            )
            entry["interval_coverage_90"] = round(
                interval_coverage(true, values - 1.645 * std, values + 1.645 * std), 3
            )
            entry["interval_coverage_90_activation_energy"] = round(
                interval_coverage(np.tile(energy, n), slopes - 1.645 * both, slopes + 1.645 * both),
                3,
            )
            for rival in BASELINES:
                other = np.concatenate([f[rival][0] for f in found]) * LN10
                gap = paired_bootstrap(true, values, other, groups=groups)
                entry[f"mae_minus {rival}"] = [
                    round(v, 3) for v in (gap.value, gap.lower, gap.upper)
                ]
        result[name] = entry
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    args = parser.parse_args()
    torch.set_num_threads(1)
    t = table_of(args.data)
    out: dict[str, Any] = {
        "data_sha256": amorphous_diffusivity.SOURCE.checksums(args.data),
        "n_labels": len(t.rows),
        "n_formulas": len(set(t.formula)),
        "n_hosts": len(set(t.host)),
        "seeds": list(SEEDS),
        "n_folds": N_FOLDS,
    }
    for name, group in (("by formula", t.formula), ("by host element", t.host)):
        out[name] = scores(t, [out_of_fold(t, group, seed) for seed in SEEDS])
        for way, entry in out[name].items():
            print(name, way, entry, flush=True)
        RESULT.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    out["bounds"] = bound_scores(t, [with_bounds(t, seed) for seed in SEEDS])
    print(json.dumps(out["bounds"], indent=1), flush=True)
    RESULT.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
