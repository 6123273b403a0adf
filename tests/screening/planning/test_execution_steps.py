"""Steps are kept and not done twice; what breaks leaves what was finished."""

import json

import pytest

from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import Catalogue, Entry
from ionbridge.screening.planning.execution_steps import execute
from ionbridge.screening.planning.inputs import Given
from ionbridge.screening.planning.planner import plan

GIVEN = [Given("test", {"hop": ({"id": "a", "status": "ok"}, {"id": "b", "status": "ok"})})]


class Model:
    """Counts how often it is run."""

    def __init__(self, output, column, value=1.0, breaks=False):
        self.output, self.column, self.value, self.breaks = output, column, value, breaks
        self.calls = 0

    def __call__(self, tables, context):
        self.calls += 1
        if self.breaks:
            raise RuntimeError("the model crashed\nbadly")
        rows = next(iter(tables.values()))
        made = {self.column: self.value, "std": 0.1, "in_domain": True, "status": "ok"}
        return {self.output: [{"id": row["id"], **made} for row in rows]}


def entry(name, inputs, model, checksum="1"):
    return Entry(
        name=name,
        kind="formula",
        about=name,
        inputs=inputs,
        outputs=(model.output,),
        fidelity="physics",
        cost_s=1.0,
        checksum=checksum,
        run=model,
    )


def chain(breaks=False, checksum="1"):
    first = Model("diffusivity", "log10_diffusivity_cm2_s", -8.0)
    second = Model("conductivity", "log10_conductivity_S_cm", -3.0, breaks)
    entries = Catalogue(
        (entry("first", ("hop",), first, checksum), entry("second", ("diffusivity",), second))
    )
    return first, second, entries


def run(out, catalogue):
    return execute(plan("conductivity", GIVEN, catalogue), out, catalogue=catalogue)


def test_rows_come_out_as_they_went_in(tmp_path):
    *_, entries = chain()
    result = run(tmp_path, entries)
    assert result.status == "ok"
    assert [row["id"] for row in result.rows] == ["a", "b"]
    assert (tmp_path / "result.csv").read_text().startswith("id,log10_conductivity_S_cm,std")
    stored = json.loads((tmp_path / "result.json").read_text())
    assert [step["entry"] for step in stored["steps"]] == ["first", "second"]


def test_a_finished_step_is_not_run_again(tmp_path):
    first, second, entries = chain()
    run(tmp_path, entries)
    again = run(tmp_path, entries)
    assert (first.calls, second.calls) == (1, 1)
    assert all(step.reused for step in again.steps)


def test_another_model_is_run(tmp_path):
    *_, entries = chain()
    run(tmp_path, entries)
    first, _, changed = chain(checksum="2")
    run(tmp_path, changed)
    assert first.calls == 1


def test_a_crash_in_mid_plan_keeps_what_was_finished(tmp_path):
    first, _, broken = chain(breaks=True)
    result = run(tmp_path, broken)
    assert result.status == "failed"
    assert "second" in result.reason
    assert "\n" not in result.reason
    assert [step.entry for step in result.steps] == ["first"]
    first, _, whole = chain()
    assert run(tmp_path, whole).status == "ok"
    assert first.calls == 0  # it was there


def test_an_altered_table_is_made_anew(tmp_path):
    *_, entries = chain()
    run(tmp_path, entries)
    table = next(tmp_path.glob("steps/first-*/diffusivity.jsonl"))
    table.write_text(table.read_text().replace("-8.0", "-2.0"))
    first, second, entries = chain()
    assert run(tmp_path, entries).status == "ok"
    assert (first.calls, second.calls) == (1, 0)  # the same rows again: the second still holds


def test_a_torn_step_is_made_anew(tmp_path):
    *_, entries = chain()
    run(tmp_path, entries)
    next(tmp_path.glob("steps/first-*/step.json")).unlink()
    first, _, entries = chain()
    assert run(tmp_path, entries).status == "ok"
    assert first.calls == 1


def test_not_one_usable_row_is_a_failure_with_a_reason(tmp_path):
    def useless(tables, context):
        return {"diffusivity": [{"id": "a", "status": "failed", "reason": "no path"}]}

    model = Model("diffusivity", "x")
    entries = Catalogue((entry("m", ("hop",), model),))
    object.__setattr__(entries.entries[0], "run", useless)
    made = plan("diffusivity", GIVEN, entries)
    result = execute(made, tmp_path, catalogue=entries)
    assert result.status == "failed"
    assert "no path" in result.reason


def test_a_plan_without_a_chain_is_refused(tmp_path):
    *_, entries = chain()
    made = plan("voltage", GIVEN, entries)
    with pytest.raises(InputError, match="voltage"):
        execute(made, tmp_path, catalogue=entries)


def test_progress_is_told(tmp_path):
    *_, entries = chain()
    told = []
    execute(
        plan("conductivity", GIVEN, entries), tmp_path, lambda *step: told.append(step), entries
    )
    assert told == [(0, 2, "first"), (1, 2, "second")]


def test_a_kill_in_mid_plan_keeps_what_was_finished(tmp_path):
    first, second, entries = chain()

    def killed(tables, context):
        raise KeyboardInterrupt

    object.__setattr__(entries.entries[1], "run", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, entries)
    first, second, whole = chain()
    result = run(tmp_path, whole)
    assert result.status == "ok"
    assert [step.reused for step in result.steps] == [True, False]
    assert (first.calls, second.calls) == (0, 1)
