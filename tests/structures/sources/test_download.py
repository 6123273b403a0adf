"""Fetching over a server that breaks off, lies about its parts, serves another file, or nothing."""

import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from ionbridge.screening.cli import main
from ionbridge.structures.io.reading import read_records, write_cif
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import amorphous_diffusivity, cell_ageing, neb_barriers, obelix
from ionbridge.structures.sources.catalogue import SOURCES
from ionbridge.structures.sources.download import fetch
from ionbridge.structures.sources.source import Loaded, Remote, Source
from ionbridge.structures.sources.web import FetchError
from tests.structures.io.test_reading import TABLE, hop, rock_salt

CONTENT = bytes(range(256)) * 1000


@dataclass
class Server:
    """What is served at each path, and how badly."""

    files: dict[str, bytes] = field(default_factory=lambda: {"/file.bin": CONTENT})
    address: str = ""
    etag: str = '"1"'
    has_parts: bool = True
    breaks_after: list[int] = field(default_factory=list)
    """Bytes that the next answers end with, one each; then answers are whole."""
    statuses: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            if state.statuses:
                self.send_response(state.statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = state.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            same = self.headers.get("If-Range", state.etag) == state.etag
            first = 0
            if wanted and state.has_parts and same:
                first = int(wanted.removeprefix("bytes=").rstrip("-"))
                if first >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(body) - first))
            self.end_headers()
            if state.breaks_after:
                self.wfile.write(body[first : first + state.breaks_after.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(body[first:])

        def log_message(self, *args: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield state
    listening.shutdown()
    listening.server_close()


def source(server: Server, sha256: str | None = None) -> Source:
    return Source(
        name="test",
        title="t",
        home="https://example.org",
        licence="MIT",
        citation="c",
        files=("set/file.bin",),
        load=lambda folder: Loaded(()),
        remotes=(Remote(f"{server.address}/file.bin", "set/file.bin", sha256),),
    )


def fetched(one: Source, folder: Path, attempts: int = 3) -> list[str]:
    return fetch(one, folder, attempts=attempts, first_wait_s=0.001, timeout_s=5)


def test_a_file_that_breaks_off_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [98_304, 49_152]
    told = []
    fetch(source(server), tmp_path, lambda name: lambda done, of: told.append((done, of)),
          attempts=2, first_wait_s=0.001)  # fmt: skip
    assert (tmp_path / "set/file.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=98304-", "bytes=147456-"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in (tmp_path / "set").iterdir() if p.name.startswith(".")] == []


def test_what_was_there_when_it_ended_is_used_the_next_time(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [204_800, 0]
    with pytest.raises(FetchError, match=r"file\.bin: breaks off .*one try"):
        fetched(source(server), tmp_path, attempts=1)
    assert not (tmp_path / "set/file.bin").exists()
    server.breaks_after, server.asked = [], []
    fetched(source(server), tmp_path)
    assert server.asked == [("/file.bin", "bytes=204800-")]
    assert (tmp_path / "set/file.bin").read_bytes() == CONTENT


def test_a_part_of_another_version_is_not_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [204_800]
    with pytest.raises(FetchError):
        fetched(source(server), tmp_path, attempts=1)
    server.files["/file.bin"], server.etag = CONTENT[::-1], '"2"'
    fetched(source(server), tmp_path)
    assert (tmp_path / "set/file.bin").read_bytes() == CONTENT[::-1]


def test_a_server_without_parts_gives_the_whole(server: Server, tmp_path: Path) -> None:
    server.breaks_after, server.has_parts = [100_000], False
    fetched(source(server), tmp_path)
    assert (tmp_path / "set/file.bin").read_bytes() == CONTENT


def test_all_bytes_there_but_never_renamed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/.file.bin.part").write_bytes(CONTENT)
    fetched(source(server), tmp_path)
    assert (tmp_path / "set/file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("statuses", [[500], [503, 429]])
def test_a_server_that_asks_to_come_again(
    server: Server, tmp_path: Path, statuses: list[int]
) -> None:
    server.statuses = statuses
    fetched(source(server), tmp_path)
    assert (tmp_path / "set/file.bin").read_bytes() == CONTENT


def test_a_missing_file_and_a_dead_server_are_one_line(server: Server, tmp_path: Path) -> None:
    del server.files["/file.bin"]
    with pytest.raises(FetchError, match=r"file\.bin: answers 404"):
        fetched(source(server), tmp_path)
    nowhere = replace(source(server), remotes=(Remote("http://127.0.0.1:9/x", "set/file.bin"),))
    with pytest.raises(FetchError, match=r"Connection refused \(3 tries in a row\)"):
        fetched(nowhere, tmp_path)


def test_another_file_than_the_published_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"not the published file .*expected abcd"):
        fetched(source(server, "abcd" * 16), tmp_path)
    assert not (tmp_path / "set/file.bin").exists()
    known = hashlib.sha256(CONTENT).hexdigest()
    assert "as published" in fetched(source(server, known), tmp_path)[0]


def test_the_checksum_of_the_first_time_is_kept_beside_the_file(
    server: Server, tmp_path: Path
) -> None:
    assert "recorded now" in fetched(source(server), tmp_path)[0]
    known = hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "set/file.bin.sha256").read_text() == f"{known}  file.bin\n"
    server.asked = []
    assert fetched(source(server), tmp_path) == ["set/file.bin: there already, whole"]
    assert server.asked == []
    (tmp_path / "set/file.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(FetchError, match=r"not the file that was fetched .*remove it"):
        fetched(source(server), tmp_path)


def test_records_had_from_elsewhere_are_not_fetched_again(server: Server, tmp_path: Path) -> None:
    other = replace(source(server), files=("set/records.jsonl",))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/records.jsonl").write_text("{}")
    assert fetched(other, tmp_path) == ["set/records.jsonl: there already"]
    assert server.asked == []


def test_a_source_without_an_address_says_where_it_is_had(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"no file of it is served .*https://doi"):
        fetch(SOURCES["na_conductivity"], tmp_path)


def served_by(server: Server, one: Source, files: dict[str, bytes]) -> Source:
    """The source, its files on the test server: what its publisher serves, by last part of name."""
    server.files = {f"/{name}": content for name, content in files.items()}
    remotes = tuple(
        replace(r, url=f"{server.address}/{r.url.rpartition('/')[2]}") for r in one.remotes
    )
    return replace(one, remotes=remotes)


def test_obelix_gets_its_table_and_its_cifs(server: Server, tmp_path: Path) -> None:
    write_cif(rock_salt(), tmp_path / "aaa.cif")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(tmp_path / "aaa.cif", "train_randomized_cifs/aaa.cif")
    one = served_by(server, obelix.SOURCE, {"train.csv": TABLE.encode(),
                                            "train_cifs.tar.gz": packed.getvalue()})  # fmt: skip
    fetched(one, tmp_path / "data")
    assert (tmp_path / "data/obelix/cifs/aaa.cif").read_text() == (tmp_path / "aaa.cif").read_text()
    assert len(one.load(tmp_path / "data")) == 2
    assert fetched(one, tmp_path / "data")[0] == "obelix/train.csv: there already, whole"


def test_an_archive_of_another_form_is_one_line(server: Server, tmp_path: Path) -> None:
    one = served_by(server, obelix.SOURCE, {"train.csv": TABLE.encode(), "train_cifs.tar.gz": b"x"})
    with pytest.raises(FetchError, match="obelix: what is served there has another form"):
        fetched(one, tmp_path)


def test_hops_are_read_out_of_cells_that_hold_every_image(server: Server, tmp_path: Path) -> None:
    given = hop("train-7", barrier_eV=0.31, family="SPINEL", method="dft_neb")
    elements = [next(iter(site)) for site in given.host_species]
    path = np.linspace(given.path_frac[0], given.path_frac[-1], 5)
    row = {
        "class": "SPINEL", "sys_name": "X", "target": 0.31, "formula": "", "jid": 7,
        "atoms": {
            "lattice_mat": given.lattice.tolist(),
            "elements": [given.working_ion] * 5 + elements,
            "coords": [*path.tolist(), *given.host_frac.tolist()],
        },
    }  # fmt: skip
    name = "RAW-Em-5-images-TRAIN.json"
    one = served_by(server, neb_barriers.SOURCE, {name: json.dumps([row]).encode()})
    fetched(one, tmp_path)
    (found,) = read_records(tmp_path / neb_barriers.HOPS_FILE)
    assert isinstance(found, Hop)
    assert (found.id, found.working_ion, found.barrier_eV) == ("train-7", given.working_ion, 0.31)
    np.testing.assert_allclose(found.path_frac, path)
    np.testing.assert_allclose(found.host_frac, given.host_frac)
    assert found.host_species == tuple({element: 1.0} for element in elements)
    assert one.load(tmp_path).records[0].family == "spinel"


def test_reciprocal_temperatures_become_reciprocal_energies(server: Server, tmp_path: Path) -> None:
    """ln D = a - E / kT with E = 0.35 eV at three temperatures gives 0.35 eV back."""
    k_eV_K = 8.617333262e-5
    lines = [
        f"Li3Si {-2 - 0.35 / (k_eV_K * T_K)} 0.5 {1000 / T_K}" for T_K in (1000.0, 1500.0, 2000.0)
    ]
    text = "\n".join(["formula lnD PF inverseTemp", *lines]).encode()
    one = served_by(server, amorphous_diffusivity.SOURCE, {"train_target_lnD.dat": text})
    fetched(one, tmp_path)
    (series,) = one.load(tmp_path).records
    assert series.formula == "Li3Si"
    assert series.activation_energy_eV == pytest.approx(0.35)


def test_discharge_curves_become_early_features(server: Server, tmp_path: Path) -> None:
    """Q grows with the row, and falls from cycle to cycle by a known amount at each row."""
    row, cycle = np.linspace(0, 1, 1000)[:, None], np.arange(2, 101)[None]
    curves = row * (1.1 - 1e-4 * cycle)
    text = "\n".join(",".join(f"{q:.9g}" for q in line) for line in curves).encode()
    files = {"train_cycle_lives.csv": b"2160\n1434\n", "cell1.csv": text, "cell2.csv": text}
    few = replace(cell_ageing.SEVERSON, remotes=cell_ageing.SEVERSON.remotes[:3])
    one = served_by(server, few, files)
    fetched(one, tmp_path)
    first, second = one.load(tmp_path).records
    assert (first.cell, first.cycle_life, second.cycle_life) == ("cell1", 2160, 1434)
    assert first.qmax_cycle2_Ah == pytest.approx(1.1 - 2e-4)
    assert first.qmax_cycle100_Ah == pytest.approx(1.09)
    assert first.min_dQ_100_10 == pytest.approx(-90e-4)
    assert first.mean_dQ_100_10 == pytest.approx(-45e-4)
    variance = (90e-4) ** 2 / 12  # of a quantity spread evenly over 90e-4
    assert first.log10_var_dQ_100_10 == pytest.approx(np.log10(variance), abs=1e-3)


def test_every_address_is_of_one_version_or_said_to_be_none() -> None:
    remotes = [remote for one in SOURCES.values() for remote in one.remotes]
    assert len({remote.path for remote in remotes}) == len(remotes)
    for remote in remotes:
        assert remote.url.startswith("https://")
        assert remote.sha256 is None or len(remote.sha256) == 64


def test_the_command_goes_on_where_it_was_killed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(SOURCES, "test", source(server))
    command = ["data", "fetch", "test", "--data", str(tmp_path)]
    server.breaks_after = [204_800]
    fetched_part = tmp_path / "set/.file.bin.part"
    fetched_part.parent.mkdir()
    fetched_part.write_bytes(CONTENT[:1000])  # of a process that ended without a word
    assert main(command) == 0
    assert (tmp_path / "set/file.bin").read_bytes() == CONTENT
    assert server.asked[0] == ("/file.bin", "bytes=1000-")
    assert "sha256" in capsys.readouterr().out
    server.files = {}
    (tmp_path / "set/file.bin").unlink()
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("ionbridge: ")
    assert "answers 404" in error
