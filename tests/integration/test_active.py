"""A campaign that labels with a real potential, learns from it, and screens again."""

import json

import pytest

from ionbridge.screening.campaign.campaign import Campaign

pytest.importorskip("chgnet")

YAML = """
name: active-sulphides
working_ions: [Li]
candidates: {prototypes: {families: [antifluorite], max_count: 4}}
n_draws: 32
active: {rounds: 1, batch: 2, max_hops: 1, max_atoms: 60, strategy: physics_fed}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("active")
    (folder / "campaign.yaml").write_text(YAML, encoding="utf-8")
    Campaign.from_yaml(folder / "campaign.yaml").run(folder / "out", workers=0)
    return folder


def table(path):
    import pandas as pd

    return pd.read_csv(path).set_index("candidate_id")


def test_labels_pull_the_predictions_of_what_was_labelled(folder):
    out = folder / "out"
    labels = [json.loads(line) for line in (out / "rounds/0/labels.jsonl").open()]
    assert [row["status"] for row in labels] == ["ok", "ok"]
    before, after = table(out / "rounds/0/ranked.csv"), table(out / "ranked.csv")
    for row in labels:
        name = row["id"].split("#")[0]
        column = "percolation_barrier_eV"
        assert abs(after[column][name] - row["barrier_eV"]) < abs(
            before[column][name] - row["barrier_eV"]
        )


def test_every_round_is_on_disk_and_in_the_record(folder):
    out = folder / "out"
    chosen = json.loads((out / "rounds/0/chosen.json").read_text())
    record = json.loads((out / "campaign.json").read_text())
    assert record["rounds"][0]["chosen"] == [row["candidate_id"] for row in chosen]
    assert record["rounds"][0]["n_labels"] == 2
    assert table(out / "ranked.csv")["model"].str.endswith("rounds/0/model").all()


def test_nothing_is_labelled_or_fitted_twice(folder):
    out = folder / "out"
    made = {
        path: path.stat().st_mtime_ns
        for path in (out / "rounds/0/labels.jsonl", out / "rounds/0/model/model.safetensors")
    }
    ranked = (out / "ranked.csv").read_text()
    Campaign.from_yaml(folder / "campaign.yaml").run(out, resume=True, workers=0)
    assert (out / "ranked.csv").read_text() == ranked
    assert {path: path.stat().st_mtime_ns for path in made} == made
