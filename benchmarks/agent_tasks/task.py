"""A task: a question, files that are made for it, and a verifier that reads the workspace.

The truth of a task stands in no file. It is a closed form, a law that made the files, a simulation
that the verifier runs itself, or a property of the tables that the tools have left behind.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ionbridge.screening.agents.workspace import JOBS

FORM = (
    "End your answer with one line that begins with 'ANSWER:' and holds the number with its unit, "
    "or the name that was asked for, or the word 'refused' and why no number can be given. "
    "Whatever must be known before the number is used goes above it."
)
"""How an answer ends, said to whoever answers."""

WARNING = re.compile(
    r"EXTRAPOLATION|not validated|outside|guess|uncertain|bound|contradict|unit|no measured",
    re.IGNORECASE,
)
Kind = Literal[
    "screening", "few labels", "units", "contradiction", "extrapolation", "cell", "chain", "data"
]
Outcome = Literal["right", "refused", "wrong, with a warning", "wrong, without a warning"]


@dataclass(frozen=True)
class Verdict:
    """What a verifier found.

    Attributes:
        outcome: ``refused`` is a refusal where a number was to be had; one that was due is right.
        why: In a line.
    """

    outcome: Outcome
    why: str


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: Unique.
        kind: What it tries.
        question: In plain words; FORM is said beside it.
        make: Puts its files into an empty workspace.
        verify: Verdict from the workspace and the answer.
    """

    name: str
    kind: Kind
    question: str
    make: Callable[[Path], None]
    verify: Callable[[Path, str], Verdict]


def conclusion(answer: str) -> str:
    """What follows the last ``ANSWER:``; empty where there is none."""
    return answer.rpartition("ANSWER:")[2].strip() if "ANSWER:" in answer else ""


def number_in(text: str) -> float | None:
    """The first number of a text."""
    found = re.search(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?", text.replace("\u2212", "-"))
    return None if found is None else float(found[0].replace(",", "."))


def tables(workspace: Path) -> Iterator[list[dict[str, str]]]:
    """Rows of every table that a job has left behind."""
    for path in sorted((workspace / JOBS).glob("*/output/**/*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            yield list(csv.DictReader(file))


def was_computed(workspace: Path) -> bool:
    """Whether a job gave a usable row: a number in an answer must come from somewhere."""
    return any(row.get("status", "ok") == "ok" for rows in tables(workspace) for row in rows)


def judged(is_right: bool, answer: str, why: str) -> Verdict:
    """A verdict on an answer that states something."""
    if is_right:
        return Verdict("right", why)
    if conclusion(answer).lower().startswith("refused"):
        return Verdict("refused", f"refused, where an answer was to be had: {why}")
    warned = WARNING.search(answer) is not None
    return Verdict("wrong, with a warning" if warned else "wrong, without a warning", why)


def states(
    truth: Callable[[Path], float], relative: float, must_say: str = ""
) -> Callable[[Path, str], Verdict]:
    """A verifier of a number that must have been computed in the workspace.

    Args:
        truth: The value, from the workspace or without it.
        relative: Largest relative difference that is right.
        must_say: Pattern that the answer must hold beside the number.
    """

    def verify(workspace: Path, answer: str) -> Verdict:
        value, expected = number_in(conclusion(answer)), truth(workspace)
        why = f"{value} stated, {expected:.5g} is true"
        close = value is not None and math.isclose(value, expected, rel_tol=relative)
        if close and not was_computed(workspace):
            return judged(False, answer, f"{why}, but no job has computed it")
        if close and must_say and not re.search(must_say, answer, re.IGNORECASE):
            return judged(False, answer, f"{why}, but nothing is said of '{must_say}'")
        return judged(close, answer, why)

    return verify


def refuses(*reasons: str) -> Callable[[Path, str], Verdict]:
    """A verifier of a refusal that gives one of the reasons (patterns)."""

    def verify(workspace: Path, answer: str) -> Verdict:
        end = conclusion(answer)
        if not end.lower().startswith("refused"):
            return judged(False, answer, f"'{end[:60]}' where no number can be given")
        known = any(re.search(reason, answer, re.IGNORECASE) for reason in reasons)
        why = "refused, " + ("with the reason" if known else f"without its reason ({reasons[0]})")
        return Verdict("right" if known else "refused", why)

    return verify


def names(truth: Callable[[Path], str]) -> Callable[[Path, str], Verdict]:
    """A verifier of a name."""

    def verify(workspace: Path, answer: str) -> Verdict:
        try:
            expected = truth(workspace)
        except (ValueError, LookupError) as error:
            return judged(False, answer, f"the workspace does not hold what is needed ({error})")
        end = conclusion(answer)
        return judged(expected in end, answer, f"'{end[:60]}' stated, {expected} is true")

    return verify
