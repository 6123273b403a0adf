"""The page is whole, shows what is in the table, and loads nothing from elsewhere."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from ionbridge.models.barriers.hop_model import HopEnergies
from ionbridge.screening.campaign.hop_paths import TopHops
from ionbridge.screening.campaign.ranking import rank
from ionbridge.screening.campaign.settings import CampaignSettings
from ionbridge.screening.cell.parameters import CATHODE_DIFFUSIVITY
from ionbridge.screening.cell.service import AGEING_COLUMNS
from ionbridge.screening.cell.settings import CellSettings
from ionbridge.screening.cell.stage import (
    CELL_COLUMNS,
    KPIS,
    CellStage,
    Response,
    column,
)
from ionbridge.screening.report.report import Network, render
from ionbridge.screening.report.style import subscripts
from ionbridge.screening.table import COLUMNS, Row, to_csv, with_spread
from ionbridge.structures.hops.sites import find_hops
from tests.screening.tiny import layered

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


def ranked(rows: list[Row]) -> list[Row]:
    return rank(rows, CampaignSettings("x").ranking_objectives(), "lcb")


def network(row: Row) -> Network:
    """A layered oxide with barriers that rise from hop to hop."""
    graph = find_hops(layered())
    n = len(graph.hops)
    zero = np.zeros((1, n))
    kra = 0.3 + 0.1 * np.arange(n)[None]
    energies = HopEnergies(zero, zero, kra, np.full(n, 0.05), np.ones(n, dtype=bool))
    files = ("001_<i>a.cif", "001_<i>a_hop0.cif", "001_<i>a_hop0.extxyz")
    return Network(TopHops(row, graph.crystal, graph, (0,), files), energies)


def page(rows: list[Row], cell: CellStage | None = None, networks: int = 0, **said: str) -> str:
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
        "reasons": {"failed": {"no working ion": 2}, "filtered": {"… atoms": 7}},
        "crystals_per_s": 3.0,
        "n_workers": 2,
        **said,
    }
    table = ranked(rows)
    return render(table, record, cell, [network(row) for row in table[:networks]])


def unpacked(html: str) -> dict[str, Any]:
    """The rows and figures inside of a page."""
    (text,) = re.findall(r'id="packed">([^<]*)<', html)
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return content


def in_cell(rows: list[Row], **ageing: Any) -> CellStage:
    """Rows in a cell whose specific energy is all that is known."""
    added = {**dict.fromkeys(CELL_COLUMNS), "cell_status": "ok", "cell_value": 1e-15}
    added["cell_value_kind"] = f"chemical, {CATHODE_DIFFUSIVITY}"
    energy = {column("specific_energy"): 150.26, column("specific_energy", std=True): 12.345}
    grid = np.array([-16.0, -15.0])
    flat = {kpi: np.ones(2) for kpi in KPIS}
    return CellStage(
        rows=[{**added, **energy, **given} for given in rows],
        columns=CELL_COLUMNS,
        curves={BASE: {"charge_Ah": [0.0, 1.0], "voltage_V": [4.0, 3.0]}},
        responses={"electrode": Response(CATHODE_DIFFUSIVITY, grid, flat, flat, {}, -16.0)},
        base=energy,
        ageing={**dict.fromkeys(AGEING_COLUMNS), **ageing},
    )


class Tags(HTMLParser):
    """Open tags, what is loaded, and what is linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.linked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        found = self.linked if tag == "a" else self.loaded
        found += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_self_contained_and_well_formed() -> None:
    html = page([row(k) for k in range(60)] + [row(99, source="reference")], networks=2)
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert tags.loaded == ["data:,"]
    assert "default-src 'none'" in html  # a browser refuses whatever would be asked for
    assert all(re.match(r"(paths/|ranked|campaign)", address) for address in tags.linked)
    assert "paths/001_%3Ci%3Ea_hop0.extxyz" in tags.linked
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    drawn = set(re.findall(r'data-(?:figure|network)="(\w+)"', html))
    assert drawn == set(unpacked(html)["figures"])


def test_the_page_holds_every_row_in_the_text_of_the_table() -> None:
    rows = [row(k, note="=1+1" if k else 'a "quoted", long\nnote') for k in range(70)]
    table = unpacked(page(rows))["table"]
    assert [c["name"] for c in table["columns"]] == list(COLUMNS)
    cells = dict(zip(COLUMNS, table["cells"], strict=True))
    assert cells["note"][1] == "'=1+1"
    again = [",".join(line) for line in zip(*table["cells"], strict=True)]
    plain = [r for r in ranked(rows) if r["note"] == "=1+1"]
    assert again[1:] == to_csv(plain, COLUMNS).splitlines()[1:]


def test_equal_tables_give_equal_pages() -> None:
    assert page([row(0), row(1)], networks=1) == page([row(0), row(1)], networks=1)


def test_five_thousand_rows_are_less_than_5_MB() -> None:
    rng = np.random.default_rng(0)
    text = {"why": "log10_diffusivity_cm2_s -7.33 ± 0.4 (+2.4 from the pool's median); percolates"}
    numbers = [c for c in COLUMNS if re.search(r"log10|_eV|_std|_q\d\d|score|density|_vu", c)]
    numbers = [c for c in numbers if not c.startswith("measured")]
    rows = [
        row(
            k,
            **{c: float(v) for c, v in zip(numbers, rng.normal(size=len(numbers)), strict=True)},
            **text,
            candidate_id=f"prototype-{k}-{rng.integers(1e9)}",
            role="electrode" if k % 3 else "electrolyte",
            note=f"occupancies of site {k} read as {rng.integers(1e6)}",
        )
        for k in range(5000)
    ]
    assert len(page(rows, networks=3).encode()) < 5e6


def test_rows_of_each_role_and_outside_the_domain_stand_apart() -> None:
    html = page([row(k, role=("electrode", "electrolyte")[k % 2]) for k in range(4)])
    assert "Electrolytes, by conductivity" in html
    assert "Electrodes, by diffusivity" in html
    assert len(re.findall(r'<tr class="\s*outside">', html)) == 1  # k = 1, the best electrolyte
    assert "stability_electrolyte" in unpacked(html)["figures"]


def test_what_was_left_out_is_said() -> None:
    assert "no &lt;cell&gt; columns" in page([row(0)], left_out="no <cell> columns")


def test_failed_rows_are_listed_whole() -> None:
    reason = "no path through the crystal: " + "x" * 400
    html = page([row(0), row(1, status="failed", reason=reason)])
    assert reason in html
    assert "<td>… atoms</td>" in html


def test_three_sentences_say_what_was_asked_and_found() -> None:
    known = {"source": "reference", "measured_source": "10.1/x", "role": "electrolyte"}
    rows = [row(k, **known, measured_log10_conductivity_S_cm=-3.0 - k) for k in range(6)]
    html = page([*rows, row(7, role="electrode", formula="Li2FeO3")])
    assert re.search(r"Asked: which of 7\s+candidates", " ".join(html.split()))
    assert "Li<sub>2</sub>FeO<sub>3</sub>" in html
    assert re.search(r"rank\s+correlation of 1\.00", html)
    assert "10.1/x" in html
    assert "measured" in unpacked(html)["figures"]
    assert "ionbridge screen campaign.yaml --out again" in html


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("Li10GeP2S12", "Li<sub>10</sub>GeP<sub>2</sub>S<sub>12</sub>"),
        ("Na3V2(PO4)3", "Na<sub>3</sub>V<sub>2</sub>(PO<sub>4</sub>)<sub>3</sub>"),
        ("Li0.5CoO2", "Li<sub>0.5</sub>CoO<sub>2</sub>"),
        ("<b>\"'x", "&lt;b&gt;\"'x"),
        (None, ""),
    ],
)
def test_amounts_stand_below_the_line(formula: str | None, shown: str) -> None:
    assert subscripts(formula) == shown


def test_names_are_escaped_and_references_marked() -> None:
    html = page([row(0), row(1, source="reference")])
    assert "<b>c0</b>" not in html
    assert "<b>c0</b>" not in json.dumps(unpacked(html)["figures"])
    assert "&lt;b&gt;c0&lt;/b&gt;" in html
    assert "garnets &amp; more" in html
    assert "Where known materials stand" in html


def test_a_table_without_results_still_has_a_page() -> None:
    html = page([row(0, status="failed", reason="no working ion", percolation_barrier_eV=None)])
    assert "no working ion" in html
    assert unpacked(html)["figures"]["top"]["layout"]


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
    assert "years" not in html[: html.index("<script")]
    tags = Tags()
    tags.feed(html)
    assert tags.open == []


def test_what_is_to_be_known_of_a_candidate_in_the_cell_is_shown() -> None:
    cell = in_cell([row(0, cell_reason="outside <all> domains"), row(1)])
    html = page(cell.rows, cell)
    assert html.count("outside &lt;all&gt; domains") == 1
    assert re.search(r"1e-15 m²/s <span", html)
    assert "from (cm²/s):" in html


def test_a_spread_has_two_digits_and_its_value_no_more() -> None:
    assert with_spread(119.37, 38.4) == ("119", "38")
    assert with_spread(0.98345, 0.0614) == ("0.983", "0.061")
    assert with_spread(140.2, 1.234) == ("140.2", "1.2")
    assert with_spread(3.4567, 0.0) == ("3.46", "0")
