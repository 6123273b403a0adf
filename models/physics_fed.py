"""Barriers of hops that a universal potential has looked at: its energies as further inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.baseline import Arrays, Baseline, Floats
from models.calibration import Calibration
from models.domain import Domain
from models.gaussian_process import PathProcess, path_scalars
from models.prediction import Prediction
from models.transforms import LogShift
from models.trees import Forest
from structures.descriptors import hop_features
from structures.graph import PATH_SCALARS
from structures.hop_profile import profiled
from structures.records import Hop
from structures.splits import GroupedKFold

PROFILE = "potential_profile_eV"
"""Key of a hop's energies along its path while the host stands still, by a universal potential."""
HIGHEST_EV, LARGEST_DIFFERENCE_EV, LOWEST_EV = 6.0, 2.0, -1.0
"""Energies of an ion in a rigid host are cut here: beyond, they say that it is far, not how far."""
TARGET = LogShift(0.1)
N_TREES, MIN_LEAF, MAX_FEATURES = 120, 2, 0.3
N_FOLDS = 5


class PhysicsFed(Baseline):
    """A Gaussian process and trees on path, composition and a universal potential's energies.

    One energy near the saddle already ranks hops better than geometry does, though a host that
    does not give way makes it too high. The geometric mean of a process (path scalars and energies)
    and of extremely randomised trees (path, composition, energies) corrects it. A hop without
    energies is predicted by the same two on what is left.
    """

    kind: ClassVar[str] = "physics_fed"
    quantity: ClassVar[str] = "migration_barrier"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def interval(self, prediction: Prediction) -> tuple[Floats, Floats]:
        """Calibrated 90 % interval of what :meth:`predict` gave, eV."""
        return self.calibration_.interval(prediction, TARGET)

    def distance(self, records: Sequence[Hop]) -> Floats:
        """(n,) distance to the training hops in path and composition, 1 being the domain's edge."""
        return self.domain_.distance(Inputs.of(records).known)

    def in_domain(self, records: Sequence[Hop]) -> NDArray[np.bool_]:
        """(n,) True where ion and elements were seen, and path and composition are near."""
        seen = [elements_of(hop) <= self.domain_.elements for hop in records]
        near = self.distance(records) <= 1.0
        return super().in_domain(records) & near & np.array(seen, dtype=bool)

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        self.fit_inputs(Inputs.of(hops), TARGET.forward(barriers))
        elements = frozenset(symbol for hop in hops for symbol in elements_of(hop))
        self.domain_ = Domain.fit(self.inputs_.known, [hop.framework for hop in hops], elements)
        self.calibration_ = Calibration()
        groups = len({hop.framework for hop in hops})
        if groups < 2:
            return
        parts = [np.zeros(len(hops)) for _ in range(3)]
        for fold in GroupedKFold(min(N_FOLDS, groups)).split(hops):
            part = PhysicsFed(self.seed)
            part.fit_inputs(self.inputs_.rows(fold.train), self.target_[fold.train])
            found = part.predict_inputs(self.inputs_.rows(fold.test))
            for store, values in zip(
                parts, (found.mean, found.aleatoric_std, found.epistemic_std), strict=True
            ):
                store[fold.test] = values
        self.calibration_ = Calibration.fit(Prediction(*parts), barriers, TARGET, n_groups=groups)

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        return self.calibration_.calibrated(self.predict_inputs(Inputs.of(hops)))

    def fit_inputs(
        self, inputs: Inputs, target: Floats, theta: Mapping[bool, Floats] | None = None
    ) -> None:
        """Fit to (n,) targets in the space of TARGET, without calibration.

        Args:
            inputs: Of n hops.
            target: (n,) values.
            theta: Log hyperparameters of the processes without and with energies; None finds them.
        """
        self.inputs_, self.target_ = inputs, target
        self._experts: dict[bool, tuple[PathProcess, Forest]] = {}
        for fed in (False, True):
            index = np.flatnonzero(inputs.has_view) if fed else np.arange(len(target))
            if len(index) >= 2:
                x, y = inputs.rows(index), target[index]
                self._experts[fed] = (
                    PathProcess(x.for_process(fed), y, (theta or {}).get(fed)),
                    Forest.grown(x.for_trees(fed), y, N_TREES, MIN_LEAF, MAX_FEATURES, self.seed),
                )

    def predict_inputs(self, inputs: Inputs) -> Prediction:
        """Barriers, eV, with spreads that are not yet calibrated."""
        n = len(inputs.has_view)
        t, noise, doubt = np.zeros(n), np.zeros(n), np.zeros(n)
        for fed, (process, forest) in self._experts.items():
            only = True not in self._experts
            rows = np.arange(n) if only else np.flatnonzero(inputs.has_view == fed)
            if not len(rows):
                continue
            x = inputs.rows(rows)
            mean, spread = process.predict(x.for_process(fed))
            each = forest.predict(x.for_trees(fed)).mean(axis=0)
            t[rows] = 0.5 * (mean + each)
            noise[rows] = process.noise
            doubt[rows] = np.hypot(spread, 0.5 * (mean - each))
        barrier = TARGET.inverse(t)
        return Prediction(
            barrier, TARGET.inverse_std(barrier, noise), TARGET.inverse_std(barrier, doubt)
        )

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        inputs = self.inputs_
        arrays: dict[str, NDArray[Any]] = {
            "scalars": inputs.scalars,
            "features": inputs.features,
            "view": inputs.view,
            "target": self.target_,
        }
        domain = {k: v.astype(np.float32) for k, v in self.domain_.arrays().items()}
        thetas = {f"theta_{int(fed)}": p.theta for fed, (p, _) in self._experts.items()}
        calibration = {
            "factor": self.calibration_.factor,
            "level": self.calibration_.level,
            "n_rows": self.calibration_.n_rows,
        }
        return arrays | thetas | domain, {
            "seed": self.seed,
            "calibration": calibration,
            "threshold": self.domain_.threshold,
            "elements": sorted(self.domain_.elements),
        }

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls(settings["seed"])
        inputs = Inputs(arrays["scalars"], arrays["features"], arrays["view"])
        thetas = {
            k: arrays[f"theta_{int(k)}"] for k in (False, True) if f"theta_{int(k)}" in arrays
        }
        model.fit_inputs(inputs, arrays["target"], thetas)
        model.calibration_ = Calibration(**settings["calibration"])
        model.domain_ = Domain.of_arrays(
            arrays, float(settings["threshold"]), frozenset(settings["elements"])
        )
        return model


class Inputs:
    """What is known of n hops.

    Args:
        scalars: (n, len(PATH_SCALARS)) path scalars.
        features: (n, n_features) path and composition.
        view: (n, 5) what :func:`view_of` gives; NaN where there is none.
    """

    def __init__(self, scalars: Floats, features: Floats, view: Floats) -> None:
        self.scalars, self.features, self.view = scalars, features, view
        self.has_view = np.asarray(np.isfinite(view).all(axis=1))

    @classmethod
    def of(cls, hops: Sequence[Hop]) -> Inputs:
        """From the hops, all on their bond-valence paths, whatever path they came with."""
        view = np.array([view_of(hop) for hop in hops])
        return cls(path_scalars(hops), hop_features([profiled(hop) for hop in hops])[0], view)

    @property
    def known(self) -> Floats:
        """(n, n_columns) what is known without a potential, and differs among the labelled hops."""
        varied = [k for k, name in enumerate(PATH_SCALARS) if name != "bvse_missing"]
        return np.hstack([self.scalars[:, varied], self.features])

    def rows(self, index: NDArray[np.intp]) -> Inputs:
        """Some of them."""
        return Inputs(self.scalars[index], self.features[index], self.view[index])

    def for_process(self, fed: bool) -> Floats:
        """(n, n_columns) what the Gaussian process sees."""
        return np.hstack([self.scalars, self.view]) if fed else self.scalars

    def for_trees(self, fed: bool) -> Floats:
        """(n, n_columns) what the trees see."""
        return np.hstack([self.features, self.scalars, self.view]) if fed else self.features


def elements_of(hop: Hop) -> set[str]:
    """Elements of host and moving ion."""
    return {hop.working_ion, *(symbol for site in hop.host_species for symbol in site)}


def view_of(hop: Hop) -> Floats:
    """(5,) numbers of a hop's energy profile, the same for the hop and its reverse.

    Saddle above the mean of both ends (logarithm), difference of the ends, second highest energy
    (logarithm), lowest energy, share of the path above half of the saddle. NaN without a profile.
    """
    energies = np.asarray(hop.extra.get(PROFILE, ()), dtype=float)
    if len(energies) < 4 or not np.isfinite(energies).all():
        return np.full(5, np.nan)
    above = energies - 0.5 * (energies[0] + energies[-1])
    saddle = above.max()
    second = np.sort(above[1:-1])[-2]
    logarithm = np.log(np.clip([saddle, second], 0.0, HIGHEST_EV) + TARGET.shift_eV)
    return np.array(
        [
            logarithm[0],
            min(abs(energies[-1] - energies[0]), LARGEST_DIFFERENCE_EV),
            logarithm[1],
            max(above.min(), LOWEST_EV),
            float(np.mean(above > 0.5 * saddle)),
        ]
    )
