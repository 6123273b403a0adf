"""What everything that learns hop barriers promises; a new one joins ``ESTIMATORS``."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_val_score

from ionbridge.models.adaptation.few_shot_conductivities import FewLabelConductivity
from ionbridge.models.cells.cell_discrepancy import CellDiscrepancy
from ionbridge.models.cells.cell_rom import CellRom
from ionbridge.models.cells.cycle_life import CycleLife
from ionbridge.models.checkpoint import IncompatibleModelError
from ionbridge.models.conductors.conduction_estimate import ConductionEstimate
from ionbridge.models.conductors.conductivity import ConductivityTrees
from ionbridge.models.conductors.diffusivity import DiffusivityProcess
from ionbridge.models.conductors.host_properties import PropertyTrees
from ionbridge.models.hop_networks.ensemble import HopEnsemble
from ionbridge.models.library import load
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.baselines import BASELINES, ExtraTreesBaseline
from ionbridge.structures.records import Hop

ESTIMATORS = {
    name: (lambda: ExtraTreesBaseline(n_trees=20)) if name == "trees" else cls
    for name, cls in BASELINES.items()
}
OTHERS = (
    CellDiscrepancy,
    CellRom,
    ConductionEstimate,
    ConductivityTrees,
    CycleLife,
    DiffusivityProcess,
    FewLabelConductivity,
    HopEnsemble,
    PropertyTrees,
)
METALS = ("Fe", "Mn", "Co", "Ni", "Ti", "Al")
FAMILIES = ("SPINEL", "LAYERED", None)


def hop(k, ion="Li", metal=None, family="LAYERED"):
    """A hop through a square of four anions; longer cells have wider windows."""
    rng = np.random.default_rng(k)
    a = 3.2 + 0.8 * rng.random()
    species = ({metal or METALS[k % len(METALS)]: 1.0}, {"O": 1.0}, {"O": 1.0})
    host = np.array([[0.0, 0, 0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    path = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 1.0], [0.5, 0.5, 1.5]])
    path = path + 0.02 * rng.standard_normal((1, 3))
    return Hop(f"hop-{k}", ion, a * np.eye(3), species, host, path, family=family)


def data(n=30):
    hops = [hop(k, ion=("Li", "Na")[k % 2], family=FAMILIES[k % len(FAMILIES)]) for k in range(n)]
    barriers = np.array([0.2 + 0.5 * (4.0 - h.lattice[0, 0]) for h in hops])
    return hops, barriers


def assert_same(a, b):
    for name in ("mean", "aleatoric_std", "epistemic_std"):
        assert np.allclose(getattr(a, name), getattr(b, name), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ESTIMATORS)
class TestEveryEstimator:
    def test_fit_returns_itself_and_predicts_finite_numbers(self, name):
        hops, barriers = data()
        model = ESTIMATORS[name]()
        assert model.fit(hops, barriers) is model
        prediction = model.predict(hops)
        assert isinstance(prediction, Prediction)
        assert len(prediction) == len(hops)
        for values in (prediction.mean, prediction.aleatoric_std, prediction.epistemic_std):
            assert np.isfinite(values).all()
            assert (values >= 0).all()

    def test_a_clone_has_the_parameters_and_is_not_fitted(self, name):
        hops, barriers = data()
        model = ESTIMATORS[name]().fit(hops, barriers)
        copy = clone(model)
        ours, theirs = model.get_params(), copy.get_params()
        assert ours.keys() == theirs.keys()
        assert all(theirs[key] is value for key, value in ours.items())
        with pytest.raises(ValueError, match="not fitted"):
            copy.predict(hops)
        assert_same(copy.fit(hops, barriers).predict(hops), model.predict(hops))

    def test_prediction_does_not_depend_on_the_batch(self, name):
        hops, barriers = data()
        model = ESTIMATORS[name]().fit(hops, barriers)
        whole = model.predict(hops)
        for k in (0, 7, 29):
            assert_same(model.predict([hops[k]]), whole[k : k + 1])

    def test_labels_of_the_records_are_never_looked_at(self, name):
        hops, barriers = data()
        model = ESTIMATORS[name]().fit(hops, barriers)
        labelled = [Hop(**{**_fields(h), "barrier_eV": 99.0}) for h in hops]
        assert_same(model.predict(labelled), model.predict(hops))

    @pytest.mark.parametrize(("bound", "side"), [("<", -1), (">", 1)])
    def test_a_bound_teaches_only_where_it_is_missed(self, name, bound, side):
        hops, barriers = data()
        values = ESTIMATORS[name]().fit(hops[:15], barriers[:15])
        said = values.predict(hops[15:]).mean
        marked = hops[:15] + [Hop(**{**_fields(h), "bound": bound}) for h in hops[15:]]
        met, missed = (np.append(barriers[:15], said - by * side) for by in (0.1, -0.1))
        assert_same(ESTIMATORS[name]().fit(marked, met).predict(hops), values.predict(hops))
        pulled = ESTIMATORS[name]().fit(marked, missed).predict(hops[15:]).mean
        assert (side * (pulled - said)).mean() > 0.01
        with pytest.raises(ValueError, match="all labels are bounds"):
            ESTIMATORS[name]().fit(marked[15:], barriers[15:])

    def test_fitting_twice_gives_the_same_model(self, name):
        hops, barriers = data()
        one, two = (ESTIMATORS[name]().fit(hops, barriers) for _ in range(2))
        assert_same(one.predict(hops), two.predict(hops))

    def test_save_and_load(self, name, tmp_path):
        hops, barriers = data()
        model = ESTIMATORS[name]().fit(hops, barriers)
        model.save(tmp_path / "model")
        again = type(model).load(tmp_path / "model")
        for part in ("mean", "aleatoric_std", "epistemic_std"):
            ours, theirs = (getattr(m.predict(hops), part) for m in (model, again))
            np.testing.assert_array_equal(theirs, ours)
        assert again.get_params() == model.get_params()
        assert again.ions_ == model.ions_
        assert {p.name for p in (tmp_path / "model").iterdir()} == {
            "model.safetensors",
            "config.json",
            "card.yaml",
        }

    def test_an_altered_file_is_refused(self, name, tmp_path):
        hops, barriers = data()
        ESTIMATORS[name]().fit(hops, barriers).save(tmp_path)
        config = tmp_path / "config.json"
        config.write_text(config.read_text().replace("Li", "Na"))
        with pytest.raises(IncompatibleModelError):
            BASELINES[name].load(tmp_path)

    def test_a_model_of_another_kind_is_refused(self, name, tmp_path):
        hops, barriers = data()
        ESTIMATORS[name]().fit(hops, barriers).save(tmp_path)
        other = next(cls for kind, cls in BASELINES.items() if kind != name)
        with pytest.raises(ValueError, match=name):
            other.load(tmp_path)

    def test_before_fitting_it_says_so(self, name):
        with pytest.raises(ValueError, match="not fitted"):
            ESTIMATORS[name]().predict(data(2)[0])

    def test_labels_must_fit_the_records(self, name):
        hops, barriers = data(6)
        with pytest.raises(ValueError, match="6 hops"):
            ESTIMATORS[name]().fit(hops, barriers[:5])
        with pytest.raises(ValueError, match="finite"):
            ESTIMATORS[name]().fit(hops, np.full(6, np.nan))

    def test_nothing_in_nothing_out(self, name):
        hops, barriers = data(12)
        assert len(ESTIMATORS[name]().fit(hops, barriers).predict([])) == 0

    def test_interval_holds_the_mean_and_the_domain_knows_the_ions(self, name):
        hops, barriers = data(12)
        model = ESTIMATORS[name]().fit(hops, barriers)
        prediction = model.predict(hops)
        lower, upper = model.interval(prediction)
        assert (lower <= prediction.mean).all()
        assert (prediction.mean <= upper).all()
        assert model.in_domain([hops[0], hop(3, ion="Mg")]).tolist() == [True, False]


def test_a_card_stays_with_its_model_until_that_is_fitted_again(tmp_path):
    hops, barriers = data()
    model = BASELINES["global_mean"]().fit(hops, barriers)
    model.save(tmp_path / "bare")
    assert load(tmp_path / "bare").card_["name"] == "bare"
    assert load(tmp_path / "bare").card_["quantity"] == "migration_barrier"
    model.save(tmp_path / "told", {"validation": {"mae_eV": 0.1}})
    told = load(tmp_path / "told")
    told.save(tmp_path / "copy")
    assert load(tmp_path / "copy").card_["validation"] == {"mae_eV": 0.1}
    told.fit(hops[:9], barriers[:9]).save(tmp_path / "anew")
    assert "validation" not in load(tmp_path / "anew").card_


def _fields(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


@pytest.mark.parametrize("kind", OTHERS)
def test_every_constructor_stores_what_it_is_given(kind):
    model = kind()
    copy = clone(model)
    assert all(value is copy.get_params()[name] for name, value in model.get_params().items())
    with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
        model.set_params(colour="red")
    for name, value in model.get_params().items():
        assert model.set_params(**{name: value}).get_params()[name] is value


def test_scikit_learn_validates_by_groups():
    hops, barriers = data()
    groups = [h.family or "none" for h in hops]

    def negative_mae(model, hops, barriers):
        return -np.abs(model.predict(hops).mean - barriers).mean()

    scores = cross_val_score(
        ExtraTreesBaseline(n_trees=20),
        hops,
        barriers,
        groups=groups,
        cv=GroupKFold(3),
        scoring=negative_mae,
    )
    for (train, test), score in zip(GroupKFold(3).split(hops, groups=groups), scores, strict=True):
        model = ExtraTreesBaseline(n_trees=20).fit([hops[i] for i in train], barriers[train])
        found = negative_mae(model, [hops[i] for i in test], barriers[test])
        assert score == pytest.approx(found)


def test_a_model_shows_its_card_in_a_notebook():
    model = load("hop-barrier")
    html = model._repr_html_()
    assert model.card_["predicts"] in html
    assert "mae" in html
    model.card_ = {"name": "<b>", "predicts": "<script>"}
    assert "<script>" not in model._repr_html_()
    assert "GlobalMean" in BASELINES["global_mean"]()._repr_html_()
