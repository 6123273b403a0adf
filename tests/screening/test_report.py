"""The page is whole, shows what is in the table, and loads nothing from elsewhere."""

import re
from html.parser import HTMLParser
from typing import Any

from screening.ranking import rank
from screening.report.report import render
from screening.settings import CampaignSettings
from screening.table import COLUMNS, Row


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


def page(rows: list[Row]) -> str:
    settings = CampaignSettings("garnets & more", rank_by="lcb")
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
    return render(rank(rows, objectives, "lcb"), record)


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
