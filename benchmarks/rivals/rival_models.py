"""What is compared that is no network: means, saddles as they are, trees, processes, ours.

Every function has a table, training and test rows as indices, and gives barriers in eV.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from benchmarks.rivals.rival_table import PATHS, Table

SEED = 0
N_TREES = 120

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Settings = Mapping[str, Any]
Space = Mapping[str, BaseDistribution]


@dataclass(frozen=True)
class Rival:
    """A model that can be tuned.

    Attributes:
        predict: Barriers (eV) of the test rows from table, training rows, test rows and settings.
        untuned: Its settings as they are without tuning.
        space: What tuning may choose from.
    """

    predict: Callable[[Table, Rows, Rows, Settings], Floats]
    untuned: Settings
    space: Space


def log(barrier_eV: Floats, shift_eV: float) -> Floats:
    return np.log(barrier_eV + shift_eV)


def unlog(t: Floats, shift_eV: float) -> Floats:
    return np.clip(np.exp(t) - shift_eV, 0.0, None)


def features(table: Table, settings: Settings) -> Floats:
    """(n, n_features) path, ion and Magpie columns."""
    chosen = (f"geometry_{settings['path']}", f"composition_{settings['composition']}")
    return np.hstack([table.arrays[name] for name in chosen])


def trees(table: Table, train: Rows, test: Rows, settings: Settings) -> Floats:
    """Extremely randomised trees (Geurts et al., Mach. Learn. 63, 3 (2006))."""
    from sklearn.ensemble import ExtraTreesRegressor

    x = features(table, settings)
    model = ExtraTreesRegressor(
        n_estimators=N_TREES,
        min_samples_leaf=settings["min_leaf"],
        max_features=settings["max_features"],
        random_state=SEED,
    ).fit(x[train], log(table.barrier_eV[train], settings["shift_eV"]))
    return unlog(model.predict(x[test]), settings["shift_eV"])


def boosting(table: Table, train: Rows, test: Rows, settings: Settings) -> Floats:
    """Stochastic gradient boosting (Friedman, Comput. Stat. Data Anal. 38, 367 (2002))."""
    from sklearn.ensemble import GradientBoostingRegressor

    x = features(table, settings)
    model = GradientBoostingRegressor(
        learning_rate=settings["learning_rate"],
        n_estimators=settings["n_rounds"],
        max_depth=settings["depth"],
        min_samples_leaf=settings["min_leaf"],
        max_features=settings["max_features"],
        subsample=settings["subsample"],
        random_state=SEED,
    ).fit(x[train], log(table.barrier_eV[train], settings["shift_eV"]))
    return unlog(model.predict(x[test]), settings["shift_eV"])


def process(table: Table, train: Rows, test: Rows, settings: Settings) -> Floats:
    """A Matern and a linear kernel on the path scalars, as :class:`PathProcess`, freely set.

    ``linear`` is the variance with which the linear kernel starts; its best is found with the
    others'.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import DotProduct, Matern, WhiteKernel

    x = table.arrays["scalars"]
    scaled = (x - x[train].mean(axis=0)) / (x[train].std(axis=0) + 1e-6)
    scaled = np.clip(scaled, -settings["clip"], settings["clip"])
    kernel = (
        1.0 * Matern(3.0, (0.3, 100.0), nu=settings["nu"])
        + settings["linear"] * DotProduct(1.0, "fixed")
        + WhiteKernel(0.3, (1e-3, 10.0))
    )
    model = GaussianProcessRegressor(kernel, normalize_y=True)
    with warnings.catch_warnings():  # a hyperparameter at its bound is as good as any
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaled[train], log(table.barrier_eV[train], settings["shift_eV"]))
    return unlog(model.predict(scaled[test]), settings["shift_eV"])


def ours_without(table: Table, train: Rows, test: Rows, settings: Settings) -> Floats:
    """Our process and trees, no energies but those that pretrained networks expect."""
    return ours(table, train, test, settings, fed=False)


def ours_with(table: Table, train: Rows, test: Rows, settings: Settings) -> Floats:
    """Our process and trees with a universal potential's energies where there are any."""
    return ours(table, train, test, settings, fed=True)


def ours(table: Table, train: Rows, test: Rows, settings: Settings, fed: bool) -> Floats:
    """:class:`ionbridge.models.barriers.hop_barrier.HopBarrierModel`, freely set: a weighted mean
    in logarithms.

    Hops with energies have a process and trees of their own, fitted to such hops.
    """
    from ionbridge.models.regressors.trees import Forest

    shift = settings["shift_eV"]
    inputs = our_inputs(table)
    has_view = inputs.sources[:, 0] & fed
    t = np.zeros(len(test))
    for viewed in {bool(b) for b in has_view[test]}:
        own = (viewed, False)
        rows = train[has_view[train]] if viewed else train
        asked = has_view[test] == viewed
        forest = Forest.grown(
            inputs.for_trees(own)[rows],
            log(table.barrier_eV[rows], shift),
            N_TREES,
            settings["min_leaf"],
            settings["max_features"],
            SEED,
        )
        of_trees = forest.predict(inputs.for_trees(own)[test[asked]]).mean(axis=0)
        fitted = our_process(table, rows.tobytes(), shift, own)
        of_process = fitted.predict(inputs.for_process(own)[test[asked]])[0]
        weight = settings["process_weight"]
        t[asked] = weight * of_process + (1.0 - weight) * of_trees
    return unlog(t, shift)


@lru_cache(maxsize=2)
def our_inputs(table: Table) -> Any:
    from ionbridge.models.barriers.hop_barrier import Inputs

    given = features(table, {"path": "relaxed", "composition": "few"})
    unknown = np.full(len(given), np.nan)
    known = (table.arrays[name] for name in ("view", "learned"))
    short, difference = np.full((len(given), 2), np.nan), np.zeros(len(given))
    return Inputs(table.arrays["scalars"], given, *known, unknown, short, difference)


@lru_cache(maxsize=256)
def our_process(table: Table, rows: bytes, shift_eV: float, own: tuple[bool, bool]) -> Any:
    """Process of some rows (their indices as bytes); trials that differ elsewhere share it."""
    from ionbridge.models.regressors.gaussian_process import PathProcess

    index = np.frombuffer(rows, dtype=np.intp)
    target = log(table.barrier_eV[index], shift_eV)
    known = our_inputs(table)
    inputs = known.for_process(own)[index]
    return PathProcess(inputs, target, n_trends=inputs.shape[1] - known.features.shape[1])


SHIFT = CategoricalDistribution((0.02, 0.05, 0.1, 0.2, 0.4))
FEATURES: Space = {
    "path": CategoricalDistribution(PATHS),
    "composition": CategoricalDistribution(("few", "all")),
    "shift_eV": SHIFT,
}
TREES: Space = {
    "min_leaf": IntDistribution(1, 10),
    "max_features": FloatDistribution(0.05, 1.0),
}
BOOSTING: Space = {
    "learning_rate": FloatDistribution(0.01, 0.3, log=True),
    "n_rounds": IntDistribution(50, 400, log=True),
    "depth": IntDistribution(1, 7),
    "min_leaf": IntDistribution(1, 20),
    "max_features": FloatDistribution(0.05, 1.0),
    "subsample": FloatDistribution(0.4, 1.0),
}
PROCESS: Space = {
    "clip": FloatDistribution(1.5, 8.0),
    "nu": CategoricalDistribution((0.5, 1.5, 2.5)),
    "linear": FloatDistribution(1e-4, 10.0, log=True),
    "shift_eV": SHIFT,
}
OURS: Space = {"process_weight": FloatDistribution(0.0, 1.0), **TREES, "shift_eV": SHIFT}
OURS_UNTUNED: Settings = {
    "process_weight": 0.5,
    "min_leaf": 2,
    "max_features": 0.3,
    "shift_eV": 0.1,
}
RIVALS: dict[str, Rival] = {
    "trees": Rival(
        trees,
        {
            "path": "given",
            "composition": "few",
            "shift_eV": 0.05,
            "min_leaf": 2,
            "max_features": 0.3,
        },
        {**FEATURES, **TREES},
    ),
    "boosting": Rival(
        boosting,
        {
            "path": "given",
            "composition": "few",
            "shift_eV": 0.05,
            "learning_rate": 0.1,
            "n_rounds": 100,
            "depth": 3,
            "min_leaf": 1,
            "max_features": 1.0,
            "subsample": 1.0,
        },
        {**FEATURES, **BOOSTING},
    ),
    "process": Rival(process, {"clip": 4.0, "nu": 1.5, "linear": 0.1, "shift_eV": 0.1}, PROCESS),
    "ours": Rival(ours_without, OURS_UNTUNED, OURS),
    "ours-chgnet": Rival(ours_with, OURS_UNTUNED, OURS),
}
"""What is no network. Untuned: our defaults for ours, trees and process, scikit-learn's for
boosting."""


def global_mean(table: Table, train: Rows, test: Rows) -> Floats:
    return np.full(len(test), table.barrier_eV[train].mean())


def family_mean(table: Table, train: Rows, test: Rows) -> Floats:
    """Of the ion where, as here, no family of the test is in the training."""
    from ionbridge.models.regressors.baselines import FamilyIonMean

    known = [table.rows[i] for i in train]
    model = FamilyIonMean().fit(known, table.barrier_eV[train])
    return model.predict([table.rows[i] for i in test]).mean


def raw(table: Table, train: Rows, test: Rows, name: str) -> Floats:
    """A computed saddle as it is; the median of the training labels where there is none."""
    energy = table.arrays[name][test]
    return np.where(np.isfinite(energy), energy, np.median(table.barrier_eV[train]))


def line(table: Table, train: Rows, test: Rows, name: str) -> Floats:
    """The same after a line by least absolute deviations."""
    from sklearn.linear_model import QuantileRegressor

    return calibrated(table, train, test, name, QuantileRegressor(quantile=0.5, alpha=0.0))


def isotonic(table: Table, train: Rows, test: Rows, name: str) -> Floats:
    """The same after isotonic regression."""
    from sklearn.isotonic import IsotonicRegression

    return calibrated(table, train, test, name, IsotonicRegression(out_of_bounds="clip"))


def calibrated(table: Table, train: Rows, test: Rows, name: str, regressor: Any) -> Floats:
    energy = table.arrays[name]
    known = train[np.isfinite(energy[train])]
    regressor.fit(energy[known, None], table.barrier_eV[known])
    found = raw(table, train, test, name)
    there = np.isfinite(energy[test])
    found[there] = np.maximum(regressor.predict(energy[test[there], None]), 0.0)
    return found


SIMPLE: dict[str, Callable[[Table, Rows, Rows], Floats]] = {
    "global-mean": global_mean,
    "family-ion-mean": family_mean,
    **{
        f"{kind}{suffix}": partial(f, name=f"{kind.replace('-', '_')}_eV")
        for kind in ("bond-valence", "chgnet", "mace")
        for suffix, f in (("", raw), ("-line", line), ("-isotonic", isotonic))
    },
}
"""What has nothing to tune: means, and saddles of a potential (bond valences; CHGNet, host at
rest; MACE, relaxed), raw and calibrated on the training rows."""
