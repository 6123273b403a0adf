"""The entry that learns diffusivities from the labels given, as ``finetune`` does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.planning.catalogue import Entry, StepContext, Tables, ValidatedError
from ionbridge.screening.planning.formulas import MAE_TO_STD
from ionbridge.screening.planning.quantities import QUANTITIES, Row
from ionbridge.screening.planning.records import composition_of, failed, row_by_row
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Label

if TYPE_CHECKING:  # steps import what they run
    from ionbridge.models.conductors.diffusivity import DiffusivityProcess

LABELS = "diffusivity_labels"
CARD_FILE = "card.json"


def adapted_diffusivity_entry() -> Entry:
    """Arrhenius lines over compositions, learnt from the labels of a plan."""
    return Entry(
        name="adapted-diffusivity-model",
        kind="process",
        about="learns Arrhenius lines over compositions from the diffusivities given",
        inputs=(LABELS, "composition"),
        outputs=("diffusivity",),
        fidelity="potential",
        cost_s=0.5,
        conditions=("temperature_K",),
        judge=_judged,
        judged_on=LABELS,
        run=_run,
    )


def predicted_diffusivities(
    model: DiffusivityProcess, rows: Sequence[Row], temperature_K: float
) -> list[Row]:
    """Rows of ``diffusivity`` from those of ``composition``, by the function of ``predict``."""
    from ionbridge.screening.prediction.diffusivities import diffusivity_rows

    def predicted(row: Row) -> Row:
        found = diffusivity_rows(model, [composition_of(row)], temperature_K)[0]
        if found["status"] != "ok":
            return failed(row, found["reason"])
        column = QUANTITIES["diffusivity"].column
        return {
            "id": row["id"],
            column: found[column],
            "std": found["log10_diffusivity_std"],
            "in_domain": found["in_domain"],
            "diffusivity_kind": "tracer",
            "status": "ok",
        }

    return row_by_row(rows, predicted)


@lru_cache(maxsize=8)
def _adapted(text: str, seed: int) -> tuple[DiffusivityProcess, dict[str, Any]]:
    from ionbridge.models.adaptation.diffusivities import adapt_diffusivity

    rows: list[ConductivityRow] = []
    labels: list[Label] = []
    for row in json.loads(text):
        rows.append(composition_of(row))
        labels.append(
            Label(
                "log10_diffusivity_cm2_s",
                row["log10_diffusivity_cm2_s"],
                bound=row["bound"],
                std=row["std"],
                temperature_K=row["temperature_K"],
                method=row["method"],
            )
        )
    return adapt_diffusivity(rows, labels, seed=seed)


def _judged(tables: Tables) -> Mapping[str, ValidatedError]:
    """The error out of fold, next to that of one line for all compositions."""
    try:
        _, card = _adapted(json.dumps(list(tables[LABELS])), 0)
    except ValueError:
        return {}
    stated = card["validation"]
    if not stated["n"]:
        return {}
    before, after = stated["mae_of_the_common_line"], stated["mae"]
    basis = (
        f"{stated['n']} labels given, {stated['split'].partition(';')[0]}: {after:.2f} decades, "
        f"one Arrhenius line for all {before:.2f}"
    )
    return {"diffusivity": ValidatedError(MAE_TO_STD * after, stated["n"], basis)}


def _run(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    model, card = _adapted(json.dumps(list(tables[LABELS])), context.at.seed)
    write_json(Path(context.folder) / CARD_FILE, card)
    rows = predicted_diffusivities(model, tables["composition"], context.at.temperature_K)
    return {"diffusivity": rows}
