"""The pretrained encoder on disk and as a start for others."""

import pytest
import torch

from ionbridge.models.checkpoint import CARD, IncompatibleModelError
from ionbridge.models.hop_networks.encoder import HopEncoder
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig

CONFIG = HopNetworkConfig(n_features=6, n_layers=1, n_basis=5, use_scalars=False)


@pytest.fixture
def encoder() -> HopEncoder:
    torch.manual_seed(0)
    weights = [HopNetwork(CONFIG).state_dict() for _ in range(2)]
    made = HopEncoder(CONFIG, weights)
    made.card_ = {"name": "tiny", "trained_on": ["nothing"]}
    return made


def test_a_round_trip_keeps_sizes_weights_and_card(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    again = HopEncoder.load(tmp_path / "encoder")
    assert again.network == CONFIG
    assert len(again.weights) == 2
    for one, two in zip(again.weights, encoder.weights, strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[k], two[k]) for k in one)
        HopNetwork(again.network).load_state_dict(one)
    assert {k: again.card_[k] for k in encoder.card_} == encoder.card_


def test_saved_again_it_is_the_same_model(encoder, tmp_path):
    encoder.save(tmp_path / "one")
    HopEncoder.load(tmp_path / "one").save(tmp_path / "two")
    assert (tmp_path / "one" / CARD).read_text() == (tmp_path / "two" / CARD).read_text()


def test_an_altered_folder_is_refused(encoder, tmp_path):
    encoder.save(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(IncompatibleModelError):
        HopEncoder.load(tmp_path)
