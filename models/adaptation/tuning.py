"""Settings of a fine-tuning searched by grouped cross-validation, in a study that is kept.

Some host frameworks are held out of the search. What it finds is compared with the defaults on
them, and taken only where it is better there. The study is an Optuna journal: run again on the
same labels, the search goes on where it was.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages.journal import JournalFileBackend

from ionbridge.models.metrics import bootstrap, mae
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.records import Hop

FEWEST_FRAMEWORKS = 6
"""Host frameworks below which nothing can be held out of a search and still be learnt from."""
HELD_OUT_FOLDS = 3
"""One of so many parts of the frameworks is held out of the search."""
TUNED = ("trees", "frozen", "full", "heads", "lora")
"""Ways with settings to search; the others have none."""


@dataclass(frozen=True)
class Settings:
    """What a search may change.

    Attributes:
        strategy: Way to learn, a candidate of ``auto``.
        learning_rate: Peak rate of the networks' fit.
        weight_decay: Of the networks' fit.
        effort: Times the usual number of gradient steps.
        min_leaf: Fewest hops in a leaf of the trees.
        max_features: Share of the columns that the trees try at a division.
    """

    strategy: str
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    effort: float = 1.0
    min_leaf: int = 2
    max_features: float = 0.3

    def changed(self) -> dict[str, Any]:
        """The strategy and the settings that belong to it, as a card states them."""
        of_trees = ("min_leaf", "max_features")
        of_networks = ("learning_rate", "weight_decay", "effort")
        kept = {"trees": of_trees}.get(self.strategy, of_networks)
        named = asdict(self) if self.strategy in TUNED else {}
        return {"strategy": self.strategy, **{k: named[k] for k in kept if k in named}}


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a search found.

    Attributes:
        settings: To be used: the best of the study, or the defaults where it gained nothing.
        report: For the card: trials, errors on held-out frameworks, importances, history.
    """

    settings: Settings
    report: dict[str, Any]


Errors = Callable[[Settings, NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]]
"""Predictions in eV of test hops by a model fitted with settings to training hops (indices)."""


def tune(
    hops: Sequence[Hop],
    barrier_eV: NDArray[np.float64],
    predict: Errors,
    defaults: Sequence[str],
    choose: Callable[[dict[str, float]], str],
    *,
    n_trials: int,
    study: Path,
    seed: int = 0,
    progress: bool = False,
) -> Tuning:
    """Search settings on some frameworks, and judge what was found on the others.

    Args:
        hops: (n,) labelled hops.
        barrier_eV: (n,) their forward barriers, eV.
        predict: Fits and predicts, see `Errors`.
        defaults: Strategies that are tried with their default settings first.
        choose: The strategy taken of the defaults, from their cross-validated errors in eV.
        n_trials: Trials of the study, the defaults and earlier runs counted.
        study: Journal of the study, made where it is not there.
        seed: Of the sampler.
        progress: Show a progress bar.

    Raises:
        ValueError: Too few host frameworks, fewer trials than defaults, nothing to search, or a
            study of other labels.
    """
    n_frameworks = len({hop.framework for hop in hops})
    if n_frameworks < FEWEST_FRAMEWORKS:
        raise ValueError(
            f"labels of {n_frameworks} host framework(s); a search of settings needs "
            f"{FEWEST_FRAMEWORKS}, some of them held out to see what it gained"
        )
    if n_trials <= len(defaults):
        raise ValueError(
            f"{n_trials} trials; the first {len(defaults)} are the defaults, so give more"
        )
    outer = next(iter(GroupedKFold(HELD_OUT_FOLDS).split(hops)))
    searched = [hops[i] for i in outer.train]
    n_folds = min(HELD_OUT_FOLDS, len({hop.framework for hop in searched}))
    inner = [
        (outer.train[fold.train], outer.train[fold.test])
        for fold in GroupedKFold(n_folds).split(searched)
    ]

    def error(settings: Settings) -> float:
        found = np.concatenate([predict(settings, *fold) for fold in inner])
        return float(mae(barrier_eV[np.concatenate([test for _, test in inner])], found))

    ways = TUNED if len(defaults) > 1 else tuple(name for name in defaults if name in TUNED)
    if not ways:
        raise ValueError(f"strategy {defaults[0]} has no settings to search")
    kept = _study(study, hops, barrier_eV, defaults, seed)
    missing = n_trials - len(_finished(kept))
    if missing > 0:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        kept.optimize(
            lambda trial: error(_suggested(trial, ways)),
            n_trials=missing,
            show_progress_bar=progress,
        )
    trials = _finished(kept)
    compared = {
        t.user_attrs["default"]: float(t.value) for t in trials if "default" in t.user_attrs
    }
    default, best = Settings(choose(compared)), _of(kept.best_trial)
    truth = barrier_eV[outer.test]
    errors = {
        name: np.abs(predict(settings, outer.train, outer.test) - truth)
        for name, settings in (("defaults", default), ("tuned", best))
    }
    gain = errors["defaults"] - errors["tuned"]
    spread = bootstrap(np.mean, gain, groups=[hops[i].framework for i in outer.test])
    better = bool(gain.mean() > 0.0) and best != default
    return Tuning(
        settings=best if better else default,
        report={
            "n_trials": len(trials),
            "n_frameworks_searched": len({hop.framework for hop in searched}),
            "n_held_out_hops": len(truth),
            "held_out_mae_eV": {k: round(float(v.mean()), 4) for k, v in errors.items()},
            "gain_eV": [round(float(x), 4) for x in (spread.value, spread.lower, spread.upper)],
            "taken": "tuned" if better else "defaults",
            "defaults": default.changed(),
            "tuned": best.changed(),
            "best_so_far_eV": np.minimum.accumulate([t.value for t in trials]).round(4).tolist(),
            "importances": _importances(kept),
        },
    )


def _study(
    path: Path,
    hops: Sequence[Hop],
    barrier_eV: NDArray[np.float64],
    defaults: Sequence[str],
    seed: int,
) -> optuna.Study:
    """The study in a journal, bound to its labels; the defaults wait in it as first trials."""
    told = [[hop.id, round(float(value), 6)] for hop, value in zip(hops, barrier_eV, strict=True)]
    labels = hashlib.sha256(repr([told, list(defaults), seed]).encode()).hexdigest()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = JournalFileBackend(str(path))
    kept = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="finetune",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
    )
    if kept.user_attrs.get("labels", labels) != labels:
        raise ValueError(f"{path}: a study of other labels, strategies or another seed")
    if "labels" not in kept.user_attrs:
        kept.set_user_attr("labels", labels)
        for name in defaults:
            kept.enqueue_trial({}, user_attrs={"default": name})
    return kept


def _suggested(trial: optuna.Trial, ways: Sequence[str]) -> Settings:
    if "default" in trial.user_attrs:
        return Settings(trial.user_attrs["default"])
    strategy = trial.suggest_categorical("strategy", ways)
    if strategy == "trees":
        return Settings(
            strategy,
            min_leaf=trial.suggest_int("min_leaf", 1, 8),
            max_features=trial.suggest_float("max_features", 0.1, 1.0),
        )
    return Settings(
        strategy,
        learning_rate=trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        effort=trial.suggest_float("effort", 0.3, 2.0, log=True),
    )


def _of(trial: optuna.trial.FrozenTrial) -> Settings:
    if "default" in trial.user_attrs:
        return Settings(trial.user_attrs["default"])
    return Settings(**trial.params)


def _finished(study: optuna.Study) -> list[Any]:
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _importances(study: optuna.Study) -> dict[str, float]:
    """Share of each setting in the variance of the searched trials' errors; empty with too few."""
    searched = [t for t in _finished(study) if "default" not in t.user_attrs]
    if len(searched) < 2 * len(TUNED):
        return {}
    of_search = optuna.create_study()
    of_search.add_trials(searched)
    try:
        with warnings.catch_warnings():  # of errors that are all alike: each setting counts as much
            warnings.filterwarnings("ignore", "Target and region quantiles", UserWarning)
            found = optuna.importance.get_param_importances(of_search)
    except (RuntimeError, ValueError):  # all errors alike, or no setting that all trials share
        return {}
    return {name: round(float(share), 3) for name, share in found.items()}
