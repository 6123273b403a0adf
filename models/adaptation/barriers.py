"""From labels to a calibrated, documented model: fine-tuning as one call.

``adapt`` fits an ensemble from a pretrained base by one strategy, or by the one that grouped
cross-validation on the labels themselves finds best (``auto``), the simple baselines among the
candidates. Out-of-fold errors calibrate the intervals and go into the card.

Labels may be of several methods (``Hop.method``: DFT bands, bands of a universal potential, ...).
They are not pooled: the model gives the values of one method, by default the most trusted, and only
its labels are fitted and scored. Labels of other methods, and those that the base keeps, stand
beside them in the Gaussian process as the asked method would have given them
(:mod:`ionbridge.models.adaptation.multi_fidelity`); networks and trees themselves do not see them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ionbridge.models import library
from ionbridge.models.adaptation.multi_fidelity import Footing, Rows
from ionbridge.models.adaptation.tuning import Settings, tune
from ionbridge.models.barriers.hop_barrier import TARGET as FED_TARGET
from ionbridge.models.barriers.hop_barrier import HopBarrierModel
from ionbridge.models.calibration import ENOUGH_GROUPS, Calibration
from ionbridge.models.cross_validation import choose, cross_val_predict, grouped_folds
from ionbridge.models.hop_networks.encoder import HopEncoder
from ionbridge.models.hop_networks.ensemble import HopEnsemble, HopEnsembleConfig
from ionbridge.models.hop_networks.finetuning import STRATEGIES, FromScratch, Strategy
from ionbridge.models.hop_networks.network import HopNetworkConfig
from ionbridge.models.hop_networks.training import TrainingConfig
from ionbridge.models.metrics import interval_coverage, mae, spearman
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
from ionbridge.structures.records import Hop

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

AUTO_CANDIDATES = (
    FamilyIonMean.kind,
    GaussianProcessBaseline.kind,
    ExtraTreesBaseline.kind,
    HopBarrierModel.kind,
    "frozen",
    "full",
    "scratch",
)
"""What ``auto`` compares: what needs no network, what reads pretrained networks' energies, tuned
networks, and no transfer."""

SIMPLE = frozenset((*BASELINES, HopBarrierModel.kind))
"""Those of which no network is tuned."""


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


class _TimeIsUpError(Exception):
    """A comparison has taken too long."""


def adapt(
    hops: Sequence[Hop],
    barrier_eV: NDArray[np.float64],
    base: Base,
    strategy: str = "auto",
    *,
    method: str | None = None,
    seed: int = 0,
    n_members: int = 5,
    n_folds: int = 5,
    device: str = "auto",
    trials: int = 0,
    study: Path | None = None,
    limit_s: float | None = None,
    progress: bool = False,
) -> Any:
    """Fit a model to labelled hops and calibrate it by grouped cross-validation.

    Args:
        hops: (n,) labelled hops.
        barrier_eV: (n,) forward barriers.
        base: Pretrained networks.
        strategy: A name of :data:`ionbridge.models.hop_networks.finetuning.STRATEGIES`,
            ``physics_fed`` (labels joined with those of the base), or ``auto``.
        method: Whose values the model gives, where labels are of several methods; None takes the
            most trusted.
        seed: Of everything drawn.
        n_members: Networks in the ensemble.
        n_folds: Of the cross-validation; fewer where there are fewer host frameworks.
        device: ``auto``, ``cpu`` or ``cuda``.
        trials: Settings that are tried in a search (:mod:`ionbridge.models.adaptation.tuning`); 0
            for the defaults.
        study: Journal of the search, with which it goes on.
        limit_s: Most seconds for the comparison of ``auto``; candidates that are not done by then
            are left out, and the card names them.
        progress: Show progress bars.

    Returns:
        A fitted model with ``predict``, ``interval``, ``in_domain``, ``save``; what was compared
        and how well the chosen one does out of fold stands in its ``card_``; ``validated_`` holds
        each hop with its out-of-fold barrier and its label, eV.

    Raises:
        ValueError: Unknown strategy, too few labels, none of the method asked for, or a search
            that cannot be made.
    """
    known = ("auto", HopBarrierModel.kind, *STRATEGIES)
    if strategy not in known:
        raise ValueError(f"unknown strategy {strategy!r}; known: {', '.join(known)}")
    base = base.without(hops)
    footing = Footing.of(hops, barrier_eV, base.process, base.method, method)
    hops, barrier_eV = footing.hops, footing.barrier_eV
    if len(hops) < 2:
        of = f" of method {footing.method}" if footing.counts else ""
        raise ValueError(f"{len(hops)} labelled hop(s){of}; at least 2 are needed to fit a model")
    folds, split = folds_of(hops, n_folds)

    def placed(train: Rows, test: Rows) -> Base:
        process = footing.known(train, test)
        moves = footing.method != footing.base_method
        return base.on_footing(process) if moves else replace(base, process=process)

    bases = [placed(fold.train, fold.test) for fold in folds]

    def maker(with_: Settings, b: Base, n_labels: int, n_members: int) -> Callable[[], Any]:
        return _maker(with_, b, n_labels, seed, n_members, device)

    def validated(with_: Settings, n_members: int, until: float | None = None) -> Prediction:
        parts = []
        for b, fold in zip(bases, folds, strict=True):
            if until is not None and time.monotonic() > until:
                raise _TimeIsUpError
            make = maker(with_, b, len(hops), n_members)
            parts.append(cross_val_predict(make, hops, barrier_eV, [fold]))
        fields = ("mean", "aleatoric_std", "epistemic_std")
        return Prediction(*(np.sum([getattr(p, f) for p in parts], axis=0) for f in fields))

    def best_of(compared: Mapping[str, float]) -> str:
        few = len({hop.framework for hop in hops}) < ENOUGH_GROUPS
        stands = HopBarrierModel.kind if few and base.fed is not None else None
        return choose(compared, SIMPLE, stands)

    def fitted_to(with_: Settings, train: Rows, test: Rows) -> NDArray[np.float64]:
        model = maker(with_, placed(train, test), len(train), 1)()
        model.fit([hops[i] for i in train], barrier_eV[train])
        predicted: Prediction = model.predict([hops[i] for i in test])
        return predicted.mean

    ends = None if limit_s is None else time.monotonic() + limit_s
    compared: dict[str, float] = {}
    left_out: list[str] = []
    candidates = AUTO_CANDIDATES if strategy == "auto" else (strategy,)
    tuning = None
    if trials:
        if study is None:
            raise ValueError("a search needs a study file")
        tuning = tune(
            hops, barrier_eV, fitted_to, candidates, best_of,
            n_trials=trials, study=study, seed=seed, progress=progress,
        )  # fmt: skip
        settings = tuning.settings
    else:
        if strategy == "auto":
            for name in tqdm(candidates, desc="compare", disable=not progress):
                until = None if name in SIMPLE else ends
                try:
                    found = validated(Settings(name), n_members=1, until=until)
                except _TimeIsUpError:
                    left_out.append(name)
                    continue
                compared[name] = mae(barrier_eV, found.mean)
        settings = Settings(best_of(compared) if compared else strategy)
    validation = validated(settings, min(n_members, VALIDATION_MEMBERS))
    every, none = np.arange(len(hops)), np.arange(0)
    start = placed(every, none)
    model = maker(settings, start, len(hops), n_members)()
    _fit(model, hops, barrier_eV, progress)
    card = _card(settings.strategy, base, footing, compared, seed)
    if left_out:
        card["not_compared"] = dict.fromkeys(left_out, f"not done in {limit_s:g} s")
    if tuning is not None:
        card["tuning"] = tuning.report
    if isinstance(model, HopEnsemble | HopBarrierModel):
        target = FED_TARGET if isinstance(model, HopBarrierModel) else model.config.target
        n_groups = len({hop.framework for hop in hops})
        model.calibration_ = Calibration.fit(
            validation, barrier_eV, target, n_groups=n_groups, source=base.calibration
        )
        validation = model.calibration_.calibrated(validation)
    lower, upper = model.interval(validation)
    card["validation"] = {
        "split": split,
        "n": len(hops),
        "mae_eV": round(mae(barrier_eV, validation.mean), 4),
        "spearman": round(spearman(barrier_eV, validation.mean), 4) if len(hops) > 2 else None,
        "interval_coverage_90": round(interval_coverage(barrier_eV, lower, upper), 3),
    }
    model.card_ = card
    model.validated_ = [
        (hop, float(mean), float(label))
        for hop, mean, label in zip(hops, validation.mean, barrier_eV, strict=True)
    ]
    return model


def folds_of(hops: Sequence[Hop], n_folds: int) -> tuple[list[Split], str]:
    """Folds of a cross-validation, and in words what they keep apart.

    Hops of one host framework stay together. Where all hops share one framework nothing can be
    learnt about others; the folds are then single hops, and what is measured is how well the model
    fills in hops of this framework.
    """
    n_frameworks = len({hop.framework for hop in hops})
    if n_frameworks > 1:
        folds = grouped_folds(hops, None, n_folds)
        return folds, f"grouped by host framework, {len(folds)} folds"
    folds = list(RandomKFold(min(n_folds, len(hops))).split(hops))
    return folds, f"hops of the only host framework, {len(folds)} random folds"


def ensemble_config(
    base: Base,
    strategy: Strategy,
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


def _maker(
    settings: Settings, base: Base, n_labels: int, seed: int, n_members: int, device: str
) -> Callable[[], Any]:
    name = settings.strategy
    if name == ExtraTreesBaseline.kind:
        return lambda: ExtraTreesBaseline(
            min_leaf=settings.min_leaf, max_features=settings.max_features
        )
    if name == GaussianProcessBaseline.kind:
        return lambda: GaussianProcessBaseline(LogShift().shift_eV, base.process)
    if name in BASELINES:
        return BASELINES[name]
    if name == HopBarrierModel.kind:
        reads = base.fed is None or base.fed.reads_energies
        return lambda: HopBarrierModel(seed, reads, known=base.fed, n_folds=0)
    strategy: Strategy = STRATEGIES[name]()
    config = ensemble_config(base, strategy, n_labels, seed, n_members, device, settings)
    if isinstance(strategy, FromScratch):
        return lambda: HopEnsemble(config)
    return lambda: HopEnsemble(config, base.weights, base.process)


def _fit(model: Any, hops: Sequence[Hop], barrier_eV: NDArray[np.float64], progress: bool) -> None:
    if isinstance(model, HopEnsemble):
        model.fit(hops, barrier_eV, progress="fine-tune" if progress else None)
    else:
        model.fit(hops, barrier_eV)


def _card(
    chosen: str, base: Base, footing: Footing, compared: Mapping[str, float], seed: int
) -> dict[str, Any]:
    hops = footing.hops
    families = sorted({canonical_family(hop.family) for hop in hops if hop.family})
    card: dict[str, Any] = {
        "predicts": "migration barrier of a hop, eV",
        "quantity": "migration_barrier",
        "inputs": ["hop"],
        "working_ions": sorted({hop.working_ion for hop in hops}),
        "families": families,
        "trained_on": {
            "n_hops": len(hops),
            "n_frameworks": len({hop.framework for hop in hops}),
            "base_systems": sorted({hop.framework for hop in hops}),
            "methods": sorted({hop.method for hop in hops if hop.method}),
            **({"n_hops_of_other_methods": footing.counts} if footing.counts else {}),
        },
        "base": base.name,
        "strategy": chosen,
        "seed": seed,
        "licence": "MIT",
    }
    if compared:
        card["compared_mae_eV"] = {name: round(value, 4) for name, value in compared.items()}
    return card
