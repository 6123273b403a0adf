"""Rows of a run that is gone on with: torn and altered ones are none."""

from pathlib import Path

import pytest

from benchmarks.json_lines import append, read


def test_altered_and_torn_rows_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    assert read(file) == []
    rows = [{"id": k, "energy_eV": 0.5 + k} for k in range(3)]
    for row in rows:
        append(file, row)
    assert read(file) == rows
    lines = file.read_text().splitlines()
    file.write_text(f"{lines[0]}\n{lines[1].replace('1.5', '2.5')}\n{lines[2][:20]}")
    assert read(file) == rows[:1]
    assert "line 2: its checksum differs" in capsys.readouterr().err
    file.write_text('{"id": 7}\n')  # of a run before there were checksums
    assert read(file) == [{"id": 7}]
