"""Migration barriers from labelled hops, beside a pretrained base.

Labels may be of several methods (``Hop.method``: DFT bands, bands of a universal potential, ...).
They are not pooled: the model gives the values of one method, by default the most trusted, and only
its labels are fitted and scored. Labels of other methods, and those that the base keeps, stand
beside them in the Gaussian process as the asked method would have given them
(:mod:`ionbridge.models.adaptation.multi_fidelity`); networks and trees themselves do not see them.

A label may be a bound (``Hop.bound``). It teaches where a model is on its wrong side
(:meth:`ionbridge.models.barriers.hop_model.HopModel.fit`), and is scored so; networks are tuned to
values alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ionbridge.models import library
from ionbridge.models.adaptation.multi_fidelity import Footing, Rows
from ionbridge.models.adaptation.task import Rule, Task
from ionbridge.models.adaptation.tuning import Settings, tune
from ionbridge.models.barriers.hop_barrier import HopBarrierModel
from ionbridge.models.calibration import ENOUGH_GROUPS, Calibration
from ionbridge.models.cross_validation import cross_val_predict, grouped_folds
from ionbridge.models.hop_networks.encoder import HopEncoder
from ionbridge.models.hop_networks.ensemble import HopEnsemble, HopEnsembleConfig
from ionbridge.models.hop_networks.finetuning import FINE_TUNINGS, FineTuning, FromScratch
from ionbridge.models.hop_networks.network import HopNetworkConfig
from ionbridge.models.hop_networks.training import TrainingConfig
from ionbridge.models.metrics import interval_coverage, mae, misses, spearman
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.baselines import BASELINES, ExtraTreesBaseline, FamilyIonMean
from ionbridge.models.regressors.gaussian_process import (
    GaussianProcessBaseline,
    PathProcess,
    path_scalars,
)
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.splits import RandomKFold, Split
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Hop, sides

Weights = Sequence[Mapping[str, torch.Tensor]]

BATCH_SIZE = 16


@dataclass(frozen=True)
class Effort:
    """How long a network is fitted; epochs follow from the number of labels.

    Attributes:
        gradient_steps: Batches that one fine-tuning sees.
        epochs: Fewest and most passes over the labels.
    """

    gradient_steps: int
    epochs: tuple[int, int]


FROZEN_HOST = Effort(gradient_steps=1500, epochs=(30, 150))
"""With an encoded host a step costs a quarter of one through all layers."""

MOVING_HOST = Effort(gradient_steps=600, epochs=(15, 80))
"""Five members and their cross-validation stay under ten minutes for 500 labels on one core."""

VALIDATION_MEMBERS = 2
"""Networks of an ensemble in cross-validation: the fewest that can disagree."""


@dataclass(frozen=True, eq=False)
class Base:
    """Where a fine-tuning starts.

    Attributes:
        name: Of the base model.
        network: Sizes of its networks.
        weights: One state a network; none to start from nothing.
        process: Gaussian process of a hop model, whose labels are kept.
        calibration: Of a hop model; few labels borrow its residuals.
        method: Of the labels that the process keeps, where its card states one.
        fed: A hop model whose labels and energies serve a new one of its kind.
    """

    name: str
    network: HopNetworkConfig
    weights: Weights
    process: PathProcess | None = None
    calibration: Calibration | None = None
    method: str | None = None
    fed: HopBarrierModel | None = None

    @classmethod
    def of(cls, name: str | Path) -> Base:
        """A shipped or saved encoder or hop model as a base.

        Raises:
            IncompatibleModelError: Unknown name or unusable folder.
            ValueError: A model without networks to start from.
        """
        model = library.load(name)
        if isinstance(model, HopEncoder):
            return cls(str(name), model.network, model.weights)
        if isinstance(model, HopEnsemble | HopBarrierModel):
            methods = library.card(name).get("trained_on", {}).get("methods", [])
            method = methods[0] if len(methods) == 1 else None
            if isinstance(model, HopBarrierModel):
                learned, process = model.learned, process_of(model)
                weights, calibration = learned.weights(), model.calibration_
                return cls(str(name), learned.config, weights, process, calibration, method, model)
            weights = [network.state_dict() for network in model.networks_]
            return cls(
                str(name),
                model.config.network,
                weights,
                model.process_,
                model.calibration_,
                method,
            )
        raise ValueError(
            f"--base {name}: a {type(model).__name__} has no network to start from; "
            "give an encoder or a hop model"
        )

    def without(self, hops: Sequence[Hop]) -> Base:
        """The base as if it had not learnt from some hops, so that they can be held out.

        Networks that were tuned to them cannot be made to forget.
        """
        if self.fed is None:
            process = None if self.process is None else _other_rows(self.process, hops)
            return replace(self, process=process)
        fed = self.fed.without(hops)
        if not len(fed.barrier_eV_):
            return replace(self, process=None, fed=None)
        theta = None if self.process is None else self.process.theta
        return replace(self, process=process_of(fed, theta), fed=fed)

    def on_footing(self, process: PathProcess | None) -> Base:
        """The base with its labels moved to another method's scale.

        Args:
            process: Holds the moved labels, those of the base first (:meth:`Footing.known`).
        """
        if self.fed is None or process is None:
            return replace(self, process=process)
        n_labels = len(self.fed.barrier_eV_)
        saddle = LogShift().inverse(process.target[:n_labels])
        return replace(self, process=process, fed=self.fed.relabelled(saddle))


def _other_rows(process: PathProcess, hops: Sequence[Hop]) -> PathProcess | None:
    """The process without the labels of some hops, None without any; hyperparameters stay."""
    own = path_scalars(hops)
    kept = [not np.isclose(own, row, atol=1e-5).all(axis=1).any() for row in process.inputs]
    if not any(kept):
        return None
    return PathProcess(process.inputs[kept], process.target[kept], process.theta)


def process_of(model: HopBarrierModel, theta: NDArray[np.float64] | None = None) -> PathProcess:
    """A process on path scalars alone, with the labels of a hop model."""
    saddle = model.inputs_.above_mean(model.barrier_eV_)
    return PathProcess(model.inputs_.scalars, LogShift().forward(saddle), theta)


class BarrierTask(Task):
    """Migration barriers of hops, learnt beside a pretrained base.

    Args:
        hops: (n,) hops with ``barrier_eV``, values or bounds, of one or several methods.
        base: Model to start from, or its name; None takes the best shipped one.
        method: Whose values the model gives; None takes the most trusted of the labels.
        seed: Of everything drawn.
        n_members: Networks in an ensemble.
        n_folds: Of the cross-validation; fewer where there are fewer host frameworks.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ValueError: No or one value of the method, or a base without networks.
    """

    quantity = "migration_barrier"
    candidates = (
        FamilyIonMean.kind,
        GaussianProcessBaseline.kind,
        ExtraTreesBaseline.kind,
        HopBarrierModel.kind,
        "frozen",
        "full",
        "scratch",
    )
    known = (*BASELINES, HopBarrierModel.kind, *FINE_TUNINGS)
    simple = frozenset((*BASELINES, HopBarrierModel.kind))
    slow = frozenset(FINE_TUNINGS)
    suffix = "_eV"

    def __init__(
        self,
        hops: Sequence[Hop],
        base: str | Path | Base | None = None,
        method: str | None = None,
        seed: int = 0,
        n_members: int = 5,
        n_folds: int = 5,
        device: str = "auto",
    ) -> None:
        given = base if isinstance(base, Base) else Base.of(base or library.DEFAULTS[self.quantity])
        self.base = given.without(hops)
        if sides(hops).all():
            raise ValueError(
                f"{len(hops)} labelled hop(s), all of them bounds; at least 2 values are needed to "
                "fit a model"
            )
        hops = sorted(hops, key=lambda hop: hop.bound != "=")  # values first
        labels = np.array([hop.barrier_eV for hop in hops], dtype=float)
        self.footing = Footing.of(hops, labels, self.base.process, self.base.method, method)
        self.hops, self.barrier_eV = self.footing.hops, self.footing.barrier_eV
        self.side = sides(self.hops)
        self.n_values = int((self.side == 0).sum())
        if self.n_values < 2:
            of = f" of method {self.footing.method}" if self.footing.counts else ""
            apart = f", {len(self.side) - self.n_values} bound(s) apart" if self.side.any() else ""
            raise ValueError(
                f"{self.n_values} labelled hop(s){of}{apart}; at least 2 are needed to fit a model"
            )
        self.seed, self.n_members, self.device = seed, n_members, device
        self.folds, self.split = folds_of(self.hops, n_folds)
        self.placed = [self._base_for(fold.train, fold.test) for fold in self.folds]
        self.n_groups = len({hop.framework for hop in self.hops[: self.n_values]})
        if self.n_groups < ENOUGH_GROUPS and self.base.fed is not None:
            self.stands = HopBarrierModel.kind
        self.settings: dict[str, Settings] = {}

    def _base_for(self, train: Rows, test: Rows) -> Base:
        process = self.footing.known(train, test)
        moves = self.footing.method != self.footing.base_method
        return self.base.on_footing(process) if moves else replace(self.base, process=process)

    def _maker(
        self, settings: Settings, base: Base, n_labels: int, n_members: int
    ) -> Callable[[], Any]:
        name = settings.strategy
        if name == ExtraTreesBaseline.kind:
            leaf, share = settings.min_leaf, settings.max_features
            return lambda: ExtraTreesBaseline(min_leaf=leaf, max_features=share)
        if name == GaussianProcessBaseline.kind:
            return lambda: GaussianProcessBaseline(LogShift().shift_eV, base.process)
        if name in BASELINES:
            return BASELINES[name]
        if name == HopBarrierModel.kind:
            reads = base.fed is None or base.fed.reads_energies
            return lambda: HopBarrierModel(self.seed, reads, known=base.fed, n_folds=0)
        strategy = FINE_TUNINGS[name]()
        config = ensemble_config(
            base, strategy, n_labels, self.seed, n_members, self.device, settings
        )
        if isinstance(strategy, FromScratch):
            return lambda: HopEnsemble(config)
        return lambda: HopEnsemble(config, base.weights, base.process)

    def _settings(self, strategy: str) -> Settings:
        return self.settings.get(strategy, Settings(strategy))

    def out_of_fold(self, strategy: str, final: bool = True) -> Prediction:
        """Barriers in eV of hops whose framework was not learnt from."""
        n_members = min(self.n_members, VALIDATION_MEMBERS) if final else 1
        parts = []
        for base, fold in zip(self.placed, self.folds, strict=True):
            make = self._maker(self._settings(strategy), base, len(self.hops), n_members)
            parts.append(cross_val_predict(make, self.hops, self.barrier_eV, [fold]))
        fields = ("mean", "aleatoric_std", "epistemic_std")
        return Prediction(*(np.sum([getattr(p, f) for p in parts], axis=0) for f in fields))

    def error(self, found: Prediction) -> float:
        """Mean absolute error of the hops, eV; bounds are off only beyond themselves."""
        return float(misses(self.barrier_eV, found.mean, self.side).mean())

    def search(
        self, candidates: Sequence[str], rule: Rule, trials: int, study: Path | None, progress: bool
    ) -> tuple[str, dict[str, Any]]:
        """The strategy whose settings do best on frameworks held out of the search.

        Values alone are searched on and held out.
        """
        if study is None:
            raise ValueError("a search needs a study file")

        def predict(settings: Settings, train: Rows, test: Rows) -> NDArray[np.float64]:
            model = self._maker(settings, self._base_for(train, test), len(train), 1)()
            model.fit([self.hops[i] for i in train], self.barrier_eV[train])
            predicted: Prediction = model.predict([self.hops[i] for i in test])
            return predicted.mean

        tuning = tune(
            self.hops[: self.n_values], self.barrier_eV[: self.n_values], predict, candidates, rule,
            n_trials=trials, study=study, seed=self.seed, progress=progress,
        )  # fmt: skip
        self.settings[tuning.settings.strategy] = tuning.settings
        return tuning.settings.strategy, tuning.report

    def fitted(
        self, strategy: str, found: Prediction, progress: bool
    ) -> tuple[Any, dict[str, Any]]:
        """The model of all hops; ``validated_`` holds hop, out-of-fold barrier and label, eV.

        Error and coverage in the card are those of values; what is off bounds stands apart.
        """
        hops, barrier_eV = self.hops, self.barrier_eV
        values, bounds = slice(0, self.n_values), slice(self.n_values, len(hops))
        start = self._base_for(np.arange(len(hops)), np.arange(0))
        model = self._maker(self._settings(strategy), start, len(hops), self.n_members)()
        model.progress = "fine-tune" if progress else None
        model.fit(hops, barrier_eV)
        if model.target is not None:
            model.calibration_ = Calibration.fit(
                found[values], barrier_eV[values], model.target,
                n_groups=self.n_groups, source=self.base.calibration,
            )  # fmt: skip
            found = model.calibration_.calibrated(found)
        model.validated_ = list(zip(hops, found.mean.tolist(), barrier_eV.tolist(), strict=True))
        counts, other_bounds = self.footing.counts, self.footing.n_other_bounds
        said, known = found[values], barrier_eV[values]
        beyond = misses(barrier_eV[bounds], found[bounds].mean, self.side[bounds])
        taught = "left out: networks learn from values alone"
        if model.learns_bounds:
            taught = "teach where the model is on their wrong side"
        card = {
            "predicts": "migration barrier of a hop, eV",
            "quantity": self.quantity,
            "inputs": ["hop"],
            "working_ions": sorted({hop.working_ion for hop in hops}),
            "families": sorted({canonical_family(hop.family) for hop in hops if hop.family}),
            "trained_on": {
                "n_hops": self.n_values,
                **({"n_bounds": len(beyond), "bounds": taught} if len(beyond) else {}),
                **({"n_bounds_of_other_methods_left_out": other_bounds} if other_bounds else {}),
                "n_frameworks": self.n_groups,
                "base_systems": sorted({hop.framework for hop in hops}),
                "methods": sorted({hop.method for hop in hops if hop.method}),
                **({"n_hops_of_other_methods": counts} if counts else {}),
            },
            "base": self.base.name,
            "validation": {
                "split": self.split,
                "n": self.n_values,
                "mae_eV": round(mae(known, said.mean), 4),
                "spearman": round(spearman(known, said.mean), 4) if self.n_values > 2 else None,
                "interval_coverage_90": round(interval_coverage(known, *model.interval(said)), 3),
                **(
                    {"mean_beyond_bounds_eV": round(float(beyond.mean()), 4)} if len(beyond) else {}
                ),
            },
        }
        return model, card


def folds_of(hops: Sequence[Hop], n_folds: int) -> tuple[list[Split], str]:
    """Folds of a cross-validation, and in words what they keep apart.

    They are made of values, so that each leaves some to learn from; a bound is held out with its
    framework.

    Hops of one host framework stay together. Where all hops share one framework nothing can be
    learnt about others; the folds are then single hops, and what is measured is how well the model
    fills in hops of this framework.
    """
    values = [hop for hop in hops if hop.bound == "="]
    n_frameworks = len({hop.framework for hop in values})
    if n_frameworks > 1:
        folds = grouped_folds(values, None, n_folds)
        split = f"grouped by host framework, {len(folds)} folds"
    else:
        folds = list(RandomKFold(min(n_folds, len(values))).split(values))
        split = f"hops of the only host framework, {len(folds)} random folds"
    if len(values) == len(hops):
        return folds, split
    return _with_bounds(folds, hops, len(values)), split


def _with_bounds(folds: Sequence[Split], hops: Sequence[Hop], n_values: int) -> list[Split]:
    """Folds of values and bounds, from those of the first hops, which are the values."""
    fold_of = {hops[i].framework: k for k, fold in enumerate(folds) for i in fold.test.tolist()}
    bounds = np.arange(n_values, len(hops))
    held_out = np.array(
        [fold_of.setdefault(hop.framework, len(fold_of) % len(folds)) for hop in hops[n_values:]]
    )
    return [
        replace(
            fold,
            train=np.concatenate([fold.train, bounds[held_out != k]]),
            test=np.concatenate([fold.test, bounds[held_out == k]]),
        )
        for k, fold in enumerate(folds)
    ]


def ensemble_config(
    base: Base,
    strategy: FineTuning,
    n_labels: int,
    seed: int,
    n_members: int,
    device: str,
    settings: Settings | None = None,
) -> HopEnsembleConfig:
    """Settings of a fine-tuning, from the number of labels and what a search changed."""
    own = settings or Settings("full")
    effort = FROZEN_HOST if strategy.freezes_host else MOVING_HOST
    batches = max(1, -(-n_labels // BATCH_SIZE))
    epochs = max(1, int(own.effort * np.clip(effort.gradient_steps / batches, *effort.epochs)))
    return HopEnsembleConfig(
        network=replace(base.network, use_scalars=True),
        training=TrainingConfig(
            epochs=epochs,
            batch_size=BATCH_SIZE,
            learning_rate=own.learning_rate,
            weight_decay=own.weight_decay,
            seed=seed,
            device=device,
        ),
        n_members=n_members,
        strategy=strategy,
    )
