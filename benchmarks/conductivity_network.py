"""Does the physics route (hops to D to sigma) help to learn measured conductivities?

    python -m benchmarks.conductivity_network --data DIR [--seeds 2]

For every Li conductor with a CIF: bond-valence percolation barriers and what the shipped hop model
makes of its hop network. Scored on their own, and as further columns of the committee (missing
ones filled with medians, beside a column that says so), papers kept together, and papers with
compositions. Writes benchmarks/results/conductivity_network.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.conductivity import (
    Arrays,
    label_of,
    member_runs,
    paper_and_composition,
    spread_of,
)
from ionbridge.models.checkpoint import sha256
from ionbridge.models.conductivity import SCALE, source_group
from ionbridge.models.library import DEFAULTS
from ionbridge.models.metrics import mae, paired_bootstrap, spearman
from ionbridge.screening.execution import TimeLimitExceededError, time_limit
from ionbridge.screening.predict import CrystalPredictor
from ionbridge.structures.bvse import bond_valence_field, landscape
from ionbridge.structures.composition import oxidation_states
from ionbridge.structures.records import UnusableStructureError
from ionbridge.structures.sources import obelix
from ionbridge.structures.symmetry import primitive_cell
from ionbridge.structures.tables import ConductivityRow

RESULT = Path(__file__).parent / "results" / "conductivity_network.json"
COLUMNS = (
    "percolation_barrier_eV",
    "percolation_barrier_3d_eV",
    "log10_conductivity_S_cm",
    "log10_conductivity_std",
)
NAMES = ("bond_valence_1d_eV", "bond_valence_3d_eV", *COLUMNS)
CHOICES = {
    "none": (),
    "network sigma": ("log10_conductivity_S_cm",),
    "barriers and sigma": (
        "bond_valence_3d_eV",
        "percolation_barrier_3d_eV",
        "log10_conductivity_S_cm",
    ),
    "all": NAMES,
}
RESOLUTION_A = 0.3
LIMIT_S = 60.0
LIMITS = (-30.0, 30.0)
Floats = NDArray[np.float64]


def bond_valence(row: ConductivityRow) -> list[float]:
    """Percolation barriers in one and three dimensions, eV; NaN where there are none."""
    assert row.crystal is not None
    try:
        with time_limit(LIMIT_S):
            crystal = primitive_cell(row.crystal)
            field = bond_valence_field(crystal, "Li", oxidation_states(crystal))
            one, _, three = landscape(field, RESOLUTION_A).percolation_barriers()
            return [one, three]
    except (UnusableStructureError, TimeLimitExceededError):
        return [np.nan, np.nan]


def physics(rows: list[ConductivityRow]) -> Floats:
    """(n, len(NAMES)) numbers of the crystals; NaN without a CIF or where they fail."""
    predictor = CrystalPredictor(DEFAULTS["migration_barrier"], time_limit_s=LIMIT_S)
    found = np.full((len(rows), len(NAMES)), np.nan)
    for i, row in enumerate(rows):
        if row.crystal is not None:
            [network] = predictor([row.crystal])
            values = [np.nan if network.get(c) is None else network[c] for c in COLUMNS]
            found[i] = [*bond_valence(row), *values]
    return np.where(np.isnan(found), np.nan, np.clip(found, *LIMITS))


def filled(columns: Floats) -> Floats:
    """Medians for what is missing, and a column that says where."""
    missing = np.isnan(columns)
    return np.column_stack(
        [np.where(missing, np.nanmedian(columns, axis=0), columns), missing[:, -1]]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    started = time.perf_counter()
    rows = list(obelix.load(args.data).records)
    columns = physics(rows)
    data = Arrays.of(rows)
    exact = np.array([label_of(row).bound == "=" for row in rows])
    with_network = np.isfinite(columns[:, NAMES.index("log10_conductivity_S_cm")])
    result: dict[str, Any] = {
        "data_sha256": {obelix.TABLE_FILE: sha256(args.data / obelix.TABLE_FILE)},
        "hop_model": DEFAULTS["migration_barrier"],
        "n": len(rows),
        "n_with_network": int(with_network.sum()),
        "seeds": args.seeds,
        "alone": {},
    }
    for k, name in enumerate(NAMES):
        own = exact & np.isfinite(columns[:, k])
        result["alone"][name] = {
            "n": int(own.sum()),
            "spearman": round(spearman(data.value[own], columns[own, k]), 3),
        }
    own = exact & with_network
    sigma = columns[own, NAMES.index("log10_conductivity_S_cm")]
    result["alone"]["log10_conductivity_S_cm"]["mae"] = round(mae(data.value[own], sigma), 3)
    print(json.dumps(result["alone"]), flush=True)
    groups: dict[str, Callable[[ConductivityRow], str]] = {
        "paper": source_group,
        "paper_and_composition": paper_and_composition(rows),
    }
    for protocol, group in groups.items():
        table: dict[str, Any] = {}
        plain: Floats | None = None
        for choice, names in CHOICES.items():
            picked = columns[:, [NAMES.index(n) for n in names]]
            features = np.column_stack([data.features, filled(picked)]) if names else data.features
            seen = replace(data, features=features)
            runs = [member_runs(seen, group, seed)[:3].mean(axis=0) for seed in range(args.seeds)]
            found = [-SCALE.inverse(t) for t in runs]
            mean = np.mean(found, axis=0)
            table[choice] = spread_of(data.value[exact], [f[exact] for f in found])
            table[choice]["mae_with_network"] = round(mae(data.value[own], mean[own]), 3)
            if plain is None:
                plain = mean
            else:
                papers = [source_group(r) for r, o in zip(rows, own, strict=True) if o]
                gap = paired_bootstrap(data.value[own], mean[own], plain[own], groups=papers)
                table[choice]["minus_none_with_network"] = [
                    round(v, 3) for v in (gap.value, gap.lower, gap.upper)
                ]
            print(protocol, choice, json.dumps(table[choice]), flush=True)
        result[protocol] = table
    result["seconds"] = round(time.perf_counter() - started)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
