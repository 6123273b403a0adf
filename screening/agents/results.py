"""What came out of a job, as an answer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import posixpath
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ionbridge.screening.agents.answers import (
    EXTRAPOLATION,
    LARGEST_TABLE,
    Answer,
    read_table,
    short,
    table_answer,
)
from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.jobs import Job, JobStatus
from ionbridge.screening.agents.model_tools import model_folder
from ionbridge.screening.agents.workspace import JOBS, Entry, Workspace, WorkspaceError
from ionbridge.screening.errors import InputError

LARGEST_DOCUMENT = 8 * 2**20
N_LISTED = 30
PAGE = 20


def listed(status: JobStatus) -> dict[str, Any]:
    """One job in a list."""
    job = status.job
    row: dict[str, Any] = {
        "job": job.id,
        "tool": job.tool,
        "state": status.state,
        "inputs": list(job.inputs[:5]),
        "submitted": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(job.submitted)),
    }
    if status.reason:
        row["reason"] = status.reason
    if status.total:
        row["progress"] = f"{status.done:g} of {status.total:g} {status.label}".strip()
    return row


def status_answer(status: JobStatus) -> Answer:
    """How far a job is, and what to do next."""
    went = (status.ended or time.time()) - status.started if status.started else 0.0
    hint = {
        "queued": "It waits for its turn; ask job_status again.",
        "running": f"It has run for {went:.0f} s; ask job_status with wait_s, then job_result.",
        "done": "Ask job_result.",
        "failed": status.reason,
        "cancelled": "It has no result.",
    }[status.state]
    summary = f"{status.job.id} ({status.job.tool}) is {status.state}. {hint}"
    return Answer(summary, data=listed(status))


def result_answer(caller: Caller, status: JobStatus, limit: int = PAGE) -> Answer:
    """The result of a job that is over, else how far it is.

    Raises:
        InputError: It failed or was cancelled.
    """
    job = status.job
    if not status.is_over:
        return status_answer(status)
    folder = f"{JOBS}/{job.id}/output"
    if status.state == "cancelled":
        raise InputError(f"{job.id} was cancelled; it has no result")
    if status.state == "failed" and job.tool == "plan":
        with contextlib.suppress(WorkspaceError):  # a plan without a way says what is missing
            return _named(_plan(caller, f"{JOBS}/{job.id}/{job.output}", limit), job)
    if status.state == "failed":
        kept = [entry.path for entry in files_below(caller.workspace, folder)][:N_LISTED]
        hint = f"; what it had finished is kept: {', '.join(kept)}" if kept else ""
        raise InputError(f"{job.id} ({job.tool}) failed: {status.reason}{hint}")
    output = posixpath.normpath(f"{JOBS}/{job.id}/{job.output}")
    answer = _named(RESULTS[job.tool](caller, output, limit), job)
    files = [entry.path for entry in files_below(caller.workspace, folder)][:N_LISTED]
    return replace(answer, data={"job": job.id, **answer.data, "files": files})


def files_below(workspace: Workspace, folder: str, depth: int = 2) -> Iterator[Entry]:
    """Files of a folder of the workspace and of the folders in it, but no shards."""
    for entry in workspace.entries(folder):
        if not entry.is_folder:
            yield entry
        elif depth > 1 and not entry.path.endswith(("/shards", "/steps")):
            yield from files_below(workspace, entry.path, depth - 1)


def _table(caller: Caller, output: str, limit: int) -> Answer:
    with caller.workspace.open(output, LARGEST_TABLE) as file:
        return table_answer(read_table(file, output), output, limit=limit)


def _model(caller: Caller, output: str, limit: int) -> Answer:
    answer = model_folder(caller, output)
    return replace(answer, data={"model": output, **answer.data})


def _labels(caller: Caller, output: str, limit: int) -> Answer:
    if output.endswith(".jsonl"):
        return _table(caller, output, limit)
    data = _document(caller, output)
    return Answer(f"{output}: {data.get('status', 'written')}.", (), {}, short(data))


def _description(caller: Caller, output: str, limit: int) -> Answer:
    data = _document(caller, output)
    warnings = [str(w) for w in data.pop("warnings")]
    if data["n_failed"]:
        warnings.append(f"{data['n_failed']} of {data['n_records']} records cannot be read")
    units = {"labels": "eV" if data["kind"] == "hops" else "log10 of S/cm"}
    summary = f"{data['found']}; {data['n_records']} records."
    return Answer(summary, tuple(warnings), units, short(data))


def _plan(caller: Caller, output: str, limit: int) -> Answer:
    return plan_answer(_document(caller, f"{output}/plan.json"))


def _executed_plan(caller: Caller, output: str, limit: int) -> Answer:
    made = _plan(caller, output, limit)
    table = _table(caller, f"{output}/result.csv", limit)
    return Answer(
        f"{made.summary} {table.summary}",
        (*table.warnings, *made.warnings),
        table.units,
        {**table.data, "plan": made.data},
    )


def plan_answer(data: dict[str, Any]) -> Answer:
    """A plan, cut to its chains, their errors, and why.

    Args:
        data: Content of ``plan.json``.
    """
    chosen, unit = data["chosen"], data["unit"]
    warnings = [str(w) for w in data["warnings"]]
    if chosen is not None and not chosen["in_domain"]:
        warnings.insert(
            0,
            f"{EXTRAPOLATION}: a step of the chosen chain works outside what it was trained on; "
            "its results are guesses, not facts",
        )
    wanted = data.get("wanted_labels", [])
    if wanted:
        cost_s = sum(label["cost_s"] for label in wanted)
        warnings.append(
            f"labels of {len(wanted)} hops would help: execute_plan with allow_labels computes "
            f"them, about {cost_s:.3g} s on one core"
        )
    summary = (
        f"{data['goal']}: {_chain_words(chosen, unit)}."
        if chosen is not None
        else f"{data['goal']} cannot be reached: {data['why']}"
    )
    return Answer(
        summary=summary,
        warnings=tuple(warnings),
        units={
            "error_std": unit,
            "error_90": unit,
            "cost_s": "s",
            "predicted_eV": "eV",
            "std_eV": "eV",
        },
        data={
            "goal": data["goal"],
            "given": short(data["given"]),
            "why": data["why"],
            "steps": [_step(step) for step in chosen["steps"]] if chosen is not None else [],
            "runners_up": [_chain_words(chain, unit) for chain in data["runners_up"]],
            "missing": short(data["missing"]),
            **({"wanted_labels": short(wanted)} if wanted else {}),
        },
    )


def _chain_words(chain: dict[str, Any], unit: str) -> str:
    names = " + ".join(step["entry"] for step in chain["steps"]) or "given"
    error = chain["error_std"]
    words = f"{names}, " + ("error not validated" if error is None else f"± {error:.2g} {unit}")
    words += f" (90 % within {chain['error_90']:.2g})" if chain.get("error_90") else ""
    words += f", {chain['cost_s']:.3g} s"
    words += "" if chain["in_domain"] else f", {EXTRAPOLATION}"
    return words if chain["available"] else f"{words}, cannot run here"


def _step(step: dict[str, Any]) -> dict[str, Any]:
    row = {
        "entry": step["entry"],
        "from": step["inputs"],
        "to": [o["quantity"] for o in step["outputs"]],
        "error_std": {
            o["quantity"]: short(o["error_std"])
            for o in step["outputs"]
            if o["error_std"] is not None
        },
        "basis": step["basis"],
        "n_records": step["n_records"],
        "unavailable": step["unavailable"],
    }
    row = {key: value for key, value in row.items() if value not in ("", {}, [])}
    return row if step["domain"]["in_domain"] else {**row, "note": EXTRAPOLATION}


def _named(answer: Answer, job: Job) -> Answer:
    """An answer in which inputs have the names that the client gave them."""
    return Answer(**json.loads(job.as_named(json.dumps(dataclasses.asdict(answer)))))


def _document(caller: Caller, path: str) -> dict[str, Any]:
    try:
        data = json.loads(caller.workspace.read(path, LARGEST_DOCUMENT))
    except ValueError as error:
        raise WorkspaceError(f"{path}: no readable JSON ({error})") from None
    if not isinstance(data, dict):
        raise WorkspaceError(f"{path}: no JSON object")
    return data


RESULTS: dict[str, Callable[[Caller, str, int], Answer]] = {
    "describe": _description,
    "plan": _plan,
    "execute_plan": _executed_plan,
    "predict": _table,
    "screen": _table,
    "finetune": _model,
    "label": _labels,
}
"""How the result of each kind of job is answered."""
