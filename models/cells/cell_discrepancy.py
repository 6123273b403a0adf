"""What a cell model lacks against experiment, learnt on measured cells and carried to another.

A cell's discharge at another rate is its measured slow curve less a polarisation, at equal parts of
what each gives. A model knows the polarisation and the capacity; measured cells leave it in ways
that they share. The discrepancy is a Gaussian process over the part of the charge and the rate, in
proportion to the polarisation and to the rate, and one number for the capacity. Cells of one
negative electrode and one class of cathodes share part of it. So the measured cells are the prior
of a new one, and its own curves its labels (intrinsic coregionalisation: Bonilla, Chai and
Williams, NIPS 20 (2007)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from ionbridge.models.checkpoint import Arrays
from ionbridge.models.estimator import Estimator
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

PARTS = np.concatenate(
    [
        [5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 0.01, 0.015],
        np.linspace(0.02, 0.96, 48),
        [0.97, 0.98, 0.99, 0.995, 1.0],
    ]
)
"""Of a discharge's own capacity, at which curves are compared."""
BENT, START, END = 0.06, 4e-3, 1e-2
"""How much finer beginning and end of a discharge are seen, and from which parts on."""
PLACES = PARTS + BENT * (np.log(PARTS + START) - np.log(1.0 + END - PARTS))
TAPER = 0.03
"""Last part of a discharge, in which what is lacking goes: every one ends at the cut-off."""
LATE = 0.95
"""Part of a discharge from which on it falls: no cell warms up so late that its voltage rises."""
BEYOND = np.array([1.01, 1.3])
"""Where a curve is followed on below the cut-off."""
LEAST_SLOPE_V = 1.0
"""With which it is, V for the whole charge, at least."""
UNENDED_V = 0.1
"""A measured curve that ends so far above the cut-off does not tell its capacity."""
CHARGE_NOISE = 1e-3
CAPACITY_SCATTER = 2e-3
"""Of one cell's capacity from discharge to discharge, parts of it."""
N_SAMPLES = 300
LEVEL = 0.9


@dataclass(frozen=True)
class Kind:
    """What a cell shares with others.

    Attributes:
        cell: Its name; curves of one name are of one cell.
        negative: Material of the negative electrode.
        cathode_class: ``layered``, ``olivine``, ``polyanion``, ``spinel`` or a name of its own.
    """

    cell: str
    negative: str
    cathode_class: str

    @property
    def like(self) -> str:
        """What cells have in common whose models lack something alike."""
        return f"{self.cathode_class} | {self.negative}"

    @property
    def is_olivine(self) -> bool:
        """Whether the cathode is one, whatever set stands in."""
        return self.cathode_class.split(",")[0] == "olivine"


@dataclass(frozen=True, eq=False)
class RatedCurve:
    """A predicted discharge beside the cell's slow one; (n,) arrays at PARTS.

    Attributes:
        kind: Of its cell.
        rate: Current over the charge of the slow curve, 1/h.
        slow_rate: That of the slow curve itself.
        slow_V: The slow curve, V.
        polarisation_V: What the predicted discharge lies below it, V.
        capacity: Predicted charge over that of the slow curve.
    """

    kind: Kind
    rate: float
    slow_rate: float
    slow_V: Floats
    polarisation_V: Floats
    capacity: float

    def corrected(self, lacking: Floats, lower_V: float) -> tuple[Floats, Floats]:
        """Share (charge over that of the slow curve) and voltage, ascending and past the end.

        Where what is lacking goes (TAPER) a curve never rises again: its lowest voltage holds.

        Args:
            lacking: (n + 1,) as ``discrepancy`` gives it.
            lower_V: Where discharges end.
        """
        volts = self.slow_V - self.polarisation_V - lacking[:-1]
        volts[-1] = min(volts[-1], lower_V)
        volts[PARTS >= LATE] = np.minimum.accumulate(volts[PARTS >= LATE])
        slope = max((volts[-3] - volts[-1]) / (PARTS[-1] - PARTS[-3]), LEAST_SLOPE_V)
        beyond = volts[-1] - slope * (BEYOND - PARTS[-1])
        share = np.concatenate([PARTS, BEYOND]) * self.capacity * np.exp(lacking[-1])
        return share, np.concatenate([volts, beyond])


def discrepancy(curve: RatedCurve, share: Floats, voltage_V: Floats, lower_V: float) -> Floats:
    """What a prediction lacks of a measured curve; NaN where it says nothing.

    Args:
        curve: Predicted.
        share: (k,) measured charge over that of the slow curve, ascending.
        voltage_V: (k,).
        lower_V: Where discharges end.

    Returns:
        (n + 1,) polarisation at PARTS, V, and ln of the capacity.
    """
    ended = bool(voltage_V[-1] < lower_V + UNENDED_V)
    capacity = float(share[-1]) if ended else curve.capacity
    at = PARTS * capacity
    lacking = curve.slow_V - np.interp(at, share, voltage_V) - curve.polarisation_V
    lacking[at > share[-1] * (1.0 + 1e-9)] = np.nan
    return np.append(lacking, np.log(capacity / curve.capacity) if ended else np.nan)


BEGINNING_S = (2.0, 60.0)
"""Seconds after the current is switched on, in which a cell's resistance is one at all currents."""
LEAST_DROP = 0.4
"""Of what a model drops by in that time: a curve that falls less did not begin at rest."""


def beginning(
    curve: RatedCurve, share: Floats, voltage_V: Floats, rest_V: float | None = None
) -> Floats:
    """What a prediction lacks in its first minute, from the first minute of the slow curve.

    Measured cells polarise there in proportion to the current (three rates of two layered cells
    within 5 %), so that the slow curve tells the resistance after the same time.

    Args:
        curve: Predicted.
        share: (k,) of the slow curve's charge, ascending from 0.
        voltage_V: (k,).
        rest_V: Before the current was switched on; None for the first of the voltages.

    Returns:
        (n + 1,) as ``discrepancy`` gives it; NaN all over where the slow curve does not tell.
    """
    lacking = np.full(len(PARTS) + 1, np.nan)
    faster = curve.rate / curve.slow_rate
    seconds = PARTS * curve.capacity / curve.rate * SECONDS_PER_HOUR
    early = np.flatnonzero((seconds >= BEGINNING_S[0]) & (seconds <= BEGINNING_S[1]))
    first = share[1] / curve.slow_rate * SECONDS_PER_HOUR if len(share) > 1 else np.inf
    # discharges of olivines begin with the end of one phase: their equilibrium falls there
    if curve.kind.is_olivine or first > BEGINNING_S[1] or not len(early):
        return lacking
    at = PARTS[early] * curve.capacity / faster
    rest = voltage_V[0] if rest_V is None else rest_V
    drop = (rest - np.interp(at, share, voltage_V)) * faster
    modelled = rest - curve.slow_V[early] + curve.polarisation_V[early]
    if (drop >= LEAST_DROP * modelled).all():
        lacking[early] = drop - modelled
    return lacking


@dataclass(frozen=True)
class Widths:
    """Hyperparameters.

    Attributes:
        polarisation: Of what is lacking, over the predicted polarisation.
        rate_V: The same for a rate of 1/h above the slow one, V.
        long: Part of the charge over which it changes.
        short: The same of a second, finer part.
        fine: How much of the first's variance the second has.
        log_rate: Over which it changes with ln of the rate.
        capacity: Of ln of the capacity, for a rate of 1/h above the slow one.
        shared: Odds of the variance that cells of one negative electrode and one class of
            cathodes share.
        noise_V: Of curves.
    """

    polarisation: float = 0.2
    rate_V: float = 0.03
    long: float = 0.3
    short: float = 0.08
    fine: float = 0.3
    log_rate: float = 2.0
    capacity: float = 0.02
    shared: float = 2.0
    noise_V: float = 0.002


@dataclass(frozen=True, eq=False)
class DiscrepancyCurve:
    """A predicted discharge corrected, with 90 % intervals of model against experiment.

    Attributes:
        share: (m,) charge over that of the slow curve.
        voltage_V: (m,).
        lower_V: (m,).
        upper_V: (m,).
        capacity: Share at which the lower voltage is reached.
        capacity_std: Its standard deviation.
        capacity_lower: Lower end of the interval.
        capacity_upper: Upper end.
        energy_std_V: Standard deviation of the integral of the voltage over the share.
        supported: Whether a cell with such a cathode or the cell itself was measured faster.
    """

    share: Floats
    voltage_V: Floats
    lower_V: Floats
    upper_V: Floats
    capacity: float
    capacity_std: float
    capacity_lower: float
    capacity_upper: float
    energy_std_V: float
    supported: bool


class CellDiscrepancy(Estimator):
    """Gaussian process over what predictions lack, shared by like cells.

    Args:
        widths: Hyperparameters.
        carried_factor: By which spreads are scaled where other cells alone speak, so that
            intervals hold on cells left out.
        own_factor: The same where the cell's own curves speak, too.
    """

    kind = "cell-discrepancy"
    quantity = "cell_voltage"

    def __init__(
        self,
        widths: Widths | None = None,
        carried_factor: float = 0.5,
        own_factor: float = 1.4,
    ) -> None:
        self.widths = widths or Widths()
        self.carried_factor, self.own_factor = carried_factor, own_factor

    def fit(self, records: Sequence[RatedCurve], labels: Sequence[Floats]) -> Self:
        """Learn what predictions lack.

        Args:
            records: Predicted curves, each faster than its cell's slow curve.
            labels: What they lack (see ``discrepancy``); NaN where nothing is known.
        """
        self.card_ = {}
        self.records_ = tuple(records)
        self.labels_ = tuple(np.asarray(y, dtype=float) for y in labels)
        return self

    def without(self, cell: str) -> CellDiscrepancy:
        """Fitted anew without the curves of one cell."""
        return self._only(lambda kind: kind.cell != cell)

    def unlike(self, kind: Kind) -> CellDiscrepancy:
        """Fitted anew without the curves of a cell and of those like it."""
        return self._only(lambda other: other.cell != kind.cell and other.like != kind.like)

    def _only(self, wanted: Callable[[Kind], bool]) -> CellDiscrepancy:
        kept = [i for i, r in enumerate(self.records_) if wanted(r.kind)]
        return CellDiscrepancy(self.widths, self.carried_factor, self.own_factor).fit(
            [self.records_[i] for i in kept], [self.labels_[i] for i in kept]
        )

    def predict(
        self,
        record: RatedCurve,
        own: Sequence[tuple[RatedCurve, Floats]] = (),
        begun: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Mean (n + 1,) and covariance of what a predicted curve lacks.

        Args:
            record: The curve.
            own: Curves of the same cell that were measured, and what their predictions lack.
            begun: What is known of the curve itself (see ``beginning``), (n + 1,), NaN elsewhere;
                not used beside ``own``, which says more.
        """
        self._check_fitted()
        target = _rows([record])
        if begun is not None and np.isfinite(begun).any() and not own:
            own = [(record, begun)]
        records = [*self.records_, *(r for r, _ in own)]
        labels = [*self.labels_, *(y for _, y in own)]
        prior = _kernel(target, target, self.widths)
        if not records:
            return np.zeros(len(prior)), prior
        y = np.concatenate(list(labels))
        known = np.isfinite(y)
        rows = _rows(records).take(known)
        matrix = _kernel(rows, rows, self.widths) + np.diag(rows.noise(self.widths.noise_V))
        factor = cholesky(matrix, lower=True), True
        between = _kernel(target, rows, self.widths)
        mean = between @ cho_solve(factor, y[known])
        return mean, prior - between @ cho_solve(factor, between.T)

    def correct(
        self,
        record: RatedCurve,
        lower_V: float,
        share: Floats,
        own: Sequence[tuple[RatedCurve, Floats]] = (),
        begun: Floats | None = None,
        noise_V: float = 0.0,
        spread: float = 1.0,
        seed: int = 0,
    ) -> DiscrepancyCurve:
        """A predicted curve corrected, with its intervals by sampling.

        Args:
            record: The curve.
            lower_V: Where discharges end.
            share: (m,) at which it is wanted.
            own: As for ``predict``.
            begun: Likewise.
            noise_V: Of the cell's own measurement, where it is more than usual.
            spread: Factor to the standard deviation.
            seed: Of the samples.
        """
        mean, covariance = self.predict(record, own, begun)
        floor = _rows([record]).noise(max(noise_V, self.widths.noise_V))
        floor[-1] = CAPACITY_SCATTER**2
        alike = any(r.kind.like == record.kind.like for r in self.records_)
        factor = self.own_factor if own else self.carried_factor if alike else 1.0
        factor *= spread
        values, vectors = np.linalg.eigh(factor**2 * covariance + np.diag(floor))
        draws = np.random.default_rng(seed).standard_normal((N_SAMPLES, len(mean)))
        samples = mean + draws * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
        volts, energies = [], []
        for one in samples:
            moved = record.corrected(one, lower_V)
            volts.append(np.interp(share, *moved))
            upto = np.linspace(0.0, record.capacity * np.exp(one[-1]), 101)
            energies.append(float(np.trapezoid(np.interp(upto, *moved), upto)))
        tails = (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)
        low, high = np.quantile(volts, tails, axis=0)
        ends = record.capacity * np.exp(samples[:, -1])
        own_low, own_high = np.quantile(ends, tails)
        centre = np.interp(share, *record.corrected(mean, lower_V))
        end = float(record.capacity * np.exp(mean[-1]))
        return DiscrepancyCurve(
            share=share,
            voltage_V=centre,
            lower_V=np.minimum(low, centre),
            upper_V=np.maximum(high, centre),
            capacity=end,
            capacity_std=float(np.std(ends)),
            capacity_lower=min(float(own_low), end),
            capacity_upper=max(float(own_high), end),
            energy_std_V=float(np.std(energies)),
            supported=bool(own) or alike,
        )

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        arrays = {k: np.stack([getattr(r, k) for r in self.records_]) for k in _CURVES}
        return {**arrays, "lacking": np.stack(self.labels_)}, {
            "factors": {"carried": self.carried_factor, "own": self.own_factor},
            "widths": asdict(self.widths),
            "curves": [
                {
                    "rate": r.rate,
                    "slow_rate": r.slow_rate,
                    "capacity": r.capacity,
                    **asdict(r.kind),
                }
                for r in self.records_
            ],
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        factors = config["factors"]
        model = cls(
            Widths(**config["widths"]),
            carried_factor=factors["carried"],
            own_factor=factors["own"],
        )
        model.records_ = tuple(
            RatedCurve(
                Kind(curve["cell"], curve["negative"], curve["cathode_class"]),
                curve["rate"],
                curve["slow_rate"],
                **{k: arrays[k][i] for k in _CURVES},
                capacity=curve["capacity"],
            )
            for i, curve in enumerate(config["curves"])
        )
        model.labels_ = tuple(arrays["lacking"])
        return model


_CURVES = ("slow_V", "polarisation_V")


@dataclass(frozen=True, eq=False)
class _Rows:
    """Polarisations and capacities of several curves, (n,) each.

    What does not apply is 0: polarisation and rate of a capacity, capacity of a polarisation.
    """

    place: Floats
    polarisation: Floats
    rate: Floats
    capacity: Floats
    log_rate: Floats
    slope_V: Floats
    cell: NDArray[Any]
    like: NDArray[Any]

    def take(self, kept: NDArray[np.bool_]) -> _Rows:
        return replace(self, **{k: getattr(self, k)[kept] for k in self.__dataclass_fields__})

    def noise(self, noise_V: float) -> Floats:
        """Variance of what was measured."""
        volts = noise_V**2 + (CHARGE_NOISE * self.slope_V) ** 2
        return np.where(self.capacity == 0.0, volts, CHARGE_NOISE**2)


def _rows(records: Sequence[RatedCurve]) -> _Rows:
    def each(of_parts: Any, of_capacity: Any) -> NDArray[Any]:
        """From what a record's polarisations have, and its capacity."""
        return np.concatenate(
            [np.append(of_parts(r) + np.zeros(len(PARTS)), of_capacity(r)) for r in records]
        )

    def named(name: Callable[[Kind], str]) -> NDArray[Any]:
        return np.concatenate([np.full(len(PARTS) + 1, name(r.kind)) for r in records])

    taper = np.minimum((1.0 - PARTS) / TAPER, 1.0)
    return _Rows(
        place=each(lambda r: PLACES, lambda r: 0.0),
        polarisation=each(lambda r: r.polarisation_V * taper, lambda r: 0.0),
        rate=each(lambda r: (r.rate - r.slow_rate) * taper, lambda r: 0.0),
        capacity=each(lambda r: 0.0, lambda r: r.rate - r.slow_rate),
        log_rate=each(lambda r: np.log(r.rate), lambda r: 0.0),
        slope_V=each(lambda r: np.gradient(r.slow_V - r.polarisation_V, PARTS), lambda r: 0.0),
        cell=named(lambda kind: kind.cell),
        like=named(lambda kind: kind.like),
    )


def _kernel(a: _Rows, b: _Rows, widths: Widths) -> Floats:
    """(n_a, n_b) covariance of what is lacking."""
    cell = a.cell[:, None] == b.cell[None, :]
    like = a.like[:, None] == b.like[None, :]
    shared = (widths.shared * like + 1.0 * cell) / (1.0 + widths.shared)
    apart = a.place[:, None] - b.place[None, :]
    along = _bell(apart / widths.long) + widths.fine * _bell(apart / widths.short)
    across = _bell((a.log_rate[:, None] - b.log_rate[None, :]) / widths.log_rate)
    size = widths.polarisation**2 * np.outer(a.polarisation, b.polarisation)
    size = size + widths.rate_V**2 * np.outer(a.rate, b.rate)
    voltage = shared * size * along * across / (1.0 + widths.fine)
    capacity = (0.5 * like + 0.5 * cell) * np.outer(a.capacity, b.capacity)
    return np.asarray(voltage + widths.capacity**2 * capacity)


def _bell(x: Floats) -> Floats:
    return np.exp(-0.5 * x**2)
