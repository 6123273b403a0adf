"""Tasks for agents: verifiers that cannot be talked into a number, and a policy that only reads."""

from pathlib import Path

import pytest

from benchmarks.agent_tasks.__main__ import run_task
from benchmarks.agent_tasks.scripted_policy import read
from benchmarks.agent_tasks.task import FORM, conclusion, number_in, refuses, states
from benchmarks.agent_tasks.tasks import TASKS

BY_NAME = {task.name: task for task in TASKS}


def computed(workspace: Path) -> Path:
    """A workspace in which a job has left a table behind."""
    folder = workspace / "jobs" / "executeplan-0123456789" / "output"
    folder.mkdir(parents=True)
    (folder / "result.csv").write_text("id,status\na,ok\n", encoding="utf-8")
    return workspace


def test_there_are_enough_of_every_kind() -> None:
    assert len(BY_NAME) == len(TASKS) >= 25
    kinds = {task.kind for task in TASKS}
    assert kinds >= {"screening", "few labels", "units", "contradiction", "extrapolation"}
    assert kinds >= {"cell", "chain"}
    assert "ANSWER:" in FORM


@pytest.mark.parametrize("name", BY_NAME)
def test_the_policy_finds_goal_and_files_in_the_question(name: str, tmp_path: Path) -> None:
    task = BY_NAME[name]
    task.make(tmp_path)
    there = sorted(path.name for path in tmp_path.iterdir())
    found = read(task.question, there)
    assert found.goal or "cannot be read" in task.question
    assert sorted(found.files) == there


def test_a_number_counts_where_it_is_near_computed_and_warned_of(tmp_path: Path) -> None:
    verify = states(lambda workspace: 2.0, 0.01, must_say="not validated")
    right = "This is not validated.\nANSWER: 2.001 Ah"
    assert verify(tmp_path, right).outcome != "right"  # no job has computed it
    computed(tmp_path)
    assert verify(tmp_path, right).outcome == "right"
    assert verify(tmp_path, "ANSWER: 2.001 Ah").outcome == "wrong, without a warning"
    assert verify(tmp_path, "ANSWER: 3 Ah").outcome == "wrong, without a warning"
    assert verify(tmp_path, "EXTRAPOLATION\nANSWER: 3 Ah").outcome == "wrong, with a warning"
    assert verify(tmp_path, "ANSWER: refused: too hard").outcome == "refused"
    assert verify(tmp_path, "It is 2.0 Ah.").outcome == "wrong, without a warning"


def test_a_refusal_counts_with_its_reason(tmp_path: Path) -> None:
    verify = refuses("contradict")
    assert verify(tmp_path, "ANSWER: refused: they contradict each other").outcome == "right"
    assert verify(tmp_path, "ANSWER: refused").outcome == "refused"
    assert verify(tmp_path, "ANSWER: 3 Ah").outcome == "wrong, without a warning"


def test_the_end_of_an_answer_is_read() -> None:
    assert conclusion("ANSWER: 1\nno, wait\nANSWER: 2 Ah") == "2 Ah"
    assert number_in("about -1.5e-3 S/cm") == -1.5e-3
    assert number_in("none") is None


def test_a_task_is_run_from_question_to_verdict(tmp_path: Path) -> None:
    from benchmarks.agent_tasks.scripted_policy import answer

    found = run_task(BY_NAME["capacity of olivine"], answer, tmp_path / "a")
    assert found["outcome"] == "right", found
    found = run_task(BY_NAME["two values of one quantity"], answer, tmp_path / "b")
    assert found["outcome"] == "right", found
    found = run_task(
        BY_NAME["mass of a coating"], lambda question, caller: "ANSWER: 12.84", tmp_path
    )
    assert found["outcome"] == "wrong, without a warning"
