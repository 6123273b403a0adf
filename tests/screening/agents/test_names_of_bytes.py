"""Files whose names are no UTF-8 (from a zip of another system) are read like any other."""

import csv
import json
import os
from pathlib import Path

import anyio
import pytest

from ionbridge.screening.agents.answers import Answer
from ionbridge.screening.agents.workspace import Workspace
from ionbridge.screening.cli import main
from ionbridge.structures.io.reading import read_records, write_cif
from ionbridge.structures.plain_text import for_terminal, one_line, readable_name, well_formed
from tests.screening.agents.test_mcp_server import (
    TOKENS,
    answer,
    http_server,
    over_http,
    over_stdio,
)
from tests.screening.tiny import layered

LATIN_1 = b"M\xfcller.cif"
SHOWN = "M\\xfcller"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work" / "crystals"
    made.mkdir(parents=True)
    write_cif(layered(), tmp_path / "a.cif")
    os.rename(tmp_path / "a.cif", os.fsencode(made) + b"/" + LATIN_1)
    return made


def test_records_have_readable_ids(folder: Path) -> None:
    assert [record.id for record in read_records(folder)] == [SHOWN]
    assert [
        record.id
        for record in read_records(Path(os.fsdecode(os.fsencode(folder) + b"/" + LATIN_1)))
    ] == [SHOWN]


def test_a_folder_with_one_is_predicted_and_planned_from(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.csv"
    inputs = [str(folder), "--workers", "0", "--model", "hop-barrier"]
    assert main(["predict", *inputs, "--out", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [SHOWN]
    named = os.fsdecode(os.fsencode(folder) + b"/" + LATIN_1)
    plan = ["plan", "--goal", "gravimetric_capacity", "--given", named, "--execute"]
    assert main([*plan, "--out", str(tmp_path / "plan")]) == 0
    json.loads((tmp_path / "plan" / "plan.json").read_text(encoding="utf-8"))
    assert SHOWN in (tmp_path / "plan" / "result.csv").read_text(encoding="utf-8")
    capsys.readouterr().out.encode("utf-8")


def test_the_server_lists_and_reads_them(folder: Path, tmp_path: Path) -> None:
    async def look(client: object) -> None:
        for _ in range(2):
            listed = await answer(client, "list_files", folder="crystals")  # type: ignore[arg-type]
            assert [e["path"] for e in listed["data"]["entries"]] == [f"crystals/{SHOWN}.cif"]
        found = await answer(client, "describe_data", inputs=["crystals"])  # type: ignore[arg-type]
        assert [e["id"] for e in found["data"]["examples"]] == [SHOWN]

    async def both() -> None:
        async with over_stdio(folder.parent) as client:
            await look(client)
        with http_server(folder.parent, tmp_path) as address:
            async with over_http(address, TOKENS["ann"]) as client:
                await look(client)

    anyio.run(both)


def test_every_answer_can_be_sent() -> None:
    bad = os.fsdecode(LATIN_1)
    answer = Answer(bad, (bad,), {bad: bad}, {"rows": [{bad: [bad]}]})
    answer.to_text().encode("utf-8")
    json.dumps(answer.to_dict(), ensure_ascii=False).encode("utf-8")


def test_workspace_names_are_text(folder: Path) -> None:
    entries = Workspace(folder.parent).entries("crystals")
    assert [entry.path for entry in entries] == [f"crystals/{SHOWN}.cif"]


@pytest.mark.parametrize("text", ["plain", "Müller", "一", "a\tb"])
def test_good_text_stays(text: str) -> None:
    assert readable_name(text) == well_formed(text) == for_terminal(text) == text
    assert one_line(text, 40) == " ".join(text.split())
