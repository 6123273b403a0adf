"""Networks beside fixed descriptors: only what is measurably better is taken, and in time."""

import numpy as np
import pytest

from ionbridge.models.few_label import blend_name
from ionbridge.models.library import load
from ionbridge.screening.orchestrator.adaptation import Choice
from ionbridge.screening.orchestrator.tuned_networks import (
    ENCODER,
    JOINED,
    NETWORK,
    TUNED,
    ZERO_SHOT,
    against_networks,
    is_network,
    tuned_network,
    tuned_networks,
)
from ionbridge.screening.starter import starter_hops
from tests.screening.tiny import tiny_hops

LABELS = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.2])
FULL = next(iter(TUNED))


def choice(error):
    return Choice("trees", False, {"trees": -0.1}, {"trees": error}, True, "because")


def test_a_network_that_is_better_hop_by_hop_is_taken():
    chosen = np.stack([LABELS + 0.2, LABELS - 0.2])  # two ways to deal the folds
    found = against_networks(choice(0.2), chosen, {FULL: LABELS + 0.05}, LABELS)
    assert found.strategy == FULL
    assert found.transfers
    assert not found.transfer_hurts
    assert found.cv == pytest.approx({"trees": 0.2, FULL: 0.05})


def test_a_network_that_is_better_by_one_lucky_hop_is_not():
    chosen = LABELS[None] + 0.1
    lucky = LABELS + np.array([0.14, 0.14, 0.14, 0.14, 0.0, 0.0])
    assert np.abs(lucky - LABELS).mean() < 0.1
    found = against_networks(choice(0.1), chosen, {FULL: lucky}, LABELS)
    assert found.strategy == "trees"
    assert "not better beyond doubt" in found.why
    assert FULL in found.cv


def test_without_networks_the_choice_stands():
    assert against_networks(choice(0.1), LABELS[None], {}, LABELS) == choice(0.1)


def test_time_that_is_up_is_said():
    hops = tiny_hops()
    barrier_eV = np.array([hop.barrier_eV for hop in hops])
    found = tuned_networks(hops, barrier_eV, [h.framework for h in hops], limit_s=-1.0)
    assert set(found.held_out_eV) == {ZERO_SHOT}
    assert set(found.left_out) == set(TUNED)
    assert found.base == NETWORK


def test_a_network_is_not_judged_on_what_it_has_learnt(monkeypatch):
    def all_of_them(model, hops):
        return np.ones(len(hops), dtype=bool)

    monkeypatch.setattr(
        "ionbridge.screening.orchestrator.tuned_networks.were_trained_on", all_of_them
    )
    hops = tiny_hops()
    barrier_eV = np.array([hop.barrier_eV for hop in hops])
    found = tuned_networks(hops, barrier_eV, [h.framework for h in hops], limit_s=-1.0)
    assert ZERO_SHOT not in found.held_out_eV
    assert "trained on" in found.left_out[ZERO_SHOT]
    assert found.base == ENCODER


def test_labels_joined_with_those_that_the_model_knows(monkeypatch):
    monkeypatch.setattr(
        "ionbridge.screening.orchestrator.tuned_networks.TUNED", {JOINED: TUNED[JOINED]}
    )
    hops = tiny_hops()
    barrier_eV = np.array([hop.barrier_eV for hop in hops])
    found = tuned_networks(hops, barrier_eV, [h.framework for h in hops])
    assert np.isfinite(found.held_out_eV[JOINED]).all()
    model = tuned_network(JOINED, found.base, hops, barrier_eV)
    assert len(model.barrier_eV_) == len(load(NETWORK).barrier_eV_) + len(hops)
    assert model.were_trained_on(hops).all()


def test_names_of_networks_are_none_of_descriptors():
    assert all(is_network(name) for name in (ZERO_SHOT, *TUNED))
    assert not is_network(blend_name(["trees", "offset"]))


@pytest.mark.slow
def test_ten_labels_are_tuned_on_and_screened_with(tmp_path):
    """A minute: a network fine-tuned on ten labels is a model that is saved and found again."""
    from ionbridge.models import library
    from ionbridge.screening.orchestrator.trained import predicted_hops
    from ionbridge.structures.json_records import hop_to_json

    hops = [hop for hop in starter_hops() if hop.barrier_eV is not None][:40:4]
    barrier_eV = np.array([hop.barrier_eV for hop in hops])
    found = tuned_networks(hops, barrier_eV, [h.framework for h in hops])
    assert set(TUNED) <= set(found.held_out_eV)
    tuned_network(FULL, found.base, hops, barrier_eV).save(tmp_path / "mine", {"name": "mine"})
    rows = [{**hop_to_json(hop), "status": "ok"} for hop in hops[:2]]
    again = predicted_hops(library.load(tmp_path / "mine"), rows)
    assert all(row["status"] == "ok" and row["std"] > 0 for row in again)
