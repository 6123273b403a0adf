"""Hops on their bond-valence path."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.structures.bond_valence.bvse import hop_field
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.hops.sites import N_PATH_POINTS, find_hops
from ionbridge.structures.records import UnusableStructureError
from tests.small_crystals import LAYERED, one_atom_hop, skew_hop, with_profile
from tests.tolerances import EXACT, TIGHT

PROFILE_EV = 0.02
"""Two relaxations of one path, in eV."""


def raw(hop):
    """The hop as a data base gives it: no path found, no energies."""
    return replace(hop, extra={"note": "kept"})


@pytest.fixture(scope="module")
def layered_hop():
    return find_hops(LAYERED).hops[0]


def test_a_raw_hop_gets_the_path_and_energies_of_the_crystal_it_was_cut_from(layered_hop):
    straight = raw(replace(layered_hop, path_frac=layered_hop.path_frac[[0, -1]]))
    found = profiled(straight)
    assert found.extra["path"] == "relaxed"
    assert found.extra["note"] == "kept"
    assert len(found.extra["bvse_profile_eV"]) == N_PATH_POINTS == len(found.path_frac)
    np.testing.assert_allclose(
        found.extra["bvse_profile_eV"], layered_hop.extra["bvse_profile_eV"], atol=PROFILE_EV
    )


def test_ends_stay_and_the_profile_is_the_field_along_the_path(layered_hop):
    found = profiled(raw(layered_hop))
    np.testing.assert_allclose(found.path_A[[0, -1]], layered_hop.path_A[[0, -1]], atol=TIGHT)
    states = [found.extra["oxidation_states"]] * len(found.host_species)
    field = hop_field(found, states, include_working_ion=False)
    energy = field.energy(found.path_A)
    np.testing.assert_allclose(
        found.extra["bvse_profile_eV"], energy - energy[0], atol=PROFILE_EV / 10
    )


def test_backwards_the_profile_is_the_same_read_from_the_other_end():
    hop = raw(replace(skew_hop(4), host_species=({"Mn": 1.0}, *({"O": 1.0},) * 4)))
    forward, backward = profiled(hop), profiled(hop.reversed())
    assert backward.extra["bvse_profile_eV"][0] == 0.0
    np.testing.assert_allclose(
        forward.reversed().extra["bvse_profile_eV"],
        backward.extra["bvse_profile_eV"],
        atol=PROFILE_EV,
    )


def test_reversing_a_hop_turns_all_that_has_a_direction():
    hop = with_profile(skew_hop(0, barrier_eV=0.9, barrier_backward_eV=0.7), [0.0, 0.9, 0.2])
    hop = replace(hop, extra={**hop.extra, "start_site": 3, "end_site": 5})
    back = hop.reversed()
    np.testing.assert_allclose(back.extra["bvse_profile_eV"], [0.0, 0.7, -0.2], atol=EXACT)
    assert (back.extra["start_site"], back.extra["end_site"]) == (5, 3)
    assert (back.barrier_eV, back.barrier_backward_eV) == (0.7, 0.9)
    again = back.reversed()
    np.testing.assert_allclose(again.extra["bvse_profile_eV"], [0.0, 0.9, 0.2], atol=EXACT)
    np.testing.assert_array_equal(again.path_frac, hop.path_frac)
    assert hop.extra["start_site"] == 3  # the record itself did not change


def test_a_hop_that_has_its_path_keeps_it(layered_hop):
    assert profiled(layered_hop) is layered_hop
    once = profiled(raw(layered_hop))
    assert profiled(once) is once


def test_a_foreign_key_of_the_same_name_is_no_path(layered_hop):
    hop = replace(layered_hop, extra={"path": "runs/neb-17"})
    assert profiled(hop).extra["path"] == "relaxed"


def test_without_bond_valences_the_hop_stays_as_it_came():
    metal = replace(raw(one_atom_hop()), host_species=({"Sn": 1.0},))
    found = profiled(metal)
    assert found.extra["path"] == "given"
    assert "bvse_profile_eV" not in found.extra
    np.testing.assert_array_equal(found.path_frac, metal.path_frac)


def test_a_path_without_length_is_refused_by_name():
    hop = raw(replace(one_atom_hop(), path_frac=np.full((2, 3), 0.5)))
    with pytest.raises(UnusableStructureError, match="one-atom: the path ends 0 angstrom"):
        profiled(hop)


@pytest.mark.parametrize(("image", "name"), [(0, "initial"), (-1, "final")])
def test_an_end_on_a_host_atom_is_refused_in_any_cell(layered_hop, image, name):
    path = layered_hop.path_frac[[0, -1]].copy()
    path[image] = layered_hop.host_frac[3] + [1, 0, -2] + 1e-3
    with pytest.raises(UnusableStructureError, match=f"the {name} image is 0.0. angstrom from"):
        profiled(raw(replace(layered_hop, path_frac=path)))


def test_a_site_of_the_host_that_is_partly_empty_may_be_hopped_into(layered_hop):
    path = layered_hop.path_frac[[0, -1]]
    host = replace(
        layered_hop,
        path_frac=path,
        host_species=(*layered_hop.host_species, {layered_hop.working_ion: 0.5}),
        host_frac=np.vstack([layered_hop.host_frac, path[-1]]),
    )
    assert profiled(raw(host)).extra["path"] == "relaxed"
