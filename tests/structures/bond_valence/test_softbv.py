"""Parameters are bvlain's own, sound where given, and read without running code."""

import io
import pickle

import pytest

from ionbridge.structures.bond_valence import softbv
from ionbridge.structures.records import UnusableStructureError


def test_lithium_oxygen_is_the_published_pair():
    pair = softbv.morse_pair("Li", 1, "O", -2)
    assert (pair.depth_eV, pair.alpha_per_A, pair.r_min_A) == (0.98816, 1.937984, 1.940013)


def test_the_nearest_tabulated_oxidation_state_is_taken():
    assert softbv.morse_pair("Li", 1, "O", -0.5) == softbv.morse_pair("Li", 1, "O", -2)
    assert softbv.ion_charge("Cu", 1.9) == 2
    assert softbv.ion_charge("Cu") == 1
    assert softbv.ion_charge("Mg") == 2


def test_every_pair_of_a_working_ion_is_sound_or_refused():
    refused = set()
    for ion in ("Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Zn", "Al"):
        charge = softbv.ion_charge(ion)
        for anion in ("O", "F", "S", "Cl", "Se", "Br", "Te", "I"):
            try:
                pair = softbv.morse_pair(ion, charge, anion, -1)
            except UnusableStructureError:
                refused.add((ion, anion))
                continue
            assert pair.alpha_per_A > 0
            assert 1.5 < pair.r_min_A < 4.5
    assert refused == {
        *(("Mg", x) for x in ("Se", "Te", "I")),
        *((ion, x) for ion in ("Ca", "Sr") for x in ("Br", "Te", "I")),
    }


def test_a_table_that_would_run_code_is_refused():
    class Evil:
        def __reduce__(self):
            return (print, ("this must not run",))

    with pytest.raises(pickle.UnpicklingError, match="must not load"):
        softbv._NumbersOnly(io.BytesIO(pickle.dumps({1: Evil()}))).load()


def test_an_element_without_a_quantum_number_takes_its_period():
    assert softbv.principal_quantum_number("Li") == 2
    assert softbv.principal_quantum_number("Pu") == 7
    assert softbv.principal_quantum_number("D") == softbv.principal_quantum_number("H") == 1
