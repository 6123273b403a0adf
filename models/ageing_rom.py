"""Ageing of a cell over its cycles, one channel a mechanism, learnt in logarithms and then summed.

A loss is an exponential of what drives it (temperature by Arrhenius, overpotential by Tafel) and a
power of time, so that ln loss is nearly linear in ln cycles, ln C-rates and 1/T, where a loss
itself is not. A channel is a closed form plus a Gaussian process in ln loss. For the SEI the closed
form is its growth law with published constants; for the others it is proportional to cycles. A
model of one chemistry is carried to another by learning the difference from few runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.checkpoint import IncompatibleModelError, load_model, save_model

Floats = NDArray[np.float64]

LOSSES = ("sei_Ah", "sei_on_cracks_Ah", "plating_Ah", "active_material_Ah")
"""Lithium lost to each mechanism; their sum is the lithium lost."""
CHANNELS = (*LOSSES, "active_material_lost", "crack_growth", "resistance_growth", "capacity_lost")
"""Also: share of graphite lost, of longer cracks, of more polarisation, of capacity lost."""
KNOTS = (10.0, 20.0, 50.0, 100.0, 200.0, 350.0, 500.0)
"""Cycle numbers at which channels are learnt."""
FLOOR = 1e-6
"""Losses below this count as this."""

GAS_CONSTANT = 8.31446261815324
SEI_RATE_M2_H = 2 * 2.5e-22 * 2636.0 * 9.585e-5 * 3600
"""2 D c V of solvent-diffusion limited growth, m^2/h (O'Kane 2022: solvent diffusivity 2.5e-22
m^2/s, solvent 2636 mol/m^3, SEI volume 9.585e-5 m^3/mol)."""
SEI_ACTIVATION_J_MOL = 38000.0
START_M = {"sei_Ah": 5e-9, "sei_on_cracks_Ah": 5e-13}
"""Thickness at the start, on particles and on the faces of cracks, m."""
REST_H = 1 / 3
"""Rests of a cycle, h."""


@dataclass(frozen=True)
class Cycling:
    """How a cell is cycled.

    Attributes:
        charge_c_rate: Charging current over nominal capacity, 1/h.
        discharge_c_rate: Discharging current over nominal capacity, 1/h.
        temperature_K: Of the surroundings.
        depth_of_discharge: Charge taken out in a cycle over nominal capacity.
    """

    charge_c_rate: float
    discharge_c_rate: float
    temperature_K: float
    depth_of_discharge: float

    def __post_init__(self) -> None:
        for name in ("charge_c_rate", "discharge_c_rate", "temperature_K", "depth_of_discharge"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value}")
        if self.depth_of_discharge > 1:
            raise ValueError(f"depth_of_discharge is a share, got {self.depth_of_discharge}")
        if not 200 < self.temperature_K < 400:
            raise ValueError(f"temperature_K is in kelvin, got {self.temperature_K}")

    @property
    def cycle_h(self) -> float:
        """Duration of a cycle without the end of the charge at constant voltage, h."""
        moving = 1 / self.charge_c_rate + 1 / self.discharge_c_rate
        return self.depth_of_discharge * moving + REST_H


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
        """Logarithm of a channel at cycle numbers, interpolated in logarithms."""
        values = np.log(np.maximum(self.channels[channel], FLOOR))
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

    def lithium_lost_Ah(self, n_draws: int = 400, seed: int = 0) -> tuple[Floats, Floats]:
        """Median and one sigma of the sum of ``LOSSES``, (n, k) each, by sampling.

        A draw shifts a channel's ln by one amount at all cycles; channels are independent.
        """
        rng = np.random.default_rng(seed)
        total = sum(
            self.median[name]
            * np.exp(self.log_std[name] * rng.standard_normal((n_draws, len(self.in_domain), 1)))
            for name in LOSSES
        )
        return np.median(total, axis=0), np.std(total, axis=0)


def sei_growth_m(hours: Floats, temperature_K: Floats, start_m: float) -> Floats:
    """Growth of an SEI limited by the diffusion of solvent, L = sqrt(L0^2 + 2 D c V t) - L0.

    D follows Arrhenius' law about 298.15 K (Single et al., constants of O'Kane et al., Phys. Chem.
    Chem. Phys. 24, 7909 (2022)).

    Args:
        hours: Time, h.
        temperature_K: Broadcastable to it.
        start_m: L0, m.
    """
    factor = np.exp(-SEI_ACTIVATION_J_MOL / GAS_CONSTANT * (1 / temperature_K - 1 / 298.15))
    growth = SEI_RATE_M2_H * factor * hours
    return growth / (np.sqrt(start_m**2 + growth) + start_m)


def closed_form(channel: str, cyclings: Sequence[Cycling], cycles: Sequence[float]) -> Floats:
    """(n, k) ln of what physics says a channel is proportional to; a factor is left open."""
    cycle = np.asarray(cycles, dtype=float)[None, :]
    if channel not in START_M:
        return np.log(cycle) + np.zeros((len(cyclings), 1))
    hours = np.array([c.cycle_h for c in cyclings])[:, None] * cycle
    temperature = np.array([c.temperature_K for c in cyclings])[:, None]
    return np.log(sei_growth_m(hours, temperature, START_M[channel]) / 1e-9)


def inputs(cyclings: Sequence[Cycling], cycles: Sequence[float]) -> Floats:
    """(n, k, 6) ln cycles, ln C-rates, 1000/T, depth, ln hours a cycle; order one and centred."""
    rows = np.array(
        [
            [
                np.log(c.charge_c_rate / 0.63),
                np.log(c.discharge_c_rate / 0.63),
                (1000 / c.temperature_K - 3.4) / 0.15,
                (c.depth_of_discharge - 0.65) / 0.2,
                np.log(c.cycle_h / 3.0),
            ]
            for c in cyclings
        ]
    ).reshape(-1, 5)
    time = np.log(np.asarray(cycles, dtype=float) / 100.0)
    shape = (len(cyclings), len(time))
    return np.concatenate(
        [
            np.broadcast_to(time[None, :, None], (*shape, 1)),
            np.broadcast_to(rows[:, None, :], (*shape, rows.shape[1])),
        ],
        axis=2,
    )


N_INPUTS = 6
CONSTANT_VARIANCE = 4.0
"""Prior variance of a channel's factor, in ln."""
Strategy = Literal["difference", "factor"]
DIFFERENCES: dict[Strategy, Floats] = {
    "difference": np.log([0.04, 0.02, *[2.0] * N_INPUTS, 1e-4]),
    "factor": np.log([1e-8, 1e-8, *[2.0] * N_INPUTS, 1e-2]),
}
"""How two chemistries may differ: by a factor, slopes of 0.2 and bends of 0.14 an input's unit; or
by a factor alone."""
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
                options={"maxiter": 80},
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
class AgeingRom:
    """The ageing of one chemistry: for every channel a closed form plus a sum of processes.

    Attributes:
        strategy: How a model of another chemistry is used when there is one.
    """

    strategy: Strategy = "difference"

    kind: ClassVar[str] = "ageing_rom"

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
        x = inputs(cyclings, KNOTS).reshape(-1, N_INPUTS)
        self.processes_: dict[str, tuple[Process, ...]] = {}
        for name in CHANNELS:
            before = source.processes_[name] if source is not None else ()
            y = np.array([h.log_at(name, KNOTS) for h in histories]).ravel()
            y = y - closed_form(name, cyclings, KNOTS).ravel() - _total(before, x)[0]
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
            model = AgeingRom(self.strategy)
            model._fit([h for i, h in enumerate(histories) if i != k], source, theta)
            for c, name in enumerate(CHANNELS):
                mean, std = model._log(name, [left_out.cycling], KNOTS[-1:])
                squares[k, c] = ((mean - left_out.log_at(name, KNOTS[-1:])) / std)[0, 0] ** 2
        return np.sqrt(squares.mean(axis=0))

    def _log(
        self, name: str, cyclings: Sequence[Cycling], cycles: Sequence[float]
    ) -> tuple[Floats, Floats]:
        """(n, k) mean and sigma of ln of a channel, not yet calibrated."""
        x = inputs(cyclings, cycles)
        mean, variance = _total(self.processes_[name], x.reshape(-1, N_INPUTS))
        noise = np.exp(self.processes_[name][-1].theta[-1])
        shape = x.shape[:2]
        std = np.sqrt(variance + noise).reshape(shape)
        return closed_form(name, cyclings, cycles) + mean.reshape(shape), std

    def predict(self, cyclings: Sequence[Cycling], cycles: Sequence[float]) -> AgeingPrediction:
        """Channels of n cells at k cycle numbers; beyond the last knot the trend goes on.

        Raises:
            ValueError: The model is not fitted, or a cycle number is below 1.
        """
        if not hasattr(self, "processes_"):
            raise ValueError("AgeingRom is not fitted; call fit(histories)")
        cycle = np.asarray(cycles, dtype=float)
        if cycle.ndim != 1 or not len(cycle) or not (cycle >= 1).all():
            raise ValueError("cycle numbers must be a list of numbers from 1")
        median, log_std = {}, {}
        for c, name in enumerate(CHANNELS):
            mean, std = self._log(name, cyclings, list(np.minimum(cycle, KNOTS[-1])))
            beyond = cycle > KNOTS[-1]
            if beyond.any():
                ends, _ = self._log(name, cyclings, KNOTS[-2:])
                slope = (ends[:, 1:] - ends[:, :1]) / np.log(KNOTS[-1] / KNOTS[-2])
                mean = mean + slope * np.log(np.maximum(cycle, KNOTS[-1]) / KNOTS[-1])
            median[name], log_std[name] = np.exp(mean), std * self.spread_[c]
        settings = np.array([_settings(c) for c in cyclings])
        low, high = self.ranges_
        margin = DOMAIN_MARGIN * (high - low)
        inside = ((settings >= low - margin) & (settings <= high + margin)).all(axis=1)
        return AgeingPrediction(cycle, median, log_std, inside)

    def save(self, directory: str | Path, card: Mapping[str, Any] | None = None) -> None:
        """Write the model folder."""
        arrays = {"ranges": self.ranges_, "spread": self.spread_}
        for name, processes in self.processes_.items():
            for k, process in enumerate(processes):
                for part in ("x", "y", "theta"):
                    arrays[f"{name}.{k}.{part}"] = getattr(process, part)
        depth = len(next(iter(self.processes_.values())))
        save_model(
            Path(directory),
            {name: torch.tensor(values) for name, values in arrays.items()},
            {"kind": self.kind, "strategy": self.strategy, "depth": depth},
            card or {"name": self.kind, "quantity": "cell_ageing"},
        )

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read a model folder; see ``models.checkpoint.load_model`` for what is refused."""
        tensors, settings, _ = load_model(Path(directory))
        if settings.get("kind") != cls.kind:
            raise IncompatibleModelError(
                f"{directory} holds a {settings.get('kind')!r}, not a {cls.kind!r}"
            )
        model = cls(settings["strategy"])
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        model.ranges_, model.spread_ = arrays["ranges"], arrays["spread"]
        model.processes_ = {
            name: tuple(
                Process(*(arrays[f"{name}.{k}.{part}"] for part in ("x", "y", "theta")))
                for k in range(settings["depth"])
            )
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
