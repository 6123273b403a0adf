"""Diffusivity that `predict` gives at the temperatures of simulations, against AIMD.

    python -m benchmarks.argyrodite_aimd --data DIR      # the labels of four published runs, first
    ionbridge label md ID.cif --temperatures-K 1000 --steps 3000 --out ID.json   # own labels
    python -m benchmarks.aimd_diffusivity --data DIR [--labels ID.json ...]

Four published runs of argyrodites at 500 K, and what papers state of their AIMD: the Arrhenius line
(room-temperature conductivity and activation energy) or the activation energy alone. Compositions
are predicted by models that saw neither paper nor composition. Beside the estimate: the hop network
alone, the same with ions that block each other (`ionbridge label kmc`; crystals with partly filled
sites, barriers as predicted), and a constant, the mean of log10 D of the other compounds at that
temperature. A run that gives only an upper end is counted as within or above it, not scored.
Writes benchmarks/results/aimd_diffusivity.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition

from ionbridge.models.library import DEFAULTS
from ionbridge.screening.labelling.dynamics.kmc_labels import KmcLabeller, KmcSettings
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.crystals import CrystalPredictor
from ionbridge.screening.prediction.estimate import REFERENCE_SOURCE
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.records import Crystal
from ionbridge.structures.sources import materials_project
from ionbridge.structures.transport.closed_forms import decades_per_eV, nernst_einstein

RESULT = Path(__file__).parent / "results" / "aimd_diffusivity.json"
RUNS = RESULT.with_name("argyrodite_aimd.json")
MD_LABELS = RESULT.with_name("md_labels.json")
RUN_K = 500.0
LINE_K = (600.0, 800.0, 1000.0)
ROOM_K = 300.0
VALUE, HOPS = "log10_diffusivity_cm2_s", "log10_diffusivity_hop_network_cm2_s"


@dataclass(frozen=True)
class Line:
    """What a paper states of its simulations.

    Attributes:
        formula: Compound.
        build: Its crystal.
        activation_energy_eV: Slope of ln D.
        conductivity_S_cm: At 300 K by Nernst-Einstein; None where it is not stated.
        source: DOI or arXiv number.
    """

    formula: str
    build: Callable[[], Crystal]
    activation_energy_eV: float
    conductivity_S_cm: float | None
    source: str


def swapped(name: str, formula: str, new: dict[str, str], scale: float) -> Crystal:
    """A prototype with other elements.

    Args:
        name: Of the prototype.
        formula: What it becomes.
        new: New element of an old one.
        scale: Of the cell's edges.
    """
    crystal = PROTOTYPES[name].build(formula)
    species = tuple({new.get(e, e): x for e, x in site.items()} for site in crystal.species)
    return replace(crystal, species=species, lattice=crystal.lattice * scale)


def bromide(metal: str, radius_A: float) -> Crystal:
    """Li3MBr6 in the structure of Li3ErBr6, its edges as the bonds of metal and bromine.

    Radii of R. D. Shannon, Acta Cryst. A 32, 751 (1976): Er 0.890, Br 1.96 angstrom.
    """
    scale = (radius_A + 1.96) / (0.890 + 1.96)
    return swapped("Li3ErBr6-halide", f"Li3{metal}Br6", {"Er": metal}, scale)


def argyrodite(formula: str, exchanged: float) -> Crystal:
    """Average crystal of an argyrodite in which a share of sulphur and halide have changed places.

    Args:
        formula: ``Li6PS5Cl`` or ``Li6PS5I`` (edge 10.142 angstrom).
        exchanged: Share of the halide's sites that sulphur has.
    """
    halide = formula.removeprefix("Li6PS5")
    scale = {"Cl": 1.0, "I": 10.142 / 9.8598}[halide]
    crystal = swapped("Li6PS5Cl-argyrodite", formula, {"Cl": halide}, scale)
    phosphorus = crystal.frac[crystal.occupancy("P") > 0]
    species = []
    for site, frac in zip(crystal.species, crystal.frac, strict=True):
        gap = frac - phosphorus
        gap -= np.rint(gap)
        bound = np.linalg.norm(gap @ crystal.lattice, axis=1).min() < 2.5
        if halide in site:
            site = {halide: 1.0 - exchanged, "S": exchanged}
        elif "S" in site and not bound:
            site = {"S": 1.0 - exchanged, halide: exchanged}
        species.append({k: v for k, v in site.items() if v > 0})
    result = replace(crystal, id=f"{formula} {exchanged:.0%}", species=tuple(species))
    assert result.formula == Composition(formula).reduced_formula
    return result


PAPER = "10.1088/1361-648x/ad68b4"
LINES = (
    Line("Li3YBr6", lambda: bromide("Y", 0.900), 0.26, 3.9e-3, PAPER),
    Line("Li3LaBr6", lambda: bromide("La", 1.032), 0.24, 7.8e-3, PAPER),
    Line("Li10GeP2S12", PROTOTYPES["Li10GeP2S12-LGPS"].build, 0.18, None, "arXiv:2010.08068"),
)


def predicted(crystal: Crystal, temperature_K: float) -> dict[str, Any]:
    """The row of `predict`, by models that saw neither paper nor composition."""
    at = Conditions(temperature_K)
    predictor = CrystalPredictor(DEFAULTS["migration_barrier"], at, time_limit_s=600.0)
    (row,) = predictor([replace(crystal, source=REFERENCE_SOURCE)])
    assert row["status"] == "ok", row["reason"]
    return row


def blocked(crystal: Crystal, temperature_K: float) -> float | None:
    """log10 of the tracer diffusivity of ions that block each other, cm^2/s; None without one."""
    (label,) = KmcLabeller(KmcSettings((temperature_K,)))([crystal])
    if label["status"] == "failed":
        print(f"{crystal.id}: {label['reason']}")
    value = label["runs"][0]["tracer_diffusivity_cm2_s"] if label["runs"] else None
    return None if value is None else float(np.log10(value))


def line_log10(line: Line, temperature_K: float, crystal: Crystal) -> float:
    """log10 of D in cm^2/s on a stated line."""
    assert line.conductivity_S_cm is not None
    density = crystal.occupancy("Li").sum() / crystal.volume_A3 * 1e24
    at_room = np.log10(line.conductivity_S_cm / nernst_einstein(1.0, density, ROOM_K))
    step = decades_per_eV(ROOM_K) - decades_per_eV(temperature_K)
    return float(at_room + line.activation_energy_eV * step)


def entry(
    name: str, row: dict[str, Any], kmc: float | None, true: float | None, bound: float | None
) -> dict[str, Any]:
    """Predictions beside the simulated value, or its upper end."""
    return {
        "compound": name,
        "temperature_K": row["temperature_K"],
        "aimd": true and round(true, 3),
        "aimd_at_most": bound and round(bound, 3),
        "estimate": round(row[VALUE], 3),
        "interval": [
            round(row["log10_diffusivity_q05"], 3),
            round(row["log10_diffusivity_q95"], 3),
        ],
        "hop_network": None if row[HOPS] is None else round(row[HOPS], 3),
        "kinetic_monte_carlo": None if kmc is None else round(kmc, 3),
        "activation_energy_eV": round(row["activation_energy_eV"], 3),
        "carried_by": row["conductivity_source"],
    }


def entries() -> list[dict[str, Any]]:
    """All predictions."""
    found = []
    for name, run in json.loads(RUNS.read_text(encoding="utf-8"))["runs"].items():
        formula, share, _ = name.split("_")
        crystal = argyrodite(formula, float(share.removesuffix("p")) / 100)
        value = run["tracer_diffusivity_cm2_s"]
        upper = run["tracer_diffusivity_cm2_s_upper"]
        row, kmc = predicted(crystal, RUN_K), blocked(crystal, RUN_K)
        if value is None:
            found.append(entry(crystal.id, row, kmc, None, float(np.log10(upper))))
        else:
            found.append(entry(crystal.id, row, kmc, float(np.log10(value)), None))
    for line in LINES:
        crystal = line.build()
        for kelvin in LINE_K if line.conductivity_S_cm is not None else ():
            true = line_log10(line, kelvin, crystal)
            row, kmc = predicted(crystal, kelvin), blocked(crystal, kelvin)
            found.append(entry(line.formula, row, kmc, true, None))
    return found


def md_entries(data: Path) -> list[dict[str, Any]]:
    """Predictions beside labels of molecular dynamics with a potential; no label of a melt."""
    labels = {label["id"]: label for label in json.loads(MD_LABELS.read_text(encoding="utf-8"))}
    pool = {c.id: c for c in materials_project.load_pool(data).records if c.id in labels}
    found = []
    for name, label in labels.items():
        crystal = replace(pool[name], working_ion=label["working_ion"])
        for run in label["runs"]:
            if run["host_melted"]:
                continue
            value, upper = (
                run[key] and float(np.log10(run[key]))
                for key in ("tracer_diffusivity_cm2_s", "tracer_diffusivity_cm2_s_upper")
            )
            row = predicted(crystal, run["temperature_K"])
            bound = upper if value is None else None
            found.append({**entry(name, row, None, value, bound), "formula": label["formula"]})
    return found


def add_labels(files: list[Path]) -> None:
    """Add what `ionbridge label md` wrote to the labels that are kept; failed ones are left out."""
    kept = json.loads(MD_LABELS.read_text(encoding="utf-8")) if MD_LABELS.exists() else []
    by_id = {label["id"]: label for label in kept}
    for file in files:
        for label in json.loads(file.read_text(encoding="utf-8"))["labels"]:
            if "runs" in label:
                by_id[label["id"]] = label
    rows = ",\n".join(json.dumps(by_id[name]) for name in sorted(by_id))
    MD_LABELS.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def slopes() -> list[dict[str, Any]]:
    """Activation energies of ln D between the ends of the simulated range."""
    result = []
    low, high = LINE_K[0], LINE_K[-1]
    for line in LINES:
        cold, warm = (predicted(line.build(), kelvin) for kelvin in (low, high))
        step = float(decades_per_eV(low) - decades_per_eV(high))
        result.append(
            {
                "compound": line.formula,
                "source": line.source,
                "aimd_eV": line.activation_energy_eV,
                "estimate_eV": round((warm[VALUE] - cold[VALUE]) / step, 3),
                "hop_network_eV": round((warm[HOPS] - cold[HOPS]) / step, 3),
            }
        )
    return result


def summary(found: list[dict[str, Any]], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of the values (every compound counts once) and of the slopes."""
    scored = [e for e in found if e["aimd"] is not None]
    moved = [e for e in scored if e["kinetic_monte_carlo"] is not None]
    compounds = sorted({e["compound"] for e in scored})

    def error(value: Callable[[dict[str, Any]], float], own: list[dict[str, Any]] = scored) -> Any:
        each = [
            np.mean([abs(value(e) - e["aimd"]) for e in own if e["compound"] == name])
            for name in sorted({e["compound"] for e in own})
        ]
        return round(float(np.mean(each)), 3) if each else None

    def constant(e: dict[str, Any]) -> float:
        others = [o["aimd"] for o in scored if o["compound"] != e["compound"]]
        return float(np.mean(others))

    slope = {
        name: round(float(np.mean([abs(one[name] - one["aimd_eV"]) for one in lines])), 3)
        for name in ("estimate_eV", "hop_network_eV")
    }
    known = [one["aimd_eV"] for one in lines]
    slope["constant_eV"] = round(
        float(
            np.mean(
                [abs(np.mean(known[:k] + known[k + 1 :]) - known[k]) for k in range(len(known))]
            )
        ),
        3,
    )
    return {
        "n_compounds": len(compounds),
        "mae_decades": {
            "estimate": error(lambda e: e["estimate"]),
            "hop network": error(lambda e: e["hop_network"]),
            "constant": error(constant),
        },
        "partly_filled": {
            "n_compounds": len({e["compound"] for e in moved}),
            "mae_decades": {
                name: error(lambda e, name=name: e[name], moved)
                for name in ("estimate", "hop_network", "kinetic_monte_carlo")
            },
            "bounds_kept_by_kinetic_monte_carlo": [
                e["kinetic_monte_carlo"] <= e["aimd_at_most"]
                for e in found
                if e["aimd_at_most"] is not None and e["kinetic_monte_carlo"] is not None
            ],
        },
        "bias_decades": round(float(np.mean([e["estimate"] - e["aimd"] for e in scored])), 3),
        "interval_coverage_90": round(
            float(np.mean([e["interval"][0] <= e["aimd"] <= e["interval"][1] for e in scored])), 3
        ),
        "interval_width_mean": round(
            float(np.mean([e["interval"][1] - e["interval"][0] for e in scored])), 2
        ),
        "bounds_kept": [
            e["estimate"] <= e["aimd_at_most"] for e in found if e["aimd_at_most"] is not None
        ],
        "mae_slope_eV": slope,
    }


def n_molten() -> int:
    """Runs of own molecular dynamics in which the crystal melted."""
    labels = json.loads(MD_LABELS.read_text(encoding="utf-8"))
    return sum(run["host_melted"] for label in labels for run in label["runs"])


def md_summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of the estimate and of the hop network, beside the mean of the other labels."""
    scored = [e for e in found if e["aimd"] is not None]
    true = np.array([e["aimd"] for e in scored])
    others = (true.sum() - true) / (len(true) - 1)
    columns = {
        "estimate": np.array([e["estimate"] for e in scored]),
        "hop network": np.array([e["hop_network"] for e in scored]),
        "constant": others,
    }
    interval = np.array([e["interval"] for e in scored])
    return {
        "n": len(scored),
        "n_molten": n_molten(),
        "temperatures_K": sorted({e["temperature_K"] for e in found}),
        "mae_decades": {k: round(float(np.abs(v - true).mean()), 3) for k, v in columns.items()},
        "bias_decades": {k: round(float((v - true).mean()), 3) for k, v in columns.items()},
        "interval_coverage_90": round(
            float(np.mean((interval[:, 0] <= true) & (true <= interval[:, 1]))), 3
        ),
        "beyond_bounds_decades": [
            round(max(e["estimate"] - e["aimd_at_most"], 0.0), 3)
            for e in found
            if e["aimd_at_most"] is not None
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument(
        "--labels", type=Path, nargs="*", default=[], help="further files of `label md`"
    )
    args = parser.parse_args()
    if args.labels:
        add_labels(args.labels)
    found, lines, md = entries(), slopes(), md_entries(args.data)
    results = {
        "summary": summary(found, lines),
        "molecular dynamics": md_summary(md),
        "values": found,
        "slopes": lines,
        "molecular dynamics, values": md,
    }
    print(json.dumps(results, indent=1))
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
