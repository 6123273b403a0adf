"""Pretraining from a data folder to an encoder, cut and resumed, without leaks."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from ionbridge.models.hop_networks.encoder import HopEncoder
from ionbridge.models.hop_networks.ensemble import HopEnsemble, HopEnsembleConfig
from ionbridge.models.hop_networks.finetuning import FrozenHost
from ionbridge.models.hop_networks.hop_signals import Sampling
from ionbridge.models.hop_networks.losses import ProfileLoss
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig
from ionbridge.models.hop_networks.pretraining import (
    POOL,
    PretrainingConfig,
    Stage,
    evaluation_formulas,
    leaked,
    pretrain,
)
from ionbridge.models.hop_networks.training import TrainingConfig
from ionbridge.models.library import load
from ionbridge.structures.configuration import ConfigurationError
from ionbridge.structures.io.reading import crystal_to_json, hop_to_json
from ionbridge.structures.records import Crystal, Hop
from tests.small_crystals import ROCK_SALT, skew_hop

CONFIG = PretrainingConfig(
    name="tiny",
    n_networks=2,
    network=HopNetworkConfig(n_features=8, n_layers=1, n_basis=8),
    stages=(Stage("bond_valence", epochs=3, learning_rate=5e-3),),
    training=TrainingConfig(batch_size=4, device="cpu"),
    sampling=Sampling(working_ions=("Li", "Na", "K"), n_crystals=12, max_hops=2),
    validation_fraction=0.4,
)
EDGES_A = {"F": 4.0, "Cl": 5.1, "Br": 5.5, "I": 6.0}


def salts() -> list[Crystal]:
    """Twelve rock salts."""
    return [
        replace(
            ROCK_SALT,
            id=cation + anion,
            lattice=ROCK_SALT.lattice * (edge + extra) / 5.13,
            species=({cation: 1.0}, {anion: 1.0}),
            working_ion=None,
        )
        for cation, extra in (("Li", 0.0), ("Na", 0.5), ("K", 1.2))
        for anion, edge in EDGES_A.items()
    ]


def held_out_hop() -> Hop:
    """A labelled hop whose host without the ion is bromine, as that of every bromide."""
    return replace(skew_hop(0), host_species=({"Br": 1.0},), host_frac=skew_hop(0).host_frac[:1])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write(folder / POOL, [crystal_to_json(c) for c in salts()])
    write(folder / "neb_barriers/hops_train.jsonl.gz", [hop_to_json(held_out_hop())])
    (folder / "na_conductivity").mkdir()
    (folder / "na_conductivity/na_conductors.csv").write_text(
        "Formula,Spacegroup,Ionic conductivity (S/cm)\nNaI,225,1e-9\n"
    )
    return folder


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> tuple[HopEncoder, Path]:
    out = tmp_path_factory.mktemp("whole") / "encoder"
    return pretrain(CONFIG, data, out, workers=1, progress=False), out


def test_a_pretraining_ends_in_an_encoder_that_loads_and_transfers(finished):
    encoder, out = finished
    again = load(out)
    assert isinstance(again, HopEncoder)
    assert not again.network.use_scalars
    assert len(again.weights) == CONFIG.n_networks
    for one, two in zip(again.weights, encoder.weights, strict=True):
        assert all(torch.equal(one[k], two[k]) for k in two)
    settings = HopEnsembleConfig(
        network=CONFIG.network,
        training=replace(CONFIG.training, epochs=1),
        n_members=2,
        strategy=FrozenHost(),
    )
    hops = [skew_hop(k) for k in range(3)]
    model = HopEnsemble(settings, again.weights).fit(hops, torch.tensor([0.3, 0.5, 0.9]).numpy())
    assert (model.predict(hops).mean > 0).all()


def test_nothing_of_the_evaluation_sets_was_seen(finished, data):
    encoder, _ = finished
    assert evaluation_formulas(data) == {"Br", "NaI"}
    report = encoder.card_["leak_report"]
    assert report == {
        "evaluation_formulas": 2,
        "pool_crystals_held_out": 4,
        "shared_formulas": [],
    }
    assert encoder.card_["trained_on"][0]["n_crystals"] == 8


def test_a_leak_would_be_named():
    crystals = [replace(c, working_ion=c.id.rstrip("FClBrI")) for c in salts()]
    assert leaked(crystals, frozenset({"NaI", "Br"})) == ["Br", "NaI"]
    assert leaked(crystals, frozenset({"LiFePO4"})) == []


def test_the_card_holds_settings_and_validation(finished):
    encoder, out = finished
    card = yaml.safe_load((out / "card.yaml").read_text())
    assert card["settings"]["stages"][0]["epochs"] == 3
    assert card["licence"] == "MIT"
    assert len(card["validation"]["networks"]) == CONFIG.n_networks
    assert all(s["mae_eV"] > 0 for s in card["validation"]["networks"])
    assert card["trained_on"] == encoder.card_["trained_on"]


@pytest.mark.parametrize("calls", [4, 12])
def test_a_pretraining_that_was_cut_off_ends_in_the_same_encoder(
    finished, data, calls, tmp_path, monkeypatch
):
    """Cut in the first network, and in the second."""
    left = [calls]

    class Cut(ProfileLoss):
        def __call__(self, output, targets):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return super().__call__(output, targets)

    encoder, out = finished
    (tmp_path / "encoder" / "work").mkdir(parents=True)
    for shard in (out / "work").glob("signals-*"):  # cut after the signals were made
        (tmp_path / "encoder" / "work" / shard.name).write_bytes(shard.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr("ionbridge.models.hop_networks.pretraining.ProfileLoss", Cut)
        with pytest.raises(KeyboardInterrupt):
            pretrain(CONFIG, data, tmp_path / "encoder", workers=1, progress=False)
    assert not (tmp_path / "encoder" / "config.json").exists()
    again = pretrain(CONFIG, data, tmp_path / "encoder", workers=1, progress=False)
    for one, two in zip(again.weights, encoder.weights, strict=True):
        assert all(torch.equal(one[k], two[k]) for k in two)
    assert again.card_ == encoder.card_


def test_a_finished_pretraining_is_refused_other_settings(finished, data):
    _, out = finished
    for changed, name in (
        (replace(CONFIG, stages=(Stage("bond_valence", epochs=9),)), "stages"),
        (replace(CONFIG, sampling=replace(CONFIG.sampling, max_hops=1)), "sampling"),
    ):
        with pytest.raises(ConfigurationError, match=f"a pretraining with other {name}; "):
            pretrain(changed, data, out, workers=1, progress=False)
    elsewhere = replace(CONFIG, training=replace(CONFIG.training, device="auto"))
    pretrain(elsewhere, data, out, workers=1, progress=False)


def test_a_missing_pool_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"structures_69k\.jsonl\.gz is missing; --data"):
        pretrain(CONFIG, tmp_path, tmp_path / "out", progress=False)


def test_the_shipped_settings_are_understood():
    path = Path(__file__).parents[3] / "models" / "configs" / "hop_encoder.yaml"
    config = PretrainingConfig.from_yaml(path)
    HopNetwork(config.network)
    assert config.n_networks >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nn_netwoks: 3", "unknown key 'n_netwoks'; did you mean 'n_networks'?"),
        ("name: x\ntraining: {epoch: 3}", "training: unknown key 'epoch'; did you mean 'epochs'?"),
        ("name: x\nsampling: {seed: a}", "sampling: seed: expected an integer, got 'a' (str)"),
        ("n_networks: 2", "key 'name' is missing"),
        ("name: [", "cannot be read"),
        ("name: x\nstages: []", "stages: expected at least one signal to learn"),
        ("name: x\nstages: [{signal: magic}]", "signal: expected bulk | denoising |"),
        ("name: x\nstages: [{signal: potential}]\npotential_hops: n.gz", "n.gz is no file"),
        ("", "expected a mapping of settings"),
    ],
)
def test_a_wrong_configuration_is_answered_in_one_line(tmp_path, text, message):
    path = tmp_path / "encoder.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        PretrainingConfig.from_yaml(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.yaml: cannot be read"):
        PretrainingConfig.from_yaml(tmp_path / "none.yaml")
