"""The labels that a plan asks for, computed: hop by hop, within a budget, each one kept.

``DIR/labels/<hash>.jsonl`` holds one hop: its label, or why it has none. A hop that is there is not
computed again, neither after a kill nor for another plan in the folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.bands.neb_labels import METHOD, NebLabeller, label_neb
from ionbridge.screening.planning.inputs import Given
from ionbridge.screening.planning.wanted_labels import N_WANTED, WantedLabel
from ionbridge.screening.table import Row
from ionbridge.structures.io.json_records import hop_to_json
from ionbridge.structures.io.reading import write_json_lines

LABELS = "labels"
SUMMARY_FILE, HOPS_FILE = "labels.json", "labels.jsonl"
GIVEN_NAME = "labels computed by this plan"
NOT_STARTED = "not started"
"""Status of a hop for which the budget had no time left."""

Report = Callable[[int, int, str], None]
"""Called before each hop with its number (from 0), the number of hops, and its id."""


@dataclass(frozen=True)
class LabelBudget:
    """What may be spent on labels.

    Attributes:
        n_labels: Most hops.
        minutes: Most time in all, earlier runs counted in; a hop that is likely to take longer than
            what is left is not started.
        calculator: What computes the energies.
    """

    n_labels: int = N_WANTED
    minutes: float = 60.0
    calculator: CalculatorChoice = field(default_factory=CalculatorChoice)

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            InputError: Which one, and what was expected.
        """
        for name in ("n_labels", "minutes"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(
                    f"label budget: {name}: expected more than 0, got {getattr(self, name)}"
                )


@dataclass(frozen=True, eq=False)
class LabelRun:
    """What came of it.

    Attributes:
        rows: One a wanted hop: ``id``, ``status`` (``ok``, ``failed`` or ``not started``),
            ``reason``, ``barrier_eV``, ``seconds``.
        given: The labels as a given of the plan that follows; None where there is none.
    """

    rows: tuple[Row, ...]
    given: Given | None


def compute_labels(
    wanted: Sequence[WantedLabel],
    budget: LabelBudget,
    out: Path,
    report: Report | None = None,
) -> LabelRun:
    """Compute what a plan wants, most wanted first, until the budget is spent.

    The label belongs to the hop as the plan sees it, on its bond-valence path in the crystal that
    was given, so that a model learns from what it will be asked.

    Args:
        wanted: From a plan.
        budget: Number of hops, minutes, calculator.
        out: Folder of the plan; the labels lie in its folder ``labels``, and, to be given to other
            commands, in ``labels.jsonl``.
        report: Called before each hop.

    Raises:
        InputError: The calculator cannot be had.
        MissingExtraError: It is not installed.
    """
    labeller = NebLabeller(budget.calculator)
    asked = wanted[: budget.n_labels]
    rows: list[Row] = []
    labelled: list[Row] = []
    spent = 0.0
    for k, label in enumerate(asked):
        if report is not None:
            report(k, len(asked), label.id)
        table = out / LABELS / f"{_key(label, labeller)}.jsonl"
        clock = table.with_suffix(".json")
        seconds = _seconds(clock)
        if seconds is None:
            if spent + label.cost_s > 60.0 * budget.minutes:
                reason = f"the budget of {budget.minutes:g} min is spent or too small for it"
                rows.append({"id": label.id, "status": NOT_STARTED, "reason": reason})
                continue
            table.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        (found,) = label_neb([label.task], labeller, table, ThisProcess())  # computed or there
        if seconds is None:
            seconds = round(time.perf_counter() - started, 1)
            write_json(clock, {"seconds": seconds})
        spent += seconds
        rows.append(
            {
                "id": label.id,
                "status": found["status"],
                "reason": found.get("reason", ""),
                "barrier_eV": found.get("barrier_eV"),
                "seconds": seconds,
            }
        )
        if found["status"] == "ok":
            hop = replace(
                label.task.hop,
                barrier_eV=float(found["barrier_eV"]),
                barrier_backward_eV=float(found["barrier_backward_eV"]),
                method=METHOD,
            )
            labelled.append({**hop_to_json(hop), "status": "ok"})
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / SUMMARY_FILE, {"calculator": budget.calculator.name, "labels": rows})
    if not labelled:
        return LabelRun(tuple(rows), None)
    write_json_lines(out / HOPS_FILE, labelled)
    found_text = f"{len(labelled)} of {len(asked)} wanted, {budget.calculator.name} bands"
    return LabelRun(tuple(rows), Given(GIVEN_NAME, {"hop_labels": tuple(labelled)}, found_text))


def _seconds(clock: Path) -> float | None:
    """What a label took; None where it is not known."""
    try:
        return float(json.loads(clock.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(label: WantedLabel, labeller: NebLabeller) -> str:
    """Checksum of everything that decides what a band gives."""
    crystal = label.task.crystal
    content = {
        "hop": hop_to_json(label.task.hop),
        "crystal": None if crystal is None else [crystal.lattice.tolist(), crystal.frac.tolist()],
        "made": labeller.provenance,
    }
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
