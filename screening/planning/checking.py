"""Does a model's card still hold? Files, validation rows, labels and predictions recomputed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from ionbridge.models import library
from ionbridge.models.validation import (
    GROUPED,
    STARTER,
    ValidationRow,
    label_checksum,
    label_of,
    read_validation,
    validation_row,
)
from ionbridge.screening.campaign.starter import starter_crystals, starter_hops
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.potentials import NEB, NEB_VALIDATION
from ionbridge.screening.planning.records import composition_in, composition_of
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
SCORES = ("rmse", "rmse_eV", "rmse_decades", "spearman", "r2")
"""Other scores that validation rows give."""
LEAST_SCALE = (1e-6, 0.5)
"""What TOLERANCE is taken of at least: of an error, of a score between 0 and 1."""


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
    _compare_stated(tables, card, lines, faults)
    if GROUPED not in tables and card.get("validation"):
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
    tables: Mapping[str, Sequence[ValidationRow]],
    card: Mapping[str, Any],
    lines: list[str],
    faults: list[str],
) -> None:
    """Every score that the card states and rows beside it can give, recomputed from these rows."""
    written = card.get("validation")
    stated: Mapping[str, Any] = written if isinstance(written, Mapping) else {}
    left_over: list[str] = []
    for protocol, rows in tables.items():
        if protocol == STARTER:
            continue
        _compare_rows(protocol, rows, faults)
        own = stated if protocol == GROUPED else stated.get(protocol, {})
        if not isinstance(own, Mapping):
            faults.append(f"the card states {protocol} {str(own)[:40]!r}, which is no table")
            continue
        n_before = len(faults)
        held = _compare_scores(protocol, own, rows, faults)
        if protocol == GROUPED:
            for ion in sorted({row.working_ion for row in rows} & stated.keys()):
                scores = stated[ion].get("shipped") if isinstance(stated[ion], Mapping) else None
                if isinstance(scores, Mapping):
                    of_ion = [row for row in rows if row.working_ion == ion]
                    held += _compare_scores(f"{protocol}, {ion}", scores, of_ion, faults)
        if len(faults) == n_before:
            error = float(np.mean([row.absolute_error for row in rows])) if rows else math.nan
            claims = f", as the card states: {', '.join(held)}" if held else ""
            lines.append(f"{protocol}: {len(rows)} rows, mean absolute error {error:.4g}{claims}")
    scored = {*SCORES, *STATED_KEYS, "n", "split", *tables}
    left_over = [key for key in stated if key not in scored and not _is_scored(key, tables)]
    if left_over:
        lines.append(f"not recomputed, no rows for it: {', '.join(map(str, left_over))}")


def _is_scored(key: str, tables: Mapping[str, Sequence[ValidationRow]]) -> bool:
    return any(row.working_ion == key for row in tables.get(GROUPED, ()))


def _compare_rows(protocol: str, rows: Sequence[ValidationRow], faults: list[str]) -> None:
    """Ids once each, and errors that lead from the prediction to the label of the checksum."""
    twice = [id for id, n in Counter(row.id for row in rows).items() if n > 1]
    if twice:
        faults.append(f"{protocol}: {len(twice)} ids stand there more than once ({twice[0]})")
    wrong = [row.id for row in rows if not _leads_to_label(row)]
    if wrong:
        faults.append(
            f"{protocol}: {len(wrong)} of {len(rows)} rows have an error or prediction that does "
            f"not belong to the label of their checksum ({wrong[0]})"
        )


def _leads_to_label(row: ValidationRow) -> bool:
    try:
        label_of(row)
    except ValueError:
        return False
    return True


def _compare_scores(
    where: str, stated: Mapping[str, Any], rows: Sequence[ValidationRow], faults: list[str]
) -> list[str]:
    """Names of the stated scores that the rows give again; the others become faults."""
    held = []
    if not rows:
        faults.append(f"{where}: no validation rows")
        return []
    if "n" in stated and stated["n"] != len(rows):
        faults.append(f"{where}: the card states n {stated['n']}, there are {len(rows)} rows")
    for key in (*STATED_KEYS, *SCORES):
        if key not in stated:
            continue
        value = stated[key]
        value = value[0] if isinstance(value, list | tuple) and value else value
        found = _score(key, rows)
        if found is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            faults.append(f"{where}: the card states {key} {str(value)[:40]!r}, which is no number")
        elif not abs(value - found) <= TOLERANCE * max(abs(found), LEAST_SCALE[key in SCORES]):
            faults.append(
                f"{where}: the card states {key} {value:g}, its {len(rows)} validation rows give "
                f"{found:.4g}"
            )
        else:
            held.append(f"{key} {found:.4g}")
    return held


def _score(key: str, rows: Sequence[ValidationRow]) -> float | None:
    """A score of rows; None where it needs labels that cannot be found again."""
    errors = np.array([row.absolute_error for row in rows])
    if key in STATED_KEYS:
        return float(errors.mean())
    if key.startswith("rmse"):
        return float(np.sqrt(np.mean(errors**2)))
    labels = [label_of(row) if _leads_to_label(row) else None for row in rows]
    if any(label is None for label in labels):
        return None
    truth, found = np.array(labels, dtype=float), np.array([row.prediction for row in rows])
    if np.ptp(truth) == 0.0 or np.ptp(found) == 0.0:
        return math.nan  # not defined, whatever the card says
    if key == "spearman":
        return float(spearmanr(truth, found).statistic)
    return float(1.0 - np.sum((truth - found) ** 2) / np.sum((truth - truth.mean()) ** 2))


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
            if not abs(abs(row.prediction - labels[row.id]) - row.absolute_error) <= 2e-5
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
        and not abs(found[row.id] - row.prediction)
        <= SAME_PREDICTION * max(1.0, abs(row.prediction))  # NaN never equals
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


def _band_gaps(data: Path) -> dict[str, float]:
    crystals = materials_project.load_bulk(data).records
    return {c.id: float(c.extra["band_gap_eV"]) for c in crystals}


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
    "band_gap": _band_gaps,
    "conductivity": _conductivities,
    "conduction": _conductivities,
}
"""Labels of each quantity by record id, from the folder of the public data sets."""
