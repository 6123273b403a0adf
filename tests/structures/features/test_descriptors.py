import warnings

import numpy as np
import pytest
from pymatgen.core import Composition
from scipy.spatial.transform import Rotation

from ionbridge.structures.features.descriptors import (
    COMPOSITION_FEATURES,
    CUTOFF_A,
    ION_FEATURES,
    PATH_FEATURES,
    composition_descriptors,
    composition_feature_names,
    hop_features,
    ion_descriptors,
    migration_graph_features,
    path_descriptors,
)
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Hop
from tests.tolerances import TIGHT


def hop(seed=0, **changes):
    """A random host in a skewed cell and a bent path."""
    rng = np.random.default_rng(seed)
    lattice = np.array([[6.0, 0, 0], [1.0, 7.0, 0], [-0.5, 1.5, 6.5]])
    fields = {
        "id": "hop",
        "working_ion": "Li",
        "lattice": lattice,
        "host_species": ({"Fe": 1.0}, {"P": 1.0}, {"O": 1.0}, {"O": 1.0}, {"O": 1.0}, {"Li": 1.0}),
        "host_frac": rng.random((6, 3)),
        "path_frac": np.array([[0.1, 0.2, 0.9], [0.3, 0.4, 1.0], [0.6, 0.3, 1.1]]),
    }
    return Hop(**{**fields, **changes})


def named(record):
    return dict(zip(PATH_FEATURES, path_descriptors(record), strict=True))


def with_host(record, frac, species=None):
    return hop(
        host_frac=frac,
        host_species=species or record.host_species,
        path_frac=record.path_frac,
        lattice=record.lattice,
    )


class TestSymmetry:
    def test_rotation(self):
        one = hop()
        turn = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
        assert path_descriptors(hop(lattice=one.lattice @ turn)) == pytest.approx(
            path_descriptors(one), abs=TIGHT
        )

    def test_translation_and_whole_cells(self):
        one = hop()
        moved = hop(host_frac=one.host_frac + 0.37, path_frac=one.path_frac + 0.37)
        cells = np.random.default_rng(1).integers(-2, 3, one.host_frac.shape)
        wrapped = hop(
            host_frac=one.host_frac + cells, path_frac=one.path_frac + np.array([2, -1, 0])
        )
        for other in (moved, wrapped):
            assert path_descriptors(other) == pytest.approx(path_descriptors(one), abs=TIGHT)

    def test_permutation(self):
        one = hop()
        order = [3, 5, 0, 4, 1, 2]
        other = with_host(one, one.host_frac[order], tuple(one.host_species[k] for k in order))
        assert path_descriptors(other) == pytest.approx(path_descriptors(one), abs=TIGHT)

    def test_change_of_cell_vectors(self):
        one = hop()
        change = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
        back = np.linalg.inv(change)
        other = hop(
            lattice=change @ one.lattice,
            host_frac=one.host_frac @ back,
            path_frac=one.path_frac @ back,
        )
        assert path_descriptors(other) == pytest.approx(path_descriptors(one), abs=TIGHT)

    def test_reversal_exchanges_start_and_end(self):
        forward, backward = named(hop()), named(hop().reversed())
        for name, value in forward.items():
            mirrored = name
            if name.startswith("start_"):
                mirrored = name.replace("start_", "end_")
            elif name.startswith("end_"):
                mirrored = name.replace("end_", "start_")
            assert backward[mirrored] == pytest.approx(value, abs=TIGHT), name


class TestGeometry:
    def test_lengths_of_a_bent_path(self):
        one = hop(
            lattice=10 * np.eye(3), path_frac=np.array([[0, 0, 0], [0.3, 0, 0], [0.3, 0.4, 0]])
        )
        values = named(one)
        assert values["hop_distance_A"] == pytest.approx(5.0)
        assert values["path_length_A"] == pytest.approx(7.0)
        assert values["tortuosity"] == pytest.approx(1.4)

    def test_a_square_window_of_anions(self):
        species = ({"O": 1.0},) * 2
        host = np.array([[0.5, 0, 0], [0, 0.5, 0]])
        path = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 1.5]])
        values = named(
            hop(
                lattice=np.diag([4.0, 4.0, 8.0]),
                host_species=species,
                host_frac=host,
                path_frac=path,
            )
        )
        assert values["middle_anion_min_A"] == pytest.approx(2.0)
        assert values["middle_anion_mean4_A"] == pytest.approx(2.0)
        assert values["window_mean3_A"] == pytest.approx(2.0)
        assert values["window_radius_A"] == pytest.approx(2.0 - 1.4, abs=0.01)  # r(O2-) = 1.40
        assert values["start_anion_min_A"] == pytest.approx(np.sqrt(4 + 16))
        assert values["middle_cation_min_A"] == CUTOFF_A


class TestOccupancy:
    def test_two_species_on_a_site_count_by_their_shares(self):
        one = hop(host_species=({"O": 1.0},) * 5 + ({"Li": 1.0},))
        split = tuple({"O": 0.5, "F": 0.5} if "O" in s else s for s in one.host_species)
        halves = tuple({"O": 0.5} if "O" in s else s for s in one.host_species)
        full, shared, half = (
            named(with_host(one, one.host_frac, s)) for s in (one.host_species, split, halves)
        )
        assert shared["middle_anion_min_A"] == pytest.approx(full["middle_anion_min_A"])
        assert half["middle_valence"] == pytest.approx(0.5 * full["middle_valence"], rel=0.01)
        assert shared["volume_per_anion_A3"] == pytest.approx(full["volume_per_anion_A3"])
        assert half["volume_per_anion_A3"] == pytest.approx(2 * full["volume_per_anion_A3"])

    def test_nearly_empty_sites_do_not_narrow_the_path(self):
        one = hop()
        nearest = np.array([[0.3, 0.4, 1.0]])
        ghost = with_host(one, np.vstack([one.host_frac, nearest]), (*one.host_species, {"O": 0.1}))
        assert named(ghost)["path_anion_min_A"] == pytest.approx(named(one)["path_anion_min_A"])


class TestFeatures:
    def test_names_and_columns(self):
        features, names = hop_features([hop(), hop(1)])
        assert features.shape == (2, len(names))
        assert names == (*PATH_FEATURES, *ION_FEATURES, *COMPOSITION_FEATURES)
        assert len(set(names)) == len(names)
        assert np.isfinite(features).all()
        assert hop_features([])[0].shape == (0, len(names))

    def test_one_at_a_time_is_the_same(self):
        both, _ = hop_features([hop(), hop(1)])
        assert np.array_equal(hop_features([hop(1)])[0][0], both[1])

    @pytest.mark.parametrize(
        "name",
        ["LiFePO4-olivine", "Li7La3Zr2O12-garnet", "Na0.7CoO2-layered-P2", "LiFeO2-rocksalt"],
    )
    def test_hops_of_a_crystal_are_their_records_one_by_one(self, name):
        """Split sites, sites that are partly filled, and sites shared with a metal."""
        graph = find_hops(PROTOTYPES[name].build())
        together = migration_graph_features(graph)
        np.testing.assert_allclose(together, hop_features(graph.hops)[0], atol=1e-6)

    def test_ion(self):
        radius, charge, mass, electronegativity = ion_descriptors("Mg")
        assert (radius, charge) == (pytest.approx(0.72), 2)
        assert mass == pytest.approx(24.305)
        assert electronegativity == pytest.approx(1.31)

    def test_magpie_depends_on_fractions_only(self):
        one = composition_descriptors(Composition("LiFePO4"))
        assert np.array_equal(one, composition_descriptors(Composition("Li4Fe4P4O16")))
        at = composition_feature_names().index("MagpieData mean Electronegativity")
        expected = (0.98 + 1.83 + 2.19 + 4 * 3.44) / 7
        assert one[at] == pytest.approx(expected)

    def test_magpie_is_that_of_matminer(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from matminer.featurizers.composition import ElementProperty

            theirs = ElementProperty.from_preset("magpie", impute_nan=False)
            assert tuple(theirs.feature_labels()) == composition_feature_names()
            for formula in ("Li10GeP2S12", "Na0.7CoO2", "LiO2U", "Xe"):
                whole = Composition(formula)
                expected = np.nan_to_num(np.array(theirs.featurize(whole), dtype=float))
                np.testing.assert_allclose(composition_descriptors(whole), expected)

    def test_a_host_of_metals_only_has_features(self):
        metal = hop(host_species=({"Li": 1.0},) * 6)
        assert np.isfinite(hop_features([metal])[0]).all()
