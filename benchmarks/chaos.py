"""Random kills of a campaign and random damages to its folder: what comes of each.

    nice -n 10 python -m benchmarks.chaos --work WORK [--kills 30] [--damages 200] [--seed 0]

A campaign of small crystals with a tiny model is run whole once. Then, ``--kills`` times, it is
run by a process of its own that is killed (SIGKILL) after a random time, up to three times, and
gone on with. ``--damages`` times a copy of the finished folder is damaged in one to three files
(KINDS; ``foreign`` is the same file of a campaign at another temperature) and gone on with. Each
ends well if the table is that of the whole run, or if one line says what cannot be used. The
baseline is a program that believes what it finds: how often the damaged shards still are JSON
lines of the right keys, but other rows. The report is made without its plots, which take most of
the time and read nothing but the table. benchmarks/results/chaos.json is written as it goes.
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
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.chaos_home import make_home
from ionbridge.screening.campaign import TABLE_FILE
from ionbridge.screening.cli import main
from ionbridge.screening.report import plots
from ionbridge.screening.shards import write_json

RESULT = Path(__file__).parent / "results" / "chaos.json"
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
    complaints = [li for li in said.splitlines() if "computed again" not in li]
    if status == 0:
        path = out / TABLE_FILE
        found = path.read_text(encoding="utf-8") if path.is_file() else EMPTY_TABLE
        return "right table" if found == right else "WRONG TABLE"
    if status == 2 and len(complaints) == 1 and complaints[0].startswith("ionbridge: "):
        return "one line"
    return f"UNEXPECTED (status {status}, {len(complaints)} lines)"


def killed(campaign: Path, out: Path, seconds: float) -> str:
    """Run in a child that is killed after a time; how far it was."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status, _ = run(campaign, out, *(["--resume"] if out.exists() else []))
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    shards = out / "shards"
    n_shards = len(list(shards.glob("[0-9]*.jsonl"))) if shards.is_dir() else 0
    return f"after {n_shards} shards" if os.WIFSIGNALED(status) else "not in time"


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


def measure(work: Path, n_kills: int, n_damages: int, seed: int) -> dict[str, Any]:
    """All kills and damages, and what came of them."""
    chance = random.Random(seed)
    plots.to_svg = lambda figure, title: ""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    cold, hot = make_home(work / "home")
    assert run(cold, work / "whole")[0] == 0
    started = time.monotonic()
    assert run(hot, work / "other")[0] == 0
    whole_s = time.monotonic() - started
    right = (work / "whole" / TABLE_FILE).read_text(encoding="utf-8")
    kills: list[dict[str, Any]] = []
    damages: list[dict[str, Any]] = []
    # in turn, so that a run that is stopped has measured both
    turns = sorted([(k / n_kills, "kill") for k in range(n_kills)]
                   + [(k / n_damages, "damage") for k in range(n_damages)])  # fmt: skip
    for n, (_, kind) in enumerate(turns):
        out = work / str(n)
        if kind == "kill":
            times = [chance.uniform(0.0, whole_s) for _ in range(chance.randint(1, 3))]
            how = [killed(cold, out, seconds) for seconds in times]
            # killed before its campaign.json stood: a folder with nothing to resume is begun anew
            more = ["--resume"] if (out / "campaign.json").is_file() else []
            end = verdict(*run(cold, out, *more), out, right)
            kills.append({"killed": ", ".join(how), "end": end})
        else:
            shutil.copytree(work / "whole", out)
            how = [damaged(out, work / "other", chance) for _ in range(chance.randint(1, 3))]
            trap = believed(out, work / "whole")
            end = verdict(*run(cold, out, "--resume"), out, right)
            damages.append({"damage": ", ".join(how), "end": end, "would_be_believed": trap})
        shutil.rmtree(out, ignore_errors=True)
        write_json(RESULT, summary(seed, kills, damages))
    return summary(seed, kills, damages)


def summary(
    seed: int, kills: list[dict[str, Any]], damages: list[dict[str, Any]]
) -> dict[str, Any]:
    """Counts of how each ended, and each."""
    return {
        "seed": seed,
        "n_kills": len(kills),
        "kills": dict(Counter(row["end"] for row in kills)),
        "n_damages": len(damages),
        "damages": dict(Counter(row["end"] for row in damages)),
        "damages_that_reading_without_checks_takes_for_rows": sum(
            row["would_be_believed"] for row in damages
        ),
        "each_kill": kills,
        "each_damage": damages,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--damages", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = measure(args.work, args.kills, args.damages, args.seed)
    print({k: v for k, v in found.items() if not k.startswith("each")})
