"""`plan` and `finetune` learn from the same labels by the same call: one model, one card."""

from pathlib import Path

import numpy as np
import pytest

import ionbridge
from ionbridge.models.adaptation.barriers import BarrierTask
from ionbridge.models.adaptation.few_shot_conductivities import ConductivityTask
from ionbridge.models.library import load
from ionbridge.screening.campaign.starter import starter_neb_hops
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning import adapted
from ionbridge.screening.planning.inputs import read_given
from ionbridge.screening.planning.records import composition_of
from ionbridge.structures.io.json_records import hop_to_json

QUICK = ("family_mean", "trees", "physics_fed")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BarrierTask, "candidates", QUICK)
    adapted._adapted.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_plan_and_finetune_give_one_answer(tmp_path: Path) -> None:
    hops = list(starter_neb_hops())[:12:2]
    rows = [{**hop_to_json(hop), "status": "ok"} for hop in hops]
    planned, _ = adapted.adapted(adapted.HOPS, rows)
    tuned, card = ionbridge.adapt(hops)
    assert planned.card_ == card
    np.testing.assert_array_equal(planned.predict(hops).mean, tuned.predict(hops).mean)
    assert set(card["compared_mae_eV"]) == set(QUICK)
    (judged,) = adapted._judged(adapted.HOPS, {"hop_labels": rows}).values()
    assert judged.std == pytest.approx(adapted.MAE_TO_STD * card["validation"]["mae_eV"])
    folder = adapted.kept(planned, tmp_path)
    np.testing.assert_allclose(load(folder).predict(hops).mean, tuned.predict(hops).mean, atol=1e-6)
    assert adapted.kept(planned, tmp_path) == folder
    assert adapted.choice_of(planned)["cross_validated_error"] == card["compared_mae_eV"]


@pytest.mark.usefixtures("quick")
def test_networks_that_a_plan_does_not_tune_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BarrierTask, "candidates", ("trees", "frozen"))
    monkeypatch.setattr(adapted, "MOST_FOR_NETWORKS", 3)
    rows = [{**hop_to_json(hop), "status": "ok"} for hop in list(starter_neb_hops())[:8:2]]
    choice = adapted.choice_of(adapted.adapted(adapted.HOPS, rows)[0])
    assert list(choice["not_compared"]) == ["frozen"]
    assert set(choice["cross_validated_error"]) == {"trees"}


def test_three_labels_are_too_few() -> None:
    rows = [{**hop_to_json(hop), "status": "ok"} for hop in list(starter_neb_hops())[:3]]
    with pytest.raises(InputError, match="at least 4"):
        adapted.adapted(adapted.HOPS, rows)
    assert adapted._judged(adapted.HOPS, {"hop_labels": rows}) == {}


def test_labelled_conductivities_teach_a_plan_as_they_teach_finetune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConductivityTask, "candidates", ("mean", "zero-shot"))
    lines = [f"{k},Li{2 + k}ZrO3,1e-{3 + k}" for k in range(6)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["ID,Formula,Ionic conductivity (S/cm)", *lines]) + "\n")
    tables = read_given(table).tables
    planned, card = adapted.adapted(adapted.CONDUCTIVITIES, tables["conductivity_labels"])
    tuned, own = ionbridge.adapt(table)
    assert card == own
    rows = adapted.CONDUCTIVITIES.predicted(planned, tables["composition"], 300.0)
    records = [composition_of(row) for row in tables["composition"]]
    found = [row["log10_conductivity_S_cm"] for row in rows]
    np.testing.assert_array_equal(found, tuned.predict(records).mean)
    (judged,) = adapted._judged(adapted.CONDUCTIVITIES, tables).values()
    assert judged.std == pytest.approx(adapted.MAE_TO_STD * card["validation"]["mae"])
