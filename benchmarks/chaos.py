"""Random kills of a campaign and random damages to its folder: what comes of each.

    nice -n 10 python -m benchmarks.chaos --work WORK [--kills 30] [--stage-kills 12]
        [--worker-kills 5] [--damages 200] [--seed 0]

A campaign of small crystals with a tiny model, its best rows refined with a pair potential, is run
whole once. Then, ``--kills`` times, it is run by a process of its own that is killed (SIGKILL)
after a random time, up to three times, and gone on with: while shards are computed, in the
refinement, in the merge of the table, in the report. ``--stage-kills`` times another campaign, with
a round of active learning, a refinement up to bands and cells, is killed at a random moment of each
of these stages in turn, and at times once more. ``--worker-kills`` times only its worker
process is killed, again and again, and the campaign goes on by itself. ``--damages`` times a copy
of the finished folder is damaged in one to three files (KINDS; ``foreign`` is the same file of a
campaign at another temperature) and gone on with. Each ends well if the table is that of the whole
run, or if one line says what cannot be used. The baseline is a program that believes what it finds:
how often the damaged shards still are JSON lines of the right keys, but other rows. After damages
the report is not made: it takes most of the time and reads nothing but the table.

Every trial runs in a process of its own, has its own random numbers, and is a line of
WORK/trials.jsonl, so that the same command goes on where it was stopped, also after a kill of its
own; benchmarks/results/chaos.json is written as it goes, and keeps what it says of kinds of which
none is asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos_home import make_home
from benchmarks.json_lines import append, read
from ionbridge.screening.campaign import campaign as campaign_module
from ionbridge.screening.campaign.campaign import TABLE_FILE
from ionbridge.screening.cli import main
from ionbridge.screening.execution.shards import write_json

RESULT = Path(__file__).parent / "results" / "chaos.json"
RECORD, TRIALS, STAGE_LENGTHS = "campaign.json", "trials.jsonl", "stages.json"
TRIAL_KINDS = {
    "kill": "kill",
    "stage kill": "stage_kill",
    "worker kill": "worker_kill",
    "damage": "damage",
}
STAGES = {"active": "labelling ", "refine": "refine: ", "cell": "cells: "}
"""What a stage of a campaign says when it begins."""
MOST_WORKER_KILLS = 2
"""The third death of a worker on one candidate would rightly cost its row."""
EMPTY_TABLE = "no table"
KINDS = (
    "bit",
    "digit",
    "cut",
    "empty",
    "zeros",
    "0xff",
    "NaN",
    "line",
    "append",
    "swap",
    "foreign",
    "remove",
    "folder",
    "link",
)


def run(campaign: Path, out: Path, *more: str) -> tuple[int, str]:
    """Exit status and messages of ``ionbridge screen``."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        status = main(["screen", str(campaign), "--out", str(out), "--workers", "0", *more])
    return status, said.getvalue()


def verdict(status: int, said: str, out: Path, right: str) -> str:
    """``right table``, ``one line``, or what went wrong."""
    complaints = [
        li
        for li in said.splitlines()
        if "computed again" not in li and not li.startswith("refine: ")
    ]
    if status == 0:
        return "right table" if table(out) == right else "WRONG TABLE"
    if status == 2 and len(complaints) == 1 and complaints[0].startswith("ionbridge: "):
        return "one line"
    return f"UNEXPECTED (status {status}, {len(complaints)} lines)"


def table(out: Path) -> str:
    """The ranked table of a folder, which names a model in it relative to the folder."""
    path = out / TABLE_FILE
    if not path.is_file():
        return EMPTY_TABLE
    return path.read_text(encoding="utf-8").replace(f"{out}/", "")


def killed(campaign: Path, out: Path, seconds: float) -> str:
    """Run in a child that is killed after a time; how far it was."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status, _ = run(campaign, out, *(["--resume"] if (out / RECORD).is_file() else []))
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return "not in time"
    n_shards = len(list(out.glob("shards/[0-9]*.jsonl")))
    n_refined = len(list(out.glob("refined/*/[0-9]*.jsonl")))
    made = [name for name in ("ranked.parquet", TABLE_FILE, "report.html") if (out / name).exists()]
    refined = f", {n_refined} refined" if n_refined else ""
    return f"after {n_shards} shards{refined}{''.join(f', {name}' for name in made)}"


def stage_killed(campaign: Path, out: Path, stage: str, seconds: float) -> str:
    """Run in a child that is killed some time after a stage began; how far it was."""
    log = out.with_suffix(".log")
    child = started(campaign, out, log)
    status = None
    while status is None and STAGES[stage] not in log.read_text(errors="replace"):
        time.sleep(0.01)
        status = ended(child)
    if status is None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return f"{stage}: not in time"
    said = log.read_text(errors="replace").splitlines()
    return f"{stage}, {seconds:.1f} s after it began, last said: {said[-1][:60]}"


def started(campaign: Path, out: Path, log: Path) -> int:
    """A child that runs a campaign, or goes on with it, and says it into a file."""
    log.write_text("")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            file = os.open(log, os.O_WRONLY | os.O_APPEND)
            os.dup2(file, 1)
            os.dup2(file, 2)
            more = ["--resume"] if (out / RECORD).is_file() else []
            command = ["screen", str(campaign), "--out", str(out), "--workers", "0", *more]
            status = main(command)
        finally:
            os._exit(status)
    return child


def ended(child: int) -> int | None:
    """The status of a child that has ended; None of one that runs."""
    found, status = os.waitpid(child, os.WNOHANG)
    return status if found else None


def stage_lengths(campaign: Path, out: Path) -> dict[str, float]:
    """Seconds of each stage of a whole run."""
    log = out.with_suffix(".log")
    child = started(campaign, out, log)
    begun: dict[str, float] = {}
    status = None
    while status is None:
        time.sleep(0.01)
        said = log.read_text(errors="replace")
        for stage, words in STAGES.items():
            if words in said:
                begun.setdefault(stage, time.monotonic())
        status = ended(child)
    assert status == 0, log.read_text(errors="replace")
    ends = [*list(begun.values())[1:], time.monotonic()]
    return {stage: end - begun[stage] for stage, end in zip(begun, ends, strict=True)}


def worker_killed(campaign: Path, out: Path, chance: random.Random) -> tuple[int, str, int]:
    """Run with one worker, which is killed now and then; status, messages, number of kills."""
    with (out.parent / f"{out.name}.log").open("w+") as log:
        command = [sys.executable, "-m", "ionbridge", "screen", str(campaign), "--out", str(out)]
        process = subprocess.Popen([*command, "--workers", "1"], stdout=log, stderr=log)
        n_killed = 0
        while process.poll() is None:
            time.sleep(chance.uniform(0.1, 1.0))
            for worker in workers_of(process.pid):
                if n_killed < MOST_WORKER_KILLS and len(list(out.glob("shards/[0-9]*"))) > n_killed:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGKILL)
                        n_killed += 1
        log.seek(0)
        return process.returncode, log.read(), n_killed


def workers_of(pid: int) -> list[int]:
    """The worker processes: children of the server that the process started."""
    return [worker for server in children(pid) for worker in children(server)]


def children(pid: int) -> list[int]:
    """Processes that a process started; none where it has ended."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def damaged(folder: Path, other: Path, chance: random.Random) -> str:
    """Damage one file of a campaign; what was done."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    file = chance.choice(files)
    content = bytearray(file.read_bytes())
    where = chance.randrange(max(len(content), 1))
    kind = chance.choice(KINDS)
    if kind == "bit" and content:
        content[where] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del content[where:]
    elif kind == "empty":
        content.clear()
    elif kind in ("zeros", "0xff"):
        content[where : where + 16] = (b"\0" if kind == "zeros" else b"\xff") * 16
    elif kind == "NaN":
        content[where : where + 4] = b" NaN"
    elif kind == "digit":
        digits = [i for i, c in enumerate(content) if chr(c).isdigit()]
        for place in digits and [chance.choice(digits)]:
            content[place] = ord(str((int(chr(content[place])) + chance.randint(1, 9)) % 10))
    elif kind == "append":
        content += chance.randbytes(8)
    elif kind == "line":
        lines = bytes(content).splitlines(keepends=True)
        content[:] = b"".join(lines[: len(lines) // 2] + lines[len(lines) // 2 + 1 :])
    elif kind == "swap":
        content[:] = chance.choice(files).read_bytes()
    elif kind == "foreign":
        same = other / file.relative_to(folder)
        content[:] = same.read_bytes() if same.is_file() else b""
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(other / file.relative_to(folder))
    elif kind != "remove":
        file.write_bytes(content)
    return f"{kind} of {file.relative_to(folder)}"


def believed(out: Path, whole: Path) -> bool:
    """Whether a program that reads every JSON line of the right keys would take a wrong row."""
    for shard in sorted((whole / "shards").glob("*.jsonl")):
        try:
            lines = (out / "shards" / shard.name).read_text(encoding="utf-8").splitlines()[1:]
            rows = [json.loads(line) for line in lines]
        except (OSError, ValueError):
            continue
        good = [json.loads(line) for line in shard.read_text(encoding="utf-8").splitlines()[1:]]
        if rows != good and all(
            isinstance(row, dict) and row.keys() == good[0].keys() for row in rows
        ):
            return True
    return False


def trial(kind: str, number: int, work: Path, seed: int) -> dict[str, Any]:
    """One kill or damage, and what came of it."""
    chance = random.Random(f"{seed} {kind} {number}")
    campaign, out = work / "home" / "300.yaml", work / f"{kind}-{number}"
    shutil.rmtree(out, ignore_errors=True)
    right = table(work / "whole")
    whole_s = float((work / "whole_s").read_text())
    if kind == "kill":
        times = [chance.uniform(0.0, whole_s) for _ in range(chance.randint(1, 3))]
        how = [killed(campaign, out, seconds) for seconds in times]
        # killed before its campaign.json stood: a folder with nothing to resume is begun anew
        more = ["--resume"] if (out / RECORD).is_file() else []
        end = verdict(*run(campaign, out, *more), out, right)
        row: dict[str, Any] = {"killed": "; ".join(how), "end": end}
    elif kind == "stage kill":
        campaign = work / "home" / "stages.yaml"
        right = table(work / "stages")
        lengths = json.loads((work / STAGE_LENGTHS).read_text())
        names = [list(STAGES)[number % len(STAGES)]]
        names += [s for s in list(STAGES)[number % len(STAGES) :] if chance.random() < 0.25]
        how = [stage_killed(campaign, out, s, chance.uniform(0.0, lengths[s])) for s in names]
        end = verdict(*run(campaign, out, "--resume"), out, right)
        row = {"killed": "; ".join(how), "end": end}
    elif kind == "worker kill":
        status, said, n_killed = worker_killed(campaign, out, chance)
        row = {"worker_kills": n_killed, "end": verdict(status, said, out, right)}
    else:
        campaign_module.render = lambda *arguments: ""  # type: ignore[assignment]
        shutil.copytree(work / "whole", out)
        how = [damaged(out, work / "other", chance) for _ in range(chance.randint(1, 3))]
        trap = believed(out, work / "whole")
        end = verdict(*run(campaign, out, "--resume"), out, right)
        row = {"damage": ", ".join(how), "end": end, "would_be_believed": trap}
    shutil.rmtree(out, ignore_errors=True)
    return {"kind": kind, "number": number, **row}


def in_child(what: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a function returns in a process of its own."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), os.fdopen(theirs, "w") as pipe:
            json.dump(what(), pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"end": f"UNEXPECTED (trial ended with {status})"}


def prepared(work: Path, with_stages: bool) -> dict[str, Any]:
    """The campaigns run whole, one at another temperature, too; what is there and holds is used."""
    if not (work / "home").is_dir():
        work.mkdir(parents=True, exist_ok=True)
        make_home(work / "home")
    for kelvin, name in ((300, "whole"), (600, "other")):
        out = work / name
        fresh = not out.exists()
        started = time.monotonic()
        status, said = run(work / "home" / f"{kelvin}.yaml", out, "--renew")
        assert status == 0, said
        if fresh or "afresh" in said:  # the second one finds everything imported
            (work / "whole_s").write_text(str(time.monotonic() - started))
            (work / TRIALS).unlink(missing_ok=True)
    if with_stages and not (work / STAGE_LENGTHS).is_file():
        for _ in range(2):  # the second one finds everything imported and compiled
            shutil.rmtree(work / "stages", ignore_errors=True)
            lengths = stage_lengths(work / "home" / "stages.yaml", work / "stages")
        write_json(work / STAGE_LENGTHS, lengths)
    return {}


def measure(work: Path, wanted: dict[str, int], seed: int) -> dict[str, Any]:
    """All kills and damages, and what came of them."""
    with_stages = bool(wanted["stage kill"])
    assert in_child(lambda: prepared(work, with_stages)) == {}, "the whole campaign failed"
    rows = read(work / TRIALS)
    done = {(row["kind"], row["number"]) for row in rows}
    # in turn, so that a run that is stopped has measured all kinds
    turns = sorted((k / n, kind, k) for kind, n in wanted.items() for k in range(n))
    for _, kind, number in turns:
        if (kind, number) not in done:
            row = {"kind": kind, "number": number}
            row |= in_child(partial(trial, kind, number, work, seed))
            rows.append(row)
            append(work / TRIALS, row)
            write_json(RESULT, summary(seed, rows))
    return summary(seed, rows)


def summary(seed: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of how each ended, and each; of kinds without a row, what was measured before."""
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    of = {
        kind: [row for row in rows if row["kind"] == kind] or before.get(f"each_{name}", [])
        for kind, name in TRIAL_KINDS.items()
    }
    return {
        "seed": seed,
        **{f"n_{name}s": len(of[kind]) for kind, name in TRIAL_KINDS.items()},
        **{
            f"{name}s": dict(Counter(row["end"] for row in of[kind]))
            for kind, name in TRIAL_KINDS.items()
        },
        "damages_that_reading_without_checks_takes_for_rows": sum(
            row.get("would_be_believed", False) for row in of["damage"]
        ),
        **{f"each_{name}": of[kind] for kind, name in TRIAL_KINDS.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--stage-kills", type=int, default=12)
    parser.add_argument("--worker-kills", type=int, default=5)
    parser.add_argument("--damages", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    numbers = (args.kills, args.stage_kills, args.worker_kills, args.damages)
    wanted = dict(zip(TRIAL_KINDS, numbers, strict=True))
    found = measure(args.work, wanted, args.seed)
    print({k: v for k, v in found.items() if not k.startswith("each")})
