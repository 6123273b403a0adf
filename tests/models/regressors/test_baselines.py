import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from ionbridge.models.regressors.baselines import (
    BondValenceBarrier,
    ExtraTreesBaseline,
    FamilyIonMean,
    GlobalMean,
    bond_valence_barriers,
)
from ionbridge.models.regressors.trees import Forest
from ionbridge.structures.records import Hop
from tests.contracts.test_estimators import data, hop


class TestMeans:
    def test_global_mean(self):
        hops, _ = data(4)
        prediction = GlobalMean().fit(hops, [1.0, 2.0, 3.0, 6.0]).predict(hops[:2])
        assert prediction.mean.tolist() == [3.0, 3.0]
        assert prediction.aleatoric_std[0] == pytest.approx(np.std([1, 2, 3, 6]))

    def test_family_and_ion_with_its_fallbacks(self):
        train = [
            hop(0, ion="Li", family="SPINEL"),
            hop(1, ion="Li", family="SPINELS"),
            hop(2, ion="Na", family="SPINEL"),
            hop(3, ion="Na", family="OLIVINE"),
        ]
        model = FamilyIonMean().fit(train, [0.2, 0.4, 0.9, 1.5])
        asked = [
            hop(4, ion="Li", family="spinel"),  # family and ion
            hop(5, ion="Mg", family="SPINEL"),  # family
            hop(6, ion="Na", family="GARNET"),  # ion
            hop(7, ion="Mg", family=None),  # neither
        ]
        assert model.predict(asked).mean == pytest.approx([0.3, 0.5, 1.2, 0.75])


class TestTrees:
    def test_arrays_give_what_scikit_learn_gives(self):
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((80, 6)), rng.standard_normal(80)
        fitted = ExtraTreesRegressor(n_estimators=15, random_state=0).fit(x, y)
        forest = Forest.from_sklearn(fitted.estimators_)
        asked = rng.standard_normal((200, 6))
        expected = np.array([tree.predict(asked) for tree in fitted.estimators_])
        assert np.allclose(forest.predict(asked), expected, atol=1e-12)
        assert np.allclose(Forest.from_arrays(forest.arrays()).predict(asked), expected, atol=1e-12)

    def test_indices_that_point_outside_are_refused(self):
        x = np.arange(8.0)[:, None]
        fitted = ExtraTreesRegressor(n_estimators=2, random_state=0).fit(x, x[:, 0])
        arrays = Forest.from_sklearn(fitted.estimators_).arrays()
        with pytest.raises(ValueError, match="outside"):
            Forest.from_arrays({**arrays, "left": arrays["left"] + 100})

    def test_learn_what_path_geometry_decides(self):
        hops, barriers = data(60)
        model = ExtraTreesBaseline(n_trees=60).fit(hops[:45], barriers[:45])
        error = np.abs(model.predict(hops[45:]).mean - barriers[45:]).mean()
        constant = np.abs(barriers[:45].mean() - barriers[45:]).mean()
        assert error < 0.5 * constant


class TestBondValence:
    def test_recovers_a_linear_law(self):
        hops, _ = data(24)
        energy = bond_valence_barriers(hops)
        assert np.isfinite(energy).all()
        assert np.ptp(energy) > 0.1
        model = BondValenceBarrier().fit(hops, 0.1 + 0.4 * energy)
        assert model.offset_ == pytest.approx(0.1, abs=1e-6)
        assert model.slope_ == pytest.approx(0.4, abs=1e-6)
        assert model.predict(hops).mean == pytest.approx(0.1 + 0.4 * energy, abs=1e-6)

    def test_without_anion_it_falls_back_on_the_median(self):
        hops, _ = data(8)
        h = hops[0]
        bare = Hop("metal", "Li", h.lattice, ({"Fe": 1.0},) * 3, h.host_frac, h.path_frac)
        assert np.isnan(bond_valence_barriers([bare])).all()
        model = BondValenceBarrier().fit(hops, np.linspace(0.1, 0.8, 8))
        assert model.predict([bare]).mean == pytest.approx([0.45])
