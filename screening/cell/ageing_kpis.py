"""What a cell's ageing means to whoever uses it: fade after cycles, life, years of service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ionbridge.models.cells.ageing_rom import (
    KNOTS,
    LOSSES,
    AgeingPrediction,
    AgeingRom,
)
from ionbridge.models.cells.graphite import CRACK_SEI_START_M, SEI_START_M, Cycling, sei_growth_m
from ionbridge.screening.cell.ageing_base import BASES, LCO, LFP
from ionbridge.screening.errors import InputError

MODELS = {LCO: "ageing-lco", LFP: "ageing-lfp"}
"""The shipped model of each base cell that ages."""
LONGEST_CYCLES = 20_000.0
"""A life beyond this is given as this: nobody has seen one."""
N_DRAWS = 400
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class AgeingKpis:
    """Ageing of one cell under one way of cycling.

    Attributes:
        capacity_fade_percent: Capacity lost after ``cycles``.
        capacity_fade_std_percent: One sigma of it.
        cycles: Number of cycles it holds for.
        cycles_to_end: Cycles to the end of life, at most ``LONGEST_CYCLES``.
        cycles_to_end_lower: Lower end of the 90 % interval.
        cycles_to_end_upper: Upper end of the 90 % interval.
        resistance_growth_percent: Growth of the polarisation after ``cycles``.
        lithium_lost_mAh: Lithium lost to each mechanism after ``cycles``.
        main_mechanism: The one that takes most lithium.
        extrapolated: Whether the end of life lies beyond the cycles that the model has seen; a
            sudden death (knee) cannot be foreseen there.
        in_domain: Whether the cycling is like that of the training runs.
    """

    capacity_fade_percent: float
    capacity_fade_std_percent: float
    cycles: float
    cycles_to_end: float
    cycles_to_end_lower: float
    cycles_to_end_upper: float
    resistance_growth_percent: float
    lithium_lost_mAh: dict[str, float]
    main_mechanism: str
    extrapolated: bool
    in_domain: bool

    @property
    def note(self) -> str:
        """What to know of its end of life; empty where it lies within what was simulated."""
        if self.cycles_to_end >= LONGEST_CYCLES:
            return f"no end of life within {LONGEST_CYCLES:g} cycles: a lower bound, no prediction"
        if self.extrapolated:
            return f"life beyond the {KNOTS[-1]:g} cycles that were simulated: no knee is foreseen"
        return ""


def ageing_kpis(
    model: AgeingRom,
    cycling: Cycling,
    *,
    cycles: float = 500.0,
    end_of_life: float = 0.8,
    cycles_per_day: float | None = None,
    seed: int = 0,
) -> AgeingKpis:
    """Ageing KPIs of a cell.

    The candidate enters by its duty: what it is cycled like. Its diffusivity does not appear, since
    all modelled losses happen at the graphite; they follow from current, temperature and depth.

    Args:
        model: The ageing model of the base cell.
        cycling: How it is used.
        cycles: Number of cycles that fade is stated for.
        end_of_life: Share of the capacity at which life ends.
        cycles_per_day: The rest of the day is spent charged, and the SEI grows on; None for
            cycling without a break.
        seed: Of the draws behind the intervals.

    Raises:
        InputError: Cycles or share make no sense, or a day has no room for its cycles.
    """
    if not cycles >= 1:
        raise InputError(f"cycles must be 1 or more, got {cycles}")
    if not 0 < end_of_life < 1:
        raise InputError(f"end_of_life is a share between 0 and 1, got {end_of_life}")
    numbers = np.unique([*np.geomspace(10, LONGEST_CYCLES, 60), *KNOTS, cycles])
    found = model.predict([cycling], list(numbers))
    lost = found.median["capacity_lost"][0] * _calendar(found, cycling, cycles_per_day)
    rng = np.random.default_rng(seed)
    shift = np.exp(found.log_std["capacity_lost"][0] * rng.standard_normal((N_DRAWS, 1)))
    draws = np.minimum(lost * shift, 1.0)
    lives = np.array([_crossing(numbers, draw, 1 - end_of_life) for draw in draws])
    at = int(np.flatnonzero(numbers == cycles)[0])
    each = {name: 1000 * float(found.median[name][0, at]) for name in LOSSES}
    life = _crossing(numbers, lost, 1 - end_of_life)
    return AgeingKpis(
        capacity_fade_percent=100 * float(min(lost[at], 1.0)),
        capacity_fade_std_percent=100 * float(draws[:, at].std()),
        cycles=float(cycles),
        cycles_to_end=life,
        cycles_to_end_lower=float(np.quantile(lives, 0.05)),
        cycles_to_end_upper=float(np.quantile(lives, 0.95)),
        resistance_growth_percent=100 * float(found.median["resistance_growth"][0, at]),
        lithium_lost_mAh=each,
        main_mechanism=max(each, key=lambda name: each[name]).removesuffix("_Ah"),
        extrapolated=life > KNOTS[-1],
        in_domain=bool(found.in_domain[0]),
    )


def _calendar(found: AgeingPrediction, cycling: Cycling, cycles_per_day: float | None) -> Any:
    """(k,) factor on all losses by what the SEI gains while the cell rests between cycles.

    The growth is limited by diffusion through the SEI and knows time and temperature alone.
    """
    if cycles_per_day is None:
        return 1.0
    busy_h, day_h = cycling.cycle_h * cycles_per_day, 24.0
    if not 0 < busy_h <= day_h:
        raise InputError(
            f"{cycles_per_day:g} cycles of {cycling.cycle_h:.1f} h do not fit a day; "
            f"at most {day_h / cycling.cycle_h:.2f}"
        )
    starts = {"sei_Ah": SEI_START_M, "sei_on_cracks_Ah": CRACK_SEI_START_M}
    total, extra = 0.0, 0.0
    temperature = np.array(cycling.temperature_K)
    for name in LOSSES:
        median = found.median[name][0]
        total = total + median
        if name in starts:
            hours = cycling.cycle_h * found.cycle
            grown = [
                sei_growth_m(h, temperature, starts[name]) for h in (hours * day_h / busy_h, hours)
            ]
            extra = extra + median * (grown[0] / grown[1] - 1)
    return 1 + extra / total


def _crossing(cycles: Any, lost: Any, level: float) -> float:
    """First cycle at which a rising loss reaches a level; the last if it does not."""
    if lost[-1] < level:
        return LONGEST_CYCLES
    k = int(np.argmax(lost >= level))
    if k == 0:
        return float(cycles[0])
    share = np.log(level / lost[k - 1]) / np.log(lost[k] / lost[k - 1])
    return float(cycles[k - 1] * (cycles[k] / cycles[k - 1]) ** share)


def years_of_service(cycles_to_end: float, cycles_per_day: float) -> float:
    """Years until a number of cycles is used up.

    Args:
        cycles_to_end: From `ageing_kpis` with the same ``cycles_per_day``.
        cycles_per_day: Full cycles of the duty in a day.

    Raises:
        InputError: A number is not positive.
    """
    if not (cycles_to_end > 0 and cycles_per_day > 0):
        raise InputError(
            f"cycles and cycles a day must be positive, got {cycles_to_end} and {cycles_per_day}"
        )
    return cycles_to_end / cycles_per_day / DAYS_PER_YEAR


def ageing_model(base_cell: str) -> AgeingRom:
    """The shipped ageing model of a base cell.

    Raises:
        InputError: The base cell has none.
    """
    from ionbridge.models import library

    cathodes = {base.cathode: name for name, base in BASES.items()}
    name = MODELS.get(cathodes.get(base_cell, base_cell))
    if name is None:
        raise InputError(
            f"no ageing model for the base cell '{base_cell}'; known: {', '.join(MODELS)}"
        )
    return AgeingRom.load(library.find(name))
