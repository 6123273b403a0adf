"""Labels to a calibrated model: what is compared, what is chosen, how much is computed."""

from collections import Counter
from dataclasses import replace
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
from ionbridge.structures.records import Hop
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
    assert model.card_ == card
    assert np.isfinite(model.predict(HOPS).mean).all()


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
