"""Every hop has a file of its own, however long or strange the name of its crystal."""

from pathlib import Path

import pytest

from ionbridge.screening.campaign.hop_paths import write_hop_paths
from tests.screening.tiny import layered

NAMES = ["a" * 300, "\u00fc" * 200, "x/../y\ud800\n=1", "b" * 118]


@pytest.mark.parametrize("name", NAMES)
def test_no_hop_overwrites_another(tmp_path: Path, name: str) -> None:
    row = {"rank": 1, "candidate_id": name, "working_ion": "Li", "percolating_hops": "0 1"}
    (top,) = write_hop_paths(tmp_path, [(row, layered(name))])
    files = sorted(p.name for p in tmp_path.glob("*.cif"))
    assert len(files) == 3  # the crystal and two hops
    assert {p.name for p in tmp_path.iterdir()} == {*top.files, "hops.jsonl"}
    assert all(f.startswith("001_") and len(f.encode()) < 255 for f in files)
    assert {p.parent for p in tmp_path.rglob("*.extxyz")} == {tmp_path}


def test_a_row_without_hops_is_passed_over(tmp_path: Path) -> None:
    row = {"rank": 1, "candidate_id": "a", "working_ion": "Li", "percolating_hops": None}
    assert write_hop_paths(tmp_path, [(row, layered("a"))]) == []
