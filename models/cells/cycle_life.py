"""Cycle life of LFP cells from their first hundred cycles, learnt from few cells.

Severson et al., Nat. Energy 4, 383 (2019) found that log10 of the cycle life falls linearly with
log10 of the variance of dQ(V), the change of the discharge curve from cycle 10 to 100. Two numbers
of that line can be known before any cell is cycled to its end:

- dQ grows in proportion to how fast a cell ages and its variance with the square, while the life is
  one over the rate: slope -1/2 if all losses were linear in cycles. Simulated LFP cells, in which
  several mechanisms grow with different powers of time, have -0.43 (benchmarks/cycle_life.py); real
  ones turn out to have -0.40.
- Life ends at a fixed capacity, so that it is proportional to the reserve above it that a fresh
  cell has: slope 1 against log10 of the reserve.

They are the means of a prior; a handful of cells then has to find little more than an offset.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from ionbridge.models.checkpoint import Arrays
from ionbridge.models.estimator import Estimator
from ionbridge.models.prediction import Prediction
from ionbridge.structures.sources.cell_ageing import EarlyCycles

Floats = NDArray[np.float64]
Record = TypeVar("Record")

FAR = 4.0
"""A cell whose feature lies so many standard deviations off the training cells is out of domain."""


@dataclass(frozen=True)
class SlopePrior:
    """What is known of the slopes of log10 life before a target cell is seen.

    Attributes:
        variance_slope: Against log10 of the variance of dQ.
        variance_slope_std: One sigma of it; a million for no knowledge.
        reserve_slope: Against log10 of the capacity reserve.
        reserve_slope_std: One sigma of it; 0 leaves the reserve at its slope.
        source: Where the numbers come from.
    """

    variance_slope: float
    variance_slope_std: float
    reserve_slope: float
    reserve_slope_std: float
    source: str

    @property
    def mean(self) -> Floats:
        """(2,) prior mean of the slopes, by feature."""
        return np.array([self.variance_slope, self.reserve_slope])

    @property
    def precision(self) -> Floats:
        """(2,) one over the variance, by feature."""
        std = np.array([self.variance_slope_std, self.reserve_slope_std])
        found: Floats = 1.0 / np.maximum(std, 1e-6) ** 2
        return found


SCALING = SlopePrior(-0.5, 0.1, 1.0, 1.0, "scaling: life is the capacity reserve over a fade rate")
SIMULATED = SlopePrior(
    -0.427, 0.115, 1.0, 1.0, "24 simulated LFP cells; life goes with the capacity reserve"
)
ONE_FEATURE = SlopePrior(0.0, 1e6, 0.0, 0.0, "none: least squares on the variance of dQ alone")


class LifeLine(Estimator, Generic[Record]):
    """Bayesian line for log10 of the cycle life, on features that its subclasses read.

    The offset is free, the slopes have a normal prior, the noise an inverse-gamma one worth
    ``noise_cells`` cells; predictions follow Student's t.

    Attributes:
        noise_dex: Expected scatter of log10 life about the line.
        noise_cells: How many cells that expectation is worth.
    """

    quantity = "cycle_life"
    feature_names: ClassVar[tuple[str, ...]]
    noise_dex: float
    noise_cells: float

    numbers: ClassVar[tuple[str, ...]] = ()
    """Further numbers that fitting finds."""

    @abstractmethod
    def features(self, records: Sequence[Record]) -> Floats:
        """(n, n_features) numbers of the cells that the line is drawn through."""

    @property
    @abstractmethod
    def slopes(self) -> tuple[Floats, Floats]:
        """(n_features,) means of the slopes' prior and one over its variances."""

    def trouble(self, record: Record) -> str:
        """Why a cell has no life to be predicted; empty where it has one."""
        return ""

    def fit(self, records: Sequence[Record], labels: Sequence[float]) -> Self:
        """Learn from cells that lived to their end.

        Args:
            records: (n,) at least two cells.
            labels: (n,) cycle lives.

        Raises:
            ValueError: Fewer than two cells, numbers that differ, or a life that is not positive.
        """
        life = np.asarray(labels, dtype=float)
        if life.shape != (len(records),) or len(records) < 2:
            raise ValueError(f"expected 2 or more cells with a life each, got {len(records)} cells")
        if not (np.isfinite(life).all() and (life > 0).all()):
            raise ValueError("cycle lives must be positive numbers")
        self.card_ = {}
        x, y = self.features(records), np.log10(life)
        self.centre_, self.width_ = x.mean(axis=0), x.std(axis=0)
        n = len(y)
        rows = np.c_[np.ones(n), x - self.centre_]
        prior_mean, prior_precision = self.slopes
        mean = np.r_[0.0, prior_mean]
        # slopes' spreads are stated in units of the expected noise, as conjugacy wants
        precision = np.diag(np.r_[0.0, prior_precision]) * self.noise_dex**2
        self.information_ = rows.T @ rows + precision
        self.weights_ = np.linalg.solve(self.information_, rows.T @ y + precision @ mean)
        gap = self.weights_ - mean
        squares = float(np.sum((y - rows @ self.weights_) ** 2) + gap @ precision @ gap)
        self.freedom_ = n - 1 + self.noise_cells
        expected = self.noise_cells * self.noise_dex**2
        self.noise_ = float(np.sqrt((squares + expected) / self.freedom_))
        return self

    def predict(self, records: Sequence[Record]) -> Prediction:
        """Log10 of the cycle life of cells; aleatoric is the scatter about the line."""
        self._check_fitted()
        x = self.features(records) - self.centre_
        rows = np.c_[np.ones(len(x)), x]
        leverage = np.einsum("ij,ij->i", rows @ np.linalg.inv(self.information_), rows)
        wide = np.sqrt(self.freedom_ / (self.freedom_ - 2)) if self.freedom_ > 2 else 2.0
        noise = self.noise_ * wide
        return Prediction(
            rows @ self.weights_, np.full(len(rows), noise), noise * np.sqrt(leverage)
        )

    def lives(self, records: Sequence[Record], level: float = 0.9) -> tuple[Floats, ...]:
        """Median, lower and upper end of the cycle life, (n,) cycles each, within 1 and 10^9.

        Args:
            records: Cells.
            level: Of the interval.
        """
        prediction = self.predict(records)
        wide = np.sqrt(self.freedom_ / (self.freedom_ - 2)) if self.freedom_ > 2 else 2.0
        half = student.ppf((1 + level) / 2, self.freedom_) * prediction.std / wide
        ends = (prediction.mean - half, prediction.mean + half)
        return tuple(10 ** np.clip(x, 0.0, 9.0) for x in (prediction.mean, *ends))

    def in_domain(self, records: Sequence[Record]) -> NDArray[np.bool_]:
        """(n,) True where the features are like those of the training cells."""
        return np.array([not why for why in self.far_features(records)], dtype=bool)

    def far_features(self, records: Sequence[Record]) -> list[str]:
        """Which features are unlike those of the training cells, in words; empty where none is."""
        self._check_fitted()
        rows = self.features(records)
        low, high = (self.centre_ + s * (FAR * self.width_ + 1e-9) for s in (-1.0, 1.0))
        return [
            "; ".join(
                f"{name} is {value:.3g}, the training cells' lie in {a:.3g} to {b:.3g}"
                for name, value, a, b in zip(self.feature_names, row, low, high, strict=True)
                if not a <= value <= b
            )
            for row in rows
        ]

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        numbers = {n: getattr(self, n) for n in (*self.numbers, "freedom_", "noise_")}
        arrays = {n: getattr(self, n) for n in ("centre_", "width_", "information_", "weights_")}
        return arrays, {"settings": self._settings(), "fitted": numbers}

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        model = cls._of_settings(dict(config["settings"]))
        numbers = {name: float(value) for name, value in config["fitted"].items()}
        for name, value in {**arrays, **numbers}.items():
            if not name.endswith("_") or name.startswith("_"):
                raise ValueError(f"{name[:60]!r} is nothing that fitting finds")
            setattr(model, name, value)
        return model

    @classmethod
    def _of_settings(cls, settings: dict[str, Any]) -> Self:
        """An unfitted model with the settings that a folder states."""
        return cls(**settings)


@dataclass
class CycleLife(LifeLine[EarlyCycles]):
    """The line on two features of the first hundred cycles.

    Attributes:
        prior: Of the slopes; `ONE_FEATURE` gives the published model.
        end_of_life_Ah: Capacity at which a life ends, 80 % of the nominal 1.1 Ah.
        noise_dex: Expected scatter of log10 life about the line.
        noise_cells: How many cells that expectation is worth.
    """

    prior: SlopePrior = SIMULATED
    end_of_life_Ah: float = 0.88
    noise_dex: float = 0.08
    noise_cells: float = 3.0

    kind: ClassVar[str] = "cycle_life"
    inputs: ClassVar[str] = "early_cycles"
    feature_names: ClassVar[tuple[str, ...]] = ("log10_var_dQ", "log10_reserve")
    numbers: ClassVar[tuple[str, ...]] = ("usual_reserve_",)

    @classmethod
    def _of_settings(cls, settings: dict[str, Any]) -> Self:
        return cls(SlopePrior(**settings.pop("prior")), **settings)

    @property
    def slopes(self) -> tuple[Floats, Floats]:
        """Prior of the slopes by feature, see `LifeLine`."""
        return self.prior.mean, self.prior.precision

    def fit(self, records: Sequence[EarlyCycles], labels: Sequence[float]) -> Self:
        """See `LifeLine`; an unknown reserve counts as the mean of the known ones."""
        reserves = np.array([self._reserve(r) for r in records])
        self.usual_reserve_ = float(np.nanmean(reserves)) if np.isfinite(reserves).any() else -0.75
        return super().fit(records, labels)

    def trouble(self, record: EarlyCycles) -> str:
        """Why a cell has no life to be predicted; empty where it has one."""
        capacity = record.qmax_cycle2_Ah
        if capacity is None or capacity > self.end_of_life_Ah:
            return ""
        return (
            f"qmax_cycle2_Ah is {capacity:g}, at or below the {self.end_of_life_Ah:g} Ah at which "
            "a life ends"
        )

    def _reserve(self, record: EarlyCycles) -> float:
        """Log10 of the capacity above the end of life, Ah; not a number where unknown."""
        if record.qmax_cycle2_Ah is None or record.qmax_cycle2_Ah <= self.end_of_life_Ah:
            return float("nan")
        return float(np.log10(record.qmax_cycle2_Ah - self.end_of_life_Ah))

    def features(self, records: Sequence[EarlyCycles]) -> Floats:
        """(n, 2); an unknown reserve counts as that of the training cells."""
        reserve = np.array([self._reserve(r) for r in records])
        reserve = np.where(np.isfinite(reserve), reserve, self.usual_reserve_)
        found: Floats = np.c_[[r.log10_var_dQ_100_10 for r in records], reserve]
        return found
