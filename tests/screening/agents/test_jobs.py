"""Jobs are folders: they survive their server, end when told, and share the machine fairly."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ionbridge.screening.agents import jobs as module
from ionbridge.screening.agents.job_process import ProgressLog
from ionbridge.screening.agents.jobs import Job, Jobs, JobStatus, next_job
from ionbridge.screening.agents.workspace import Workspace
from ionbridge.screening.errors import InputError

PATIENCE_S = 120.0

CRYSTAL = '{"id": "c", "lattice": [[4,0,0],[0,4,0],[0,0,4]], "species": ["Li", "Cl"], \
"frac": [[0,0,0],[0.5,0.5,0.5]]}\n'
QUICK = ("describe", "--out=output/found.json", "--", "input/c.jsonl")
LONG = ("ionbridge", "screen", "--limit=5", "--out=output/campaign")
"""A command that takes far longer than any test waits; it is always ended."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def jobs(workspace: Workspace) -> Iterator[Jobs]:
    made = Jobs(workspace, n_cores=1)
    yield made
    end_all(made)
    made.close()


def end_all(jobs: Jobs) -> None:
    for status in sorted(jobs.all(), key=lambda s: s.state):  # waiting ones before running ones
        jobs.cancel(status.job.id)


def submit(jobs: Jobs, words: tuple[str, ...], client: str = "a", **fields: object) -> Job:
    folder = jobs.new_folder(client, "test")
    (folder / "input" / "c.jsonl").write_text(CRYSTAL, encoding="utf-8")
    job = Job(
        id=folder.name,
        client=client,
        tool="test",
        command=words[0],  # type: ignore[arg-type]
        arguments=words[1:],
        inputs=(),
        output="output",
        cores=1,
        is_short=False,
        submitted=time.time(),
    )
    return jobs.submit(replace(job, **fields))  # type: ignore[arg-type]


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_job_ends_well_or_says_why(jobs: Jobs) -> None:
    folder = jobs.new_folder("a", "test")
    (folder / "input" / "c.jsonl").write_text(CRYSTAL, encoding="utf-8")
    for name in ("argparse.py", "json.py", "screening.py", "sitecustomize.py", "yaml.py"):
        (folder / name).write_text("open('ran', 'w')\n", encoding="utf-8")
    good = Job(folder.name, "a", "test", "describe", QUICK[1:], (), "", 1, False, 0.0)
    jobs.submit(good)
    bad = submit(jobs, (*QUICK[:-1], "input/nothing.cif"), client="b")
    assert jobs.wait(good.id, PATIENCE_S).state == "done"
    found = json.loads((jobs.folder / good.id / "output" / "found.json").read_text("utf-8"))
    assert (found["kind"], found["n_records"], found["working_ions"]) == ("crystals", 1, {"Li": 1})
    assert not (folder / "ran").exists()  # nothing in the folder of a job is imported
    failed = jobs.wait(bad.id, PATIENCE_S)
    assert failed.state == "failed"
    assert "nothing" in failed.reason
    assert "Traceback" not in jobs.log(bad.id)


def test_a_folder_that_is_no_job_is_none(jobs: Jobs) -> None:
    for number, text in enumerate(("", "[]", '{"id": 1}', "{not json")):
        folder = jobs.folder / f"test-{number:010d}"
        folder.mkdir()
        (folder / module.JOB).write_text(text, encoding="utf-8")
    assert jobs.all() == []
    with pytest.raises(InputError, match="no job"):
        jobs.status("test-0000000000")


def test_jobs_never_lie_behind_a_link(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (workspace.root / "jobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="link"):
        Jobs(workspace)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_secrets_stay_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONBRIDGE_LLM_KEY", "sk-secret")
    assert "sk-secret" not in module._environment().values()


def test_a_running_and_a_waiting_job_are_cancelled(jobs: Jobs) -> None:
    first, second = submit(jobs, LONG), submit(jobs, LONG)
    until(lambda: jobs.status(first.id).state == "running")
    assert jobs.status(second.id).state == "queued"
    assert jobs.cancel(second.id).state == "cancelled"
    assert jobs.cancel(first.id).state == "cancelled"
    assert not module._is_locked(jobs.folder / first.id / module.LOCK)
    assert jobs.cancel(first.id).state == "cancelled"


def test_a_killed_job_is_a_failed_one(jobs: Jobs) -> None:
    job = submit(jobs, LONG)
    started = jobs.folder / job.id / module.STARTED
    until(started.exists)
    os.killpg((module._json(started) or {})["pid"], signal.SIGKILL)
    status = jobs.wait(job.id, PATIENCE_S)
    assert status.state == "failed"
    assert "ended from outside" in status.reason


def test_jobs_outlive_their_server(workspace: Workspace) -> None:
    """A server that is killed leaves its jobs running, and the next one lists and starts them."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tests.screening.agents.test_jobs import *\n"
        "jobs = Jobs(Workspace(Path(sys.argv[1])), n_cores=1)\n"
        "running = submit(jobs, LONG)\n"
        "until(lambda: jobs.status(running.id).state == 'running')\n"
        "waiting = submit(jobs, QUICK)\n"
        "print(running.id, waiting.id, flush=True); time.sleep(1000)\n"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", script, str(workspace.root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as server:
        try:
            assert server.stdout is not None
            running, waiting = server.stdout.readline().split()
        finally:
            server.kill()
    jobs = Jobs(workspace, n_cores=1)
    try:
        assert {s.job.id for s in jobs.all()} == {running, waiting}
        assert jobs.status(running).state == "running"
        jobs.cancel(running)
        assert jobs.wait(waiting, PATIENCE_S).state == "done"
    finally:
        end_all(jobs)
        jobs.close()


def test_too_many_jobs_are_refused_and_others_are_not(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING_EACH", 3)
    first = submit(jobs, LONG, client="greedy")
    until(lambda: jobs.status(first.id).state == "running")
    for _ in range(3):
        submit(jobs, LONG, client="greedy")
    with pytest.raises(InputError, match="3 of your jobs are waiting"):
        submit(jobs, LONG, client="greedy")
    modest = submit(jobs, LONG, client="modest")
    until(lambda: jobs.status(modest.id).state == "running")  # beside the greedy client's
    assert jobs.status(first.id).state == "running"


def status_of(
    client: str, number: int, state: str, cores: int = 1, short: bool = False
) -> JobStatus:
    job = Job(
        f"{client}{number}", client, "t", "ionbridge", (), (), "", cores, short, float(number)
    )
    return JobStatus(job, state)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_cores", [1, 2, 5])
def test_shares_are_fair(n_cores: int) -> None:
    """However many jobs one client has before, another's first job starts at once."""
    statuses = [status_of("greedy", k, "queued") for k in range(40)]
    statuses += [status_of(client, 100 + k, "queued") for k, client in enumerate("bcd")]
    running: Counter[str] = Counter()
    while (job := next_job(statuses, n_cores)) is not None:
        place = next(i for i, s in enumerate(statuses) if s.job == job)
        statuses[place] = replace(statuses[place], state="running")
        running[job.client] += 1
    assert all(running[client] == 1 for client in "bcd")
    assert running.total() == max(n_cores, 4)
    order = [s.job.id for s in statuses if s.state == "running" and s.job.client == "greedy"]
    assert order == [f"greedy{k}" for k in range(len(order))]  # first come, first served


def test_short_jobs_pass_long_ones_and_wide_ones_wait_for_room() -> None:
    running = [status_of("a", 0, "running", cores=2)]
    wide = status_of("a", 1, "queued", cores=2)
    short = status_of("a", 2, "queued", short=True)
    assert next_job([*running, wide, short], n_cores=3) == short.job
    assert next_job([*running, wide, replace(short, state="running")], n_cores=3) is None
    assert next_job([*running, wide], n_cores=4) == wide.job
    assert next_job([], n_cores=4) is None


def test_progress_is_kept_and_bars_are_not(tmp_path: Path) -> None:
    from tqdm import tqdm

    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        stream = ProgressLog(log, tmp_path / "progress")
        print("found crystals: 3 CIF", file=stream)
        bar = tqdm(
            range(7), desc="NEB", file=stream, bar_format=ProgressLog.FORMAT, mininterval=0.0
        )
        for k in bar:
            if k == 3:
                tqdm.write("half of it", file=stream)
        bar.close()
        print("wrote it", file=stream)
    text = (tmp_path / "log").read_text("utf-8")
    assert text.split("\n") == ["found crystals: 3 CIF", "half of it", "wrote it", ""]
    assert module._json(tmp_path / "progress") == {"label": "NEB", "done": 7.0, "total": 7.0}
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        print("step 3 of 3: jump-network", file=ProgressLog(log, tmp_path / "step"))
    assert module._json(tmp_path / "step") == {"label": "jump-network", "done": 3.0, "total": 3.0}
