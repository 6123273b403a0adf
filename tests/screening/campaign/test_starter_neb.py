"""The NEB starter set holds converged bands of many families, each as it says it was made."""

import numpy as np
import pytest

from ionbridge.screening.campaign.starter import starter_neb_hops
from ionbridge.structures.crystals.geometry import check_geometry
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.records import Crystal

ROUNDING_EV = 1e-3


def test_families_ions_and_the_promised_materials() -> None:
    hops = starter_neb_hops()
    assert len({hop.id for hop in hops}) == len(hops)
    assert len({hop.family for hop in hops}) >= 5
    assert {hop.working_ion for hop in hops} >= {"Li", "Na"}
    materials = {hop.id.split("#")[0] for hop in hops}
    assert {"LiFePO4-olivine", "NaFePO4-olivine", "LiCoO2-layered"} <= materials


def test_every_label_follows_from_its_images() -> None:
    for hop in starter_neb_hops():
        energies = np.array(hop.extra["image_energies_eV"])
        assert hop.method == "mlip_neb"
        assert hop.extra["converged"] is True
        assert hop.extra["final_force_eV_A"] < hop.extra["neb"]["fmax_eV_A"]
        assert len(energies) == len(hop.path_frac) == hop.extra["neb"]["n_images"] + 2
        assert hop.barrier_eV == pytest.approx(energies.max(), abs=ROUNDING_EV)
        backward = energies.max() - energies[-1]
        assert hop.barrier_backward_eV == pytest.approx(backward, abs=ROUNDING_EV)
        assert energies[1:-1].min() > min(energies[0], energies[-1]) - 0.051
        assert hop.extra["image_distance_A"] >= hop.extra["neb"]["min_distance_A"] - 1e-6
        assert hop.extra["n_atoms"] == len(hop.host_species) + 1


def test_provenance() -> None:
    for hop in starter_neb_hops():
        assert hop.extra["calculator"] == "chgnet"
        assert (
            hop.extra["reference"] == PROTOTYPES[hop.extra["prototype"]].build().extra["reference"]
        )
        assert hop.extra["charge"] == "neutral cell"


def test_every_cell_is_a_crystal_with_the_ion_in_it() -> None:
    for hop in starter_neb_hops():
        for end in (0, -1):
            check_geometry(
                Crystal(
                    hop.id,
                    hop.lattice,
                    (*hop.host_species, {hop.working_ion: 1.0}),
                    np.vstack([hop.host_frac, hop.path_frac[end]]),
                )
            )
