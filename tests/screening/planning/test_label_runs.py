"""Labels that a plan wants are computed within a budget, kept one by one, and then learnt from."""

import json
from dataclasses import replace

import pytest

from ionbridge.models.adaptation.barriers import BarrierTask
from ionbridge.screening.cli import main
from ionbridge.screening.commands.command import USABLE
from ionbridge.screening.errors import InputError
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.bands.neb_labels import NebLabeller, NebTask
from ionbridge.screening.planning import label_runs
from ionbridge.screening.planning.catalogue import Catalogue, Entry, ValidatedError
from ionbridge.screening.planning.inputs import Given, read_givens
from ionbridge.screening.planning.label_runs import LabelBudget, compute_labels
from ionbridge.screening.planning.planner import plan
from ionbridge.screening.planning.potentials import label_error_eV
from ionbridge.screening.planning.wanted_labels import WantedLabel, wanted_labels
from ionbridge.structures.io.json_records import hop_to_json
from ionbridge.structures.io.reading import write_json_lines
from tests.screening.labelling.bands.test_neb_labels import metal_hop
from tests.screening.tiny import layered, rocksalt

EMT = CalculatorChoice("ase.calculators.emt:EMT")


def wanted(*hops, cost_s=1.0):
    return tuple(WantedLabel(h.id, 0.5, 0.1, cost_s, NebTask(h)) for h in hops)


def aluminium():
    """A vacancy hop that EMT can compute, and one in a metal that it does not know."""
    return metal_hop(), replace(metal_hop(), id="iron", host_species=({"Fe": 1.0},) * 30)


def test_a_label_is_of_the_hop_that_was_asked_and_a_failure_is_a_row(tmp_path):
    good, bad = aluminium()
    found = compute_labels(wanted(good, bad), LabelBudget(calculator=EMT), tmp_path)
    assert [row["status"] for row in found.rows] == ["ok", "failed"]
    assert found.rows[1]["reason"]
    (label,) = found.given.tables["hop_labels"]
    assert label["barrier_eV"] == found.rows[0]["barrier_eV"] > 0.1
    assert label["path_frac"] == hop_to_json(good)["path_frac"]
    again = read_givens([tmp_path / "labels.jsonl"])  # what finetune reads, too
    assert again[0].tables["hop_labels"][0]["barrier_eV"] == label["barrier_eV"]
    assert json.loads((tmp_path / "labels.json").read_text())["labels"][1]["status"] == "failed"


def test_what_is_there_is_not_computed_again(tmp_path, monkeypatch):
    first = compute_labels(wanted(*aluminium()), LabelBudget(calculator=EMT), tmp_path)

    def never(self, tasks):
        raise AssertionError("computed again")

    monkeypatch.setattr(NebLabeller, "__call__", never)
    again = compute_labels(wanted(*aluminium()), LabelBudget(calculator=EMT), tmp_path)
    assert again.rows == first.rows


def test_the_budget_is_kept_and_what_was_spent_counts(tmp_path, monkeypatch):
    good, _ = aluminium()
    dear = wanted(good, cost_s=90.0)
    budget = LabelBudget(minutes=1.0, calculator=EMT)
    (row,) = compute_labels(dear, budget, tmp_path).rows
    assert row["status"] == "not started"
    assert "budget" in row["reason"]
    assert not list(tmp_path.glob("labels/*"))
    monkeypatch.setattr(label_runs, "label_neb", None)  # nothing may be computed
    assert compute_labels(wanted(good)[:0], budget, tmp_path).given is None


@pytest.mark.parametrize("fields", [{"n_labels": 0}, {"minutes": -1.0}])
def test_a_budget_of_nothing_is_refused(fields):
    with pytest.raises(InputError, match="more than 0"):
        LabelBudget(**fields)


def test_what_is_wanted_can_be_computed_and_dear_cells_cost_more():
    crystals = [layered(), rocksalt()]
    rows = read_rows_of(crystals)
    found = wanted_labels({"crystal": rows}, n=2)
    assert {label.id.split("#")[0] for label in found} == {"LiCoO2", "LiCl"}
    assert all(label.task.crystal is not None for label in found)
    assert all(5.0 < label.cost_s < 100.0 for label in found)


def read_rows_of(crystals):
    from ionbridge.structures.io.json_records import crystal_to_json

    return [{**crystal_to_json(c), "status": "ok"} for c in crystals]


def test_labels_of_a_potential_carry_its_error():
    hop = {"id": "a", "working_ion": "Li", "host_species": ["O"], "status": "ok"}
    computed = {**hop, "barrier_eV": 0.3, "method": "mlip_neb"}
    assert label_error_eV([hop]) == 0.0
    known = label_error_eV([computed])
    assert 0.2 < known < 0.5  # 0.29 eV mean absolute error against published bands
    model = Entry(
        name="model",
        kind="formula",
        about="judged",
        inputs=("hop",),
        outputs=("migration_barrier",),
        fidelity="physics",
        cost_s=1.0,
        judge=lambda tables: {"migration_barrier": ValidatedError(0.0, 1, "perfect on them")},
        run=lambda tables, context: {},
    )
    givens = [Given("t", {"hop": (hop,), "hop_labels": (computed,)})]
    made = plan("migration_barrier", givens, Catalogue((model,)))
    assert made.chosen.error == pytest.approx(known)


def test_a_plan_labels_adapts_and_goes_on(tmp_path, monkeypatch, capsys):
    """The command, with a potential that answers at once: labels, a second plan, its model."""
    monkeypatch.setenv("IONBRIDGE_LIBRARY", str(tmp_path / "library"))
    crystals = [layered(f"Li{m}O2", m) for m in ("Zr", "Hf", "Th")]
    crystals += [layered(f"Li{m}O2", m) for m in ("Sn", "Pb")]
    write_json_lines(tmp_path / "crystals.jsonl", crystals)

    def answered(tasks, labeller, out, executor):
        (task,) = tasks
        barrier = 0.2 + 0.02 * len(task.id)
        row = {"id": task.id, "status": "ok", "barrier_eV": barrier, "barrier_backward_eV": barrier}
        row["converged"] = True
        write_json_lines(out, [row])
        return [row]

    monkeypatch.setattr(label_runs, "label_neb", answered)
    monkeypatch.setattr(BarrierTask, "candidates", ("family_mean", "trees"))  # in seconds
    arguments = ["plan", "--goal", "migration_barrier"]
    arguments += ["--given", str(tmp_path / "crystals.jsonl"), "--out", str(tmp_path / "plan")]
    code = main([*arguments, "--execute", "--allow-labels", "--calculator", EMT.name])
    text, err = capsys.readouterr()
    assert code == USABLE, err
    assert "labels computed by this plan" in text
    assert "universal potential" in text
    assert "adapted-hop-model learns from" in text
    (model,) = (tmp_path / "library").glob("adapted-*")
    descent = json.loads((model / "choice.json").read_text())
    assert descent["strategy"] in descent["cross_validated_error"]


def test_labels_need_execute(capsys):
    code = main(["plan", "--goal", "diffusivity", "--given", "chemistry:olivine", "--allow-labels"])
    assert code != USABLE
    assert "--execute" in capsys.readouterr().err
