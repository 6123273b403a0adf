"""The report of a campaign: one self-contained page made from its table and its record.

The page holds all rows, packed, in the text of ``ranked.csv``, so that what is downloaded from it
is the same to the letter; of tables of more than `MOST_ROWS` rows the first, and every so many-th
of the others. It holds plotly.js (the bundle with scatter plots in two and three dimensions,
``vendor/``), which draws the figures of :mod:`ionbridge.screening.report.plots`; the table is plain
HTML and a page of script, so that keyboards, screen readers and printers know it.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import numpy as np
import plotly.graph_objects as go
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ionbridge.models.barriers.hop_model import HopEnergies
from ionbridge.models.checkpoint import IncompatibleModelError
from ionbridge.models.library import DEFAULTS, card
from ionbridge.models.metrics import spearman
from ionbridge.screening.campaign.hop_paths import TopHops
from ionbridge.screening.campaign.ranking import ROLE_COLUMN
from ionbridge.screening.prediction.estimate import REFERENCE_SOURCE
from ionbridge.screening.report import plots
from ionbridge.screening.report.cell_plots import AXIS, SHOWN_KPIS
from ionbridge.screening.report.network_plot import network_figure
from ionbridge.screening.report.style import axis_label, subscripts
from ionbridge.screening.table import (
    COLUMN_MEANINGS,
    COLUMNS,
    STD_COLUMN,
    Row,
    with_spread,
    written,
)

if TYPE_CHECKING:
    from ionbridge.screening.cell.stage import CellStage

HERE = Path(__file__).parent
PLOTTED = ("log10_diffusivity_cm2_s", "log10_conductivity_S_cm")
"""Columns that the plots can show; the first objective among them is taken."""

WEAK_CORRELATION = 0.5
"""Below this rank correlation with measured conductors the page warns."""
FEWEST_MEASURED = 4
"""References with a measured value that a rank correlation takes."""

N_CELLS = 15
"""Candidates whose cells are shown."""

MOST_ROWS, N_FIRST, N_FAILED = 20_000, 5_000, 1_000
"""Rows that the page holds; of larger tables the first so many, and failed ones that it lists."""
N_EXPLAINED = 10
"""Rows whose place is explained."""

SHOWN = {
    "rank": "place",
    "rank_in_role": "in role",
    "candidate_id": "candidate",
    "formula": "formula",
    "working_ion": "ion",
    "family": "family",
    "role": "role",
    "percolation_barrier_eV": "barrier (eV)",
    "percolation_dimensionality": "percolates in",
    "log10_diffusivity_cm2_s": "log D (cm²/s)",
    "log10_conductivity_S_cm": "log σ (S/cm)",
    "activation_energy_eV": "Eₐ (eV)",
    "energy_above_hull_eV_atom": "above hull (eV/atom)",
    "conductivity_source": "σ from",
    "in_domain": "in domain",
    "status": "status",
    "reason": "reason",
}
"""Columns that the table shows until others are chosen, and their headings."""


class Network(NamedTuple):
    """What is shown of one of the best candidates: its hops with their energies, and its files."""

    top: TopHops
    energies: HopEnergies


class PageRows(NamedTuple):
    """What the page holds of a table.

    Attributes:
        rows: All of them, or, of more than MOST_ROWS, the first N_FIRST, all references, and
            every so many-th of the others, in their order.
        even: The ranked ones of those that are spread evenly over the table: what distributions
            are drawn of.
        failed: The first N_FAILED failed rows.
        lists: See :func:`role_lists`.
        n_rows: Rows of the table.
        n_in_domain: Ranked rows in the domain of what predicts them.
        n_failed: Failed rows.
    """

    rows: list[Row]
    even: list[Row]
    failed: list[Row]
    lists: list[dict[str, Any]]
    n_rows: int
    n_in_domain: int
    n_failed: int


def page_rows(table: Iterable[Row]) -> PageRows:
    """Go once through a table, best first, and keep what the page holds."""
    even: dict[int, Row] = {}
    kept: dict[int, Row] = {}
    failed: list[Row] = []
    best: dict[str, dict[str, Row]] = {role: {} for role in ROLE_COLUMN}
    n_in_role = dict.fromkeys(ROLE_COLUMN, 0)
    n_rows = n_in_domain = n_failed = 0
    step = 1
    for k, row in enumerate(table):
        n_rows += 1
        if k % step == 0:
            even[k] = row
        if len(even) > MOST_ROWS:
            step *= 2
            even = {i: one for i, one in even.items() if i % step == 0}
        if k < N_FIRST or row["source"] == REFERENCE_SOURCE:
            kept[k] = row
        n_in_domain += row["rank"] is not None and row["in_domain"] is True
        if row["status"] == "failed":
            n_failed += 1
            failed += [row] if len(failed) < N_FAILED else []
        if row["role"] in best and row.get("rank_in_role") is not None:
            n_in_role[row["role"]] += 1
            own, family = best[row["role"]], str(row["family"] or "other")
            if family not in own or row["rank_in_role"] < own[family]["rank_in_role"]:
                own[family] = row
    rows = {**even, **kept}
    return PageRows(
        [rows[k] for k in sorted(rows)],
        [row for row in even.values() if row["rank"] is not None],
        failed,
        role_lists(best, n_in_role),
        n_rows,
        n_in_domain,
        n_failed,
    )


def render(
    rows: Iterable[Row],
    record: Mapping[str, Any],
    cell: CellStage | None = None,
    networks: Sequence[Network] = (),
    columns: Sequence[str] = COLUMNS,
) -> str:
    """The page as HTML text.

    Args:
        rows: The ranked table, best first; gone through once.
        record: What ``campaign.json`` says.
        cell: What the cell stage found, where there was one.
        networks: Of the best rows, in their order.
        columns: Columns of ``ranked.csv``.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["formula"] = lambda text: Markup(subscripts(text))
    environment.filters["address"] = quote
    objectives, limit = record["objectives"], record["settings"]["limit"]
    column = next((o["column"] for o in objectives if o["column"] in PLOTTED), PLOTTED[0])
    held = page_rows(rows)
    ranked = [row for row in held.rows if row["rank"] is not None]
    references = [row for row in held.rows if row["source"] == REFERENCE_SOURCE]
    lists = held.lists
    measured = against_measured(references)
    validated = validations(record["model"]["name"])
    figures = {
        "top": plots.ranking(ranked, column),
        "families": plots.by_family(held.even, column),
        "barrier": plots.against_barrier(ranked, column),
        **{
            f"stability_{one['role']}": plots.against_stability(held.rows, one["role"])
            for one in lists
        },
        **{f"validation_{k}": v["figure"] for k, v in enumerate(validated) if v["figure"]},
        **{f"network_{k}": _network_figure(one) for k, one in enumerate(networks)},
    }
    if measured["rows"]:
        figures["measured"] = plots.against_measured(references)
    responses = {} if cell is None else cell.responses
    if cell is not None:
        base_cell = record["settings"]["cell"]["base_cell"]
        figures["curves"] = plots.discharge_curves(cell.curves, base_cell)
        for role, response in responses.items():
            figures[f"cell_{role}"] = plots.sensitivity(role, response, held.rows)
    return environment.get_template("page.html").render(
        record=record,
        style=_asset("page.css"),
        script=_asset("page.js"),
        plotly=_asset("vendor/plotly-gl3d.min.js"),
        packed=packed(held.rows, columns, figures),
        n_rows=held.n_rows,
        n_held=len(held.rows),
        n_first=N_FIRST,
        ranked=ranked,
        n_explained=N_EXPLAINED,
        column=column,
        column_label=Markup(axis_label(column)),
        std_column=STD_COLUMN,
        lists=lists,
        measured=measured,
        references=references,
        reference_source=REFERENCE_SOURCE,
        failed=held.failed,
        n_failed=held.n_failed,
        validated=validated,
        networks=networks,
        files={one.top.row["rank"]: f"paths/{quote(one.top.files[0])}" for one in networks},
        again="ionbridge screen campaign.yaml --out again"
        + ("" if limit is None else f" --limit {limit}"),
        settings=yaml.safe_dump(
            json.loads(json.dumps(record["settings"])), sort_keys=False, allow_unicode=True
        ).strip(),
        cell=None if cell is None else cell_table(cell, ranked),
        responses={
            role: {kpi: response.enough(kpi) for kpi in SHOWN_KPIS}
            for role, response in responses.items()
        },
        shown_kpis=SHOWN_KPIS,
        axis_shift={role: shift for role, (_, shift) in AXIS.items()},
        with_spread=with_spread,
        n_in_domain=held.n_in_domain,
    )


def packed(rows: Sequence[Row], columns: Sequence[str], figures: Mapping[str, go.Figure]) -> str:
    """All rows and figures as compressed JSON in base64; equal ones give equal text."""
    described = [
        {
            "name": name,
            "label": SHOWN.get(name, name),
            "meaning": COLUMN_MEANINGS.get(name, ""),
            "shown": name in SHOWN,
            "std": STD_COLUMN.get(name),
            "numeric": _is_numeric(row.get(name) for row in rows),
        }
        for name in columns
    ]
    cells = [[written(row.get(name)) for row in rows] for name in columns]
    drawn = ",".join(f"{json.dumps(name)}:{figure.to_json()}" for name, figure in figures.items())
    table = json.dumps({"columns": described, "cells": cells}, ensure_ascii=False)
    content = f'{{"table":{table},"figures":{{{drawn}}}}}'.encode(errors="backslashreplace")
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def role_lists(
    best: Mapping[str, Mapping[str, Row]], n_in_role: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Electrolytes and electrodes apart, the best of each family.

    Args:
        best: Role -> family -> its best row.
        n_in_role: Rows with a place in each role.
    """
    return [
        {
            "role": role,
            "column": column,
            "n": n_in_role[role],
            "families": sorted(best[role].values(), key=lambda row: int(row["rank_in_role"])),
        }
        for role, column in ROLE_COLUMN.items()
        if n_in_role[role]
    ]


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


def validations(hop_model: str) -> list[dict[str, Any]]:
    """How far the models of this campaign were off on rows that they had not seen.

    Args:
        hop_model: Name or folder of the model of hops.
    """
    found = []
    for name in (DEFAULTS["conduction"], hop_model):
        try:
            figure = plots.validation(name)
            stated = card(name)
        except (ValueError, IncompatibleModelError) as error:
            found.append({"name": name, "figure": None, "why": str(error)})
            continue
        said = stated.get("validation") or {}
        coverage = said.get("interval_coverage_90")
        if coverage is None:
            coverage = said.get("all rows", {}).get("estimate", {}).get("interval_coverage_90")
        found.append(
            {
                "name": name,
                "figure": figure,
                "why": "",
                "predicts": stated.get("predicts", ""),
                "protocol": said.get("protocol") or said.get("split") or "",
                "coverage": coverage,
            }
        )
    return found


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


def _network_figure(network: Network) -> go.Figure:
    top = network.top
    return network_figure(top.graph, network.energies, top.conducting)


def _asset(name: str) -> Markup:
    """A file of the page, as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))


def _is_numeric(values: Any) -> bool:
    """Whether a column holds numbers and nothing else, at least one."""
    kinds = {type(value) for value in values if value is not None}
    return bool(kinds) and kinds <= {int, float, np.float64, np.int64}
