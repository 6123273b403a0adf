"""Validation rows of the shipped models: what ``ionbridge models check`` recomputes.

    python -m benchmarks.model_validation --data DIR [--model NAME ...]

Writes into each model's folder the predictions of its weights for the starter rows, and, where the
benchmarks have them or they are made here, its out-of-fold predictions with the labels' checksums.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.neb_labels_vs_dft import starter_pairs
from ionbridge.models import library
from ionbridge.models.validation import (
    GROUPED,
    LEAVE_FAMILY_OUT,
    LEAVE_ION_OUT,
    STARTER,
    ValidationRow,
    validation_row,
    write_validation,
)
from ionbridge.screening.cell.shipped import OTHERS, ROMS
from ionbridge.screening.planning.cells import AGEING_MODELS
from ionbridge.screening.planning.checking import starter_rows
from ionbridge.screening.planning.potentials import NEB, NEB_VALIDATION
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.sources import neb_barriers

RESULTS = Path(__file__).parent / "results" / "hop_barriers"
PROTOCOLS = (GROUPED, LEAVE_FAMILY_OUT, LEAVE_ION_OUT)
RECIPES = {"hop-barrier": "learned"}
"""Recipes of shipped models, whose out-of-fold predictions ``benchmarks.hop_barriers`` makes."""
SKIPPED = (NEB, "hop-encoder", "cycle-life", *AGEING_MODELS, OTHERS, *ROMS.values())
"""No library models, or such as predict curves and histories rather than a number a row."""


def stored(name: str) -> dict[str, Path]:
    """Files of out-of-fold predictions of a model's recipe, by protocol, as far as they exist."""
    if name not in RECIPES:
        return {}
    paths = {protocol: RESULTS / f"{protocol}.{RECIPES[name]}.json" for protocol in PROTOCOLS}
    return {protocol: path for protocol, path in paths.items() if path.exists()}


def stored_rows(path: Path, data: Path) -> list[ValidationRow]:
    found = json.loads(path.read_text(encoding="utf-8"))
    hops = {hop.id: hop for hop in neb_barriers.load(data).records}
    rows = []
    for id, value in zip(found["ids"], found["mean_eV"], strict=True):
        hop = hops[id]
        if hop.barrier_eV is not None:
            family = canonical_family(hop.family)
            rows.append(validation_row(id, family, hop.working_ion, value, hop.barrier_eV))
    return rows


def potential_rows(data: Path) -> list[ValidationRow]:
    """CHGNet bands of the starter set against the published ones of the same paths."""
    return [
        validation_row(
            hop.id,
            canonical_family(hop.family),
            hop.working_ion,
            label.barrier_eV,
            hop.barrier_eV,
        )
        for label, hop, _ in starter_pairs(data)
        if label.barrier_eV is not None and hop.barrier_eV is not None
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--model", nargs="*", help="default: all shipped ones")
    args = parser.parse_args()
    names = args.model or [p.name for p in sorted(library.LIBRARY.iterdir()) if p.is_dir()]
    if args.model is None or NEB in args.model:
        rows = potential_rows(args.data)
        write_validation(NEB_VALIDATION, GROUPED, rows)
        error = np.mean([row.absolute_error for row in rows])
        print(f"{NEB}: {len(rows)} pairs, mean absolute error {error:.4g} eV", flush=True)
    for name in names:
        if name in SKIPPED:
            continue
        folder = library.LIBRARY / name
        card = library.read_card(folder)
        for protocol, path in stored(name).items():
            write_validation(folder, protocol, stored_rows(path, args.data))
        rows = starter_rows(library.load(name), str(card["quantity"]))
        write_validation(folder, STARTER, rows)
        error = np.mean([row.prediction for row in rows])
        print(f"{name}: {len(rows)} starter rows, mean prediction {error:.4g}", flush=True)


if __name__ == "__main__":
    main()
