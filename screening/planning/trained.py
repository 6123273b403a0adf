"""Entries that were learnt: every model folder of the library becomes one, from its card."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models import library
from ionbridge.models.checkpoint import (
    CONFIG,
    IncompatibleModelError,
    model_checksum,
    read_mapping,
)
from ionbridge.models.validation import errors_by_domain
from ionbridge.screening.planning.catalogue import (
    Entry,
    EntryDomain,
    Kind,
    Run,
    StepContext,
    Tables,
    ValidatedError,
)
from ionbridge.screening.planning.formulas import (
    FEWEST_LABELS,
    MAE_TO_STD,
    estimated_row,
    hop_row,
)
from ionbridge.screening.planning.records import (
    composition_in,
    composition_of,
    crystal_of,
    failed,
    hop_of,
    row_by_row,
    usable,
)
from ionbridge.screening.table import Row
from ionbridge.structures.io.tables import ROOM_RANGE_K
from ionbridge.structures.quantities import QUANTITIES
from ionbridge.structures.records import Hop, UnusableStructureError

if TYPE_CHECKING:  # steps import what they run
    from ionbridge.models.conductors.diffusivity import DiffusivityProcess


@dataclass(frozen=True)
class Learnt:
    """How models of one kind on disk become entries; known without importing their class.

    Attributes:
        kind: Of the entry.
        inputs: Kind of record that it predicts.
        cost_s: Seconds a record, where the card states none.
        measures: Whether it tells how far a record is from the training set.
    """

    kind: Kind
    inputs: str
    cost_s: float = 0.05
    measures: bool = False


LEARNT: Mapping[str, Learnt] = {
    "hop_ensemble": Learnt("network", "hop", 0.15, measures=True),
    "physics_fed": Learnt("process", "hop", 0.1, measures=True),
    "trees": Learnt("trees", "hop"),
    "gaussian_process": Learnt("process", "hop"),
    "global_mean": Learnt("means", "hop"),
    "family_mean": Learnt("means", "hop"),
    "bond_valence": Learnt("formula", "hop"),
    "conductivity_trees": Learnt("trees", "composition", 0.01, measures=True),
    "few_label_conductivity": Learnt("process", "composition", 0.01),
    "property_trees": Learnt("trees", "composition", measures=True),
    "diffusivity_process": Learnt("process", "composition"),
    "cycle_life": Learnt("process", "early_cycles"),
}
"""By kind on disk; a kind of the library that is missing here predicts no record by itself."""
STATED_KEYS = ("mae_eV", "mae_decades", "mae")
"""Where a card's validation states the mean absolute error."""


def trained_entries() -> tuple[list[Entry], list[tuple[str, str]]]:
    """Entries of all models, and the folders that could not become one, with the reason."""
    entries, broken = [], list(library.broken_entry_points().items())
    known = library.folders()
    for name in known:
        try:
            entry = entry_of(name, library.only(name, known))
        except IncompatibleModelError as error:
            broken.append((name, str(error)))
        except Exception as error:  # the folder may be anybody's
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            broken.append((name, f"its card or config cannot be understood ({why})"))
        else:
            entries += [] if entry is None else [entry]
    return entries, broken


def entry_of(name: str, folder: Path) -> Entry | None:
    """The entry of a model folder; None for what only others start from.

    Raises:
        IncompatibleModelError: Card or configuration cannot be read, or lack what is needed.
    """
    card = library.read_card(folder)
    settings = read_mapping(folder / CONFIG, json.loads)
    kind = str(settings.get("kind"))
    if kind not in LEARNT:
        if kind in library.KINDS:
            return None
        raise _refused(folder, f"unknown kind {kind!r}")
    output = str(card.get("quantity", "")).removesuffix("_eV")
    if output not in QUANTITIES:
        raise _refused(folder, f"the card names the quantity {output!r}, which no step knows")
    learnt = LEARNT[kind]
    run, measure = _steps(learnt.inputs, output, folder)
    judge = partial(_error_on_labels, folder) if learnt.inputs == "hop" else None
    return Entry(
        name=name,
        kind=learnt.kind,
        about=str(card.get("predicts", output)),
        inputs=(learnt.inputs,),
        outputs=(output,),
        fidelity=_fidelity(card),
        cost_s=float(card.get("cost_s", learnt.cost_s)),
        errors={output: validated_errors(folder, card)},
        domain=EntryDomain(
            frozenset(map(str, card.get("working_ions", ()))),
            frozenset(map(str, card.get("elements", ()))),
            frozenset(map(str, card.get("families", ()))),
            {"temperature_K": ROOM_RANGE_K} if output == "conductivity" else {},
        ),
        conditions=("temperature_K",) if output in ("conductivity", "diffusivity") else (),
        licence=str(card.get("licence", "not stated")),
        training_sets=_training_sets(card),
        checksum=model_checksum(folder)[:16],
        folder=folder,
        origin="shipped" if folder.parent == library.LIBRARY.resolve() else str(folder),
        run=run,
        measure=measure if learnt.measures else None,
        judge=judge,
    )


def _refused(folder: Path, reason: str) -> IncompatibleModelError:
    return IncompatibleModelError(f"{folder}: {reason}")


def validated_errors(folder: Path, card: Mapping[str, Any]) -> dict[str, ValidatedError]:
    """Errors by scope: from the validation rows beside the card, else the one the card states."""
    scopes = {
        scope: ValidatedError(e.std, e.n_rows, f"{e.n_rows} rows, {e.protocol}", e.half_90)
        for scope, e in errors_by_domain(folder).items()
    }
    stated = card.get("validation")
    if card.get("quantity") == "cycle_life" and isinstance(stated, Mapping):
        return _cycle_life_errors(stated)
    if isinstance(stated, Mapping) and "all" not in scopes:
        scopes |= _errors_by_ion(stated)
    key = next((k for k in STATED_KEYS if isinstance(stated, Mapping) and k in stated), None)
    if "all" not in scopes and key is not None and isinstance(stated, Mapping):
        std = MAE_TO_STD * float(stated[key])
        n = int(stated.get("n", 0))
        scopes["all"] = ValidatedError(std, n, "as the card states, without its rows")
    return scopes


def _errors_by_ion(stated: Mapping[str, Any]) -> dict[str, ValidatedError]:
    """From the scores of the shipped model that a card states ion by ion; the worst stands for all.

    An ion without scores of its own was not learnt from.
    """
    found = {}
    for ion, scores in stated.items():
        shipped = scores.get("shipped") if isinstance(scores, Mapping) else None
        if isinstance(shipped, Mapping) and isinstance(shipped.get("mae"), Sequence):
            std = MAE_TO_STD * float(shipped["mae"][0])
            found[f"ion:{ion}"] = ValidatedError(std, 0, "as the card states, without its rows")
    if found:
        found["all"] = max(found.values(), key=lambda error: error.std)
    return found


def _cycle_life_errors(stated: Mapping[str, Any]) -> dict[str, ValidatedError]:
    """From the percentages of the life, by number of training cells, that its card states."""
    numbers = [int(key) for key in stated if key.isdecimal()]
    if not numbers:
        return {}
    shipped: Mapping[str, Any] = next(
        (v for k, v in stated[str(max(numbers))].items() if "shipped" in k), {}
    )
    if "mape_mean" not in shipped:
        return {}
    std = MAE_TO_STD * math.log10(1.0 + float(shipped["mape_mean"]) / 100.0)
    return {"all": ValidatedError(std, max(numbers), "each cell left out once, as the card states")}


def _fidelity(card: Mapping[str, Any]) -> str:
    trained = card.get("trained_on")
    methods = trained.get("methods", ()) if isinstance(trained, Mapping) else ()
    if "experiment" in methods:
        return "experiment"
    if any(str(m).startswith("dft") for m in methods):
        return "dft"
    if any(str(m).startswith("mlip") for m in methods):
        return "potential"
    return "bond_valence" if "bvse" in methods else "not stated"


def _training_sets(card: Mapping[str, Any]) -> tuple[str, ...]:
    trained = card.get("trained_on")
    data = trained.get("data", ()) if isinstance(trained, Mapping) else trained or ()
    return tuple(
        str(one.get("name", one)) if isinstance(one, Mapping) else str(one) for one in data
    )


Floats = NDArray[np.float64]
Measure = Callable[[Tables], Sequence[float]]


def _steps(inputs: str, output: str, folder: Path) -> tuple[Run, Measure]:
    """What runs the model, and what measures the distance to its training set."""
    if inputs == "hop":
        return partial(_predict_hops, folder), partial(_hop_distances, folder)
    measure = partial(_row_distances, folder)
    if inputs == "early_cycles":
        return partial(_predict_lives, folder), measure
    if output == "diffusivity":
        return partial(_predict_diffusivities, folder), measure
    return partial(_predict_rows, folder, output), measure


@lru_cache(maxsize=4)
def loaded(folder: Path) -> Any:
    """A model, loaded once a process."""
    return library.load(folder)


def _predict_hops(folder: Path, tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    return {"migration_barrier": predicted_hops(loaded(folder), tables["hop"])}


def predicted_hops(model: Any, rows: Sequence[Row]) -> list[Row]:
    """Rows of ``migration_barrier``; with the members' energies where the model has them."""
    from ionbridge.screening.prediction.rows import each_or_failed

    good = usable(rows)
    found = iter(each_or_failed(good, partial(_hop_rows, model), failed))
    return [
        next(found) if row.get("status", "ok") == "ok" else failed(row, row.get("reason", ""))
        for row in rows
    ]


def _hop_rows(model: Any, rows: Sequence[Row]) -> list[Row]:
    from ionbridge.screening.labelling.bands.potential_profile import with_potential_profile

    if not rows:
        return []
    hops = [hop_of(row) for row in rows]
    if model.asks_for_profile:
        hops = [with_potential_profile(hop) for hop in hops]
    prediction = model.predict(hops)
    inside = model.in_domain(hops)
    result = [
        hop_row(row, prediction.mean[i], prediction.std[i], inside[i]) for i, row in enumerate(rows)
    ]
    energies = model.energies(hops)
    has_members = len(energies.kra_eV) > 1
    for i, row in enumerate(result):
        row |= {
            "start_eV": energies.start_eV[:, i].tolist(),
            "end_eV": energies.end_eV[:, i].tolist(),
            "kra_eV": energies.kra_eV[:, i].tolist(),
        }
        if has_members:
            row["aleatoric_std_eV"] = float(energies.aleatoric_std_eV[i])
    return result


def _hop_distances(folder: Path, tables: Tables) -> list[float]:
    """Distance to the training set of each hop, or of the median hop of each crystal."""
    model = loaded(folder)
    if tables.get("hop"):
        return [d for row in tables["hop"] for d in _distance(model, [row], _own_hop)]
    return [d for row in tables.get("crystal", ()) for d in _distance(model, [row], _found_hops)]


def _own_hop(row: Row) -> Sequence[Hop]:
    return (hop_of(row),)


def _found_hops(row: Row) -> Sequence[Hop]:
    from ionbridge.structures.hops.sites import find_hops

    return find_hops(crystal_of(row)).hops


def _distance(model: Any, rows: Sequence[Row], hops: Callable[[Row], Sequence[Hop]]) -> list[float]:
    """Median distance of the hops of each row; none of a row that cannot be used."""
    found = []
    for row in rows:
        try:
            found.append(float(np.median(model.distance(hops(row)))))
        except (UnusableStructureError, ValueError):
            continue
    return found


def _error_on_labels(folder: Path, tables: Tables) -> Mapping[str, ValidatedError]:
    """The error on labelled hops, values alone, unless the model was trained on them."""
    hops = [hop for hop in map(hop_of, tables.get("hop_labels", ())) if hop.bound == "="]
    if len(hops) < FEWEST_LABELS:
        return {}
    model = loaded(folder)
    try:
        if model.were_trained_on(hops).any():
            return {}
        gap = model.predict(hops).mean - np.array([hop.barrier_eV for hop in hops], dtype=float)
    except (UnusableStructureError, ValueError):
        return {}
    std = MAE_TO_STD * float(np.mean(np.abs(gap)))
    return {"migration_barrier": ValidatedError(std, len(hops), f"{len(hops)} labels given")}


def _predict_diffusivities(
    folder: Path, tables: Tables, context: StepContext
) -> Mapping[str, list[Row]]:
    model, kelvin = loaded(folder), context.at.temperature_K
    return {"diffusivity": predicted_diffusivities(model, tables["composition"], kelvin)}


def predicted_diffusivities(
    model: DiffusivityProcess, rows: Sequence[Row], temperature_K: float
) -> list[Row]:
    """Rows of ``diffusivity`` from those of ``composition``, by the function of ``predict``."""
    from ionbridge.screening.prediction.diffusivities import diffusivity_rows

    made = partial(diffusivity_rows, model, temperature_K=temperature_K)
    found = _by_predict(rows, "diffusivity", lambda row: made([composition_of(row)])[0])
    return [{**row, "diffusivity_kind": "tracer"} for row in found]


def predicted_conductivities(model: Any, rows: Sequence[Row]) -> list[Row]:
    """Rows of ``conductivity`` from those of ``composition``, by the function of ``predict``."""
    from ionbridge.screening.prediction.conductivities import conductivity_rows

    return _by_predict(
        rows, "conductivity", lambda row: conductivity_rows(model, [composition_of(row)])[0]
    )


def _by_predict(rows: Sequence[Row], quantity: str, predicted: Callable[[Row], Row]) -> list[Row]:
    """Rows of a quantity from rows as ``predict`` writes them."""
    column, spread = QUANTITIES[quantity].column, QUANTITIES[quantity].spread

    def made(row: Row) -> Row:
        found = predicted(row)
        if found["status"] != "ok":
            return failed(row, found["reason"])
        return {
            "id": row["id"],
            column: found[column],
            "std": found[spread],
            "in_domain": found["in_domain"],
            "working_ion": row.get("working_ion"),
            "status": "ok",
        }

    return row_by_row(rows, made)


def _predict_rows(
    folder: Path, output: str, tables: Tables, context: StepContext
) -> Mapping[str, list[Row]]:
    from ionbridge.screening.prediction.conductivities import conductivity_rows
    from ionbridge.screening.prediction.rows import each_or_failed, predicted_rows
    from ionbridge.structures.io.json_records import crystal_from_json

    model, rows = loaded(folder), tables["composition"]
    is_shipped = folder.name == library.DEFAULTS["conductivity"]

    def predicted(row: Row) -> Row:
        if output == "conductivity" and "crystal" in row and is_shipped:
            crystal = crystal_from_json(row["crystal"])
            return estimated_row(crystal, context.at.temperature_K, context.at.seed)
        if output == "conductivity":  # the same road as ``predict``
            return conductivity_rows(model, [composition_of(row)])[0]
        names = QUANTITIES[output].columns()
        return each_or_failed(
            [composition_of(row)], lambda records: predicted_rows(model, records, names)
        )[0]

    return {output: _by_predict(rows, output, predicted)}


def _predict_lives(folder: Path, tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.structures.sources.cell_ageing import early_cycles

    model = loaded(folder)

    def life(row: Row) -> Row:
        record = early_cycles({k: str(v) for k, v in row.items()})
        if model.trouble(record):
            raise UnusableStructureError(f"{row['id']}: {model.trouble(record)}")
        prediction = model.predict([record])
        return {
            "id": row["id"],
            "log10_cycle_life": float(prediction.mean[0]),
            "std": float(prediction.std[0]),
            "in_domain": bool(model.in_domain([record])[0]),
            "status": "ok",
        }

    return {"cycle_life": row_by_row(tables["early_cycles"], life)}


def _row_distances(folder: Path, tables: Tables) -> list[float]:
    """Distance to the training set of each composition, or of that of each crystal."""
    model = loaded(folder)
    rows = tables.get("composition") or [
        composition_in(crystal_of(row)) for row in tables.get("crystal", ())
    ]
    distances = []
    for row in rows:
        try:
            distances.append(float(model.distance([composition_of(row)])[0]))
        except (UnusableStructureError, ValueError):
            continue
    return [distance for distance in distances if math.isfinite(distance)]
