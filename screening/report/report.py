"""The report of a campaign: one self-contained page made from its table and its record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ionbridge.models.metrics import spearman
from ionbridge.screening.estimate import REFERENCE_SOURCE
from ionbridge.screening.ranking import ROLE_COLUMN
from ionbridge.screening.report import cell_plots, plots
from ionbridge.screening.table import Row

if TYPE_CHECKING:
    from ionbridge.screening.cell.stage import CellStage

PLOTTED = ("log10_diffusivity_cm2_s", "log10_conductivity_S_cm")
"""Columns that the plots can show; the first objective among them is taken."""

WEAK_CORRELATION = 0.5
"""Below this rank correlation with measured conductors the page warns."""
FEWEST_MEASURED = 4
"""References with a measured value that a rank correlation takes."""

N_CELLS = 15
"""Candidates whose cells are shown."""

N_SHOWN = 50
"""Rows of the ranked table on the page; the whole table is beside it as CSV."""


def render(rows: Sequence[Row], record: Mapping[str, Any], cell: CellStage | None = None) -> str:
    """The page as HTML text.

    Args:
        rows: The ranked table, best first.
        record: What ``campaign.json`` says.
        cell: What the cell stage found, where there was one.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    objectives = record["objectives"]
    column = next((o["column"] for o in objectives if o["column"] in PLOTTED), PLOTTED[0])
    ranked = [row for row in rows if row["rank"] is not None]
    references = [row for row in rows if row["source"] == REFERENCE_SOURCE]
    pictures = {
        "top": plots.top_candidates(ranked, column),
        "families": plots.by_family(ranked, column),
        "barrier": plots.barrier_against(ranked, column),
        "dimensions": plots.dimension_counts(ranked),
    }
    responses = {} if cell is None else cell.responses
    if cell is not None:
        base_cell = record["settings"]["cell"]["base_cell"]
        pictures["curves"] = cell_plots.discharge_curves(cell.curves, base_cell)
        for role, response in responses.items():
            pictures[f"cell_{role}"] = cell_plots.sensitivity(role, response, cell.rows)
    return environment.get_template("page.html").render(
        record=record,
        n_rows=len(rows),
        n_ranked=len(ranked),
        top=ranked[:N_SHOWN],
        lists=role_lists(rows),
        measured=against_measured(references),
        references=references,
        reference_source=REFERENCE_SOURCE,
        plots={name: Markup(svg) for name, svg in pictures.items()},
        settings=yaml.safe_dump(
            json.loads(json.dumps(record["settings"])), sort_keys=False, allow_unicode=True
        ).strip(),
        cell=None if cell is None else cell_table(cell, ranked),
        responses={
            role: {kpi: response.enough(kpi) for kpi in cell_plots.SHOWN_KPIS}
            for role, response in responses.items()
        },
        shown_kpis=cell_plots.SHOWN_KPIS,
        axis_shift={role: shift for role, (_, shift) in cell_plots.AXIS.items()},
        with_spread=with_spread,
        several=len(objectives) > 1,
        n_in_domain=sum(row["in_domain"] is True for row in ranked),
    )


def role_lists(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Electrolytes and electrodes apart: the best of each family, then the first of all.

    Args:
        rows: The table, with places among the rows of a role.
    """
    lists = []
    for role, column in ROLE_COLUMN.items():
        own = [r for r in rows if r["role"] == role and r.get("rank_in_role") is not None]
        own.sort(key=lambda row: int(row["rank_in_role"]))
        best: dict[str, Row] = {}
        for row in own:
            best.setdefault(str(row["family"] or "other"), row)
        if own:
            lists.append(
                {
                    "role": role,
                    "column": column,
                    "n": len(own),
                    "families": list(best.values()),
                    "top": own[:N_SHOWN],
                }
            )
    return lists


def against_measured(references: Sequence[Row]) -> dict[str, Any]:
    """References with a measured conductivity beside the predicted one, and the rank correlation.

    The predictions come from models that saw neither paper nor composition of the row.
    """
    rows = [
        row
        for row in references
        if row["status"] == "ok" and row.get("measured_log10_conductivity_S_cm") is not None
    ]
    pair = [
        [float(row[c]) for row in rows]
        for c in ("measured_log10_conductivity_S_cm", "log10_conductivity_S_cm")
    ]
    correlation = spearman(*map(np.array, pair)) if len(rows) >= FEWEST_MEASURED else None
    return {"rows": rows, "spearman": correlation, "weak": WEAK_CORRELATION}


def with_spread(value: float, std: float) -> tuple[str, str]:
    """A value and its spread as text: the spread to two digits, the value as far as that goes."""
    if not 0.0 < std < math.inf:
        return f"{value:.3g}", f"{std:.3g}"
    n_decimals = max(0, 1 - math.floor(math.log10(std)))
    return f"{value:.{n_decimals}f}", f"{std:.{n_decimals}f}"


def cell_table(cell: CellStage, ranked: Sequence[Row]) -> dict[str, Any]:
    """The figures of merit of the base cell and of the best candidates, for the template.

    The candidates' own voltages are a column where one of them has one.
    """
    from ionbridge.screening.cell.stage import KPIS, VOLTAGE_COLUMNS, column

    kpis = [(column(kpi), column(kpi, std=True), unit) for kpi, unit in KPIS.items()]
    rows = [row for row in ranked if row.get("cell_status") == "ok"][:N_CELLS]
    if any(row[VOLTAGE_COLUMNS[0]] is not None for row in rows):
        kpis.append((*VOLTAGE_COLUMNS, "V"))
    return {"kpis": kpis, "base": cell.base, "rows": rows, "ageing": cell.ageing}
