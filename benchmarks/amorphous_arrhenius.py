"""Arrhenius fits on real diffusivities: amorphous Li alloys by AIMD at two to four temperatures.

    python -m benchmarks.amorphous_arrhenius --data DIR

The unit of D is not stated, so only slopes count, and 300 K is out of reach of 1000 K and more.
Each temperature of a series is left out in turn and predicted from the others; the scatter of a
point is pooled over all series. The baseline knows no temperature: the mean log10 D of the others.
A second one gives every series the same activation energy. Writes
benchmarks/results/amorphous_arrhenius.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ionbridge.models.metrics import bootstrap, interval_coverage, mae
from ionbridge.structures.sources import amorphous_diffusivity
from ionbridge.structures.sources.amorphous_diffusivity import DiffusivitySeries
from ionbridge.structures.transport.closed_forms import ArrheniusFit, fit_arrhenius
from ionbridge.structures.units import BOLTZMANN_EV_PER_K

RESULT = Path(__file__).parent / "results" / "amorphous_arrhenius.json"
MIN_POINTS = 3
SIGMAS = float(stats.norm.ppf(0.975))
Floats = NDArray[np.float64]
Series = Sequence[DiffusivitySeries]


def points(series: DiffusivitySeries) -> tuple[Floats, Floats]:
    """(T in K, log10 D) of a series."""
    temperature_K = 1 / (BOLTZMANN_EV_PER_K * series.inverse_kT)
    return temperature_K, series.ln_diffusivity / np.log(10)


def pooled_scatter(data: Series) -> float:
    """Standard deviation of a point about its series' line, decades, over all series."""
    squares, freedom = 0.0, 0
    for series in data:
        T, y = points(series)
        if len(T) > 2:
            squares += float(((fit_arrhenius(T, y).predict(T)[0] - y) ** 2).sum())
            freedom += len(T) - 2
    return float(np.sqrt(squares / freedom))


def activation_energies(data: Series, scatter: float) -> dict[str, Any]:
    fits: list[ArrheniusFit] = [fit_arrhenius(*points(s), std=scatter) for s in data]
    energy = np.array([fit.activation_energy_eV for fit in fits])
    half = SIGMAS * np.array([fit.activation_energy_std_eV for fit in fits])
    return {
        "n_series": len(fits),
        "median_eV": round(float(np.median(energy)), 3),
        "quartiles_eV": [round(float(q), 3) for q in np.quantile(energy, [0.25, 0.75])],
        "median_half_width_95_eV": round(float(np.median(half)), 3),
        "not_told_from_zero": int(np.sum(energy - half <= 0)),
        "negative": int(np.sum(energy < 0)),
        "largest_deviation_from_plain_slope_eV": round(
            float(max(abs(e - s.activation_energy_eV) for e, s in zip(energy, data, strict=True))),
            9,
        ),
    }


def left_out(data: Series, scatter: float) -> dict[str, Any]:
    """Errors and coverage of every left-out temperature, inside and outside of the others."""
    shared = float(np.median([s.activation_energy_eV for s in data]))
    found: dict[str, list[tuple[float, ...]]] = {"between": [], "above": [], "below": []}
    groups: dict[str, list[str]] = {name: [] for name in found}
    for series in data:
        T, y = points(series)
        if len(T) < MIN_POINTS:
            continue
        for k in range(len(T)):
            rest = np.arange(len(T)) != k
            if len(set(T[rest])) < 2:
                continue
            fit = fit_arrhenius(T[rest], y[rest], std=scatter)
            value, std = (float(v) for v in fit.predict(T[k]))
            half = SIGMAS * np.hypot(std, scatter)
            decades = shared / (BOLTZMANN_EV_PER_K * np.log(10))
            same_slope = np.mean(y[rest] + decades / T[rest]) - decades / T[k]
            where = "above" if T[k] > T[rest].max() else "below" if T[k] < T[rest].min() else ""
            name = where or "between"
            row = (y[k], value, value - half, value + half, y[rest].mean(), float(same_slope))
            found[name].append(row)
            groups[name].append(series.formula)
    return {name: _scores(np.array(rows).T, groups[name]) for name, rows in found.items() if rows}


def _scores(columns: Floats, groups: list[str]) -> dict[str, Any]:
    true, value, lower, upper, mean, same_slope = columns

    def interval(metric: Any, *arrays: Floats) -> list[float]:
        found = bootstrap(metric, *arrays, groups=groups)
        return [round(v, 3) for v in (found.value, found.lower, found.upper)]

    return {
        "n": len(true),
        "mae_decades": interval(mae, true, value),
        "interval_coverage_95": interval(interval_coverage, true, lower, upper),
        "median_half_width_decades": round(float(np.median(upper - lower) / 2), 3),
        "baseline_mean_of_others_mae": interval(mae, true, mean),
        "baseline_shared_slope_mae": interval(mae, true, same_slope),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    args = parser.parse_args()
    loaded = amorphous_diffusivity.load(args.data)
    scatter = pooled_scatter(loaded.records)
    results = {
        "data_sha256": amorphous_diffusivity.SOURCE.checksums(args.data),
        "dropped": dict(loaded.dropped),
        "scatter_of_a_point_decades": round(scatter, 3),
        "activation_energies": activation_energies(loaded.records, scatter),
        "left_out_temperature": left_out(loaded.records, scatter),
        "note": "slopes only: the unit of D is not stated. The shared slope is the median of all "
        "series, so the left-out points helped to choose it; the pooled scatter likewise",
    }
    print(json.dumps(results, indent=1))
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
