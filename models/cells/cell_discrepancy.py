"""What a cell model lacks against experiment, learnt on measured cells and carried to another.

A fitted cell follows its slow curve; faster curves leave it in ways that cells share. The
discrepancy is a displacement of the predicted curve along its normals, voltage across plateaus and
charge across knees, as a Gaussian process over the place on the curve and the rate. What cells
share is graded: cells with the same negative electrode, with cathodes of one class, the cell
itself. So the measured cells are the prior of a new one, and its own curves its labels (intrinsic
coregionalisation: Bonilla, Chai and Williams, NIPS 20 (2007)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

from ionbridge.models.checkpoint import load_arrays, save_model
from ionbridge.models.estimator import Estimator

Floats = NDArray[np.float64]

VOLTS_PER_SHARE = 5.0
"""Volts that count as much as the whole charge, where the direction of a curve is judged."""
PLACES = np.concatenate([[0.003, 0.008, 0.016, 0.03], np.linspace(0.045, 0.999, 60)])
"""Of the points of a curve, parts of its length."""
REACH = 0.006
"""Part of the length over which a direction is taken."""
FARTHEST = 0.25
"""Longest displacement that is looked for."""
EARLY = 0.01
"""Place up to which the beginning of a curve is resolved."""
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


@dataclass(frozen=True, eq=False)
class RatedCurve:
    """A predicted discharge as points with normals; (n,) arrays.

    Attributes:
        kind: Of its cell.
        rate: Current over the charge of the slow curve, 1/h.
        slow_rate: That of the slow curve itself.
        share: Charge over that of the slow curve.
        voltage_V: V.
        across: Part of the normal along the voltage.
        along: Part of the normal along the charge.
        place: Length of the curve up to the point.
    """

    kind: Kind
    rate: float
    slow_rate: float
    share: Floats
    voltage_V: Floats
    across: Floats
    along: Floats
    place: Floats

    def moved(self, displacement: Floats) -> tuple[Floats, Floats]:
        """Share and voltage of the curve displaced along its normals, by ascending share."""
        share = self.share + displacement * self.along
        volts = self.voltage_V + displacement * self.across * VOLTS_PER_SHARE
        order = np.argsort(share)
        return share[order], volts[order]


def rated_curve(
    kind: Kind, rate: float, slow_rate: float, share: Floats, voltage_V: Floats
) -> RatedCurve:
    """The points of a predicted discharge at PLACES.

    Args:
        kind: Of the cell.
        rate: Current over the charge of the slow curve, 1/h.
        slow_rate: That of the slow curve.
        share: (k,) ascending charge over that of the slow curve.
        voltage_V: (k,) down to a little below where discharges end.
    """
    fine = np.linspace(share[0], share[-1], 2000)
    volts = np.interp(fine, share, voltage_V)
    steps = np.hypot(np.diff(fine), np.diff(volts) / VOLTS_PER_SHARE)
    length = np.concatenate([[0.0], np.cumsum(steps)])

    def at(place: Floats) -> tuple[Floats, Floats]:
        return np.interp(place, length, fine), np.interp(place, length, volts) / VOLTS_PER_SHARE

    place, reach = PLACES * length[-1], REACH * length[-1]
    ahead, behind = at(place + reach), at(place - reach)
    direction = np.stack([ahead[0] - behind[0], ahead[1] - behind[1]])
    direction /= np.maximum(np.hypot(*direction), 1e-12)
    own = at(place)
    return RatedCurve(
        kind=kind,
        rate=rate,
        slow_rate=slow_rate,
        share=own[0],
        voltage_V=own[1] * VOLTS_PER_SHARE,
        across=-direction[0],
        along=direction[1],
        place=place,
    )


def displacement(curve: RatedCurve, share: Floats, voltage_V: Floats) -> Floats:
    """(n,) how far along its normals a measured curve lies from a predicted one; NaN for nowhere.

    Args:
        curve: Predicted.
        share: (k,) measured charge over that of the slow curve, ascending.
        voltage_V: (k,).
    """
    fine = np.linspace(share[0], share[-1], 4000)
    volts = np.interp(fine, share, voltage_V)
    off_share = fine[None, :] - curve.share[:, None]
    off_volts = (volts[None, :] - curve.voltage_V[:, None]) / VOLTS_PER_SHARE
    beside = off_share * -curve.across[:, None] + off_volts * curve.along[:, None]
    normal = off_share * curve.along[:, None] + off_volts * curve.across[:, None]
    found = np.full(len(curve.share), np.nan)
    for i in range(len(found)):
        j = np.flatnonzero(np.sign(beside[i, 1:]) != np.sign(beside[i, :-1]))
        if not len(j):
            continue
        part = beside[i, j] / (beside[i, j] - beside[i, j + 1])
        crossings = normal[i, j] + (normal[i, j + 1] - normal[i, j]) * part
        nearest = crossings[np.abs(crossings).argmin()]
        if abs(nearest) < FARTHEST:
            found[i] = nearest
    return found


@dataclass(frozen=True)
class Widths:
    """Hyperparameters.

    Attributes:
        voltage_V: Across the curve, for a rate of 1/h above the slow one.
        early_V: Across the curve for a rate e times the slow one, by ln of the place.
        charge: Along the charge, parts of it, for a rate of 1/h above the slow one.
        voltage_length: Over which the first changes along the curve.
        early_length: Over which the second does, in ln of the place.
        charge_length: Over which the third does.
        negative: How much of the voltage's variance cells with one negative electrode share, odds.
        cathode: The same for cathodes of one class.
        charge_cathode: The same for the charge's.
        noise_V: Of curves.
    """

    voltage_V: float = 0.03
    early_V: float = 0.015
    charge: float = 0.025
    voltage_length: float = 0.08
    early_length: float = 0.3
    charge_length: float = 0.06
    negative: float = 1.0
    cathode: float = 4.0
    charge_cathode: float = 5.0
    noise_V: float = 0.003


FREEDOM = Widths(0.05, 0.1, 0.1, 0.3, 0.3, 0.3, 0.5, 0.5, 0.5, 0.5)
"""How far ln of a hyperparameter is let go from its first value."""


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
    """Gaussian process over displacements of curves, shared by cells in grades.

    Args:
        widths: Hyperparameters.
        learn_widths: Move them to the maximum of their posterior.
        carried_factor: By which spreads are scaled where other cells alone speak, so that
            intervals hold on cells left out.
        own_factor: The same where the cell's own curves speak, too.
    """

    kind = "cell-discrepancy"

    def __init__(
        self,
        widths: Widths | None = None,
        learn_widths: bool = False,
        carried_factor: float = 0.7,
        own_factor: float = 2.5,
    ) -> None:
        self.widths = widths or Widths()
        self.learn_widths = learn_widths
        self.carried_factor, self.own_factor = carried_factor, own_factor

    def fit(self, records: Sequence[RatedCurve], labels: Sequence[Floats]) -> Self:
        """Learn what predictions lack.

        Args:
            records: Predicted curves, each faster than its cell's slow curve.
            labels: Their displacements (see ``displacement``); NaN where there is none.
        """
        self.records_ = tuple(records)
        self.labels_ = tuple(np.asarray(y, dtype=float) for y in labels)
        self.widths_ = self.widths
        if self.learn_widths and records:
            self.widths_ = self._learnt()
        return self

    def without(self, cell: str) -> CellDiscrepancy:
        """Fitted anew without the curves of one cell."""
        kept = [i for i, r in enumerate(self.records_) if r.kind.cell != cell]
        factors = (self.carried_factor, self.own_factor)
        return CellDiscrepancy(self.widths, self.learn_widths, *factors).fit(
            [self.records_[i] for i in kept], [self.labels_[i] for i in kept]
        )

    def predict(
        self,
        record: RatedCurve,
        own: Sequence[tuple[RatedCurve, Floats]] = (),
    ) -> tuple[Floats, Floats]:
        """Mean (n,) and covariance (n, n) of the displacement of a predicted curve.

        Args:
            record: The curve.
            own: Curves of the same cell that were measured, and their displacements.
        """
        self._check()
        target = _rows([record])
        records = [*self.records_, *(r for r, _ in own)]
        labels = [*self.labels_, *(y for _, y in own)]
        prior = _kernel(target, target, self.widths_)
        if not records:
            return np.zeros(len(record.share)), prior
        rows, y = _known(records, labels)
        factor = self._factor(rows)
        between = _kernel(target, rows, self.widths_)
        mean = between @ cho_solve(factor, y)
        covariance = prior - between @ cho_solve(factor, between.T)
        return mean, covariance

    def correct(
        self,
        record: RatedCurve,
        lower_V: float,
        share: Floats,
        own: Sequence[tuple[RatedCurve, Floats]] = (),
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
            noise_V: Of the cell's own measurement, where it is more than usual.
            spread: Factor to the standard deviation.
            seed: Of the samples.
        """
        mean, covariance = self.predict(record, own)
        widths = replace(self.widths_, noise_V=max(noise_V, self.widths_.noise_V))
        floor = _noise(_rows([record]), widths)
        alike = any(r.kind.negative == record.kind.negative for r in self.records_)
        factor = self.own_factor if own else self.carried_factor if alike else 1.0
        factor *= spread
        values, vectors = np.linalg.eigh(factor**2 * covariance + np.diag(floor))
        draws = np.random.default_rng(seed).standard_normal((N_SAMPLES, len(mean)))
        samples = mean + draws * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
        scatter = np.random.default_rng(seed + 1).normal(1.0, CAPACITY_SCATTER, N_SAMPLES)
        volts, ends, energies = [], [], []
        for one, scaled in zip(samples, scatter, strict=True):
            moved = record.moved(one)
            volts.append(np.interp(share, *moved))
            ends.append(max(_end(*moved, lower_V) * scaled, 0.0))
            upto = np.linspace(0.0, ends[-1], 101)
            energies.append(float(np.trapezoid(np.interp(upto, *moved), upto)))
        tails = (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)
        low, high = np.quantile(volts, tails, axis=0)
        own_low, own_high = np.quantile(ends, tails)
        moved = record.moved(mean)
        centre, end = np.interp(share, *moved), _end(*moved, lower_V)
        kinds = [r.kind for r in self.records_]
        supported = bool(own) or any(
            k.cathode_class == record.kind.cathode_class and k.negative == record.kind.negative
            for k in kinds
        )
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
            supported=supported,
        )

    def save(self, directory: str | Path, card: Mapping[str, Any] | None = None) -> None:
        """Write the model folder: weights, settings and the card."""
        self._check()
        names = ("share", "voltage_V", "across", "along", "place")
        stacked = {k: np.stack([getattr(r, k) for r in self.records_]) for k in names}
        stacked["displacement"] = np.stack(self.labels_)
        save_model(
            Path(directory),
            {k: torch.tensor(v) for k, v in stacked.items()},
            {
                "kind": self.kind,
                "prior_widths": asdict(self.widths),
                "factors": {"carried": self.carried_factor, "own": self.own_factor},
                "widths": asdict(self.widths_),
                "curves": [
                    {"rate": r.rate, "slow_rate": r.slow_rate, **asdict(r.kind)}
                    for r in self.records_
                ],
            },
            card or {"name": self.kind, "quantity": "cell_voltage"},
        )

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read a model folder; see ``models.checkpoint.load_model`` for what is refused."""
        arrays, config = load_arrays(Path(directory), cls.kind)
        factors = config["factors"]
        model = cls(
            Widths(**config["prior_widths"]),
            carried_factor=factors["carried"],
            own_factor=factors["own"],
        )
        labels = arrays.pop("displacement")
        model.records_ = tuple(
            RatedCurve(
                Kind(curve["cell"], curve["negative"], curve["cathode_class"]),
                curve["rate"],
                curve["slow_rate"],
                **{k: v[i] for k, v in arrays.items()},
            )
            for i, curve in enumerate(config["curves"])
        )
        model.labels_ = tuple(labels)
        model.widths_ = Widths(**config["widths"])
        return model

    def _check(self) -> None:
        if not hasattr(self, "records_"):
            raise ValueError("CellDiscrepancy is not fitted; call fit(records, labels)")

    def _factor(self, rows: _Rows) -> tuple[Floats, bool]:
        noise = _noise(rows, self.widths_)
        matrix = _kernel(rows, rows, self.widths_) + np.diag(noise)
        return cholesky(matrix, lower=True), True

    def _learnt(self) -> Widths:
        """Hyperparameters at the maximum of their posterior."""
        rows, y = _known(self.records_, self.labels_)
        names = list(asdict(self.widths))
        first = np.log([getattr(self.widths, k) for k in names])
        freedom = np.array([getattr(FREEDOM, k) for k in names])

        def widths(point: Floats) -> Widths:
            return Widths(**dict(zip(names, np.exp(point).tolist(), strict=True)))

        def cost(point: Floats) -> float:
            own = widths(point)
            matrix = _kernel(rows, rows, own) + np.diag(_noise(rows, own))
            lower = cholesky(matrix, lower=True)
            fit = y @ cho_solve((lower, True), y)
            held = np.sum(((point - first) / freedom) ** 2)
            return float(0.5 * fit + np.log(np.diag(lower)).sum() + 0.5 * held)

        found = minimize(cost, first, method="L-BFGS-B", options={"maxiter": 20})
        return widths(found.x)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Points of several curves, (n,) each."""

    rate: Floats
    root_rate: Floats
    log_rate: Floats
    place: Floats
    across: Floats
    along: Floats
    cell: NDArray[Any]
    negative: NDArray[Any]
    cathode: NDArray[Any]

    def take(self, kept: NDArray[np.bool_]) -> _Rows:
        return replace(self, **{k: getattr(self, k)[kept] for k in self.__dataclass_fields__})


def _rows(records: Sequence[RatedCurve]) -> _Rows:
    def each(values: Sequence[Any]) -> NDArray[Any]:
        return np.concatenate(
            [np.full(len(r.share), v) for r, v in zip(records, values, strict=True)]
        )

    return _Rows(
        rate=each([r.rate - r.slow_rate for r in records]),
        root_rate=each([np.sqrt(r.rate) - np.sqrt(r.slow_rate) for r in records]),
        log_rate=each([np.log(r.rate / r.slow_rate) for r in records]),
        place=np.concatenate([r.place for r in records]),
        across=np.concatenate([r.across for r in records]),
        along=np.concatenate([r.along for r in records]),
        cell=each([r.kind.cell for r in records]),
        negative=each([r.kind.negative for r in records]),
        cathode=each([r.kind.cathode_class for r in records]),
    )


def _known(records: Sequence[RatedCurve], labels: Sequence[Floats]) -> tuple[_Rows, Floats]:
    y = np.concatenate(list(labels))
    known = np.isfinite(y)
    return _rows(records).take(known), y[known]


def _kernel(a: _Rows, b: _Rows, widths: Widths) -> Floats:
    """(n_a, n_b) covariance of displacements."""
    # what is missing grows with the rate across plateaus, and slower towards the end
    linear = 0.5 * (np.outer(a.rate, b.rate) + np.outer(a.root_rate, b.root_rate))
    early = np.outer(a.log_rate, b.log_rate)
    apart = a.place[:, None] - b.place[None, :]
    logs = np.log(a.place + EARLY)[:, None] - np.log(b.place + EARLY)[None, :]
    cell = a.cell[:, None] == b.cell[None, :]
    negative = a.negative[:, None] == b.negative[None, :]
    cathode = negative & (a.cathode[:, None] == b.cathode[None, :])
    odds = 1.0 + widths.negative + widths.cathode
    shared = (widths.negative * negative + widths.cathode * cathode + cell) / odds
    voltage = widths.voltage_V**2 * linear * _bell(apart / widths.voltage_length)
    voltage = voltage + widths.early_V**2 * early * _bell(logs / widths.early_length)
    voltage = voltage * np.outer(a.across, b.across) / VOLTS_PER_SHARE**2
    charge = widths.charge**2 * linear * _bell(apart / widths.charge_length)
    charge = charge * np.outer(a.along, b.along)
    along = (widths.charge_cathode * cathode + cell) / (1.0 + widths.charge_cathode)
    return np.asarray(shared * voltage + along * charge)


def _bell(x: Floats) -> Floats:
    return np.exp(-0.5 * x**2)


def _noise(rows: _Rows, widths: Widths) -> Floats:
    """(n,) variance of a measured displacement."""
    volts = widths.noise_V * rows.across / VOLTS_PER_SHARE
    return np.asarray(volts**2 + (CHARGE_NOISE * rows.along) ** 2)


def _end(share: Floats, volts: Floats, lower_V: float) -> float:
    """Share at which a curve first reaches a voltage, or its end."""
    below = np.flatnonzero(volts <= lower_V)
    if not len(below):
        return float(share[-1])
    j = int(max(below[0], 1))
    part = (volts[j - 1] - lower_V) / max(volts[j - 1] - volts[j], 1e-9)
    return float(share[j - 1] + (share[j] - share[j - 1]) * np.clip(part, 0.0, 1.0))
