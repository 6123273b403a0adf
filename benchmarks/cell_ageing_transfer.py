"""Carrying an ageing model from LCO to LFP with few runs, mechanism by mechanism.

    python -m benchmarks.cell_ageing_transfer [--ship]

Uses the shipped runs (benchmarks/cell_ageing_runs.py makes them). Prints the tables, writes
benchmarks/results/cell_ageing_transfer.json and, with --ship, the model folders ageing-lco and
ageing-lfp. Per seed, 8 of the 24 LFP runs are for testing and training runs are drawn from the
others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.ageing_parameters import added, graphite_side
from benchmarks.ageing_simulation import RANGES, SHIPPED_RUNS, histories, load_runs
from ionbridge.models.cells.ageing_rom import (
    CHANNELS,
    DIFFERENCES,
    KNOTS,
    N_INPUTS,
    SHIFTS,
    AgeingHistory,
    AgeingRom,
    closed_forms,
    inputs,
)
from ionbridge.models.cells.graphite import Graphite
from ionbridge.models.checkpoint import sha256
from ionbridge.models.library import LIBRARY
from ionbridge.screening.cell.ageing_base import BASES, LCO, LFP

RESULT = Path(__file__).parent / "results" / "cell_ageing_transfer.json"
N_RUNS = (2, 4, 8, 16)
SEEDS = range(5)
N_TEST = 8
AT_CYCLE = KNOTS[-1]
LEARNT = tuple(name for name in CHANNELS if name != "capacity_lost")
Floats = NDArray[np.float64]
Runs = Sequence[AgeingHistory]
Predict = Callable[[Runs], dict[str, Floats]]

BY_CONSTRUCTION = {
    "sei_Ah": "same growth law and constants in both cells, time and temperature alone drive it",
    "sei_on_cracks_Ah": "as the SEI; cracks differ, but hardly change their area in 500 cycles",
    "plating_Ah": "same rate law, but potentials, kinetics and their temperature differ: transfers",
    "active_material_Ah": "same rate law, but stress and its temperature differ: transfers",
    "active_material_lost": "same rate law, but stress and its temperature differ: transfers",
    "crack_growth": "same rate law, but stress and its temperature differ: transfers",
    "resistance_growth": "film as the SEI, but against the cell's own polarisation: transfers",
    "capacity_lost": "sum of the lithium losses, but electrode balance differs: transfers",
}


def truth(runs: Runs, channel: str) -> Floats:
    """Values at the last cycle."""
    shift = SHIFTS.get(channel, 0.0)
    return np.array([np.exp(run.log_at(channel, [AT_CYCLE])[0]) - shift for run in runs])


def rom(model: AgeingRom) -> Predict:
    def predict(runs: Runs) -> dict[str, Floats]:
        found = model.predict([run.cycling for run in runs], [AT_CYCLE])
        return {name: found.median[name][:, 0] for name in CHANNELS}

    return predict


def as_it_is(source: AgeingRom, graphite: Graphite) -> Predict:
    """The source's processes on the target's closed forms."""
    model = AgeingRom(graphite)
    model.processes_, model.spread_ = source.processes_, source.spread_
    model.ranges_ = source.ranges_
    return rom(model)


def stiff(runs: Runs, graphite: Graphite, like: AgeingRom) -> Predict:
    """Target only: closed forms, corrected by the same gentle process as a difference."""
    model = AgeingRom(graphite)
    model._fit(runs, None, dict.fromkeys(CHANNELS, DIFFERENCES["difference"]))
    model.ranges_, model.spread_ = like.ranges_, like.spread_
    return rom(model)


def linear(runs: Runs, graphite: Graphite) -> Predict:
    """Target only, no physics: ridge of the loss itself on cycling settings."""

    def settings(chosen: Runs) -> Floats:
        rows = [
            (
                c.charge_c_rate,
                c.discharge_c_rate,
                (c.temperature_K - 298) / 15,
                c.depth_of_discharge,
                1.0,
            )
            for c in (run.cycling for run in chosen)
        ]
        return np.array(rows)

    x = settings(runs)
    ridge = x.T @ x + 0.01 * np.diag([1.0, 1.0, 1.0, 1.0, 0.0])

    def predict(test: Runs) -> dict[str, Floats]:
        return {
            name: settings(test) @ np.linalg.lstsq(ridge, x.T @ truth(runs, name), rcond=None)[0]
            for name in CHANNELS
        }

    return predict


class Network:
    """Two hidden layers on the same inputs, for ln of all losses over their closed forms."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(N_INPUTS, 32),
            torch.nn.Tanh(),
            torch.nn.Linear(32, 32),
            torch.nn.Tanh(),
            torch.nn.Linear(32, len(LEARNT)),
        ).double()

    def fit(self, runs: Runs, graphite: Graphite, steps: int, layers: int, rate: float) -> Network:
        """Tune the last ``layers`` of three layers."""
        cyclings = [run.cycling for run in runs]
        x = torch.tensor(inputs(graphite, cyclings, KNOTS).reshape(-1, N_INPUTS))
        forms = closed_forms(graphite, cyclings, KNOTS)
        y = torch.tensor(
            np.stack(
                [
                    np.array([r.log_at(n, KNOTS) for r in runs]).ravel() - forms[n].ravel()
                    for n in LEARNT
                ],
                axis=1,
            )
        )
        if not hasattr(self, "centre"):
            self.centre, self.scale = y.mean(0), y.std(0) + 0.05
        y = (y - self.centre) / self.scale
        tuned = [p for layer in self.net[2 * (3 - layers) :] for p in layer.parameters()]
        optimiser = torch.optim.Adam(tuned, rate, weight_decay=1e-4)
        for _ in range(steps):
            optimiser.zero_grad()
            (self.net(x) - y).square().mean().backward()
            optimiser.step()
        return self

    def on(self, graphite: Graphite) -> Predict:
        """Predictions for a cell; the capacity is not among them."""

        def predict(runs: Runs) -> dict[str, Floats]:
            cyclings = [run.cycling for run in runs]
            x = torch.tensor(inputs(graphite, cyclings, [AT_CYCLE]).reshape(-1, N_INPUTS))
            with torch.no_grad():
                y = (self.net(x) * self.scale + self.centre).numpy()
            forms = closed_forms(graphite, cyclings, [AT_CYCLE])
            return {
                name: np.exp(forms[name][:, 0] + y[:, k]) - SHIFTS.get(name, 0.0)
                for k, name in enumerate(LEARNT)
            }

        return predict


def tuned(weights: dict[str, Any], centre: Any, scale: Any, seed: int) -> Network:
    """A copy of the pretrained network."""
    network = Network(seed)
    network.net.load_state_dict(weights)
    network.centre, network.scale = centre, scale
    return network


def error(predict: Predict, test: Runs) -> dict[str, float]:
    """Mean absolute error at the last cycle: percent of the loss; resistance in points."""
    found = predict(test)
    result = {}
    for name in found:
        true = truth(test, name)
        scale = 1.0 if name == "resistance_growth" else np.abs(true)
        result[name] = float(100 * np.mean(np.abs(found[name] - true) / scale))
    return result


def strategies(
    lco: Runs, source: AgeingRom, graphite: dict[str, Graphite]
) -> dict[str, Callable[[Runs, int], Predict]]:
    """Every way from the source and some LFP runs to a prediction."""
    target = graphite[LFP]
    pretrained = Network(0).fit(lco, graphite[LCO], 800, 3, 5e-3)
    weights = {k: v.clone() for k, v in pretrained.net.state_dict().items()}

    def network(steps: int, layers: int) -> Callable[[Runs, int], Predict]:
        return lambda runs, seed: (
            tuned(weights, pretrained.centre, pretrained.scale, seed)
            .fit(runs, target, steps, layers, 2e-3)
            .on(target)
        )

    return {
        "target only: linear in the loss": lambda runs, seed: linear(runs, target),
        "target only: closed forms + process": lambda runs, seed: rom(
            AgeingRom(target).fit(runs, calibrate=False)
        ),
        "target only: closed forms + gentle process": lambda runs, seed: stiff(
            runs, target, source
        ),
        "target only: closed forms + network": lambda runs, seed: (
            Network(seed).fit(runs, target, 250, 3, 5e-3).on(target)
        ),
        "LCO as it is": lambda runs, seed: as_it_is(source, target),
        "LCO times a factor": lambda runs, seed: rom(
            AgeingRom(target, "factor").fit(runs, source, calibrate=False)
        ),
        "LCO plus a difference": lambda runs, seed: rom(
            AgeingRom(target, "difference").fit(runs, source, calibrate=False)
        ),
        "network, last layer tuned": network(250, 1),
        "network, first layer kept": network(250, 2),
        "network, fully tuned": network(250, 3),
    }


def compare(lfp: Runs, ways: dict[str, Callable[[Runs, int], Predict]]) -> dict[str, Any]:
    """By number of runs, strategy and channel: mean over seeds, and the spread of the seeds."""
    result: dict[str, Any] = {}
    for n in N_RUNS:
        result[str(n)] = {}
        for name, way in ways.items():
            found = []
            for seed in SEEDS:
                order = np.random.default_rng(seed).permutation(len(lfp))
                training = [lfp[i] for i in order[N_TEST : N_TEST + n]]
                found.append(error(way(training, seed), [lfp[i] for i in order[:N_TEST]]))
            row = {
                channel: [
                    float(f"{np.mean([f[channel] for f in found]):.3g}"),
                    float(f"{np.std([f[channel] for f in found]):.2g}"),
                ]
                for channel in found[0]
            }
            result[str(n)][name] = row
            shown = {k: v[0] for k, v in row.items()}
            print(f"{n:3d} {name:44s} {json.dumps(shown)}", flush=True)
    return result


def verdicts(table: dict[str, Any]) -> dict[str, Any]:
    """Is the shipped transfer within 10 % with 4 runs, and better than the best target-only one?"""
    result: dict[str, Any] = {}
    for channel in CHANNELS:
        result[channel] = {"why": BY_CONSTRUCTION[channel]}
        for n, rows in table.items():
            alone = {
                name: row[channel][0]
                for name, row in rows.items()
                if name.startswith("target only") and channel in row
            }
            best = min(alone, key=lambda name: alone[name])
            result[channel][n] = {
                "transfer": rows["LCO plus a difference"][channel][0],
                "best_target_only": [best, alone[best]],
                "better": rows["LCO plus a difference"][channel][0] < alone[best],
            }
    return result


def coverage(lfp: Runs, target: Graphite, source: AgeingRom, n: int) -> dict[str, float]:
    """Share of test values in the calibrated 90 % interval, percent, over all seeds."""
    inside: dict[str, list[float]] = {name: [] for name in CHANNELS}
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(lfp))
        test = [lfp[i] for i in order[:N_TEST]]
        model = AgeingRom(target).fit([lfp[i] for i in order[N_TEST : N_TEST + n]], source)
        found = model.predict([run.cycling for run in test], [AT_CYCLE])
        for name in CHANNELS:
            gap = np.log(found.median[name][:, 0] + SHIFTS.get(name, 0.0)) - np.array(
                [run.log_at(name, [AT_CYCLE])[0] for run in test]
            )
            inside[name] += list(np.abs(gap) < 1.645 * found.log_std[name][:, 0])
    return {name: round(100 * float(np.mean(values)), 1) for name, values in inside.items()}


def card(base_cell: str, n_runs: int, results: dict[str, Any]) -> dict[str, Any]:
    """The card of a shipped model."""
    base = BASES[base_cell]
    return {
        "name": f"ageing-{base.cathode.lower()}",
        "predicts": "losses of lithium and graphite, capacity and polarisation over cycles",
        "quantity": "cell_ageing",
        "inputs": [f"{name} from {low:g} to {high:g}" for name, (low, high) in RANGES.items()],
        "chemistries": [f"{base.cathode}/graphite ({base_cell})"],
        "trained_on": {
            "data": f"{n_runs} simulated lives of 500 cycles, {base_cell}",
            "method": "PyBaMM, single-particle model with electrolyte, coupled ageing submodels",
            "added_parameters": len(added(base_cell)),
        },
        "validation": {
            "protocol": "mean absolute error at 500 cycles, percent of the loss "
            "(resistance_growth: percentage points), runs never trained on; mean and standard "
            "deviation over 5 draws",
            **results,
        },
        "limits": [
            "ageing of a simulated cell: constants of O'Kane 2022, not fitted to a real one",
            "all losses happen at the graphite; the cathode does not age",
            "beyond 500 cycles the trend goes on; a sudden death (knee) is not foreseen",
        ],
        "licence": "MIT",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ship", action="store_true", help="write the shipped models")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = load_runs()
    graphite = {base: graphite_side(base) for base in BASES}
    lco, lfp = histories(rows, LCO), histories(rows, LFP)
    half = len(lco) // 2
    order = np.random.default_rng(0).permutation(len(lco))
    alone = error(
        rom(AgeingRom(graphite[LCO]).fit([lco[i] for i in order[:half]], calibrate=False)),
        [lco[i] for i in order[half:]],
    )
    source = AgeingRom(graphite[LCO]).fit(lco)
    table = compare(lfp, strategies(lco, source, graphite))
    results: dict[str, Any] = {
        "data_sha256": {SHIPPED_RUNS.name: sha256(SHIPPED_RUNS)},
        "n_runs": {LCO: len(lco), LFP: len(lfp)},
        "protocol": f"{N_TEST} LFP runs for testing, training runs from the other "
        f"{len(lfp) - N_TEST}, {len(SEEDS)} seeds; mean absolute error at {AT_CYCLE:g} cycles in "
        "percent of the loss (resistance_growth: percentage points): mean, spread over seeds. "
        "The prior of the difference was chosen on draws of the same runs",
        "lco_half_to_half_percent": {k: round(v, 2) for k, v in alone.items()},
        "table": table,
        "verdicts": verdicts(table),
        "coverage_90_percent_with_8_runs": coverage(lfp, graphite[LFP], source, 8),
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results["verdicts"], indent=1))
    if args.ship:
        source.save(
            LIBRARY / "ageing-lco",
            card(LCO, len(lco), {"half_to_half": results["lco_half_to_half_percent"]}),
        )
        shipped = {n: table[n]["LCO plus a difference"] for n in table}
        AgeingRom(graphite[LFP]).fit(lfp, source).save(
            LIBRARY / "ageing-lfp",
            card(LFP, len(lfp), {"from_ageing-lco_by_number_of_runs": shipped}),
        )


if __name__ == "__main__":
    main()
