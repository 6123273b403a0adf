"""Files as people have them: every one of ``tests/data/ugly`` has the outcome that its table says.

``expected.csv`` has a row for each record: ``status``, reduced ``formula`` and number of sites, the
file whose crystal it must equal (``same_as``), and what its note or reason says.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Composition

from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.io.reading import read_records
from ionbridge.structures.plain_text import clean_text
from ionbridge.structures.records import Crystal

UGLY = Path(__file__).parents[2] / "data" / "ugly"
DISTANCES_A = 3.2
DISTANCE_TOLERANCE_A = 0.01


def expected():
    rows = {}
    with (UGLY / "expected.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            rows.setdefault(row["file"], []).append(row)
    return rows


EXPECTED = expected()


def surroundings(crystal):
    """Per kind of pair: number of neighbours a site, and their distances in order."""
    src, dst, _, distance = periodic_edges(crystal.lattice, crystal.frac, DISTANCES_A)
    kinds = [
        " ".join(f"{s}{round(n, 2):g}" for s, n in sorted(site.items())) for site in crystal.species
    ]
    found = {}
    for i, j, d in zip(src, dst, distance, strict=True):
        found.setdefault((kinds[i], kinds[j]), []).append(d)
    return {pair: (len(d) / crystal.n_sites, np.sort(d)) for pair, d in found.items()}


def assert_same(one, other):
    assert one.composition.reduced_composition.almost_equals(
        other.composition.reduced_composition, rtol=2e-3, atol=2e-3
    )
    ours, theirs = surroundings(one), surroundings(other)
    assert ours.keys() == theirs.keys()
    for pair, (count, distances) in ours.items():
        assert count == pytest.approx(theirs[pair][0])
        quantiles = np.linspace(0, 1, 11)
        assert np.quantile(distances, quantiles, method="nearest") == pytest.approx(
            np.quantile(theirs[pair][1], quantiles, method="nearest"), abs=DISTANCE_TOLERANCE_A
        )


def test_every_file_has_its_row():
    assert set(EXPECTED) == {file.name for file in UGLY.iterdir()} - {"expected.csv"}
    assert len(EXPECTED) >= 120


@pytest.mark.parametrize("name", EXPECTED)
def test_outcome(name):
    records = read_records(UGLY / name)
    assert len(records) == len(EXPECTED[name])
    for record, row in zip(records, EXPECTED[name], strict=True):
        said = "; ".join(record.notes) if isinstance(record, Crystal) else record.reason
        assert isinstance(record, Crystal) == (row["status"] == "ok"), said
        assert row["says"] in said
        assert clean_text(said) == said
        if not isinstance(record, Crystal):
            continue
        assert record.n_sites == int(row["n_sites"])
        assert record.composition.reduced_composition.almost_equals(
            Composition(row["formula"]).reduced_composition, rtol=1e-2, atol=1e-2
        )
        assert record.frac.min() >= 0
        assert record.frac.max() < 1
        if row["same_as"]:
            (reference,) = read_records(UGLY / row["same_as"])
            assert_same(record, reference)
