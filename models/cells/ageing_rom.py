"""Ageing of a cell over its cycles, one channel a mechanism, learnt in logarithms and then summed.

A loss is an exponential of what drives it (temperature by Arrhenius, overpotential by Tafel) and a
power of time, so that its logarithm bends little where the loss itself runs over decades. A channel
is the logarithm of a closed form (`ionbridge.models.cells.graphite`) plus a Gaussian process of
inputs without dimension. A model of one chemistry is carried to another by learning the difference
from few runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from ionbridge.models.cells.graphite import Cycling, Graphite, drivers
from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.estimator import Estimator
from ionbridge.structures.units import FARADAY_C_PER_MOL, GAS_CONSTANT_J_MOL_K

Floats = NDArray[np.float64]

LOSSES = ("sei_Ah", "sei_on_cracks_Ah", "plating_Ah", "active_material_Ah")
"""Lithium lost to each mechanism; their sum is the lithium lost."""
CHANNELS = (*LOSSES, "active_material_lost", "crack_growth", "resistance_growth", "capacity_lost")
"""Also: share of graphite lost, of longer cracks, of more polarisation, of capacity lost."""
KNOTS = (10.0, 40.0, 150.0, 500.0)
"""Cycle numbers at which channels are learnt."""
FLOOR = 1e-9
"""Losses below this count as this."""
SHIFTS = {"resistance_growth": 0.02}
"""Added before the logarithm: polarisation can fall a little at first."""


@dataclass(frozen=True, eq=False)
class AgeingHistory:
    """What one cell went through.

    Attributes:
        cycling: How it was cycled.
        cycle: (k,) ascending cycle numbers from 1.
        channels: One (k,) array for each of ``CHANNELS``.
    """

    cycling: Cycling
    cycle: Floats
    channels: Mapping[str, Floats]

    def log_at(self, channel: str, cycles: Sequence[float]) -> Floats:
        """Logarithm of a channel (and its shift) at cycle numbers, interpolated in logarithms."""
        shifted = np.asarray(self.channels[channel]) + SHIFTS.get(channel, 0.0)
        values = np.log(np.maximum(shifted, FLOOR))
        return np.interp(np.log(cycles), np.log(self.cycle), values)


@dataclass(frozen=True, eq=False)
class AgeingPrediction:
    """Channels of n cells at k cycle numbers.

    Attributes:
        cycle: (k,) cycle numbers.
        median: (n, k) by channel.
        log_std: (n, k) one sigma of ln by channel.
        in_domain: (n,) within the ranges of the training runs.
    """

    cycle: Floats
    median: Mapping[str, Floats]
    log_std: Mapping[str, Floats]
    in_domain: NDArray[np.bool_]


def closed_forms(
    graphite: Graphite, cyclings: Sequence[Cycling], cycles: Sequence[float]
) -> dict[str, Floats]:
    """(n, k) ln of what physics says a channel is proportional to; factors are left open."""
    found = drivers(graphite, cyclings, cycles)
    area = graphite.area_m2
    content = graphite.nominal_Ah / graphite.capacity_share * graphite.full_filling
    forms = {
        "sei_Ah": area * found.sei,
        "sei_on_cracks_Ah": area * found.sei_on_cracks,
        "plating_Ah": area * found.plating,
        "active_material_Ah": content * found.active_material,
        "active_material_lost": found.active_material,
        "crack_growth": found.cracks,
        "resistance_growth": found.sei,
    }
    return {name: np.log(np.maximum(form, 1e-30)) for name, form in forms.items()}


def inputs(graphite: Graphite, cyclings: Sequence[Cycling], cycles: Sequence[float]) -> Floats:
    """(n, k, N_INPUTS) of order one, and without dimension wherever physics knows how.

    Ln cycles, ln of the gradients of filling on charge and on discharge, charging overpotential
    over RT/F, swing of the filling, 1000/T, ln hours a cycle.
    """
    charge, discharge, temperature, depth, hours = np.array(
        [
            (c.charge_c_rate, c.discharge_c_rate, c.temperature_K, c.depth_of_discharge, c.cycle_h)
            for c in cyclings
        ]
    ).T
    thermal = GAS_CONSTANT_J_MOL_K * temperature / FARADAY_C_PER_MOL
    rows = np.stack(
        [
            np.log(graphite.gradient(charge, temperature) / 0.01),
            np.log(graphite.gradient(discharge, temperature) / 0.01),
            graphite.overpotential_V(charge, temperature) / thermal - 2.0,
            (graphite.capacity_share * depth - 0.5) / 0.15,
            (1000 / temperature - 3.4) / 0.15,
            np.log(hours / 3.0),
        ],
        axis=1,
    )
    time = np.log(np.asarray(cycles, dtype=float) / 100.0)
    shape = (len(cyclings), len(time))
    return np.concatenate(
        [
            np.broadcast_to(time[None, :, None], (*shape, 1)),
            np.broadcast_to(rows[:, None, :], (*shape, rows.shape[1])),
        ],
        axis=2,
    )


N_INPUTS = 7
CONSTANT_VARIANCE = 4.0
"""Prior variance of a channel's factor, in ln."""
SourceUse = Literal["difference", "factor"]
DIFFERENCES: dict[SourceUse, Floats] = {
    "difference": np.log([0.0025, 0.02, *[3.0] * N_INPUTS, 1e-3]),
    "factor": np.log([1e-8, 1e-8, *[2.0] * N_INPUTS, 1e-2]),
}
"""How two chemistries may differ: by a factor, slopes of 0.05 and bends of 0.14; or by a factor
alone."""
DOMAIN_MARGIN = 0.05
"""Share of a range by which cycling may lie outside the training runs."""
BOUNDS = np.log([(1e-3, 30.0), (1e-4, 10.0), *[(0.3, 30.0)] * N_INPUTS, (1e-6, 1e-1)])


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process with a constant, lines and bends (Rasmussen and Williams 2006).

    k(x, x') = s_c + s_l x.x' + s_r exp(-|x - x'|^2 / 2 l^2), and white noise.

    Attributes:
        x: (m, N_INPUTS) inputs of the training points.
        y: (m,) their targets.
        theta: ln of s_l, s_r, the N_INPUTS lengths l and the variance of the noise.
    """

    x: Floats
    y: Floats
    theta: Floats

    @classmethod
    def fit(cls, x: Floats, y: Floats, theta: Floats | None = None) -> Self:
        """A process whose hyperparameters are given, or maximise the marginal likelihood."""
        if theta is None:
            start = np.log([0.3, 0.3, *[2.0] * N_INPUTS, 1e-3])
            found = minimize(
                _evidence,
                start,
                (torch.tensor(x), torch.tensor(y)),
                "L-BFGS-B",
                jac=True,
                bounds=BOUNDS,
                options={"maxiter": 40},
            )
            theta = np.asarray(found.x)
        return cls(x, y, theta)

    @cached_property
    def _factor(self) -> tuple[torch.Tensor, torch.Tensor]:
        x, theta = torch.tensor(self.x), torch.tensor(self.theta)
        lower = torch.linalg.cholesky(_noisy(theta, x))
        return lower, torch.cholesky_solve(torch.tensor(self.y)[:, None], lower)[:, 0]

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and variance without noise, (m,) each, at (m, N_INPUTS) inputs."""
        lower, weights = self._factor
        at, known, theta = torch.tensor(x), torch.tensor(self.x), torch.tensor(self.theta)
        cross = _covariance(theta, at, known)
        mean = cross @ weights
        half = torch.linalg.solve_triangular(lower, cross.T, upper=False)
        prior = CONSTANT_VARIANCE + theta[0].exp() * (at**2).sum(1) + theta[1].exp()
        variance = (prior - (half**2).sum(0)).clamp_min(0.0)
        return mean.numpy(), variance.numpy()


def _covariance(theta: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    lengths = theta[2 : 2 + N_INPUTS].exp()
    square = ((a / lengths)[:, None] - (b / lengths)[None]).square().sum(2)
    return CONSTANT_VARIANCE + theta[0].exp() * a @ b.T + theta[1].exp() * torch.exp(-square / 2)


def _noisy(theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return _covariance(theta, x, x) + (theta[-1].exp() + 1e-8) * torch.eye(len(x), dtype=x.dtype)


def _evidence(theta: Floats, x: torch.Tensor, y: torch.Tensor) -> tuple[float, Floats]:
    """Negative log marginal likelihood and its gradient."""
    t = torch.tensor(theta, requires_grad=True)
    lower = torch.linalg.cholesky(_noisy(t, x))
    half = torch.linalg.solve_triangular(lower, y[:, None], upper=False)
    loss = half.square().sum() / 2 + lower.diagonal().log().sum()
    loss.backward()
    assert t.grad is not None
    return float(loss.detach()), t.grad.numpy()


@dataclass
class AgeingRom(Estimator):
    """The ageing of one chemistry: for every channel a closed form plus a sum of processes.

    Attributes:
        graphite: Of the cell.
        strategy: How a model of another chemistry is used when there is one.
    """

    graphite: Graphite
    strategy: SourceUse = "difference"

    kind: ClassVar[str] = "ageing_rom"
    quantity = "cell_ageing"

    def fit(
        self,
        histories: Sequence[AgeingHistory],
        source: AgeingRom | None = None,
        *,
        calibrate: bool = True,
    ) -> Self:
        """Learn from runs.

        Args:
            histories: At least two runs of one chemistry.
            source: A model of another chemistry; without it every hyperparameter is found.
            calibrate: Whether spreads are scaled by errors on runs left out in turn.

        Raises:
            ValueError: Fewer than two runs, or a channel is missing.
        """
        if len(histories) < 2:
            raise ValueError(f"ageing is learnt from two runs or more, got {len(histories)}")
        for history in histories:
            if missing := set(CHANNELS) - set(history.channels):
                raise ValueError(f"a run lacks the channel {min(missing)}")
        self.card_ = {}
        self._fit(histories, source, None)
        settings = np.array([_settings(h.cycling) for h in histories])
        if source is not None:
            settings = np.concatenate([settings, source.ranges_])
        self.ranges_: Floats = np.array([settings.min(axis=0), settings.max(axis=0)])
        self.spread_ = np.ones(len(CHANNELS))
        if calibrate and len(histories) > 2:
            self.spread_ = self._spread(histories, source)
        return self

    def _fit(
        self,
        histories: Sequence[AgeingHistory],
        source: AgeingRom | None,
        found: Mapping[str, Floats] | None,
    ) -> None:
        cyclings = [h.cycling for h in histories]
        x = inputs(self.graphite, cyclings, KNOTS).reshape(-1, N_INPUTS)
        forms = closed_forms(self.graphite, cyclings, KNOTS)
        losses = [np.exp([h.log_at(name, KNOTS) for h in histories]) for name in LOSSES]
        forms["capacity_lost"] = np.log(sum(losses) / self.graphite.nominal_Ah)
        self.processes_: dict[str, tuple[Process, ...]] = {}
        for name in CHANNELS:
            before = source.processes_[name] if source is not None else ()
            y = np.array([h.log_at(name, KNOTS) for h in histories]).ravel()
            y = y - forms[name].ravel() - _total(before, x)[0]
            theta = found[name] if found is not None else None
            if source is not None:
                theta = DIFFERENCES[self.strategy]
            self.processes_[name] = (*before, Process.fit(x, y, theta))

    def _spread(self, histories: Sequence[AgeingHistory], source: AgeingRom | None) -> Floats:
        """Errors at the last knot over their predicted sigma, root mean square by channel.

        One made-up run with the expected error is added: two runs cannot claim that errors vanish.
        """
        theta = {name: processes[-1].theta for name, processes in self.processes_.items()}
        squares = np.ones((len(histories) + 1, len(CHANNELS)))
        for k, left_out in enumerate(histories):
            model = AgeingRom(self.graphite, self.strategy)
            model._fit([h for i, h in enumerate(histories) if i != k], source, theta)
            found = model._logs([left_out.cycling], KNOTS[-1:])
            for c, name in enumerate(CHANNELS):
                mean, std = found[name]
                squares[k, c] = ((mean - left_out.log_at(name, KNOTS[-1:])) / std)[0, 0] ** 2
        answer: Floats = np.sqrt(squares.mean(axis=0))
        return answer

    def _logs(
        self, cyclings: Sequence[Cycling], cycles: Sequence[float]
    ) -> dict[str, tuple[Floats, Floats]]:
        """(n, k) mean and sigma of ln of every channel, not yet calibrated.

        The capacity lost starts from the sum of the lithium losses, with their spread.
        """
        x = inputs(self.graphite, cyclings, cycles)
        forms = closed_forms(self.graphite, cyclings, cycles)
        found: dict[str, tuple[Floats, Floats]] = {}
        for name in CHANNELS:
            mean, variance = _total(self.processes_[name], x.reshape(-1, N_INPUTS))
            noise = np.exp(self.processes_[name][-1].theta[-1])
            mean, variance = mean.reshape(x.shape[:2]), variance.reshape(x.shape[:2]) + noise
            if name == "capacity_lost":
                each = np.array([np.exp(found[loss][0]) for loss in LOSSES])
                share = each / each.sum(axis=0)
                forms[name] = np.log(each.sum(axis=0) / self.graphite.nominal_Ah)
                spread = np.array([found[loss][1] for loss in LOSSES])
                variance = variance + (share**2 * spread**2).sum(axis=0)
            found[name] = (forms[name] + mean, np.sqrt(variance))
        return found

    def predict(self, cyclings: Sequence[Cycling], cycles: Sequence[float]) -> AgeingPrediction:
        """Channels of n cells at k cycle numbers; beyond the last knot the trend goes on.

        Raises:
            ValueError: The model is not fitted, or a cycle number is below 1.
        """
        self._check_fitted()
        cycle = np.asarray(cycles, dtype=float)
        if cycle.ndim != 1 or not len(cycle) or not (cycle >= 1).all():
            raise ValueError("cycle numbers must be a list of numbers from 1")
        inside = self._logs(cyclings, list(np.minimum(cycle, KNOTS[-1])))
        ends = self._logs(cyclings, KNOTS[-2:])
        beyond = np.log(np.maximum(cycle, KNOTS[-1]) / KNOTS[-1]) / np.log(KNOTS[-1] / KNOTS[-2])
        median, log_std = {}, {}
        for c, name in enumerate(CHANNELS):
            slope = ends[name][0][:, 1:] - ends[name][0][:, :1]
            mean, std = inside[name]
            median[name] = np.exp(mean + slope * beyond) - SHIFTS.get(name, 0.0)
            log_std[name] = std * self.spread_[c]
        within = np.array([not self.far_settings(c) for c in cyclings], dtype=bool)
        return AgeingPrediction(cycle, median, log_std, within)

    def far_settings(self, cycling: Cycling) -> str:
        """What of a way of cycling lies outside the training runs, in words; empty where nothing.

        Args:
            cycling: How a cell is cycled.
        """
        margin = DOMAIN_MARGIN * (self.ranges_[1] - self.ranges_[0])
        low, high = self.ranges_ + np.array([-margin, margin])
        far = []
        for i, name in enumerate(Cycling.__dataclass_fields__):
            value = _settings(cycling)[i]
            if not low[i] <= value <= high[i]:
                ends = [float(np.exp(v)) if "rate" in name else float(v) for v in (low[i], high[i])]
                far.append(
                    f"{name} is {getattr(cycling, name):g}, the training runs' {ends[0]:.3g} to "
                    f"{ends[1]:.3g}"
                )
        return "; ".join(far)

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        arrays = {"ranges": self.ranges_, "spread": self.spread_}
        for name, processes in self.processes_.items():
            for k, process in enumerate(processes):
                own = {part: getattr(process, part) for part in ("x", "y", "theta")}
                arrays |= named(f"{name}.{k}.", own)
        return arrays, {
            "strategy": self.strategy,
            "depth": len(next(iter(self.processes_.values()))),
            "graphite": asdict(self.graphite),
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        numbers = dict(config["graphite"])
        graphite = Graphite(potential_V=tuple(numbers.pop("potential_V")), **numbers)
        model = cls(graphite, config["strategy"])
        model.ranges_, model.spread_ = arrays["ranges"], arrays["spread"]
        model.processes_ = {
            name: tuple(Process(**under(f"{name}.{k}.", arrays)) for k in range(config["depth"]))
            for name in CHANNELS
        }
        return model


def _total(processes: Sequence[Process], x: Floats) -> tuple[Floats, Floats]:
    """(m,) mean and variance of a sum of independent processes."""
    mean, variance = np.zeros(len(x)), np.zeros(len(x))
    for process in processes:
        m, v = process.predict(x)
        mean, variance = mean + m, variance + v
    return mean, variance


def _settings(cycling: Cycling) -> list[float]:
    """What the domain is checked on."""
    return [
        float(np.log(cycling.charge_c_rate)),
        float(np.log(cycling.discharge_c_rate)),
        cycling.temperature_K,
        cycling.depth_of_discharge,
    ]
