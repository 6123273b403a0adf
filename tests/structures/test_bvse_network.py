"""Bond-valence networks: known dimensionalities, and profiles that agree with the site energies."""

import numpy as np
import pytest

from ionbridge.structures.bvse_network import bond_valence_network
from ionbridge.structures.hop_network import percolation_barriers, percolation_dimensionality
from ionbridge.structures.prototypes import PROTOTYPES
from ionbridge.structures.records import UnusableStructureError
from ionbridge.structures.sites import find_hops

MARGIN_EV = 0.10


@pytest.mark.parametrize(
    ("name", "dimensions"), [("LiFePO4-olivine", 1), ("LiCoO2-layered", 2), ("LiMn2O4-spinel", 3)]
)
def test_known_dimensionalities(name: str, dimensions: int) -> None:
    network = bond_valence_network(find_hops(PROTOTYPES[name].build()))
    lowest = percolation_barriers(network)[0]
    assert percolation_dimensionality(network, lowest + MARGIN_EV) == dimensions


def test_sites_and_profiles_lie_on_one_scale() -> None:
    graph = find_hops(PROTOTYPES["Li3PO4-gamma"].build())
    assert graph.carrier == "vacancy"
    ion_eV = -bond_valence_network(graph).site_energy_eV
    for hop in graph.hops:
        rise = hop.extra["bvse_profile_eV"][-1]
        assert np.isclose(ion_eV[hop.extra["end_site"]] - ion_eV[hop.extra["start_site"]], rise)


def test_no_bond_valences_is_one_clear_line() -> None:
    graph = find_hops(PROTOTYPES["Na2Fe2(CN)6-Prussian-blue"].build())
    with pytest.raises(UnusableStructureError, match="no bond valences for this chemistry"):
        bond_valence_network(graph)
