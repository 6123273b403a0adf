"""Whatever JSON holds: a record, or one line that says why not; what is read is in its cell."""

import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ionbridge.structures.io.foreign_json import crystals_in_foreign_json, foreign_form
from ionbridge.structures.io.json_records import (
    compact,
    crystal_from_json,
    crystal_to_json,
    hop_from_json,
)
from ionbridge.structures.io.reading import read_records
from ionbridge.structures.plain_text import clean_text
from ionbridge.structures.records import Crystal, FailedRecord, UnusableStructureError

CRYSTAL = {
    "id": "a",
    "cell": [4.1, 5.2, 6.3, 88, 95, 107],
    "species": ["Li", {"Fe": 0.6, "Mn": 0.4}, "O"],
    "frac": [[0.1, 0.2, 0.3], [0.6, 0.5, 0.4], [0.9, 0.8, 0.1]],
}
HOP = {
    "id": "h",
    "working_ion": "Li",
    "lattice": [[4, 0, 0], [0, 5, 0], [0, 0, 6]],
    "host_species": ["O", "Fe"],
    "host_frac": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "path_frac": [[0.2, 0.5, 0], [0.7, 0.5, 0]],
}
CUBE = [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
FOREIGN = [
    {
        "lattice": {"matrix": CUBE},
        "sites": [{"species": [{"element": "Li", "occu": 1}], "abc": [0, 0, 0]}],
    },
    {"cell": CUBE, "numbers": [3], "positions": [[0, 0, 0]]},
    {
        "attributes": {
            "lattice_vectors": CUBE,
            "cartesian_site_positions": [[0, 0, 0]],
            "species_at_sites": ["Li"],
            "species": [{"name": "Li", "chemical_symbols": ["Li"], "concentration": [1]}],
        }
    },
]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("Li")
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


def paths(value, at=()):
    """Every place in a JSON value."""
    yield at
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from paths(inner, (*at, key))


def with_value(value, at, new):
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = with_value(value[at[0]], at[1:], new)
    return copy


@st.composite
def damaged(draw, whole):
    """A record with one or two places replaced by anything."""
    value = whole
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.sampled_from([p for p in paths(value) if p] or [()]))
        value = with_value(value, at, draw(anything))
    return value


def outcome(read, *given):
    """What a reader gives, or the one error that it may raise."""
    try:
        return read(*given)
    except UnusableStructureError as error:
        return error


def check(crystal):
    assert np.isfinite(crystal.lattice).all()
    assert np.isfinite(crystal.frac).all()
    assert crystal.frac.min() >= 0
    assert crystal.frac.max() < 1
    assert all(0 < sum(site.values()) <= 1 + 1e-9 for site in crystal.species)
    assert crystal.formula


@given(damaged(CRYSTAL))
@settings(max_examples=150, deadline=None)
def test_a_damaged_crystal_is_one_or_a_reason(data):
    found = outcome(crystal_from_json, data)
    if isinstance(found, Crystal):
        check(found)
    else:
        assert str(found)


@given(damaged(HOP))
@settings(max_examples=150, deadline=None)
def test_a_damaged_hop_is_one_or_a_reason(data):
    found = outcome(hop_from_json, data)
    assert str(found) if isinstance(found, Exception) else math.isfinite(found.distance_A)


@given(st.one_of([damaged(whole) for whole in FOREIGN]))
@settings(max_examples=150, deadline=None)
def test_damaged_json_of_others_is_a_crystal_or_a_reason(data):
    form = foreign_form(data)
    if form is None:
        return
    for _, found in crystals_in_foreign_json(data, form):
        if isinstance(found, Crystal):
            check(found)
        else:
            assert str(found)


@given(st.lists(st.one_of(anything, damaged(CRYSTAL), damaged(HOP)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_line_is_a_row(tmp_path_factory, values):
    file = tmp_path_factory.mktemp("lines") / "a.jsonl"
    first = "17\n"  # a first line that opens no array or object over several lines
    file.write_text(first + "".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")
    records = read_records(file)
    assert isinstance(records[0], FailedRecord)
    for record in records:
        assert clean_text(record.id) == record.id
        if isinstance(record, FailedRecord):
            assert record.reason
            assert clean_text(record.reason) == record.reason


@given(st.lists(st.integers(-40, 40), min_size=9, max_size=9))
@settings(max_examples=60, deadline=None)
def test_whole_cells_away_is_the_same_crystal(shifts):
    near = crystal_from_json(CRYSTAL)
    moved = (np.array(CRYSTAL["frac"]) + np.array(shifts).reshape(3, 3)).tolist()
    far = crystal_from_json({**CRYSTAL, "frac": moved})
    away = far.frac - near.frac
    assert np.abs(away - np.rint(away)).max() < 1e-9


@given(st.lists(st.integers(-40, 40), min_size=9, max_size=9))
@settings(max_examples=40, deadline=None)
def test_a_hop_whole_cells_away_is_the_same_hop(shifts):
    near = hop_from_json(HOP)
    moved = np.array(shifts).reshape(3, 3)
    far = hop_from_json(
        {
            **HOP,
            "host_frac": (near.host_frac + moved[:2]).tolist(),
            "path_frac": (near.path_frac + moved[2]).tolist(),
        }
    )
    assert np.abs(far.path_frac).max() < 3
    assert np.allclose(np.diff(far.path_frac, axis=0), np.diff(near.path_frac, axis=0))
    for one, other in ((near.host_frac, far.host_frac), (near.path_frac, far.path_frac)):
        assert np.abs(other - one - np.rint(other - one)).max() < 1e-9


@given(st.lists(st.integers(-3, 3), min_size=3, max_size=3), st.integers(20, 400))
@settings(max_examples=40, deadline=None)
def test_skewed_vectors_are_the_same_lattice(small, large):
    near = crystal_from_json(CRYSTAL)
    change = np.eye(3, dtype=int)
    change[1, 0], change[2, 0], change[2, 1] = large, small[0], small[1]
    far = compact(
        Crystal("a", change @ near.lattice, near.species, near.frac @ np.linalg.inv(change))
    )
    assert math.isclose(far.volume_A3, near.volume_A3, rel_tol=1e-9)
    for one, other in zip(near.frac, far.frac, strict=True):
        away = (one @ near.lattice - other @ far.lattice) @ np.linalg.inv(near.lattice)
        assert np.abs(away - np.rint(away)).max() < 1e-6


@given(st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_a_crystal_comes_back(seed):
    rng = np.random.default_rng(seed)
    one = Crystal("a", np.diag(rng.uniform(3, 9, 3)), ({"Li": 0.5}, {"O": 1.0}), rng.random((2, 3)))
    again = crystal_from_json(json.loads(json.dumps(crystal_to_json(one.with_notes("a note")))))
    assert again.notes == ("a note",)
    assert np.allclose(again.lattice, one.lattice, atol=1e-7)
    assert np.allclose(again.frac, one.frac, atol=1e-7)
    assert [dict(s) for s in again.species] == [dict(s) for s in one.species]
