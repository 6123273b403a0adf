"""From labels to a calibrated model and its card, as one call for every quantity.

Strategies are compared by cross-validation on the labels themselves, those without transfer among
them, and a rule chooses. What the chosen one says out of fold calibrates the intervals of the model
that is fitted to all labels, and goes into the card.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ionbridge.models import library
from ionbridge.models.adaptation.barriers import BarrierTask, Base
from ionbridge.models.adaptation.diffusivities import DiffusivityTask
from ionbridge.models.adaptation.few_shot_conductivities import ConductivityTask
from ionbridge.models.adaptation.task import Rule, Task
from ionbridge.models.conductors.conductivity import ConductivityTrees
from ionbridge.structures.features.diffusivity_labels import QUANTITY as DIFFUSIVITY
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Hop


def adapt(
    data: Sequence[Hop] | Sequence[ConductivityRow],
    base: str | Path | Base | ConductivityTrees | None = None,
    candidates: Sequence[str] | None = None,
    rule: Rule | None = None,
    *,
    method: str | None = None,
    seed: int = 0,
    most_for_networks: int | None = None,
    trials: int = 0,
    study: Path | None = None,
    progress: bool = False,
    **networks: Any,
) -> tuple[Any, dict[str, Any]]:
    """A model of labelled hops, conductivities or diffusivities, and its card.

    Args:
        data: (n,) hops with ``barrier_eV``, or rows whose ``label`` is log10 of a conductivity in
            S/cm or of a diffusivity in cm^2/s.
        base: Model to start from, or its name or folder; None takes the best shipped one.
        candidates: Strategies that are compared; None takes those of the quantity. One alone is
            fitted without a comparison.
        rule: Chooses by the cross-validated errors; None takes that of the quantity.
        method: Whose values the model gives where labels are of several methods; None takes the
            most trusted.
        seed: Of everything drawn.
        most_for_networks: Most labels for which strategies that tune networks are compared; with
            more they are left out, and the card names them. None compares them always.
        trials: Settings that are tried in a search (:mod:`ionbridge.models.adaptation.tuning`); 0
            for the defaults.
        study: Journal of the search, with which it goes on.
        progress: Show progress bars.
        networks: ``n_members``, ``n_folds`` and ``device`` of networks of barriers.

    Returns:
        A fitted model with ``predict``, ``interval``, ``in_domain``, ``save``, and its card, which
        is also its ``card_``: what was learnt from, what was compared, and the errors found.

    Raises:
        ValueError: Unknown strategy or base, too few labels, none of the method asked for, or a
            search that cannot be made.
        UnusableStructureError: A row without a working ion.
    """
    task = _task(data, base, method, seed, networks)
    names = task.candidates if candidates is None else tuple(candidates)
    for name in names:
        if name not in task.known:
            known = ", ".join(("auto", *task.known))
            raise ValueError(f"unknown strategy {name!r}; known: {known}")
    by_task = rule is None
    rule = rule or task.rule
    found: dict[str, Any] = {}
    stated: dict[str, Any] = {}
    if trials:
        chosen, stated["tuning"] = task.search(names, rule, trials, study, progress)
    elif len(names) > 1:
        if most_for_networks is not None and len(data) > most_for_networks:
            why = f"networks are tuned to at most {most_for_networks} labels here"
            stated["not_compared"] = {name: why for name in names if name in task.slow}
            names = tuple(name for name in names if name not in task.slow)
        for name in tqdm(names, desc="compare", disable=not progress):
            found[name] = task.out_of_fold(name, False)
        errors = {name: task.error(value) for name, value in found.items()}
        stated[f"compared_mae{task.suffix}"] = {n: round(e, 4) for n, e in errors.items()}
        chosen = rule(errors)
        if by_task and errors[chosen] > min(errors.values()):
            stated["chosen_because"] = task.why(chosen)
    else:
        (chosen,) = names
    if chosen in task.slow or chosen not in found:
        found[chosen] = task.out_of_fold(chosen)
    model, card = task.fitted(chosen, found[chosen], progress)
    model.card_ = {**card, "strategy": chosen, "seed": seed, **stated, "licence": "MIT"}
    return model, model.card_


def _task(
    data: Sequence[Any], base: Any, method: str | None, seed: int, networks: dict[str, Any]
) -> Task:
    if not data:
        raise ValueError("no label to learn from")
    if isinstance(data[0], Hop):
        return BarrierTask(data, base, method, seed, **networks)
    if data[0].label.quantity == DIFFUSIVITY:
        if base is not None:
            raise ValueError("diffusivities are learnt in one way and from no base")
        return DiffusivityTask(data, method, seed)
    if method is not None:
        raise ValueError("method is not for conductivities, all from experiment")
    name = base or library.DEFAULTS[ConductivityTask.quantity]
    if isinstance(name, str | Path):
        return ConductivityTask(data, library.load(name), str(name), seed)
    return ConductivityTask(data, base, type(base).__name__, seed)
