"""A trajectory -> the label of its temperature; labels of several temperatures -> Arrhenius."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element
from scipy import stats

from ionbridge.screening.errors import InputError
from ionbridge.screening.labelling.dynamics.diffusivity import (
    CONFIDENCE,
    Diffusivity,
    diffusivity,
    jump_diffusivity,
)
from ionbridge.screening.labelling.dynamics.host import inspect_host, is_ion, without_drift
from ionbridge.screening.labelling.dynamics.jumps import count_jumps
from ionbridge.screening.labelling.dynamics.trajectory import Trajectory
from ionbridge.structures.bond_valence.softbv import ion_charge
from ionbridge.structures.plain_text import number_of
from ionbridge.structures.transport.closed_forms import (
    carrier_density,
    fit_arrhenius,
    haven_ratio,
    nernst_einstein,
)

MIN_JUMPS = 20
"""With fewer jumps no diffusivity is quoted: their number alone is uncertain by a fifth."""
LOCAL_RATIO = 0.3
"""Ions exchange places when their collective diffusivity is surely below this, of the tracer's."""
ROOM_TEMPERATURE_K = 300.0
SIGMAS = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))

Label = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Motion:
    """What a trajectory says about its ions.

    Attributes:
        tracer: Tracer diffusivity, from each ion's displacement.
        jump: Jump diffusivity, from the summed displacement of all ions.
        label: The JSON label.
    """

    tracer: Diffusivity
    jump: Diffusivity
    label: Label


def motion(trajectory: Trajectory, working_ion: str, temperature_K: float, seed: int = 0) -> Motion:
    """Diffusivities, conductivity and the state of the host.

    Args:
        trajectory: Unwrapped positions.
        working_ion: Symbol of the mobile ion.
        temperature_K: Temperature of the run in K.
        seed: Of the intervals' draws.

    Raises:
        InputError: No such ion in the trajectory.
    """
    ion = is_ion(trajectory, working_ion)
    if not ion.any():
        elements = ", ".join(dict.fromkeys(trajectory.symbols))
        raise InputError(f"no working ion {working_ion!r} in the trajectory (elements: {elements})")
    positions, last = without_drift(trajectory, working_ion)
    positions, last = positions[:, ion], last[ion]
    n_ions = int(ion.sum())
    interval_ps = trajectory.stored_interval_ps
    tracer = diffusivity(positions, interval_ps, seed)
    jump = jump_diffusivity(positions, interval_ps, tracer, seed)
    n_jumps = count_jumps(positions, interval_ps)
    host = inspect_host(trajectory, working_ion)
    reason = tracer.reason
    if n_jumps < MIN_JUMPS:
        are = "is" if n_jumps == 1 else "are"
        seen = number_of(n_jumps, "jump")
        reason = f"{seen} {are} too few for a diffusivity (at least {MIN_JUMPS})"
    flags = host.flags
    if not reason and jump.upper_cm2_s < LOCAL_RATIO * tracer.lower_cm2_s:
        flags.append("the ions exchange places: hardly any charge is carried far")
    label = {
        "working_ion": working_ion,
        "temperature_K": temperature_K,
        "n_frames": trajectory.n_frames,
        "duration_ps": trajectory.duration_ps,
        "n_ions": n_ions,
        "n_jumps": n_jumps,
        "msd_A2": float(((last - positions[0]) ** 2).sum(axis=1).mean()),
        "host_drift_A": host.drift_A,
        **_transport(tracer, jump, reason, trajectory, working_ion, n_ions, temperature_K),
        "host_msd_A2": host.msd_A2,
        "host_melted": host.melted,
        "n_polyanions": host.n_polyanions,
        "n_polyanions_broken": host.n_broken,
        "flags": flags,
        "notes": list(trajectory.notes),
        "status": "refused" if reason else "ok",
        "reason": reason,
        "msd_curve": {
            "lag_ps": tracer.lags_ps.tolist(),
            "msd_A2": tracer.msd_A2.tolist(),
            "msd_std_A2": tracer.msd_std_A2.tolist(),
            "fit_A2": tracer.fit_A2.tolist(),
        },
    }
    return Motion(tracer, jump, _finite(label))


def _transport(
    tracer: Diffusivity,
    jump: Diffusivity,
    reason: str,
    trajectory: Trajectory,
    working_ion: str,
    n_ions: int,
    temperature_K: float,
) -> Label:
    """Diffusivities and conductivity; None for what cannot be quoted.

    The conductivity is that of the ions' collective motion where its diffusivity can be quoted,
    else Nernst-Einstein's with the tracer diffusivity and a Haven ratio of 1.
    """
    quoted = not reason
    both = quoted and not jump.reason
    density = float(carrier_density(n_ions, trajectory.volume_A3))
    charge = _charge(working_ion)

    def conductivity(D: float) -> float | None:
        return float(nernst_einstein(D, density, temperature_K, charge)) if quoted else None

    source = jump if both else tracer
    ratio = float(haven_ratio(tracer.value_cm2_s, jump.value_cm2_s)) if both else None
    spread = 10 ** (SIGMAS * math.hypot(tracer.log10_std, jump.log10_std)) if both else math.nan
    lower = tracer.lower_cm2_s if quoted else None
    return {
        "tracer_diffusivity_cm2_s": tracer.value_cm2_s if quoted else None,
        "tracer_diffusivity_cm2_s_lower": lower,
        "tracer_diffusivity_cm2_s_upper": tracer.upper_cm2_s,
        "log10_tracer_diffusivity_std": tracer.log10_std if quoted else None,
        "jump_diffusivity_cm2_s": jump.value_cm2_s if both else None,
        "jump_diffusivity_cm2_s_lower": jump.lower_cm2_s if both else None,
        "jump_diffusivity_cm2_s_upper": jump.upper_cm2_s,
        "haven_ratio": ratio,
        "haven_ratio_lower": None if ratio is None else ratio / spread,
        "haven_ratio_upper": None if ratio is None else ratio * spread,
        "conductivity_S_cm": conductivity(source.value_cm2_s),
        "conductivity_S_cm_lower": conductivity(source.lower_cm2_s),
        "conductivity_S_cm_upper": conductivity(source.upper_cm2_s),
        "conductivity_from": (
            "jump diffusivity" if both else "tracer diffusivity, Haven ratio taken as 1"
        )
        if quoted
        else None,
        "nernst_einstein_conductivity_S_cm": conductivity(tracer.value_cm2_s),
        "ion_density_cm3": density,
        "fit_onset_ps": tracer.lags_ps[0] if len(tracer.lags_ps) else None,
    }


def arrhenius_label(labels: Sequence[Mapping[str, Any]]) -> Label:
    """Activation energy and 300 K values from labels of several temperatures.

    Args:
        labels: As `motion` gives them; those without a diffusivity are left out.

    Returns:
        The fit, or ``status`` ``refused`` with a reason. Intervals are 95 %. Values outside of the
        range of the temperatures are marked as extrapolated: they hold if nothing changes on the
        way down, neither the phase nor the mechanism.
    """
    usable = [label for label in labels if label["status"] == "ok"]
    temperatures = sorted({float(label["temperature_K"]) for label in usable})
    if len(temperatures) < 2:
        return {
            "status": "refused",
            "reason": f"a diffusivity at {len(temperatures)} temperature(s); at least 2 are needed",
        }
    fit = fit_arrhenius(
        [label["temperature_K"] for label in usable],
        [math.log10(label["tracer_diffusivity_cm2_s"]) for label in usable],
        [label["log10_tracer_diffusivity_std"] for label in usable],
    )
    energy, std = fit.activation_energy_eV, fit.activation_energy_std_eV
    value, value_std = (float(x) for x in fit.predict(ROOM_TEMPERATURE_K))
    D = [10 ** (value + z * value_std) for z in (0.0, -SIGMAS, SIGMAS)]
    density = float(np.mean([label["ion_density_cm3"] for label in usable]))
    charge = _charge(str(usable[0]["working_ion"]))
    sigma = [float(nernst_einstein(d, density, ROOM_TEMPERATURE_K, charge)) for d in D]
    result: Label = {
        "temperatures_K": temperatures,
        "activation_energy_eV": energy,
        "activation_energy_eV_lower": energy - SIGMAS * std,
        "activation_energy_eV_upper": energy + SIGMAS * std,
        "log10_prefactor_cm2_s": fit.log10_prefactor,
        "conductivity_300K_from": "tracer diffusivity, Haven ratio taken as 1",
        "extrapolated": not temperatures[0] <= ROOM_TEMPERATURE_K <= temperatures[-1],
        "status": "ok",
        "reason": "",
    }
    for suffix, d, s in zip(("", "_lower", "_upper"), D, sigma, strict=True):
        result[f"tracer_diffusivity_300K_cm2_s{suffix}"] = d
        result[f"conductivity_300K_S_cm{suffix}"] = s
    found: Label = _finite(result)
    return found


def _charge(ion: str) -> int:
    """Size of an ion's charge; anions may move, too."""
    element = Element(ion)
    return ion_charge(ion) if element.is_metal else abs(int(element.common_oxidation_states[0]))


def _finite(data: Any) -> Any:
    """The same with None in place of what is not a finite number: JSON knows no nan."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
