"""Rounds of active learning: screen, choose, label, fine-tune, screen again; all of it on disk.

Every round is a folder: the table of its screen, ``chosen.json`` (what is labelled and why),
``labels.jsonl`` (barriers of the nudged elastic band, hop by hop) and ``model/`` (the model
fine-tuned on the labels of this and all earlier rounds). A killed round goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.models.adaptation.adapt import adapt
from ionbridge.models.checkpoint import model_checksum
from ionbridge.models.library import find, load
from ionbridge.screening.campaign.acquisition import choose
from ionbridge.screening.campaign.candidates import Candidates, built
from ionbridge.screening.campaign.ranking import Ranking, utility
from ionbridge.screening.campaign.settings import ActiveSettings, Objective
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import Executor
from ionbridge.screening.execution.sealed_rows import checksum
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.bands.neb import NebSettings
from ionbridge.screening.labelling.bands.neb_labels import NebLabeller, label_neb, neb_tasks
from ionbridge.screening.table import STD_COLUMN, Row
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import hop_from_json, hop_to_json
from ionbridge.structures.records import Crystal, Hop

CHOSEN_FILE, LABELS_FILE, MODEL_FOLDER = "chosen.json", "labels.jsonl", "model"
CONSIDERED_A_CHOSEN = 25
"""So many of the best candidates are considered for each that is chosen."""


@dataclass(frozen=True)
class Round:
    """What one round has done.

    Attributes:
        model: Folder of the model fine-tuned in it, or the name of the one before.
        chosen: Ids of the candidates labelled.
        labels: Labelled hops of this round.
        n_failed: Hops that got no label.
    """

    model: str
    chosen: tuple[str, ...]
    labels: tuple[Hop, ...]
    n_failed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return {
            "model": self.model,
            "chosen": list(self.chosen),
            "n_labels": len(self.labels),
            "n_failed": self.n_failed,
        }


def considered(
    candidates: Candidates, ranked: Ranking, batch: int, known: Collection[str]
) -> list[int]:
    """Places of the best candidates that a round may choose from, best first.

    Args:
        candidates: All of them.
        ranked: The round's screen of them.
        batch: Candidates that are chosen.
        known: Ids that earlier rounds chose.
    """
    usable = bytearray(len(ranked.order))
    for k, one in enumerate(candidates):
        if ranked.rank[k] and one.id not in known:  # bands are made of whole atoms
            crystal = built(one)
            usable[k] = isinstance(crystal, Crystal) and crystal.is_ordered
    best = (k for k in ranked.order[: ranked.n_ranked].tolist() if usable[k])
    return list(islice(best, CONSIDERED_A_CHOSEN * batch))


def run_round(
    folder: Path,
    ranked: Sequence[Row],
    crystals: dict[str, Crystal],
    objective: Objective,
    settings: ActiveSettings,
    model: str,
    before: Sequence[Round],
    pool: Executor,
    seed: int,
    report: Callable[[str], None] = lambda message: None,
) -> Round:
    """Choose from a ranked table, label, and fine-tune on all labels so far.

    Args:
        folder: Of the round; what it holds already is used.
        ranked: Rows of this round's screen that are considered, best first.
        crystals: Candidates by id, classified (working ion filled in).
        objective: What to make large or small.
        settings: Rounds, batch, calculator.
        model: The model that made the table.
        before: Earlier rounds; their candidates are not chosen again.
        pool: Where labels are computed.
        seed: Of the fine-tuning.
        report: Is told what goes on.

    Raises:
        InputError: The calculator cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = {name for earlier in before for name in earlier.chosen}
    chosen = wanted(ranked, crystals, objective, settings, model, known)
    write_json(folder / CHOSEN_FILE, chosen)
    ids = tuple(str(row["candidate_id"]) for row in chosen)
    report(f"labelling {', '.join(ids) or 'nothing'}")
    labeller = NebLabeller(
        CalculatorChoice(settings.calculator, settings.calculator_arguments),
        NebSettings(max_atoms=settings.max_atoms, time_limit_min=settings.time_limit_min),
    )
    tasks = neb_tasks([crystals[name] for name in ids], settings.max_hops)
    rows = label_neb(tasks, labeller, folder / LABELS_FILE, pool) if tasks else []
    labels = tuple(
        hop_from_json({k: v for k, v in row.items() if k not in ("status", "reason")})
        for row in rows
        if row["status"] == "ok"
    )
    together = [hop for earlier in before for hop in earlier.labels] + list(labels)
    if labels and len({hop.framework for hop in together}) > 1:
        report(f"fine-tuning on {len(together)} labels")
        model = fine_tuned(folder / MODEL_FOLDER, together, model, settings, seed, report)
    return Round(model, ids, labels, len(rows) - len(labels))


def wanted(
    ranked: Sequence[Row],
    crystals: dict[str, Crystal],
    objective: Objective,
    settings: ActiveSettings,
    model: str,
    known: set[str],
) -> list[dict[str, Any]]:
    """The candidates that a round labels, with the numbers that decided it.

    Expected improvement counts from the candidate at place ``batch`` of the ranking; its cost is
    the square of the number of atoms in the cell, about that of a universal potential's band.

    Returns:
        One mapping a candidate: id, rank, value, std.
    """
    rows = [
        row
        for row in ranked
        if row["status"] == "ok"
        and row.get("score") is not None
        and row["candidate_id"] not in known
        and row["candidate_id"] in crystals
        and crystals[row["candidate_id"]].is_ordered  # bands are made of whole atoms
    ][: CONSIDERED_A_CHOSEN * settings.batch]
    if not rows:
        return []
    mean = np.array([utility(row, objective, "mean") for row in rows])
    std = np.array([float(row.get(STD_COLUMN.get(objective.column, "")) or 0.0) for row in rows])
    ensemble = load(model)
    graphs = [find_hops(crystals[row["candidate_id"]]) for row in rows]
    points = np.array([ensemble.points(graph.hops).mean(axis=0) for graph in graphs])
    cost = np.array([float(len(graph.crystal.species)) ** 2 for graph in graphs])
    best = float(np.sort(mean)[::-1][min(settings.batch, len(mean)) - 1])
    order = choose(mean, std, points, settings.batch, settings.acquisition, best, cost)
    return [
        {
            "candidate_id": rows[i]["candidate_id"],
            "rank": rows[i]["rank"],
            objective.column: rows[i][objective.column],
            "std": float(std[i]),
            "relative_cost": float(cost[i] / cost.min()),
        }
        for i in order
    ]


def fine_tuned(
    folder: Path,
    labels: Sequence[Hop],
    model: str,
    settings: ActiveSettings,
    seed: int,
    report: Callable[[str], None] = lambda message: None,
) -> str:
    """The folder of a model fine-tuned on the labels; one that is there and holds is used.

    Beside the folder lies what it was made of and a checksum of all of it; a model made of anything
    else, or altered, is fitted again, and that is said.

    Raises:
        InputError: The labels cannot be learnt from.
    """
    stamp = folder.with_suffix(".json")
    hops = json.dumps([hop_to_json(hop) for hop in labels], sort_keys=True, default=str)
    made_of = checksum([hops, model_checksum(find(model)), asdict(settings), seed])
    if folder.exists():
        if _stated(stamp) == {"made_of_sha256": made_of, "sha256": model_checksum(folder)}:
            return str(folder)
        report(f"{folder} does not hold; fitted again")
        shutil.rmtree(folder)
    try:
        adapted, _ = adapt(labels, model, (settings.strategy,), seed=seed)
    except ValueError as error:
        raise InputError(f"active: {error}") from error
    adapted.save(folder)
    write_json(stamp, {"made_of_sha256": made_of, "sha256": model_checksum(folder)})
    return str(folder)


def _stated(stamp: Path) -> Any:
    """What a file of JSON says; None where there is none."""
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
