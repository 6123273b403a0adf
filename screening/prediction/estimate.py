"""The one estimate of conduction that every door gives: ``predict``, ``screen``, ``plan``, cells.

:mod:`ionbridge.models.conductors.conduction_estimate` combines; here its inputs are put together
from a crystal and a row of the hop network, and its answer becomes columns of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ionbridge.models.conductors.conduction_estimate import (
    CompositionResult,
    ConductionEstimate,
    Estimate,
    HopNetworkResult,
    Value,
)
from ionbridge.models.conductors.conductivity import ConductivityTrees
from ionbridge.models.library import DEFAULTS, find
from ionbridge.screening.table import (
    ACTIVATION_ENERGY,
    BY_COMPOSITION,
    BY_HOP_NETWORK,
    DIFFUSIVITY_BY_HOP_NETWORK,
    noted,
)
from ionbridge.structures.chemistry import composition
from ionbridge.structures.chemistry.known_conductors import known_conductor
from ionbridge.structures.crystals.hidden_disorder import FULL, hidden_disorder
from ionbridge.structures.features.conductor_descriptors import conductor_ion, table_row
from ionbridge.structures.io.tables import ConductivityRow, is_room_temperature
from ionbridge.structures.quantities import QUANTITIES, Quantity
from ionbridge.structures.records import CHARGE_NUMBER, Crystal, UnusableStructureError

Row = dict[str, Any]

REFERENCE_SOURCE = "reference"
"""Source of the well-known crystals that show where a ranking stands."""


@lru_cache(maxsize=1)
def measured_compositions() -> ConductivityTrees:
    """The shipped model of measured conductivities, loaded once a process."""
    return ConductivityTrees.load(find(DEFAULTS["conductivity"]))


@lru_cache(maxsize=1)
def estimator() -> ConductionEstimate:
    """The shipped combination, loaded once a process."""
    return ConductionEstimate.load(find(DEFAULTS["conduction"]))


def of_compositions(
    rows: Sequence[ConductivityRow], unseen: bool = False
) -> list[CompositionResult | None]:
    """What measured compositions say of each row; None for an ion without any.

    Args:
        rows: (n,) rows; an unusable one gets None.
        unseen: Predict rows that the model was trained on by models that saw neither their paper
            nor their composition.
    """
    model = measured_compositions()
    usable = [i for i, row in enumerate(rows) if _is_known(row, model)]
    chosen = [rows[i] for i in usable]
    if not chosen:
        return [None] * len(rows)
    prediction, in_domain = model.predict(chosen), model.in_domain(chosen)
    result: list[CompositionResult | None] = [None] * len(rows)
    for k, i in enumerate(usable):
        mean, std = float(prediction.mean[k]), float(prediction.std[k])
        held_out = model.held_out_of(rows[i]) if unseen else None
        if held_out is not None:
            mean, std = held_out
        elements_known = model.knows_elements(rows[i])
        result[i] = CompositionResult(mean, std, bool(in_domain[k]), elements_known)
    return result


def estimated_rows(rows: Sequence[Row], crystals: Sequence[Crystal]) -> list[Row]:
    """Rows of the hop network with the estimate beside them, and what was measured where it was.

    A well-known crystal that stands in a campaign for comparison is predicted by models that saw
    neither its paper nor its composition.

    Args:
        rows: (n,) as :func:`ionbridge.screening.prediction.conduction.hop_network_row` gives them.
        crystals: (n,) their crystals, working ion known.
    """
    tables = [table_row(crystal) for crystal in crystals]
    result: list[Row | None] = [None] * len(rows)
    for unseen in (False, True):
        own = [i for i, c in enumerate(crystals) if (c.source == REFERENCE_SOURCE) == unseen]
        found = of_compositions([tables[i] for i in own], unseen)
        for i, composition_result in zip(own, found, strict=True):
            estimate = estimator().estimate(
                hop_result(rows[i], crystals[i]), composition_result, rows[i]["temperature_K"]
            )
            known = composition_result, bool(rows[i]["in_domain"])
            result[i] = {
                **rows[i],
                **estimate_columns(estimate),
                **measured(tables[i], rows[i]["temperature_K"]),
                "reason": _outside(estimate, tables[i], *known),
            }
    return [row for row in result if row is not None]


def columns_by_composition(crystal: Crystal, temperature_K: float, note: str) -> Row:
    """The columns of a crystal whose hops are not known, by measured compositions alone.

    Raises:
        UnusableStructureError: Nothing is measured of its working ion; with the note as reason.
    """
    row = table_row(crystal)
    (found,) = of_compositions([row], crystal.source == REFERENCE_SOURCE)
    if found is None:
        raise UnusableStructureError(note)
    ions = float(crystal.occupancy(str(crystal.working_ion)).sum())
    estimate = estimator().estimate(None, found, temperature_K, ions / crystal.volume_A3 * 1e24)
    notes = (*crystal.notes, f"{note}; conductivity from measured compositions alone")
    return {
        "temperature_K": temperature_K,
        **estimate_columns(estimate),
        **measured(row, temperature_K),
        "reason": _outside(estimate, row, found, hops_known=True),
        "note": noted(notes),
    }


def outside_measured(model: ConductivityTrees, row: ConductivityRow) -> str:
    """Why a row lies outside the domain of a model of measured conductivities.

    Args:
        model: The model.
        row: One that it finds outside.

    Raises:
        UnusableStructureError: It holds no working ion.
    """
    ion = conductor_ion(row)
    domain = model.domains_.get(ion)
    if domain is None:
        return f"no conductor of {ion} was measured"
    unseen = sorted({str(e) for e in row.composition} - domain.elements)
    if unseen:
        return f"no measured conductor of {ion} holds {', '.join(unseen)}"
    return "no measured composition is near"


def _outside(
    estimate: Estimate,
    row: ConductivityRow,
    found: CompositionResult | None,
    hops_known: bool,
) -> str | None:
    """Why an estimate lies outside the domain; None for one inside."""
    if estimate.in_domain:
        return None
    said = []
    if found is None or not found.in_domain:
        said.append(outside_measured(measured_compositions(), row))
    if not hops_known:
        said.append("hops unlike those that the model learnt from")
    return "; ".join(said)


def measured(row: ConductivityRow, temperature_K: float) -> Row:
    """Columns with the measured values of a known conductor and their source; empty for others.

    The conductivity is that at the temperature of the row, by its own activation energy;
    diffusivities were measured at room temperature, without a slope.
    """
    known = known_conductor(row)
    if known is None:
        return {}
    conductivity = known.log10_conductivity_at(temperature_K)
    diffusivity = known.log10_diffusivity_cm2_s
    if diffusivity is None or not is_room_temperature(temperature_K):
        mean_diffusivity = None
    else:
        mean_diffusivity = sum(diffusivity) / 2
    if conductivity is None and mean_diffusivity is None:
        return {}
    return {
        "measured_log10_conductivity_S_cm": conductivity,
        "measured_log10_diffusivity_cm2_s": mean_diffusivity,
        "measured_source": known.source,
    }


def _is_known(row: ConductivityRow, model: ConductivityTrees) -> bool:
    try:
        return conductor_ion(row) in model.domains_
    except UnusableStructureError:
        return False


def hop_result(row: Mapping[str, Any], crystal: Crystal) -> HopNetworkResult:
    """What a row of the hop network says, with what kind of crystal it is.

    Args:
        row: As :func:`ionbridge.screening.prediction.conduction.hop_network_row` gives it.
        crystal: The crystal of the row, its working ion known.
    """
    ion = str(row["working_ion"])
    sites = [site[ion] for site in crystal.species if site.get(ion, 0.0) > 0]
    host = [site for site in crystal.species if not site.get(ion, 0.0) > 0]
    hidden = hidden_disorder(crystal, ion)
    return HopNetworkResult(
        log10_diffusivity_cm2_s=row["log10_diffusivity_raw_cm2_s"],
        temperature_K=row["temperature_K"],
        barrier_eV=row["percolation_barrier_eV"],
        barrier_std_eV=row["percolation_barrier_std_eV"],
        carrier_density_cm3=row["carrier_density_cm3"],
        ion_density_cm3=sum(sites) / crystal.volume_A3 * 1e24,
        charge_number=CHARGE_NUMBER[ion],
        is_ion_full=min(sites, default=1.0) >= FULL,
        is_host_ordered=all(len(site) == 1 and sum(site.values()) >= FULL for site in host),
        is_ion_full_by_symmetry=hidden.is_ion_full,
        is_host_ordered_by_symmetry=hidden.is_host_ordered,
        is_electrode=(crystal.role or composition.role(crystal)) == "electrode",
        in_domain=bool(row["in_domain"]),
    )


def estimate_columns(estimate: Estimate) -> Row:
    """The columns of the table that an estimate fills."""
    return {
        **_columns(QUANTITIES["conductivity"], estimate.conductivity),
        **_columns(QUANTITIES["diffusivity"], estimate.diffusivity),
        **_part(BY_COMPOSITION, estimate.composition),
        **_part(BY_HOP_NETWORK, estimate.hop_network),
        **_part(DIFFUSIVITY_BY_HOP_NETWORK, estimate.hop_network_diffusivity),
        ACTIVATION_ENERGY.column: estimate.activation_energy_eV[0],
        ACTIVATION_ENERGY.spread: estimate.activation_energy_eV[1],
        "conductivity_source": estimate.conductivity_source,
        "diffusivity_source": estimate.diffusivity_source,
        "in_domain": estimate.in_domain,
    }


def _columns(quantity: Quantity, value: Value) -> Row:
    given = (value.mean, value.std, value.lower, value.upper)
    return dict(zip(quantity.columns("q05", "q95"), given, strict=True))


def _part(quantity: Quantity, value: Value | None) -> Row:
    mean, std = (None, None) if value is None else (value.mean, value.std)
    return {quantity.column: mean, quantity.spread: std}
