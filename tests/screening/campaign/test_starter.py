"""The starter data are what they say: hops of the starter crystals, their labels reproducible."""

from collections import Counter
from importlib.resources import files

import numpy as np
import pytest

from ionbridge.screening.campaign.starter import BVSE_HOPS_FILE, starter_crystals, starter_hops
from ionbridge.screening.labelling.bands.bvse import bvse_label
from ionbridge.structures.hops.sites import find_hops

ROUNDING_EV = 0.02
ROUNDING_A = 1e-3
"""Coordinates are stored to 1e-5 of a cell vector, energies to 1e-4 eV."""


def test_every_hop_says_where_it_comes_from() -> None:
    crystals = {crystal.id: crystal for crystal in starter_crystals()}
    hops = starter_hops()
    assert len({hop.id for hop in hops}) == len(hops) > 100
    for hop in hops:
        crystal = crystals[hop.extra["source"].removeprefix("prototype:")]
        assert hop.id.split("#")[0] == crystal.id
        assert hop.family == crystal.family
        assert hop.working_ion == crystal.working_ion
        assert hop.method == "bvse"
        assert "bvlain" in hop.extra["parameters"]
        assert hop.extra["reference"] == crystal.extra["reference"]


def test_labels_are_those_of_the_hops_found_today() -> None:
    """Up to symmetry: a hop is known by its length and by the barriers of both its directions."""
    wanted = ("LiFePO4-olivine", "LiCoO2-layered", "LiMn2O4-spinel", "Li3OCl-anti-perovskite")
    stored = {hop.id: hop for hop in starter_hops()}
    for crystal in starter_crystals():
        if crystal.id not in wanted:
            continue
        hop = find_hops(crystal).hops[0]
        known, label = stored[hop.id], bvse_label(hop)
        assert known.distance_A == pytest.approx(hop.distance_A, abs=ROUNDING_A)
        assert sorted([known.barrier_eV, known.barrier_backward_eV]) == pytest.approx(
            sorted([label.barrier_eV, label.barrier_backward_eV]), abs=ROUNDING_EV
        )
        assert np.linalg.det(known.lattice) == pytest.approx(np.linalg.det(hop.lattice), rel=1e-4)


def test_barriers_are_those_of_the_profiles() -> None:
    for hop in starter_hops():
        profile = hop.extra["bvse_profile_eV"]
        assert hop.barrier_eV == pytest.approx(max(profile) - profile[0])
        assert hop.barrier_backward_eV == pytest.approx(max(profile) - profile[-1])
        assert 0 <= hop.barrier_eV <= 5


def test_several_families_and_both_ions_in_a_small_file() -> None:
    hops = starter_hops()
    assert len(Counter(hop.family for hop in hops)) >= 20
    assert set(Counter(hop.working_ion for hop in hops)) == {"Li", "Na"}
    assert len((files("ionbridge.screening") / "data" / BVSE_HOPS_FILE).read_bytes()) < 300_000
