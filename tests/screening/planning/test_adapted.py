"""`plan` and `finetune` learn from the same labels by the same call: one model, one card."""

from pathlib import Path

import numpy as np
import pytest

import ionbridge
from ionbridge.models.adaptation import barriers as adaptation
from ionbridge.models.library import load
from ionbridge.screening.campaign.starter import starter_neb_hops
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning import adapted
from ionbridge.structures.io.json_records import hop_to_json

QUICK = ("family_mean", "trees", "physics_fed")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "AUTO_CANDIDATES", QUICK)
    adapted._adapted.cache_clear()


@pytest.mark.usefixtures("quick")
def test_a_plan_and_finetune_give_one_answer(tmp_path: Path) -> None:
    hops = list(starter_neb_hops())[:12:2]
    rows = [{**hop_to_json(hop), "status": "ok"} for hop in hops]
    planned = adapted.adapted(rows)
    tuned, card = ionbridge.adapt(hops)
    assert planned.card_ == card
    np.testing.assert_array_equal(planned.predict(hops).mean, tuned.predict(hops).mean)
    assert set(card["compared_mae_eV"]) == set(QUICK)
    (judged,) = adapted._judged({"hop_labels": rows}).values()
    assert judged.std == pytest.approx(adapted.MAE_TO_STD * card["validation"]["mae_eV"])
    folder = adapted.kept(planned, tmp_path)
    np.testing.assert_allclose(load(folder).predict(hops).mean, tuned.predict(hops).mean, atol=1e-6)
    assert adapted.kept(planned, tmp_path) == folder
    assert adapted.choice_of(planned)["cross_validated_error"] == card["compared_mae_eV"]


@pytest.mark.usefixtures("quick")
def test_ways_that_time_does_not_allow_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "AUTO_CANDIDATES", ("trees", "physics_fed", "frozen"))
    monkeypatch.setattr(adapted, "TIME_LIMIT_S", -1.0)
    rows = [{**hop_to_json(hop), "status": "ok"} for hop in list(starter_neb_hops())[:8:2]]
    choice = adapted.choice_of(adapted.adapted(rows))
    assert list(choice["not_compared"]) == ["frozen"]
    assert set(choice["cross_validated_error"]) == {"trees", "physics_fed"}


def test_three_labels_are_too_few() -> None:
    rows = [{**hop_to_json(hop), "status": "ok"} for hop in list(starter_neb_hops())[:3]]
    with pytest.raises(InputError, match="at least 4"):
        adapted.adapted(rows)
    assert adapted._judged({"hop_labels": rows}) == {}
