"""The page is whole, shows what is in the table, and loads nothing from elsewhere."""

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np

from ionbridge.screening.cell.service import AGEING_COLUMNS
from ionbridge.screening.cell.stage import (
    CELL_COLUMNS,
    KPIS,
    CellSettings,
    CellStage,
    Response,
    column,
)
from ionbridge.screening.ranking import rank
from ionbridge.screening.report.report import render, with_spread
from ionbridge.screening.settings import CampaignSettings
from ionbridge.screening.table import COLUMNS, Row

BASE = "Prada2013_balanced"


def row(k: int, **values: Any) -> Row:
    filled = {
        "candidate_id": f"<b>c{k}</b>",
        "formula": "LiCoO2",
        "family": "layered",
        "percolation_barrier_eV": 0.2 + 0.01 * k,
        "percolation_barrier_std_eV": 0.05,
        "percolation_dimensionality": 1 + k % 3,
        "fast_direction": "",
        "log10_diffusivity_cm2_s": -7.0 - k,
        "log10_diffusivity_std": 0.5,
        "log10_conductivity_S_cm": -3.0 - k,
        "log10_conductivity_std": 0.5,
        "in_domain": k % 2 == 0,
        "status": "ok",
        **values,
    }
    return {**dict.fromkeys(COLUMNS), **filled}


def page(rows: list[Row], cell: CellStage | None = None) -> str:
    settings = CampaignSettings(
        "garnets & more", rank_by="lcb", cell=None if cell is None else CellSettings(BASE)
    )
    objectives = settings.ranking_objectives()
    record = {
        "name": settings.name,
        "settings": {**settings.to_dict(), "limit": None},
        "objectives": [{"column": o.column, "goal": o.goal, "target": None} for o in objectives],
        "model": {"name": "tiny", "sha256": "0" * 64},
        "data": {"sha256": "1" * 64},
        "versions": {"ionbridge": "0"},
        "started": "2026-01-01T00:00:00Z",
        "counts": {"ok": len(rows), "filtered": 0, "failed": 0},
        "reasons": {"failed": {"no working ion": 2}, "filtered": {}},
        "crystals_per_s": 3.0,
        "n_workers": 2,
    }
    return render(rank(rows, objectives, "lcb"), record, cell)


def in_cell(rows: list[Row], **ageing: Any) -> CellStage:
    """Rows in a cell whose specific energy is all that is known."""
    added = {**dict.fromkeys(CELL_COLUMNS), "cell_status": "ok", "cell_value": 1e-15}
    added["cell_value_kind"] = "chemical, D"
    energy = {column("specific_energy"): 150.26, column("specific_energy", std=True): 12.345}
    grid = np.array([-16.0, -15.0])
    flat = {kpi: np.ones(2) for kpi in KPIS}
    return CellStage(
        rows=[{**added, **energy, **given} for given in rows],
        curves={BASE: {"charge_Ah": [0.0, 1.0], "voltage_V": [4.0, 3.0]}},
        responses={"electrode": Response("D", grid, flat, flat, {}, -16.0)},
        base=energy,
        ageing={**dict.fromkeys(AGEING_COLUMNS), **ageing},
    )


class Tags(HTMLParser):
    """Open tags, and the addresses they load from."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        self.loaded += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_self_contained_and_well_formed() -> None:
    html = page([row(k) for k in range(60)] + [row(99, source="reference")])
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert all(address.startswith("#") for address in tags.loaded)
    assert "@import" not in html
    assert not re.search(r"url\((?!['\"]?#)", html)
    assert html.count("<svg") == 4


def test_names_are_escaped_and_references_marked() -> None:
    html = page([row(0), row(1, source="reference")])
    assert "<b>c0</b>" not in html
    assert "&lt;b&gt;c0&lt;/b&gt;" in html
    assert "garnets &amp; more" in html
    assert "Where known materials stand" in html


def test_a_table_without_results_still_has_a_page() -> None:
    html = page([row(0, status="failed", reason="no working ion", percolation_barrier_eV=None)])
    assert "no working ion" in html
    assert "Best candidates" in html


def test_a_cell_shows_its_ageing_and_the_voltage_where_there_is_one() -> None:
    ageing = {
        "cell_fade_500_cycles_percent": 5.59,
        "cell_fade_500_cycles_std_percent": 0.12,
        "cell_service_life_years": 12.53,
        "cell_service_life_lower_years": 11.96,
        "cell_ageing_note": "the graphite ages",
    }
    plain = in_cell([row(0)], **ageing)
    html = page(plain.rows, plain)
    for shown in ("5.6", "12.5 years", "12.0", "the graphite ages", "charged at 0.5C", "150 "):
        assert shown.lower() in html.lower()
    assert "average voltage" not in html
    own = in_cell(
        [row(0, cell_average_voltage_V=3.456, cell_average_voltage_std_V=0.36)],
        cell_ageing_note="no ageing model",
    )
    html = page(own.rows, own)
    assert "average voltage (V)" in html
    assert re.search(r"3\.46 <span[^>]*>± 0\.36", html)
    assert "no ageing model" in html
    assert "years" not in html
    tags = Tags()
    tags.feed(html)
    assert tags.open == []


def test_what_is_to_be_known_of_a_candidate_in_the_cell_is_shown() -> None:
    cell = in_cell([row(0, cell_reason="outside <all> domains"), row(1)])
    html = page(cell.rows, cell)
    assert html.count("outside &lt;all&gt; domains") == 1


def test_a_spread_has_two_digits_and_its_value_no_more() -> None:
    assert with_spread(119.37, 38.4) == ("119", "38")
    assert with_spread(0.98345, 0.0614) == ("0.983", "0.061")
    assert with_spread(140.2, 1.234) == ("140.2", "1.2")
    assert with_spread(3.4567, 0.0) == ("3.46", "0")
