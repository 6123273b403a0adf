"""Does a model's card still hold? Files, validation rows, labels and predictions recomputed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.models import library
from ionbridge.models.validation import (
    GROUPED,
    STARTER,
    ValidationRow,
    label_checksum,
    read_validation,
    validation_row,
)
from ionbridge.screening.errors import InputError
from ionbridge.screening.orchestrator.potentials import NEB, NEB_VALIDATION
from ionbridge.screening.orchestrator.records import composition_in, composition_of
from ionbridge.screening.starter import starter_crystals, starter_hops
from ionbridge.structures.sources import (
    conductivity_extra,
    materials_project,
    na_conductivity,
    neb_barriers,
    obelix,
)

TOLERANCE = 0.01
"""Relative difference of a stated and a recomputed error that rounding explains."""
SAME_PREDICTION = 1e-3
"""Relative difference of predictions by the same weights on two machines."""
STATED_KEYS = ("mae_eV", "mae_decades", "mae")


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        name: Of the model.
        lines: What was checked and holds.
        faults: What does not; empty where the card tells the truth.
    """

    name: str
    lines: tuple[str, ...]
    faults: tuple[str, ...]


def check(name: str, data: Path | None = None) -> CheckReport:
    """Check a model by its files, its validation rows, and the data folder where one is given.

    Args:
        name: Name or folder of a model.
        data: Folder of the public data sets; without it the starter rows are used.

    Raises:
        IncompatibleModelError: The folder is not a whole, unaltered model.
        InputError: The data folder lacks the set that the model was validated on.
    """
    if name == NEB:
        return _check_potential(data)
    folder = library.find(name)
    model, card = library.load(name), library.card(name)
    lines = [f"{folder}: files whole, checksums as in the card, weights loaded"]
    faults: list[str] = []
    tables = read_validation(folder)
    if GROUPED in tables:
        _compare_stated(tables[GROUPED], card, lines, faults)
    elif card.get("validation"):
        lines.append("no grouped validation rows beside the card: its stated errors rest on prose")
    if data is not None:
        _compare_labels(tables, str(card.get("quantity", "")), data, lines, faults)
    if STARTER in tables:
        _compare_predictions(model, card, tables[STARTER], lines, faults)
    return CheckReport(name, tuple(lines), tuple(faults))


def _check_potential(data: Path | None) -> CheckReport:
    """Rows of bands with CHGNet against published ones; the potential itself is another's."""
    tables = read_validation(NEB_VALIDATION)
    error = float(np.mean([row.absolute_error for row in tables[GROUPED]]))
    n = len(tables[GROUPED])
    lines = [f"{n} bands against published ones, mean absolute error {error:.4g}"]
    faults: list[str] = []
    if data is not None:
        _compare_labels(tables, "migration_barrier", data, lines, faults)
    return CheckReport(NEB, tuple(lines), tuple(faults))


def _compare_stated(
    rows: Sequence[ValidationRow], card: Mapping[str, Any], lines: list[str], faults: list[str]
) -> None:
    """The error that the card states against the rows beside it."""
    found = float(np.mean([row.absolute_error for row in rows]))
    written = card.get("validation")
    stated: Mapping[str, Any] = written if isinstance(written, Mapping) else {}
    key = next((k for k in STATED_KEYS if k in stated), None)
    if key is None:
        lines.append(f"{len(rows)} validation rows, mean absolute error {found:.4g}")
        return
    value = float(stated[key])
    if abs(value - found) > TOLERANCE * max(found, 1e-6):
        faults.append(
            f"the card states {key} {value:g}, its {len(rows)} validation rows give {found:.4g}"
        )
    else:
        lines.append(f"{len(rows)} validation rows give {key} {found:.4g}, as the card states")
    n = stated.get("n")
    if isinstance(n, int) and n != len(rows):
        faults.append(f"the card states n {n}, there are {len(rows)} validation rows")


def _compare_labels(
    tables: Mapping[str, Sequence[ValidationRow]],
    quantity: str,
    data: Path,
    lines: list[str],
    faults: list[str],
) -> None:
    """Labels and errors of every row against the data itself."""
    if quantity not in LABELS:
        lines.append(f"no public set holds labels of {quantity or 'this quantity'}")
        return
    try:
        labels = LABELS[quantity](data)
    except OSError as error:
        raise InputError(f"{data}: the labels of {quantity} are not there ({error})") from error
    for protocol, rows in tables.items():
        if protocol == STARTER:
            continue
        unknown = [row.id for row in rows if row.id not in labels]
        known = [row for row in rows if row.id in labels]
        altered = [r.id for r in known if label_checksum(r.id, labels[r.id]) != r.label_sha256]
        wrong = [
            row.id
            for row in known
            if abs(abs(row.prediction - labels[row.id]) - row.absolute_error) > 2e-5
        ]
        for what, ids in (
            ("are not in the data", unknown),
            ("have another label in the data", altered),
            ("have another error than stated", wrong),
        ):
            if ids:
                faults.append(f"{protocol}: {len(ids)} of {len(rows)} rows {what} ({ids[0]}, ...)")
        if known and not altered and not wrong and not unknown:
            mean = np.mean([abs(row.prediction - labels[row.id]) for row in known])
            lines.append(f"{protocol}: {len(known)} labels as in the data, error {mean:.4g}")


def _compare_predictions(
    model: Any,
    card: Mapping[str, Any],
    stored: Sequence[ValidationRow],
    lines: list[str],
    faults: list[str],
) -> None:
    """What the weights predict for the starter rows against what they predicted when shipped."""
    found = {row.id: row.prediction for row in starter_rows(model, str(card.get("quantity")))}
    missing = [row.id for row in stored if row.id not in found]
    changed = [
        row.id
        for row in stored
        if row.id in found
        and abs(found[row.id] - row.prediction) > SAME_PREDICTION * max(1.0, abs(row.prediction))
    ]
    if missing:
        faults.append(f"starter: {len(missing)} rows cannot be predicted any more ({missing[0]})")
    if changed:
        one = next(row for row in stored if row.id == changed[0])
        faults.append(
            f"starter: {len(changed)} of {len(stored)} predictions differ from the stored ones "
            f"({one.id}: {found[one.id]:g}, stored {one.prediction:g})"
        )
    if not missing and not changed:
        lines.append(f"starter: {len(stored)} predictions as stored")


def starter_rows(model: Any, quantity: str) -> list[ValidationRow]:
    """Predictions for the starter rows that a model can predict, without labels of their own."""
    rows = []
    if quantity.startswith("migration_barrier"):
        hops = starter_hops()[::4]
        for hop, value in zip(hops, model.predict(hops).mean, strict=True):
            rows.append(validation_row(hop.id, hop.family, hop.working_ion, value, value))
        return rows
    for crystal in starter_crystals():
        try:
            record = composition_of(composition_in(crystal))
            value = float(model.predict([record]).mean[0])
        except ValueError:  # no working ion that the model knows of
            continue
        rows.append(validation_row(crystal.id, crystal.family, crystal.working_ion, value, value))
    return rows


def _barriers(data: Path) -> dict[str, float]:
    return {hop.id: float(hop.barrier_eV or 0.0) for hop in neb_barriers.load(data).records}


def _voltages(data: Path) -> dict[str, float]:
    return {p.id: p.voltage_V for p in materials_project.load_electrode_pairs(data).records}


def _volume_changes(data: Path) -> dict[str, float]:
    return {
        p.id: p.extra["max_delta_volume_frac"]
        for p in materials_project.load_electrode_pairs(data).records
        if "max_delta_volume_frac" in p.extra
    }


def _formation_energies(data: Path) -> dict[str, float]:
    crystals = materials_project.load_bulk(data).records
    return {c.id: float(c.extra["formation_energy_per_atom_eV"]) for c in crystals}


def _hull_distances(data: Path) -> dict[str, float]:
    crystals = materials_project.load_electrode_materials(data).records
    known = {c.id: c.extra.get("e_above_hull_eV") for c in crystals}
    return {id: float(value) for id, value in known.items() if value is not None}


def _conductivities(data: Path) -> dict[str, float]:
    sources = (obelix.SOURCE, na_conductivity.SOURCE, conductivity_extra.SOURCE)
    rows = [row for source in sources for row in source.load(data).records]
    return {row.id: row.label.value for row in rows if row.label is not None}


LABELS: Mapping[str, Callable[[Path], Mapping[str, float]]] = {
    "migration_barrier": _barriers,
    "voltage": _voltages,
    "volume_change": _volume_changes,
    "formation_energy": _formation_energies,
    "energy_above_hull": _hull_distances,
    "conductivity": _conductivities,
    "conduction": _conductivities,
}
"""Labels of each quantity by record id, from the folder of the public data sets."""
