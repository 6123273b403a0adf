"""Crystals -> diffusivities of all their ions at once, by kinetic Monte Carlo on their hops.

Barriers are those of a model of hops. How many ions there are, and on which sites, is what was
refined: where sites are partly filled, site energies are fitted to the occupancies, as those of
models are off by several times what these allow. Where all are full, jumps need vacancies, whose
number no crystal states: a label needs it given. What is simulated and measured stands in
:mod:`ionbridge.structures.transport.kinetic_monte_carlo`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.checkpoint import model_checksum
from ionbridge.models.library import DEFAULTS, find
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import Executor
from ionbridge.screening.labelling.dynamics.diffusion_label import (
    SIGMAS,
    Label,
    arrhenius_label,
)
from ionbridge.screening.labelling.dynamics.kmc_gas import gas_of_crystal, repulsion
from ionbridge.screening.labelling.dynamics.label_file import growing_labels
from ionbridge.screening.prediction.conduction import (
    Conditions,
    hop_network_row,
    one_sigma,
    sampled_barriers,
    site_energies,
)
from ionbridge.screening.prediction.crystals import hops_and_energies
from ionbridge.screening.temperatures import check_temperatures
from ionbridge.structures.records import (
    CHARGE_NUMBER,
    Crystal,
    FailedRecord,
    UnusableStructureError,
)
from ionbridge.structures.transport.closed_forms import (
    PREFACTOR_STD_DECADES,
    carrier_density,
    decades_per_eV,
    nernst_einstein,
)
from ionbridge.structures.transport.hop_network import carrier_network, percolation_barriers
from ionbridge.structures.transport.kinetic_monte_carlo import (
    JUMPS_PER_ION,
    GasTransport,
    transport,
    without_rattling,
)
from ionbridge.structures.transport.lattice_gas import MIN_SITES, enlarged

METHOD = "kmc"
MIN_CARRIERS = 10
"""Ions, and vacancies, in the cell that is simulated."""
MOVED_SIGMAS = 3.0
"""A correlation factor that is not by so many standard errors above zero shows no diffusion."""
UNSEEN_JUMPS = 3.0
"""Upper end, at 95 %, of a number of events of which none was seen: this many net jumps of all that
were counted are the least correlation factor that a run can show."""
FASTEST_CM2_S, HIGHEST_S_CM = 1e-4, 1.0
"""No ion is known to move faster in a solid, or to carry more."""
SINGLE_FILE = (
    "ions in a channel cannot pass each other: tracer diffusivity and Haven ratio fall with time "
    "and with the length of the cell; the jump diffusivity holds"
)
LEAST_STD = 1e-4
"""Relative standard error of what came out without noise."""
TRACER, JUMP = "tracer_diffusivity_cm2_s", "jump_diffusivity_cm2_s"
TRACER_STD, JUMP_STD = "log10_tracer_diffusivity_std", "log10_jump_diffusivity_std"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KmcSettings:
    """What is simulated.

    Attributes:
        temperatures_K: Temperatures in K, each once, from COLDEST_K to HOTTEST_K.
        model: Name or folder of the model of hop barriers.
        vacancy_fraction: Share of the ions that is missing where all their sites are full; None
            refuses such crystals.
        dielectric_constant: Of the medium in which ions repel each other; None for no repulsion but
            that of sites closer than EXCLUSION_A, which exclude each other.
        jumps_per_ion: Length of a run, in the mean over ions.
        attempt_frequency_THz: Of every hop.
        seed: Of the random numbers.

    Raises:
        InputError: A value that cannot be.
    """

    temperatures_K: tuple[float, ...] = (300.0,)
    model: str = DEFAULTS["migration_barrier"]
    vacancy_fraction: float | None = None
    dielectric_constant: float | None = None
    jumps_per_ion: int = JUMPS_PER_ION
    attempt_frequency_THz: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        check_temperatures(self.temperatures_K)
        if self.vacancy_fraction is not None and not 1e-3 <= self.vacancy_fraction <= 0.999:
            raise InputError(
                "the vacancy fraction is a share of the ions, from 0.001 to 0.999, not "
                f"{self.vacancy_fraction:g}"
            )
        if self.dielectric_constant is not None and not 1 <= self.dielectric_constant < math.inf:
            raise InputError(
                f"a dielectric constant is 1 or more, not {self.dielectric_constant:g}"
            )
        if self.jumps_per_ion < 100:
            raise InputError(f"{self.jumps_per_ion} jumps an ion are too few, at least 100")
        if self.seed < 0:
            raise InputError(f"a seed is 0 or more, not {self.seed}")


@dataclass(frozen=True)
class KmcLabeller:
    """Crystals to labels; the work of one process.

    Attributes:
        settings: See there.
    """

    settings: KmcSettings

    def __call__(self, crystals: Sequence[Crystal]) -> list[Label]:
        """One label a crystal; one that cannot be simulated gives the reason."""
        return [self._label(crystal) for crystal in crystals]

    def _label(self, crystal: Crystal) -> Label:
        started = time.process_time()
        try:
            label = simulated(crystal, self.settings)
        except (UnusableStructureError, ValueError) as error:
            return failed_label(crystal, str(error))
        except Exception as error:  # one crystal of many: a label, with the kind of error
            return failed_label(crystal, f"{type(error).__name__}: {error}")
        return {**label, "cpu_s": round(time.process_time() - started, 1)}


def failed_label(crystal: Crystal | FailedRecord, reason: str) -> Label:
    """The label of a crystal that was not simulated."""
    reason = " ".join(reason.removeprefix(f"{crystal.id}: ").split())
    formula = crystal.formula
    return {
        "id": crystal.id,
        "formula": formula,
        "method": METHOD,
        "runs": [],
        "arrhenius": arrhenius_label([]),
        "status": "failed",
        "reason": reason,
    }


def simulated(crystal: Crystal, settings: KmcSettings) -> Label:
    """The label of a crystal: its runs, their Arrhenius fit, and what was assumed.

    Raises:
        UnusableStructureError: No hops, no ions, no empty sites, or hops that do not connect.
        ValueError: More ions than fit on their sites.
    """
    graph, energies = hops_and_energies(crystal, settings.model)
    if graph.working_ion not in CHARGE_NUMBER:
        raise UnusableStructureError(
            f"{crystal.id}: {graph.working_ion} is no mobile ion known here; expected one of "
            f"{', '.join(CHARGE_NUMBER)}"
        )
    at = Conditions(settings.temperatures_K[0], settings.attempt_frequency_THz)
    row = hop_network_row(graph, energies, at)
    kra = energies.central_kra_eV
    gas, carriers, of_sites = gas_of_crystal(
        graph,
        site_energies(graph, energies).mean(axis=0),
        kra,
        settings.vacancy_fraction,
        settings.dielectric_constant,
        settings.seed,
    )
    barrier = percolation_barriers(carrier_network(graph, gas.site_energy_eV, kra))[0]
    sites = np.broadcast_to(gas.site_energy_eV, (len(energies.kra_eV), gas.n_sites))
    spread = one_sigma(sampled_barriers(graph, sites, energies, at))
    missing = gas.n_sites - gas.n_ions - (0.0 if gas.taken is None else float(gas.taken.sum()))
    fewer = min(missing, gas.n_ions)
    big = enlarged(
        gas, max(MIN_SITES, math.ceil(MIN_CARRIERS * gas.n_sites / fewer)), settings.seed
    )
    density = float(carrier_density(gas.n_ions, graph.crystal.volume_A3))
    runs = []
    for kelvin in settings.temperatures_K:
        slowed = without_rattling(graph, gas.site_energy_eV, kra, kelvin)[graph.orbit]
        found = transport(
            replace(big, kra_eV=np.tile(slowed, big.n_sites // gas.n_sites)),
            kelvin,
            settings.attempt_frequency_THz,
            settings.jumps_per_ion,
            settings.seed,
        )
        run = run_label(found, graph.working_ion, kelvin, density)
        run["log10_diffusivity_model_std"] = math.hypot(
            spread * float(decades_per_eV(kelvin)), PREFACTOR_STD_DECADES
        )
        run["flags"] += [SINGLE_FILE] if row["percolation_dimensionality"] == 1 else []
        runs.append(run)
    quoted = any(run["status"] == "ok" for run in runs)
    return {
        "id": crystal.id,
        "formula": crystal.formula,
        "working_ion": graph.working_ion,
        "family": crystal.family,
        "source": crystal.source,
        "method": METHOD,
        "carriers": carriers,
        "site_energies": of_sites,
        "repulsion": repulsion(settings.dielectric_constant),
        "percolation_barrier_eV": float(barrier),
        "percolation_barrier_std_eV": spread,
        "in_domain": row["in_domain"],
        "n_sites_simulated": big.n_sites,
        "n_ions_simulated": big.n_simulated,
        "n_unique_hops": len(graph.hops),
        "runs": runs,
        "arrhenius": arrhenius(runs),
        "status": "ok" if quoted else "refused",
        "reason": "" if quoted else runs[0]["reason"],
    }


def run_label(
    found: GasTransport, working_ion: str, temperature_K: float, density_cm3: float
) -> dict[str, Any]:
    """The label of one temperature; intervals are 95 % and of the sampling alone.

    Where the ions as a whole went less far than UNSEEN_JUMPS jumps, beyond doubt, they are frozen
    on their sites, and both diffusivities are refused.

    Args:
        found: What the ions did.
        working_ion: Their symbol.
        temperature_K: T in K.
        density_cm3: Of all ions.
    """
    f, f_std = found.correlation_factor, found.correlation_factor_std
    f_I, f_I_std = found.collective_correlation_factor, found.collective_correlation_factor_std
    least = UNSEEN_JUMPS / found.n_jumps
    frozen = f_I + SIGMAS * f_I_std < least
    moved = not frozen and f > max(MOVED_SIGMAS * f_std, least)
    carried = f_I > max(MOVED_SIGMAS * f_I_std, least)
    tracer = _quoted(TRACER, TRACER_STD, found, f, f_std, moved)
    jump = _quoted(JUMP, JUMP_STD, found, f_I, f_I_std, carried)
    per_diffusivity = float(
        nernst_einstein(1.0, density_cm3, temperature_K, CHARGE_NUMBER[working_ion])
    )
    conductivity = {
        f"conductivity_S_cm{end}": None if (D := jump[JUMP + end]) is None else D * per_diffusivity
        for end in ("", "_lower", "_upper")
    }
    ratio = found.haven_ratio if moved and carried else None
    return {
        "working_ion": working_ion,
        "temperature_K": temperature_K,
        "n_jumps": found.n_jumps,
        **tracer,
        **jump,
        "tracer_correlation_factor": f,
        "tracer_correlation_factor_std": f_std,
        "collective_correlation_factor": f_I,
        "collective_correlation_factor_std": f_I_std,
        "haven_ratio": ratio,
        "haven_ratio_std": ratio and ratio * math.hypot(f_std / f, f_I_std / f_I),
        **conductivity,
        "ion_density_cm3": density_cm3,
        "flags": _flags(tracer[TRACER], conductivity["conductivity_S_cm"]),
        "status": "ok" if moved else "refused",
        "reason": "" if moved else _why_refused(frozen, found.n_jumps),
    }


def _why_refused(frozen: bool, n_jumps: int) -> str:
    """Of a run that shows no diffusion."""
    what = "as a whole they went nowhere" if frozen else "none got anywhere"
    return f"the ions jumped to and fro: {what} in {n_jumps} jumps; the upper ends are bounds"


def _flags(diffusivity: float | None, conductivity: float | None) -> list[str]:
    """What is not to be believed."""
    if (diffusivity or 0.0) <= FASTEST_CM2_S and (conductivity or 0.0) <= HIGHEST_S_CM:
        return []
    return [
        f"above what solids show ({FASTEST_CM2_S:g} cm2/s, {HIGHEST_S_CM:g} S/cm): the barriers "
        "are predicted too low"
    ]


def _quoted(
    column: str, std_column: str, found: GasTransport, factor: float, std: float, shown: bool
) -> dict[str, float | None]:
    """A diffusivity with its 95 % interval; where none is shown the upper end alone."""
    free = found.free_diffusivity_cm2_s
    upper = max(max(factor, 0.0) + SIGMAS * std, UNSEEN_JUMPS / found.n_jumps) * free
    if not shown:
        return {column: None, f"{column}_lower": None, f"{column}_upper": upper, std_column: None}
    relative = math.hypot(std / factor, found.free_diffusivity_std_cm2_s / free, LEAST_STD)
    spread = math.exp(SIGMAS * relative)
    return {
        column: factor * free,
        f"{column}_lower": factor * free / spread,
        f"{column}_upper": factor * free * spread,
        std_column: relative / math.log(10.0),
    }


def arrhenius(runs: Sequence[Label]) -> Label:
    """Activation energy and 300 K values; the conductivity follows from the jump diffusivity."""
    fit = arrhenius_label(runs)
    jump = arrhenius_label(
        [{**run, TRACER: run[JUMP], TRACER_STD: run[JUMP_STD]} for run in runs if run[JUMP]]
    )
    if fit["status"] != "ok" or jump["status"] != "ok":
        return fit
    own = {key: jump[key] for key in jump if key.startswith("conductivity_300K_S_cm")}
    ends = ("", "_lower", "_upper")
    return {
        **fit,
        **own,
        "conductivity_300K_from": "jump diffusivity",
        **{
            f"conductivity_activation_energy_eV{end}": jump[f"activation_energy_eV{end}"]
            for end in ends
        },
    }


def kmc_labels(
    records: Sequence[Crystal | FailedRecord], settings: KmcSettings, out: Path, executor: Executor
) -> Iterator[list[Label]]:
    """The labels so far, after every crystal; the file grows with them and is gone on with.

    Args:
        records: Crystals, their ids unique.
        settings: See there.
        out: JSON document, ``{"labels": [...]}``.
        executor: Where they are simulated.

    Yields:
        One label a record, in their order; the last list is the whole answer.

    Raises:
        InputError: The file holds something else, or labels made with other settings, or another
            process works on it.
    """
    decides = {**asdict(settings), "model_sha256": model_checksum(find(settings.model))}
    work = KmcLabeller(settings)
    yield from growing_labels(records, work, failed_label, METHOD, decides, out, executor)
