"""How well something that calls the tools answers battery questions.

    python -m benchmarks.agent_tasks                                     the scripted policy
    python -m benchmarks.agent_tasks --endpoint URL --model NAME         a language model of yours

Every task is a fresh workspace. A verifier reads what the tools left there and the last line of the
answer. Scored alike, whoever answers: right; refused where a number was to be had; wrong with a
warning; wrong without a warning, of which there must be none.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.agent_tasks import scripted_policy
from benchmarks.agent_tasks.forked_jobs import ForkedJobs, warmed
from benchmarks.agent_tasks.task import FORM, Task
from benchmarks.agent_tasks.tasks import TASKS
from ionbridge.screening.agents.ask import Endpoint, ask
from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.workspace import Workspace
from ionbridge.screening.errors import InputError

RESULTS = Path(__file__).parents[1] / "results"
Answerer = Callable[[str, Caller], str]


def run_task(task: Task, answerer: Answerer, folder: Path) -> dict[str, Any]:
    """One task in a workspace of its own: outcome, why, the answer and the seconds that it took."""
    workspace = Workspace(folder / "workspace")
    task.make(workspace.root)
    jobs = ForkedJobs(workspace)
    started = time.perf_counter()
    try:
        answer = answerer(task.question, Caller(workspace, jobs, client="local:tasks"))
    except InputError as error:
        answer = f"ANSWER: refused: {error}"
    finally:
        jobs.close()
    seconds = time.perf_counter() - started
    verdict = task.verify(workspace.root, answer)
    return {
        "name": task.name,
        "kind": task.kind,
        "outcome": verdict.outcome,
        "why": verdict.why,
        "answer": answer,
        "seconds": round(seconds, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tasks and print the table."""
    parser = argparse.ArgumentParser(prog="agent_tasks", description=__doc__)
    parser.add_argument("--endpoint", help="OpenAI-compatible; default: the scripted policy")
    parser.add_argument("--model")
    parser.add_argument("--only", action="append", default=[], help="name of a task")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    answerer, who = scripted_policy.answer, "scripted policy"
    if args.endpoint or args.model:
        endpoint = Endpoint.configured(args.endpoint, args.model)
        who = endpoint.model

        def answerer(question: str, caller: Caller) -> str:
            return ask(f"{question}\n{FORM}", endpoint, caller, lambda line: None)

    out = args.out or RESULTS / f"agent_tasks_{who.replace(' ', '_').replace('/', '_')}.json"
    warmed()
    rows: list[dict[str, Any]] = []
    for task in TASKS:
        if args.only and task.name not in args.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(run_task(task, answerer, Path(folder)))
        last = rows[-1]
        print(
            f"{last['outcome']:25s} {task.name}: {last['why']} ({last['seconds']:g} s)", flush=True
        )
        counts = Counter(row["outcome"] for row in rows)
        summary = {"who": who, "n": len(rows), "outcomes": dict(counts), "tasks": rows}
        out.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(
        f"\n{who}: {counts['right']} of {len(rows)} right; "
        + ", ".join(f"{n} {k}" for k, n in counts.items())
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
