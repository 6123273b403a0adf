"""OPTIMADE's own reference server behind a door that injects faults: all entries come through once.

The reference server holds the prototypes of all frameworks; it filters and pages with code that is
not ours. What went in must come out: through small pages, faults and kills, and as crystals.
"""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ionbridge.screening.campaign.candidates import read_crystals
from ionbridge.screening.campaign.filters import Filters
from ionbridge.screening.campaign.settings import FilterSettings
from ionbridge.screening.cli import main
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.io.reading import read_records
from ionbridge.structures.records import Crystal
from ionbridge.structures.sources import optimade
from ionbridge.structures.sources.optimade import OptimadeQuery, fetch_structures
from ionbridge.structures.sources.web import FetchError

CRYSTALS = {
    f"{k}-{crystal.formula}": crystal for k, crystal in enumerate(reference_crystals()[:30])
}
NAMES = list(CRYSTALS)
STABILITIES = (
    {
        "gga_gga+u": {"energy_above_hull": 0.5},
        "gga_gga+u_r2scan": {"energy_above_hull": 0.01, "formation_energy_per_atom": -1.5},
        "r2scan": None,
    },
    {"gga_gga+u": {"energy_above_hull": 0.2}, "gga_gga+u_r2scan": {"energy_above_hull": None}},
    {"r2scan": {"energy_above_hull": "unknown"}},
    None,
)
ENERGIES_EV_ATOM = (0.01, 0.2, None, None)
"""What is read of these."""
Fault = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


@dataclass
class Door:
    """What stands before the provider, and what it does to the next answers."""

    address: str = ""
    faults: list[Fault | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


def error_500(handler: Any, body: bytes) -> None:
    handler.send_response(500)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def come_later(handler: Any, body: bytes) -> None:
    handler.send_response(429)
    handler.send_header("Retry-After", "0")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def torn(handler: Any, body: bytes) -> None:
    """The connection breaks off in the middle of a page."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def half(handler: Any, body: bytes) -> None:
    """Half a page that claims to be whole."""
    answer(handler, body[: len(body) // 2])


def without_entries(handler: Any, body: bytes) -> None:
    answer(handler, b'{"meta": {}}')


def slow(handler: Any, body: bytes) -> None:
    time.sleep(1.5)
    answer(handler, body)


def with_energies_above_hull(handler: Any, body: bytes) -> None:
    """The page with what the Materials Project adds to it when it is asked for."""
    page = json.loads(body)
    if "_mp_stability" in handler.path:
        for k, entry in enumerate(page["data"]):
            entry["attributes"]["_mp_stability"] = STABILITIES[k % len(STABILITIES)]
    answer(handler, json.dumps(page).encode())


def answer(handler: Any, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def entry(name: str, crystal: Crystal) -> dict[str, Any]:
    """A crystal as OPTIMADE has it; disordered sites are species of their own."""
    kinds = {json.dumps(site, sort_keys=True): site for site in crystal.species}
    label = {key: f"kind{k}" for k, key in enumerate(kinds)}
    elements = sorted(str(e) for e in crystal.composition)
    attributes = {
        "elements": elements,
        "nelements": len(elements),
        "nsites": len(crystal.species),
        "lattice_vectors": crystal.lattice.tolist(),
        "cartesian_site_positions": (crystal.frac @ crystal.lattice).tolist(),
        "species_at_sites": [label[json.dumps(s, sort_keys=True)] for s in crystal.species],
        "species": [
            {
                "name": label[key],
                "chemical_symbols": [*site, *(["vacancy"] if sum(site.values()) < 1 else [])],
                "concentration": [
                    *site.values(),
                    *([1 - sum(site.values())] * (sum(site.values()) < 1)),
                ],
            }
            for key, site in kinds.items()
        ],
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "structure_features": [] if crystal.is_ordered else ["disorder"],
        "last_modified": "2026-01-01T00:00:00Z",
    }
    return {"type": "structures", "id": name, "attributes": attributes}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The reference server with its own test structures, reached through the door."""
    pytest.importorskip("optimade")
    pytest.importorskip("fastapi", reason="needs optimade[server]")
    door = Door()
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    inner = f"http://127.0.0.1:{port}"

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            door.asked.append(self.path)
            try:
                with urllib.request.urlopen(inner + self.path) as found:
                    status, body = found.status, found.read()
            except urllib.error.HTTPError as error:
                status, body = error.code, error.read()
            fault = door.faults.pop(0) if door.faults else None
            if fault is None:
                answer(self, body, status)
            else:
                fault(self, body)

        def log_message(self, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """A client that gave up on a slow page is no news in the middle of another test."""

    listening = Server(("127.0.0.1", 0), Handler)
    door.address = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    log = tmp_path_factory.mktemp("optimade") / "log"
    held = log.parent / "held.jsonl"
    head = {"x-optimade": {"meta": {"api_version": "1.2.0"}}}
    info = {"type": "info", "id": "structures", "properties": {}}
    rows = [head, info, *(entry(name, crystal) for name, crystal in CRYSTALS.items())]
    held.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "base_url": door.address,
        "database_backend": "mongomock",
        "insert_test_data": False,
        "insert_from_jsonl": str(held),
        "log_dir": str(log.parent),
        "page_limit": 100,
    }
    (log.parent / "config.json").write_text(json.dumps(config))
    environment = {**os.environ, "OPTIMADE_CONFIG_FILE": str(log.parent / "config.json")}
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "optimade.server.main:app", "--port", str(port)],
            env=environment, stdout=said, stderr=said, cwd=log.parent,
        )  # fmt: skip
    try:
        ends = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{inner}/v1/info").close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < ends, log.read_text()
                time.sleep(0.2)
        yield door
    finally:
        process.kill()
        process.wait()
        listening.shutdown()
        listening.server_close()


@pytest.fixture
def door(provider: Door) -> Door:
    provider.faults, provider.asked = [], []
    return provider


def entries(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def ids(file: Path) -> list[str]:
    return [entry["id"] for entry in entries(file)]


def fetched(query: OptimadeQuery, out: Path, attempts: int = 3, timeout_s: float = 5) -> int:
    return fetch_structures(query, out, attempts=attempts, first_wait_s=0.001, timeout_s=timeout_s)


def test_small_pages_give_what_one_large_page_gives(door: Door, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    n = fetch_structures(
        OptimadeQuery(door.address, page_limit=4), tmp_path / "a.jsonl",
        lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert ids(tmp_path / "a.jsonl") == NAMES
    assert (n, told[-1]) == (len(NAMES), (len(NAMES), len(NAMES)))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    asked = json.loads((tmp_path / "a.jsonl.query.json").read_text())
    assert (asked["provider"], asked["entries"]) == (door.address, n)


@pytest.mark.parametrize("fault", [error_500, come_later, torn, half, without_entries])
def test_a_fault_on_any_page_loses_and_repeats_nothing(
    door: Door, tmp_path: Path, fault: Fault
) -> None:
    door.faults = [fault, None, fault, fault, None, fault]
    fetched(OptimadeQuery(door.address, page_limit=4), tmp_path / "a.jsonl")
    assert ids(tmp_path / "a.jsonl") == NAMES


def test_a_page_that_does_not_come_in_time_is_asked_for_again(door: Door, tmp_path: Path) -> None:
    door.faults = [None, slow]
    fetched(OptimadeQuery(door.address, page_limit=9), tmp_path / "a.jsonl", timeout_s=0.7)
    assert ids(tmp_path / "a.jsonl") == NAMES


def test_a_provider_that_stays_down_is_one_line_and_the_rest_comes_later(
    door: Door, tmp_path: Path
) -> None:
    query, out = OptimadeQuery(door.address, page_limit=4), tmp_path / "a.jsonl"
    door.faults = [None, None, error_500, error_500]
    with pytest.raises(FetchError, match=r"answers 500 .* \(2 tries in a row\); the same again"):
        fetched(query, out, attempts=2)
    assert not out.exists()
    door.asked = []
    fetched(query, out)
    assert ids(out) == NAMES
    assert len(door.asked) == -(-len(NAMES) // 4) - 2  # two pages were there


def test_another_question_does_not_go_on_with_the_answer_to_the_first(
    door: Door, tmp_path: Path
) -> None:
    out = tmp_path / "a.jsonl"
    door.faults = [None, error_500]
    with pytest.raises(FetchError):
        fetched(OptimadeQuery(door.address, page_limit=4), out, attempts=1)
    fetched(OptimadeQuery(door.address, "nelements=2", page_limit=4), out)
    assert {len(entry["attributes"]["elements"]) for entry in entries(out)} == {2}


def test_the_filter_is_applied_by_the_provider(door: Door, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    n = fetched(OptimadeQuery(door.address, 'elements HAS "O" AND nelements<=4'), out)
    assert 0 < n < len(NAMES)
    assert "filter=" in door.asked[-1]
    for entry in entries(out):
        assert "O" in entry["attributes"]["elements"]
        assert len(entry["attributes"]["elements"]) <= 4


def test_no_more_than_asked_for(door: Door, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert fetched(OptimadeQuery(door.address, max_count=6, page_limit=4), out) == 6
    assert ids(out) == NAMES[:6]
    assert len(door.asked) == 2


def test_a_filter_that_is_refused_is_one_line(
    door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "optimade", door.address, "--out", str(tmp_path / "a.jsonl")]
    assert main([*command, "--filter", "elements HAS HAS"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "answers 400" in line
    assert main([*command, "--filter", 'elements HAS "Uuo"']) == 2
    assert "no entry for the filter" in capsys.readouterr().err


def test_what_went_in_comes_out_as_crystals(door: Door, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert main(["data", "optimade", door.address, "--out", str(out)]) == 0
    records = read_records(out)
    assert [record.id for record in records] == NAMES
    for found in records:
        assert isinstance(found, Crystal)
        given = CRYSTALS[found.id]
        assert found.formula == given.formula
        assert found.is_ordered == given.is_ordered
        np.testing.assert_allclose(found.lattice, given.lattice, atol=1e-6)
        assert len(found.species) == len(given.species)


def test_a_campaign_takes_what_was_fetched(door: Door, tmp_path: Path) -> None:
    out = tmp_path / "candidates.jsonl"
    fetched(OptimadeQuery(door.address, 'elements HAS ALL "Li","O" AND nelements=3'), out)
    found = read_crystals([out])
    names = [n for n, c in CRYSTALS.items() if {"Li", "O"} < set(map(str, c.composition))]
    assert [c.id for c in found] == [n for n in names if len(CRYSTALS[n].composition) == 3]


def test_energies_above_hull_of_the_materials_project_reach_the_filter(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(optimade.PROVIDERS, "materials_project", door.address)
    monkeypatch.setitem(optimade.OWN_FIELDS, door.address, ("_mp_stability",))
    door.faults = [with_energies_above_hull, torn, *[with_energies_above_hull] * 9]
    out = tmp_path / "a.jsonl"
    command = ["data", "optimade", "materials_project", "--page-limit", "4", "--out", str(out)]
    assert main([*command, "--filter", 'elements HAS "O"']) == 0
    assert json.loads((tmp_path / "a.jsonl.query.json").read_text())["provider"] == door.address
    filters = Filters(FilterSettings(max_energy_above_hull_eV_atom=0.05))
    found = read_records(out)
    assert len(found) > 4
    for k, crystal in enumerate(found):
        assert isinstance(crystal, Crystal)
        energy = ENERGIES_EV_ATOM[k % 4]
        assert crystal.extra.get("energy_above_hull_eV_atom") == energy
        assert (filters.refusal_by_class(crystal) is None) == (energy == 0.01)


def test_only_the_provider_that_has_them_is_asked_for_fields_of_its_own() -> None:
    assert "_mp_stability" in OptimadeQuery("materials_project").first_page
    assert "_mp_stability" in OptimadeQuery(f"{optimade.MATERIALS_PROJECT}/").first_page
    assert "_mp_stability" not in OptimadeQuery("https://example.org").first_page


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("optimade.example.org", [], "no base address"),
        ("materials-project", [], "none of materials_project"),
        ("file:///etc", [], "no base address"),
        ("http://127.0.0.1:9", ["--max-count", "0"], "at least one entry"),
        ("http://127.0.0.1:9", ["--timeout-s", "0"], "--timeout-s"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, options: list[str], said: str
) -> None:
    assert main(["data", "optimade", url, "--out", str(tmp_path / "a.jsonl"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
