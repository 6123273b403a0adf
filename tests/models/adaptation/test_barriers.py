"""Labels to a calibrated model: what is compared, what is chosen, how much is computed."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ionbridge.models.adaptation.adapt import adapt
from ionbridge.models.adaptation.barriers import (
    BATCH_SIZE,
    BarrierTask,
    Base,
    ensemble_config,
    folds_of,
    process_of,
)
from ionbridge.models.barriers import learned_energies
from ionbridge.models.barriers.hop_barrier import HopBarrierModel
from ionbridge.models.cross_validation import choose, cross_val_predict
from ionbridge.models.hop_networks.finetuning import FINE_TUNINGS
from ionbridge.models.hop_networks.hop_graphs import on_path
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig
from ionbridge.models.library import load
from ionbridge.models.regressors.baselines import FamilyIonMean
from ionbridge.models.regressors.gaussian_process import (
    GaussianProcessBaseline,
    PathProcess,
    path_scalars,
)
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features import descriptors
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.hops import hop_profile
from ionbridge.structures.records import Bound, Hop
from tests.small_crystals import skew_hop

SIZES = HopNetworkConfig(n_features=6, n_layers=1, n_basis=5)
SIMPLE = BarrierTask.simple
FRAMEWORKS = ("Fe", "Co", "Mn", "Ni", "V")


def other_metal(seed: int) -> Hop:
    """A small hop; every fifth shares its framework metal."""
    hop = skew_hop(seed)
    metal = FRAMEWORKS[seed % len(FRAMEWORKS)]
    return replace(hop, id=f"h{seed}", host_species=({metal: 1.0}, *hop.host_species[1:]))


BARRIERS = np.linspace(0.2, 1.1, 10)
HOPS = [replace(other_metal(k), barrier_eV=float(b)) for k, b in enumerate(BARRIERS)]


@pytest.fixture(scope="module")
def base() -> Base:
    torch.manual_seed(3)
    weights = HopNetwork(replace(SIZES, use_scalars=False)).state_dict()
    return Base("tiny", replace(SIZES, use_scalars=False), [weights])


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({"family_mean": 0.30, "frozen": 0.20, "scratch": 0.25}, "frozen"),
        ({"family_mean": 0.30, "frozen": 0.31, "scratch": 0.35}, "family_mean"),  # transfer hurts
        ({"family_mean": 0.30, "trees": 0.201, "frozen": 0.20}, "trees"),  # as good, and simpler
        ({"frozen": 0.3, "scratch": 0.2}, "scratch"),
    ],
)
def test_a_network_must_earn_its_place(errors: dict[str, float], expected: str) -> None:
    assert choose(errors, SIMPLE) == expected


def test_what_a_base_knows_stands_until_it_is_clearly_beaten() -> None:
    close = {"family_mean": 0.20, "physics_fed": 0.30, "frozen": 0.25}
    assert choose(close, SIMPLE) == "family_mean"
    assert choose(close, SIMPLE, "physics_fed") == "physics_fed"
    assert choose({**close, "family_mean": 0.10}, SIMPLE, "physics_fed") == "family_mean"
    assert choose({"family_mean": 0.2, "frozen": 0.1}, SIMPLE, "physics_fed") == "frozen"


@pytest.mark.parametrize("name", FINE_TUNINGS)
@pytest.mark.parametrize(("n_labels", "most_graphs"), [(10, 1_500), (500, 25_000)])
def test_the_work_of_a_fit_is_bounded(
    base: Base, name: str, n_labels: int, most_graphs: int
) -> None:
    """Graphs seen in one fit; through all layers 500 of them take 2 s of one core."""
    strategy = FINE_TUNINGS[name]()
    config = ensemble_config(base, strategy, n_labels, seed=0, n_members=5, device="cpu")
    graphs = config.training.epochs * n_labels
    assert graphs <= most_graphs * (1.0 if strategy.freezes_host else 0.6)
    assert config.training.batch_size == BATCH_SIZE


def test_auto_compares_all_and_says_so(base: Base) -> None:
    model, card = adapt(HOPS[:5], base, n_members=2, n_folds=2, device="cpu")
    compared = card["compared_mae_eV"]
    assert set(compared) == set(BarrierTask.candidates)
    assert card["strategy"] == choose(compared, SIMPLE)
    assert ("chosen_because" in card) == (compared[card["strategy"]] > min(compared.values()))
    assert model.card_ == card
    assert np.isfinite(model.predict(HOPS).mean).all()


def test_why_a_strategy_of_more_error_is_taken(base: Base) -> None:
    _, card = adapt(HOPS[:5], base, ("family_mean", "trees"), max, n_folds=2, device="cpu")
    assert "chosen_because" not in card  # a rule of the caller's has its own reasons
    task = BarrierTask(HOPS[:5], base, n_members=2, n_folds=2, device="cpu")
    task.stands = "physics_fed"
    assert "fewer than 20 frameworks" in task.why("physics_fed")
    assert "2 % less" in task.why("family_mean")


class Counted:
    """Counts how often each record is handed to a function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.seen: list[str] = []
        original = getattr(module, name)

        def counted(first: Any, *others: Any, **named: Any) -> Any:
            self.seen.append(getattr(first, "id", ""))
            return original(first, *others, **named)

        monkeypatch.setattr(module, name, counted)


def test_paths_and_features_of_a_hop_are_computed_once(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many folds and candidates there are, and in whatever direction the hop came."""
    published = [replace(hop, extra={}) for hop in HOPS[:6]]
    relaxed = Counted(monkeypatch, hop_profile, "relax_paths")
    described = Counted(monkeypatch, descriptors, "path_descriptors")
    asked = Counted(monkeypatch, learned_energies.HopNetwork, "forward")
    fed = HopBarrierModel(reads_energies=False, n_folds=0).fit(published[:2], BARRIERS[:2])
    start = replace(base, process=process_of(fed), method="dft_neb", fed=fed)
    asked.seen.clear()
    labelled = [replace(hop, method="mlip_neb") for hop in published[2:]]
    for candidates in (("physics_fed",), None):
        adapt(labelled, start, candidates, n_members=1, n_folds=2, device="cpu")
        if candidates:
            assert len(asked.seen) == len(fed.learned.networks)
    assert len(relaxed.seen) == len(published)
    # on the path that was given, which trees look at, and on the relaxed one
    assert max(Counter(described.seen).values()) <= 2


def test_a_prediction_computes_paths_features_and_energies_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = HopBarrierModel(reads_energies=False, n_folds=0).fit(HOPS[:4], BARRIERS[:4])
    published = [replace(hop, extra={}) for hop in HOPS[4:7]]
    relaxed = Counted(monkeypatch, hop_profile, "relax_paths")
    described = Counted(monkeypatch, descriptors, "path_descriptors")
    asked = Counted(monkeypatch, learned_energies.HopNetwork, "forward")
    model.interval(model.predict(published))
    model.in_domain(published)
    assert len(relaxed.seen) == len(described.seen) == len(published)
    assert len(asked.seen) == len(model.learned.networks)


def test_a_hop_and_its_reverse_share_one_path() -> None:
    """The path is relaxed in one direction and run backwards in the other, to the last bit."""
    hop = replace(HOPS[0], extra={})
    there, back = on_path(hop), on_path(hop.reversed())
    np.testing.assert_array_equal(there.path_frac[::-1], back.path_frac)
    for one in (there, back):
        assert one.extra["bvse_profile_eV"][0] == 0.0


def test_out_of_fold_values_come_from_models_that_did_not_see_the_row() -> None:
    folds = list(GroupedKFold(2).split(HOPS))
    found = cross_val_predict(FamilyIonMean, HOPS, BARRIERS, folds)
    for fold in folds:
        np.testing.assert_allclose(found.mean[fold.test], BARRIERS[fold.train].mean())


def test_a_process_keeps_the_labels_of_its_base() -> None:
    """Two labels beside eight that another model knows are ten labels."""
    log = LogShift()
    known = PathProcess(path_scalars(HOPS[:8]), log.forward(BARRIERS[:8]))
    kept = GaussianProcessBaseline(log.shift_eV, known).fit(HOPS[8:], BARRIERS[8:])
    whole = GaussianProcessBaseline(log.shift_eV).fit(HOPS, BARRIERS)
    new = [other_metal(k) for k in (20, 21)]
    np.testing.assert_allclose(kept.predict(new).mean, whole.predict(new).mean)


def test_a_base_does_not_know_the_labels_that_are_held_out() -> None:
    """Beside a base that has learnt from them, labels are no easier to foretell than without."""
    log = LogShift()
    inputs = path_scalars(HOPS)
    start = Base("base", HopNetworkConfig(8, 1, 4), (), PathProcess(inputs, log.forward(BARRIERS)))
    rest = start.without(HOPS[4:])
    assert rest.process is not None
    assert start.process is not None
    np.testing.assert_array_equal(rest.process.inputs, inputs[:4])
    np.testing.assert_allclose(rest.process.theta, start.process.theta)
    assert start.without(HOPS).process is None


@pytest.mark.parametrize("method", ["dft_neb", "mlip_neb"])
def test_labels_are_joined_with_those_of_the_base_on_one_footing(method: str) -> None:
    """Those of another method are moved to the new labels' scale, and none is lost."""
    fed = HopBarrierModel(reads_energies=False, n_folds=0).fit(HOPS[:6], BARRIERS[:6])
    start = Base("fed", fed.learned.config, fed.learned.weights(), method="dft_neb", fed=fed)
    labelled = [replace(hop, method=method) for hop in HOPS[6:]]
    model, _ = adapt(labelled, start, ["physics_fed"], n_folds=2, device="cpu")
    assert len(model.barrier_eV_) == 6 + 4
    np.testing.assert_allclose(model.barrier_eV_[6:], BARRIERS[6:])
    assert np.isclose(model.barrier_eV_[:6], BARRIERS[:6]).all() == (method == "dft_neb")
    assert not model.asks_for_profile


def bounded(hop: Hop, barrier_eV: float, bound: Bound) -> Hop:
    return replace(hop, barrier_eV=barrier_eV, bound=bound)


def test_bounds_are_learnt_from_and_scored_as_bounds(base: Base, tmp_path: Path) -> None:
    met = [bounded(other_metal(k), 9.0, "<") for k in (20, 21)]
    missed = bounded(other_metal(22), 0.0, "<")
    plain, card = adapt(HOPS, base, ["family_mean"], n_folds=2)
    with_met, card_met = adapt([*met, *HOPS], base, ["family_mean"], n_folds=2)
    assert card_met["trained_on"]["n_bounds"] == 2
    assert card_met["trained_on"]["n_hops"] == len(HOPS)
    assert card_met["validation"] == {**card["validation"], "mean_beyond_bounds_eV": 0.0}
    np.testing.assert_array_equal(with_met.predict(HOPS).mean, plain.predict(HOPS).mean)
    with_missed, card_missed = adapt([missed, *HOPS], base, ["family_mean"], n_folds=2)
    assert with_missed.predict([missed]).mean < plain.predict([missed]).mean
    assert card_missed["validation"]["mean_beyond_bounds_eV"] > 0.1
    with_missed.save(tmp_path / "model")
    assert load(tmp_path / "model").card_["validation"] == card_missed["validation"]
    task = BarrierTask([missed, *HOPS], base, n_folds=2)
    found = task.out_of_fold("family_mean")
    errors = np.abs(found.mean[:-1] - BARRIERS)  # the values come first
    assert task.error(found) == pytest.approx((errors.sum() + found.mean[-1]) / 11)


def test_a_bound_is_held_out_with_its_framework_and_never_learnt_from_alone() -> None:
    elsewhere = [bounded(replace(skew_hop(k), id=f"b{k}"), 0.5, ">") for k in (30, 31)]
    beside = [bounded(other_metal(k), 0.5, ">") for k in (20, 21)]
    hops = [*HOPS, *elsewhere, *beside]
    folds, _ = folds_of(hops, 5)
    assert sorted(k for fold in folds for k in fold.test) == list(range(len(hops)))
    for fold in folds:
        assert (fold.train < len(HOPS)).any()
        assert not {hops[k].framework for k in fold.train} & {hops[k].framework for k in fold.test}


def test_networks_and_other_methods_leave_bounds_out_and_say_so(base: Base) -> None:
    other = replace(bounded(other_metal(20), 0.1, "<"), method="bvse")
    own = [replace(hop, method="dft_neb") for hop in HOPS]
    _, card = adapt([*own, other], base, ["family_mean"], n_folds=2)
    assert card["trained_on"]["n_bounds_of_other_methods_left_out"] == 1
    assert "n_bounds" not in card["trained_on"]
    few = [*HOPS[:3], bounded(other_metal(20), 0.0, "<")]
    _, card = adapt(few, base, ["frozen"], n_members=1, n_folds=2, device="cpu")
    assert card["trained_on"]["bounds"].startswith("left out")
    assert card["trained_on"]["n_bounds"] == 1
    with pytest.raises(ValueError, match=r"1 labelled hop.*, 1 bound.* apart; at least 2"):
        adapt([HOPS[0], few[-1]], base)
    with pytest.raises(ValueError, match="all of them bounds"):
        adapt([few[-1]], base)


def test_a_hop_model_takes_a_missed_bound_beside_what_its_base_knows() -> None:
    fed = HopBarrierModel(reads_energies=False, n_folds=0).fit(HOPS[:6], BARRIERS[:6])
    asked = HOPS[9]
    said = float(fed.predict([asked]).mean[0])

    def taught(label_eV: float, bound: Bound) -> HopBarrierModel:
        hops = [HOPS[6], bounded(asked, label_eV, bound)]
        model = HopBarrierModel(reads_energies=False, known=fed, n_folds=0)
        return model.fit(hops, np.array([BARRIERS[6], label_eV]))

    without = HopBarrierModel(reads_energies=False, known=fed, n_folds=0)
    without.fit(HOPS[6:7], BARRIERS[6:7])
    for label_eV, bound in ((said + 5.0, "<"), (0.0, ">")):
        met = taught(label_eV, bound)
        np.testing.assert_array_equal(met.predict(HOPS).mean, without.predict(HOPS).mean)
    before = without.predict([asked]).mean
    assert taught(0.05, "<").predict([asked]).mean < before < taught(3.0, ">").predict([asked]).mean


def test_labels_of_one_framework_can_still_be_adapted_to() -> None:
    hops = [skew_hop(k) for k in range(4)]
    assert len({hop.framework for hop in hops}) == 1
    folds, said = folds_of(hops, 5)
    assert sorted(k for fold in folds for k in fold.test) == [0, 1, 2, 3]
    assert all(len(fold.train) == 3 for fold in folds)
    assert "only host framework" in said
    folds, said = folds_of(HOPS, 5)
    assert said == "grouped by host framework, 5 folds"
    assert all(
        not {HOPS[k].framework for k in f.train} & {HOPS[k].framework for k in f.test}
        for f in folds
    )


def test_too_few_labels_and_unknown_strategies_are_one_line(base: Base) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        adapt(HOPS[:1], base)
    with pytest.raises(ValueError, match="unknown strategy 'half'"):
        adapt(HOPS, base, ["half"])
