"""A plan carried out: step by step, each kept on disk under the checksum of what went into it.

``DIR/steps/<entry>-<hash>/`` holds ``step.json`` (inputs, outputs, model checksum, seconds) and one
JSON-lines table a quantity. A step whose folder is whole is not run again: not after a kill, and
not in another plan that shares it. A step that gave nothing usable is not kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ionbridge.models.checkpoint import sha256
from ionbridge.screening.campaign.campaign import VERSIONED
from ionbridge.screening.campaign.provenance import write_cells, write_crate
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.program import installed_version
from ionbridge.screening.execution.shards import write_atomically, write_json
from ionbridge.screening.planning.catalogue import Catalogue, Conditions, Entry, StepContext
from ionbridge.screening.planning.planner import Plan, Step
from ionbridge.screening.planning.records import with_unusable
from ionbridge.screening.table import Row, csv_lines
from ionbridge.structures.quantities import QUANTITIES

PLAN_FILE, RESULT_FILE, TABLE_FILE, STEP_FILE = (
    "plan.json",
    "result.json",
    "result.csv",
    "step.json",
)
STEPS = "steps"

Progress = Callable[[int, int, str], None]
"""Called before each step with its number (from 0), the number of steps, and its entry."""


@dataclass(frozen=True)
class StepResult:
    """What one step did.

    Attributes:
        entry: Its name.
        folder: Where its tables lie.
        seconds: Wall time of the run that made it.
        reused: True where it was there already.
        counts: Rows of each output by status.
    """

    entry: str
    folder: Path
    seconds: float
    reused: bool
    counts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, eq=False)
class PlanResult:
    """What came of a plan.

    Attributes:
        goal: Quantity asked for.
        unit: Of the goal.
        status: ``ok``, or ``failed`` where a step broke or no row is usable.
        reason: Why it failed, in a line.
        rows: Rows of the goal, and one of each record given that could not be read: ``id``, the
            value under the quantity's column, ``std``, ``in_domain``, ``status``, ``reason``.
        steps: The steps that are done, in their order.
        folder: Where everything lies.
    """

    goal: str
    unit: str
    status: str
    reason: str
    rows: tuple[Row, ...]
    steps: tuple[StepResult, ...]
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return {
            "goal": self.goal,
            "unit": self.unit,
            "status": self.status,
            "reason": self.reason,
            "rows": list(self.rows),
            "steps": [
                {
                    "entry": step.entry,
                    "folder": step.folder.name,
                    "seconds": round(step.seconds, 3),
                    "reused": step.reused,
                    "counts": {k: dict(v) for k, v in step.counts.items()},
                }
                for step in self.steps
            ],
        }


def execute(
    plan: Plan,
    out: Path,
    progress: Progress | None = None,
    catalogue: Catalogue | None = None,
) -> PlanResult:
    """Run the chosen chain of a plan; what is there already is not run again.

    Args:
        plan: From :func:`ionbridge.screening.planning.planner.plan`.
        out: Folder of the plan; steps of other plans in it are kept and shared.
        progress: Called before each step.
        catalogue: Entries to run; by default those of here and now.

    Returns:
        The result; a step that breaks ends it with status ``failed``, finished steps kept.

    Raises:
        InputError: The plan has no chain to run.
    """
    if plan.chosen is None:
        raise InputError(f"this plan cannot be run: {plan.why}")
    if catalogue is None:
        from ionbridge.screening.planning.entries import default_catalogue

        catalogue = default_catalogue()
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / PLAN_FILE, plan.to_dict())
    tables: dict[str, Sequence[Row]] = dict(plan.tables)
    done: list[StepResult] = []
    for k, step in enumerate(plan.chosen.steps):
        if progress is not None:
            progress(k, len(plan.chosen.steps), step.entry)
        try:
            made, result = _run(catalogue[step.entry], step, tables, plan.at, out / STEPS)
        except Exception as error:  # models may be anybody's: what is finished stays
            reason = f"step {step.entry} failed: {type(error).__name__}: {error}"
            return _ended(plan, out, "failed", " ".join(reason.split()), (), done)
        tables |= {name: rows for name, rows in made.items() if name in step.outputs}
        done.append(result)
    rows = tuple(with_unusable(tables[plan.goal], plan.order))
    n_ok = sum(row.get("status") == "ok" for row in rows)
    if n_ok:
        return _ended(plan, out, "ok", "", rows, done)
    reasons = Counter(row.get("reason", "") for row in rows).most_common(1)
    why = reasons[0][0] if reasons else "no records"
    return _ended(plan, out, "failed", f"not one usable row of {len(rows)}: {why}", rows, done)


def _ended(
    plan: Plan,
    out: Path,
    status: str,
    reason: str,
    rows: tuple[Row, ...],
    done: Sequence[StepResult],
) -> PlanResult:
    result = PlanResult(plan.goal, plan.unit, status, reason, rows, tuple(done), out)
    write_json(out / RESULT_FILE, result.to_dict())
    columns = ("id", QUANTITIES[plan.goal].column, "std", "in_domain", "status", "reason")
    write_atomically(out / TABLE_FILE, csv_lines(rows, columns))
    _describe(plan, out, rows)
    return result


def _describe(plan: Plan, out: Path, rows: Sequence[Row]) -> None:
    """What another group needs to repeat it, and cells as linked data."""
    if QUANTITIES[plan.goal].carrier == "cell":
        write_cells(out, (row for row in rows if row.get("status") == "ok"))
    steps = () if plan.chosen is None else plan.chosen.steps
    record = {
        "settings": {
            "goal": plan.goal,
            "given": dict(plan.given),
            "conditions": plan.to_dict()["conditions"],
            "steps": {step.entry: step.checksum for step in steps},
        },
        "versions": {name: installed_version(name) for name in VERSIONED},
    }
    words = " -> ".join(step.entry for step in steps)
    inputs = [Path(name) for name in plan.given if Path(name).exists()]
    name = f"plan for {plan.goal}"
    write_crate(out, name, f"{name}, carried out by IonBridge: {words}", record, inputs)


def step_hash(entry: Entry, step: Step, tables: Mapping[str, Sequence[Row]], at: Conditions) -> str:
    """Checksum of everything that decides what a step gives."""
    content = {
        "entry": entry.name,
        "checksum": entry.checksum,
        "version": installed_version("ionbridge"),
        "conditions": [at.temperature_K, at.c_rate, at.seed],
        "inputs": {name: table_hash(tables[name]) for name in step.inputs},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def table_hash(rows: Sequence[Row]) -> str:
    """Checksum of the rows of a quantity."""
    text = json.dumps(list(rows), sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _run(
    entry: Entry,
    step: Step,
    tables: Mapping[str, Sequence[Row]],
    at: Conditions,
    steps: Path,
) -> tuple[dict[str, list[Row]], StepResult]:
    """The tables of a step, from disk where they are there."""
    folder = steps / f"{entry.name}-{step_hash(entry, step, tables, at)}"
    kept = _kept(folder)
    if kept is not None:
        made, seconds = kept
        return made, StepResult(entry.name, folder, seconds, True, _counts(made))
    if entry.run is None:
        raise InputError(entry.unavailable)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    inputs = {name: tables[name] for name in step.inputs}
    found = entry.run(inputs, StepContext(at, folder))
    made = {name: list(rows) for name, rows in found.items()}
    seconds = time.perf_counter() - started
    if not any(row.get("status", "ok") == "ok" for rows in made.values() for row in rows):
        return made, StepResult(entry.name, folder, seconds, False, _counts(made))
    files = {}
    for name, rows in made.items():
        path = folder / f"{name}.jsonl"
        write_atomically(path, "".join(json.dumps(r, default=_plain) + "\n" for r in rows))
        files[name] = sha256(path)
    write_json(
        folder / STEP_FILE,
        {
            "entry": entry.name,
            "checksum": entry.checksum,
            "inputs": {name: table_hash(rows) for name, rows in inputs.items()},
            "outputs": files,
            "conditions": {"temperature_K": at.temperature_K, "c_rate": at.c_rate},
            "seconds": seconds,
        },
    )
    made, _ = _kept(folder) or (made, seconds)
    return made, StepResult(entry.name, folder, seconds, False, _counts(made))


def _kept(folder: Path) -> tuple[dict[str, list[Row]], float] | None:
    """Tables of a finished step; None where it is not there, or was altered."""
    path = folder / STEP_FILE
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        made = {}
        for name, digest in stored["outputs"].items():
            table = folder / f"{name}.jsonl"
            if sha256(table) != digest:
                raise ValueError(f"{table} was altered")
            lines = table.read_text(encoding="utf-8").splitlines()
            made[name] = [json.loads(line) for line in lines]
    except (OSError, ValueError, KeyError):
        shutil.rmtree(folder)
        return None
    return made, float(stored["seconds"])


def _counts(made: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, int]]:
    return {
        name: dict(Counter(str(row.get("status", "ok")) for row in rows))
        for name, rows in made.items()
    }


def _plain(value: Any) -> Any:
    """A number of numpy as a plain one."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
