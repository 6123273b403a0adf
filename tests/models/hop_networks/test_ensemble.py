"""The hop model: fit, predict, transfer, save and load."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ionbridge.models.barriers.hop_model import HopEnergies
from ionbridge.models.checkpoint import CONFIG
from ionbridge.models.estimator import NotFittedError
from ionbridge.models.hop_networks.ensemble import HopEnsemble, HopEnsembleConfig, with_encoded_host
from ionbridge.models.hop_networks.finetuning import (
    FINE_TUNINGS,
    GENERAL,
    FrozenHost,
    FullFineTuning,
    HeadsOnly,
    LowRankAdapters,
)
from ionbridge.models.hop_networks.hop_graphs import graph_of
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig
from ionbridge.models.hop_networks.training import TrainingConfig
from ionbridge.models.library import load
from ionbridge.models.regressors.baselines import GlobalMean
from ionbridge.structures.features.graph import HopData, hop_graph, migration_graph_data
from ionbridge.structures.hops.sites import find_hops
from tests.small_crystals import LOW_SYMMETRY, one_atom_hop, skew_hop
from tests.tolerances import EXACT, INVARIANCE

SIZES = HopNetworkConfig(n_features=8, n_layers=1, n_basis=8)
SETTINGS = HopEnsembleConfig(
    network=SIZES,
    training=TrainingConfig(epochs=4, batch_size=4, learning_rate=5e-3, device="cpu"),
    n_members=2,
)
HOPS = [skew_hop(k) for k in range(8)]
BARRIERS = np.linspace(0.2, 1.4, 8)
OUTPUTS = ("start_eV", "end_eV", "kra_eV", "log_scale", "profile", "embedding")


@pytest.fixture(scope="module")
def base() -> list[dict[str, torch.Tensor]]:
    """Weights of two networks that never saw path scalars, as a pretraining leaves them."""
    torch.manual_seed(21)
    return [HopNetwork(replace(SIZES, use_scalars=False)).state_dict() for _ in range(2)]


@pytest.fixture(scope="module")
def model() -> HopEnsemble:
    return HopEnsemble(SETTINGS).fit(HOPS, BARRIERS)


def weights(model: HopEnsemble) -> list[dict[str, torch.Tensor]]:
    return [network.state_dict() for network in model.networks_]


def equal(one: HopEnsemble, two: HopEnsemble) -> bool:
    return all(
        torch.equal(a[k], b[k]) for a, b in zip(weights(one), weights(two), strict=True) for k in a
    )


@pytest.mark.parametrize("strategy", FINE_TUNINGS.values(), ids=FINE_TUNINGS)
def test_the_same_seed_gives_the_same_model_whatever_chance_did_before(strategy, base):
    config = replace(SETTINGS, strategy=strategy(), training=replace(SETTINGS.training, epochs=1))
    torch.manual_seed(1)
    one = HopEnsemble(config, base).fit(HOPS[:4], BARRIERS[:4])
    torch.manual_seed(2)
    assert equal(one, HopEnsemble(config, base).fit(HOPS[:4], BARRIERS[:4]))


def test_another_seed_and_another_member_differ(model):
    first, second = weights(model)
    assert not torch.equal(first["barrier_head.0.weight"], second["barrier_head.0.weight"])
    training = replace(SETTINGS.training, seed=1)
    assert not equal(model, HopEnsemble(replace(SETTINGS, training=training)).fit(HOPS, BARRIERS))


def test_a_prediction_is_the_members_middle_and_spread(model):
    prediction = model.predict(HOPS)
    energies = model.member_energies([graph_of(hop) for hop in HOPS])
    forward = energies.kra_eV + 0.5 * (energies.end_eV - energies.start_eV)
    assert forward.shape == (2, len(HOPS))
    # two members: between them, on the logarithmic scale
    assert (prediction.mean >= forward.min(axis=0)).all()
    assert (prediction.mean <= forward.max(axis=0)).all()
    np.testing.assert_allclose(prediction.epistemic_std, forward.std(axis=0), atol=EXACT)
    assert (prediction.aleatoric_std > 0).all()
    assert (prediction.mean > 0).all()
    lower, upper = model.interval(prediction)
    assert (lower <= prediction.mean).all()
    assert (prediction.mean <= upper).all()


def test_prediction_does_not_depend_on_company_or_repetition(model, monkeypatch):
    monkeypatch.setattr("ionbridge.models.hop_networks.ensemble.BATCH_SIZE", 3)
    together = model.predict(HOPS)
    np.testing.assert_array_equal(model.predict(HOPS).mean, together.mean)
    for k, hop in enumerate(HOPS):
        alone = model.predict([hop])
        np.testing.assert_allclose(alone.mean, together.mean[k : k + 1], atol=INVARIANCE)
        np.testing.assert_allclose(alone.std, together.std[k : k + 1], atol=INVARIANCE)


def test_labels_of_the_input_are_never_used(model):
    told = [replace(hop, barrier_eV=9.0, barrier_backward_eV=9.0) for hop in HOPS]
    np.testing.assert_allclose(model.predict(told).mean, model.predict(HOPS).mean, atol=INVARIANCE)


def test_no_hops_no_rows(model):
    assert len(model.predict([])) == 0
    assert model.in_domain([]).shape == (0,)


def test_an_unfitted_model_says_so(tmp_path):
    for act in (lambda m: m.predict(HOPS), lambda m: m.save(tmp_path)):
        with pytest.raises(NotFittedError, match=r"fit\(\) or load\(\)"):
            act(HopEnsemble())


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="0 hops"):
        HopEnsemble(SETTINGS).fit([], np.zeros(0))


def test_strange_chemistry_is_out_of_domain(model):
    assert model.in_domain(HOPS).mean() >= 0.5
    strange = [replace(hop, host_species=({"U": 1.0}, *hop.host_species[1:])) for hop in HOPS]
    assert not model.in_domain(strange).any()
    ions = [replace(hop, working_ion="Na") for hop in HOPS]
    assert not model.in_domain(ions).any()


def test_crystals_and_their_hops_get_the_same_energies(model):
    graph = find_hops(LOW_SYMMETRY)
    (whole,) = model.crystal_energies([graph])
    single = model.member_energies([hop_graph(hop) for hop in graph.hops])
    for name in ("start_eV", "end_eV", "kra_eV", "aleatoric_std_eV"):
        np.testing.assert_allclose(getattr(whole, name), getattr(single, name), atol=1e-4)
    twice = model.crystal_energies([graph, graph])
    np.testing.assert_allclose(twice[1].kra_eV, whole.kra_eV, atol=INVARIANCE)


def test_saved_and_loaded_it_predicts_the_same(model, tmp_path):
    model.save(tmp_path / "m", card={"name": "tiny"})
    for again in (HopEnsemble.load(tmp_path / "m"), load(tmp_path / "m")):
        assert again.config == model.config
        assert again.card_["name"] == "tiny"
        one, two = model.predict(HOPS), again.predict(HOPS)
        for name in ("mean", "aleatoric_std", "epistemic_std"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        np.testing.assert_array_equal(again.interval(two), model.interval(one))
        np.testing.assert_array_equal(again.in_domain(HOPS), model.in_domain(HOPS))
        assert again.domain_.elements == model.domain_.elements


@pytest.mark.parametrize("strategy", FINE_TUNINGS.values(), ids=FINE_TUNINGS)
def test_settings_survive_json(strategy):
    config = replace(SETTINGS, strategy=strategy())
    assert HopEnsembleConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_config_on_disk_says_what_the_model_is(model, tmp_path):
    model.save(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert (config["quantity"], config["unit"]) == ("migration_barrier", "eV")


def test_a_frozen_host_is_bit_for_bit_that_of_the_base(base):
    model = HopEnsemble(replace(SETTINGS, strategy=FrozenHost()), base).fit(HOPS, BARRIERS)
    for start, state in zip(base, weights(model), strict=True):
        kept = [k for k in start if k.split(".")[0] in GENERAL]
        assert kept
        assert all(torch.equal(start[k], state[k]) for k in kept)
        assert not torch.equal(start["barrier_head.0.weight"], state["barrier_head.0.weight"])


def test_the_encoded_host_gives_what_the_plain_graph_gives(base):
    torch.manual_seed(0)
    network = HopNetwork(SIZES).eval()
    graphs = [hop_graph(hop) for hop in (*HOPS[:3], one_atom_hop())]
    graphs.append(migration_graph_data(find_hops(LOW_SYMMETRY)))
    encoded = [with_encoded_host(network, graph) for graph in graphs]
    plain, small = network(HopData.batch_of(graphs)), network(HopData.batch_of(encoded))
    for name in OUTPUTS:
        torch.testing.assert_close(getattr(small, name), getattr(plain, name))
    assert all("encoded" not in graph for graph in graphs)
    assert encoded[0].edge_index.shape == (2, 0)


def test_a_frozen_host_is_tuned_to_the_same_weights_with_and_without_the_short_cut(base):
    """``FrozenHost`` trains on encoded graphs; the same parameters move the same on plain ones."""

    class Plain(FrozenHost):
        freezes_host = False

    quick = HopEnsemble(replace(SETTINGS, strategy=FrozenHost()), base).fit(HOPS, BARRIERS)
    slow = HopEnsemble(replace(SETTINGS, strategy=Plain()), base).fit(HOPS, BARRIERS)
    idle = "attention.bias"  # before a softmax: its gradient is rounding, which Adam scales up
    for one, two in zip(weights(quick), weights(slow), strict=True):
        for name in one.keys() - {idle}:
            torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)


def test_members_start_from_the_bases_in_turn(base):
    still = replace(SETTINGS.training, epochs=1, learning_rate=0.0)
    config = replace(SETTINGS, strategy=FullFineTuning(), n_members=3, training=still)
    states = weights(HopEnsemble(config, base).fit(HOPS, BARRIERS))
    for member, state in enumerate(states):
        start = base[member % 2]
        assert all(torch.equal(state[k], start[k]) for k in start if not k.startswith("scalar_"))
        assert (state["scalar_branch.2.weight"] == 0).all()


def test_a_hop_model_as_a_base_keeps_what_it_knows_of_path_scalars():
    """A second fine-tuning starts where the first one ended, scaling of the scalars included."""
    alone = replace(SETTINGS, process_weight=0.0)
    first = HopEnsemble(alone).fit(HOPS, BARRIERS)
    still = replace(SETTINGS.training, epochs=1, learning_rate=0.0)
    config = replace(alone, strategy=FullFineTuning(), training=still)
    again = HopEnsemble(config, weights(first)).fit(HOPS[:3], BARRIERS[:3])
    np.testing.assert_allclose(again.predict(HOPS).mean, first.predict(HOPS).mean, atol=INVARIANCE)


def test_the_process_of_a_base_keeps_its_labels(model):
    """Few new labels are added to those that the base knows; they do not replace them."""
    again = HopEnsemble(SETTINGS, known=model.process_).fit(HOPS[:3], BARRIERS[:3])
    assert len(again.process_.target) == len(HOPS) + 3
    np.testing.assert_array_equal(again.process_.inputs[: len(HOPS)], model.process_.inputs)


def test_the_process_alone_and_the_networks_alone_bracket_their_mixture(model):
    """The geometric average lies between its parts, hop by hop."""
    graphs = [graph_of(hop) for hop in HOPS]
    both = model.member_energies(graphs).kra_eV
    networks, model.process_ = model.process_, None
    alone = model.member_energies(graphs).kra_eV
    model.process_ = networks
    mean, _ = model.process_.predict(np.concatenate([g.scalars.numpy() for g in graphs]))
    process = SETTINGS.target.inverse(mean)
    middle = len(both) // 2
    if len(both) % 2:  # the middle member carries the median of the process
        low, high = np.minimum(alone[middle], process), np.maximum(alone[middle], process)
        assert (both[middle] >= low - INVARIANCE).all()
        assert (both[middle] <= high + INVARIANCE).all()


def test_scratch_forgets_the_base(base):
    still = replace(SETTINGS.training, epochs=1, learning_rate=0.0)
    config = replace(SETTINGS, training=still)
    with_base = HopEnsemble(config, base).fit(HOPS[:2], BARRIERS[:2])
    assert equal(with_base, HopEnsemble(config).fit(HOPS[:2], BARRIERS[:2]))


@pytest.mark.parametrize("strategy", [HeadsOnly(), LowRankAdapters()], ids=str)
def test_strategies_that_need_a_base_say_so(strategy):
    with pytest.raises(ValueError, match="needs a pretrained base"):
        HopEnsemble(replace(SETTINGS, strategy=strategy)).fit(HOPS[:2], BARRIERS[:2])


def test_fitting_leaves_the_base_and_the_hops_as_they_were(base):
    before = [{k: v.clone() for k, v in state.items()} for state in base]
    extras = [dict(hop.extra) for hop in HOPS]
    HopEnsemble(replace(SETTINGS, strategy=FullFineTuning()), base).fit(HOPS, BARRIERS)
    for one, two in zip(before, base, strict=True):
        assert all(torch.equal(one[k], two[k]) for k in one)
    assert extras == [dict(hop.extra) for hop in HOPS]


def test_a_graph_is_made_once_for_a_hop():
    hop = skew_hop(40)
    assert graph_of(hop) is graph_of(hop)
    assert graph_of(hop) is not graph_of(skew_hop(40))


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", FINE_TUNINGS.values(), ids=FINE_TUNINGS)
def test_a_model_fitted_on_a_gpu_predicts_on_the_cpu(strategy, base):
    settings = replace(SETTINGS.training, device="cuda")
    model = HopEnsemble(replace(SETTINGS, strategy=strategy(), training=settings), base)
    prediction = model.fit(HOPS, BARRIERS).predict(HOPS)
    assert np.isfinite(prediction.mean).all()
    assert {t.device.type for t in graph_of(HOPS[0]).to_dict().values() if torch.is_tensor(t)} == {
        "cpu"
    }


def test_inflated_members_keep_their_centre_and_close_every_loop(model):
    """Spread grows by the factor; forward minus backward stays a difference of site energies."""
    energies = model.member_energies([graph_of(hop) for hop in HOPS])
    wide = energies.inflated(2.0)
    np.testing.assert_allclose(wide.start_eV.mean(axis=0), energies.start_eV.mean(axis=0))
    np.testing.assert_allclose(wide.start_eV.std(axis=0), 2.0 * energies.start_eV.std(axis=0))
    np.testing.assert_allclose(wide.central_kra_eV, energies.central_kra_eV)
    np.testing.assert_allclose(wide.central_barrier_eV, energies.central_barrier_eV)
    assert energies.inflated(1.0).kra_eV == pytest.approx(energies.kra_eV)


def test_the_centre_is_what_is_predicted_and_its_loops_close(model):
    energies = model.member_energies([graph_of(hop) for hop in HOPS])
    np.testing.assert_array_equal(model.predict(HOPS).mean, energies.central_barrier_eV)
    back = energies._replace(start_eV=energies.end_eV, end_eV=energies.start_eV)
    difference = (energies.end_eV - energies.start_eV).mean(axis=0)
    np.testing.assert_allclose(energies.central_barrier_eV - back.central_barrier_eV, difference)
    assert (energies.central_barrier_eV >= 0).all()


def test_the_centre_of_an_odd_number_of_members_is_their_median(model):
    kra = np.array([[0.2, 3.0], [0.5, 0.1], [0.9, 0.3]])
    zero = np.zeros((3, 2))
    energies = HopEnergies(zero, zero, kra, np.zeros(2), np.ones(2, dtype=bool))
    np.testing.assert_allclose(energies.central_barrier_eV, [0.5, 0.3])


def test_a_hop_whose_end_lies_three_cells_on_is_not_in_the_domain(model):
    hop = HOPS[1]
    cells = np.array([3.0, 0.0, 0.0])
    along = np.linspace(0, 1, len(hop.path_frac))[:, None]
    far = replace(hop, id="far", path_frac=hop.path_frac + along * cells)
    elsewhere = replace(hop, id="elsewhere", path_frac=hop.path_frac + cells)
    inside = model.in_domain([hop, far, elsewhere])
    assert not inside[1]
    assert inside[2] == inside[0]  # the same hop, written down three cells on
    mean = GlobalMean().fit([hop], [0.3])
    assert mean.in_domain([hop, far, elsewhere]).tolist() == [True, False, True]
