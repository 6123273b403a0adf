"""Entries that are physics: exact formulas and closed forms, with the errors they carry along."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ionbridge.models.library import DEFAULTS, find, folders
from ionbridge.models.validation import errors_by_domain
from ionbridge.screening.planning.catalogue import (
    Conditions,
    Entry,
    StepContext,
    Tables,
    ValidatedError,
)
from ionbridge.screening.planning.records import (
    ORIGIN,
    composition_in,
    composition_of,
    crystal_of,
    failed,
    hop_of,
    row_by_row,
)
from ionbridge.screening.table import Row
from ionbridge.structures.chemistry.oxidation import BRANCHES
from ionbridge.structures.quantities import QUANTITIES
from ionbridge.structures.records import CHARGE_NUMBER, Crystal, UnusableStructureError
from ionbridge.structures.transport.closed_forms import PREFACTOR_STD_DECADES, nernst_einstein
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, FARADAY_C_PER_MOL, MAH_PER_C

if TYPE_CHECKING:  # steps import what they run; seconds that a list of entries does not need
    from ionbridge.models.barriers.hop_model import HopEnergies

EXACT = ValidatedError(0.0, 0, "exact formula")
HAVEN_STD_DECADES = 0.3
"""Correlated motion (Haven ratio 0.3 to 1) that the Nernst-Einstein relation is not told."""
CARRIER_STD_DECADES = 1.0
"""One carrier a formula unit is an upper bound; doping decides."""
BOND_VALENCE_STD_EV = 0.75
"""Bond-valence barriers against 524 DFT ones, one sigma (benchmarks/results/hop_barriers)."""
TYPICAL_VOLTAGE_V, TYPICAL_CAPACITY_MAH_G = 3.5, 150.0
"""Where the product voltage x capacity is linearised for its error."""
MAE_TO_STD = 1.2533
"""One standard deviation of a normal error over its mean size, sqrt(pi / 2)."""
FEWEST_LABELS = 4
"""Fewer say nothing of a model."""
BRUGGEMAN = 1.5
"""Exponent of effective over bulk transport, porosity ** 1.5 (Bruggeman 1935, spheres)."""


def formula_entries() -> tuple[Entry, ...]:
    """All entries that are formulas: published physics, no training."""
    return (
        Entry(
            name="hop-finder",
            kind="formula",
            about="sites and symmetry-unique hops of the mobile ion, on bond-valence paths",
            inputs=("crystal",),
            outputs=("hop",),
            fidelity="physics",
            cost_s=0.3,
            run=_find_hops,
        ),
        Entry(
            name="composition-of-crystal",
            kind="formula",
            about="formula, cell and space group of a crystal",
            inputs=("crystal",),
            outputs=("composition",),
            fidelity="physics",
            cost_s=0.02,
            run=_compositions,
        ),
        Entry(
            name="bond-valence-path",
            kind="formula",
            about="barrier of the bond-valence minimum-energy path (softBV), not calibrated",
            inputs=("hop",),
            outputs=("migration_barrier",),
            fidelity="bond_valence",
            cost_s=0.1,
            errors={
                "migration_barrier": {
                    "all": ValidatedError(BOND_VALENCE_STD_EV, 524, "524 DFT-NEB hops")
                }
            },
            judge=_bond_valence_on_labels,
            run=_bond_valence,
        ),
        Entry(
            name="crystal-conduction",
            kind="formula",
            about="the estimate of `predict`: measured compositions and hops combined",
            inputs=("crystal",),
            outputs=("conductivity", "diffusivity"),
            fidelity="learnt",
            cost_s=0.5,
            errors=_estimate_errors(),
            conditions=("temperature_K",),
            missing="" if DEFAULTS["conduction"] in folders() else "its model is not shipped",
            run=_crystal_conduction,
        ),
        Entry(
            name="jump-network",
            kind="formula",
            about="percolation barrier and exact diffusion tensor of the periodic jump network",
            inputs=("crystal", "migration_barrier"),
            outputs=("percolation_barrier", "diffusivity", "carrier_density"),
            fidelity="physics",
            cost_s=0.4,
            errors={
                "percolation_barrier": {"all": EXACT},
                "diffusivity": {
                    "all": ValidatedError(
                        PREFACTOR_STD_DECADES, 0, "spread of attempt frequencies, not validated"
                    )
                },
                "carrier_density": {
                    "all": ValidatedError(
                        CARRIER_STD_DECADES, 0, "one carrier a formula unit, an upper bound"
                    )
                },
            },
            sensitivities=_network_slopes,
            conditions=("temperature_K",),
            run=_jump_network,
        ),
        Entry(
            name="nernst-einstein",
            kind="formula",
            about="conductivity n (z e)^2 D / kT of independent carriers",
            inputs=("diffusivity", "carrier_density"),
            outputs=("conductivity",),
            fidelity="physics",
            cost_s=1e-4,
            errors={
                "conductivity": {
                    "all": ValidatedError(HAVEN_STD_DECADES, 0, "Haven ratio of 0.3 to 1")
                }
            },
            sensitivities=lambda at: {
                ("conductivity", "diffusivity"): 1.0,
                ("conductivity", "carrier_density"): 1.0,
            },
            conditions=("temperature_K",),
            run=_nernst_einstein,
        ),
        Entry(
            name="faraday-capacity",
            kind="formula",
            about="capacity of all working ions, limited by the redox steps of the metals",
            inputs=("composition",),
            outputs=("gravimetric_capacity",),
            fidelity="physics",
            cost_s=1e-3,
            errors={
                "gravimetric_capacity": {
                    "all": ValidatedError(30.0, 0, "upper bound; hosts release 70 to 100 % of it")
                }
            },
            run=_capacity,
        ),
        Entry(
            name="specific-energy",
            kind="formula",
            about="voltage times capacity, active material alone",
            inputs=("voltage", "gravimetric_capacity"),
            outputs=("specific_energy",),
            fidelity="physics",
            cost_s=1e-4,
            errors={"specific_energy": {"all": EXACT}},
            sensitivities=lambda at: {
                ("specific_energy", "voltage"): TYPICAL_CAPACITY_MAH_G,
                ("specific_energy", "gravimetric_capacity"): TYPICAL_VOLTAGE_V,
            },
            run=_specific_energy,
        ),
        Entry(
            name="porous-electrode",
            kind="formula",
            about="effective transport (Bruggeman) and loading from an electrode design",
            inputs=("electrode_design", "gravimetric_capacity"),
            outputs=("effective_transport", "tortuosity", "loading"),
            fidelity="physics",
            cost_s=1e-4,
            errors={
                "effective_transport": {
                    "all": ValidatedError(0.05, 0, "Bruggeman exponents of 1.5 to 2.5")
                },
                "tortuosity": {"all": ValidatedError(0.5, 0, "Bruggeman exponents of 1.5 to 2.5")},
                "loading": {"all": EXACT},
            },
            sensitivities=lambda at: {("loading", "gravimetric_capacity"): 0.02},
            run=_electrode,
        ),
        Entry(
            name="metastability",
            kind="formula",
            about="chance that a crystal lies as near the hull as nine of ten observed phases",
            inputs=("energy_above_hull",),
            outputs=("stability",),
            fidelity="physics",
            cost_s=1e-4,
            errors={
                "stability": {
                    "all": ValidatedError(
                        0.3, 0, "observed phases reach beyond 67 meV/atom; a chance, no verdict"
                    )
                }
            },
            run=_metastability,
        ),
    )


def _network_slopes(at: Conditions) -> Mapping[tuple[str, str], float]:
    """Decades of diffusivity that an eV of barrier costs, 1 / (k_B T ln 10)."""
    decades = 1.0 / (BOLTZMANN_EV_PER_K * at.temperature_K * math.log(10.0))
    return {
        ("percolation_barrier", "migration_barrier"): 1.0,
        ("diffusivity", "migration_barrier"): decades,
    }


def _find_hops(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.structures.frameworks.families import family as family_of
    from ionbridge.structures.hops.sites import find_hops
    from ionbridge.structures.io.json_records import hop_to_json

    rows: list[Row] = []
    for row in tables["crystal"]:
        try:
            crystal = crystal_of(row)
            family = crystal.family or family_of(crystal)
            for hop in find_hops(crystal).hops:
                stated = hop_to_json(hop)
                rows.append({**stated, "family": family, ORIGIN: crystal.id, "status": "ok"})
        except Exception as error:  # one crystal of many: a row with its reason
            rows.append({**failed(row, str(error)), ORIGIN: row["id"]})
    return {"hop": rows}


def _estimate_errors() -> Mapping[str, Mapping[str, ValidatedError]]:
    """Errors against measured conductivities; those of the diffusivity are the same decades."""
    if DEFAULTS["conduction"] not in folders():
        return {}
    found = errors_by_domain(find(DEFAULTS["conduction"]))
    own = {
        scope: ValidatedError(e.std, e.n_rows, "measured, unseen", e.half_90)
        for scope, e in found.items()
    }
    return {"conductivity": own, "diffusivity": own}


def estimated_row(crystal: Crystal, temperature_K: float, seed: int) -> Row:
    """The row that ``predict`` gives for a crystal.

    Raises:
        UnusableStructureError: It gives none; with its reason.
    """
    from ionbridge.screening.prediction.conduction import Conditions as ConductionConditions
    from ionbridge.screening.prediction.crystals import CrystalPredictor

    at = ConductionConditions(temperature_K=temperature_K, seed=seed)
    (row,) = CrystalPredictor(DEFAULTS["migration_barrier"], at)([crystal])
    if row["status"] != "ok":
        raise UnusableStructureError(f"{crystal.id}: {row['reason']}")
    return row


def _crystal_conduction(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    found = row_by_row(
        tables["crystal"],
        lambda row: estimated_row(crystal_of(row), context.at.temperature_K, context.at.seed),
    )
    return {
        name: [
            row
            if row["status"] == "failed"
            else {
                "id": row["candidate_id"],
                QUANTITIES[name].column: row[QUANTITIES[name].column],
                "std": row[QUANTITIES[name].spread],
                "in_domain": row["in_domain"],
                "working_ion": row["working_ion"],
                "carrier": row["carrier"],
                "percolation_dimensionality": row["percolation_dimensionality"],
                "status": "ok",
            }
            for row in found
        ]
        for name in ("conductivity", "diffusivity")
    }


def _compositions(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    return {
        "composition": row_by_row(tables["crystal"], lambda row: composition_in(crystal_of(row)))
    }


def _bond_valence(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.structures.hops.hop_profile import profiled

    def barrier(row: Row) -> Row:
        profile = profiled(hop_of(row)).extra.get("bvse_profile_eV")
        if profile is None:
            raise UnusableStructureError("no bond valences for this chemistry")
        top, difference = max(profile) - profile[0], profile[-1] - profile[0]
        return {
            **hop_row(row, top, BOND_VALENCE_STD_EV, True),
            "start_eV": [0.0],
            "end_eV": [difference],
            "kra_eV": [max(top - 0.5 * difference, 0.5 * abs(difference))],
        }

    return {"migration_barrier": row_by_row(tables["hop"], barrier)}


def _bond_valence_on_labels(tables: Tables) -> Mapping[str, ValidatedError]:
    """Its error on labelled hops that are given, values alone: it was trained on none."""
    labels = {hop.id: hop for hop in map(hop_of, tables["hop_labels"]) if hop.bound == "="}
    rows = [row for row in tables["hop_labels"] if row["id"] in labels]
    found = _bond_valence({"hop": rows}, StepContext(Conditions(), Path()))
    gaps = [
        abs(row["migration_barrier_eV"] - (labels[row["id"]].barrier_eV or 0.0))
        for row in found["migration_barrier"]
        if row["status"] == "ok"
    ]
    if len(gaps) < FEWEST_LABELS:
        return {}
    error = ValidatedError(
        MAE_TO_STD * float(np.mean(gaps)), len(gaps), f"{len(gaps)} labels given"
    )
    return {"migration_barrier": error}


def hop_row(row: Row, barrier_eV: float, std_eV: float, in_domain: bool) -> Row:
    """A row of ``migration_barrier`` for a row of ``hop``."""
    return {
        "id": row["id"],
        ORIGIN: row.get(ORIGIN),
        "migration_barrier_eV": float(barrier_eV),
        "std": float(std_eV),
        "in_domain": bool(in_domain),
        "status": "ok",
    }


def _jump_network(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.prediction.conduction import Conditions as ConductionConditions
    from ionbridge.screening.prediction.conduction import conduction_row
    from ionbridge.structures.hops.sites import find_hops

    by_id = {row["id"]: row for row in tables["migration_barrier"]}
    at = ConductionConditions(temperature_K=context.at.temperature_K, seed=context.at.seed)

    def network(row: Row) -> Row:
        crystal = crystal_of(row)
        graph = find_hops(crystal)
        known = [by_id.get(hop.id, {"id": hop.id, "status": "missing"}) for hop in graph.hops]
        for own in known:
            if own.get("status") != "ok":
                raise UnusableStructureError(f"no barrier of {own['id']}: {own.get('reason', '')}")
        energies = _energies(known)
        return {"id": crystal.id, **conduction_row(graph, energies, at, crystal.lattice)}

    found = row_by_row(tables["crystal"], network)
    result: dict[str, list[Row]] = {}
    for name in ("percolation_barrier", "diffusivity"):
        known = QUANTITIES[name]
        result[name] = [
            row
            if row.get("status") == "failed"
            else {
                "id": row["id"],
                known.column: row[known.column],
                "std": row[known.spread],
                "in_domain": row["in_domain"],
                "working_ion": row["working_ion"],
                "carrier": row["carrier"],
                "percolation_dimensionality": row["percolation_dimensionality"],
                "status": "ok",
            }
            for row in found
        ]
    result["carrier_density"] = [
        row
        if row.get("status") == "failed"
        else {
            "id": row["id"],
            "log10_carrier_density_cm3": math.log10(row["carrier_density_cm3"]),
            "std": CARRIER_STD_DECADES,
            "in_domain": True,
            "working_ion": row["working_ion"],
            "status": "ok",
        }
        for row in found
    ]
    return result


def _energies(rows: Sequence[Row]) -> HopEnergies:
    """Site energies and saddles from rows of barriers; symmetric where only a barrier is known."""
    from ionbridge.models.barriers.hop_model import HopEnergies

    n = max(len(row.get("kra_eV", (0,))) for row in rows)

    def column(key: str, otherwise: Callable[[Row], float]) -> np.ndarray:
        values = [row.get(key) or [otherwise(row)] for row in rows]
        return np.array([np.resize(np.asarray(v, dtype=float), n) for v in values]).T

    return HopEnergies(
        column("start_eV", lambda row: 0.0),
        column("end_eV", lambda row: 0.0),
        column("kra_eV", lambda row: row["migration_barrier_eV"]),
        np.array([row.get("aleatoric_std_eV", row.get("std", 0.0)) for row in rows], dtype=float),
        np.array([bool(row.get("in_domain", True)) for row in rows]),
    )


def _pairs(first: Sequence[Row], second: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows of two quantities that belong together: by id, or one for all.

    A first row without a partner gets a failed one.
    """
    if len(second) == 1 and (len(first) == 1 or first[0]["id"] != second[0]["id"]):
        return [(row, second[0]) for row in first]
    if len(first) == 1 and len(second) > 1:
        return [({**first[0], "id": row["id"]}, row) for row in second]
    others = {row["id"]: row for row in second}
    return [(row, others.get(row["id"], failed(row, "no partner"))) for row in first]


def combined(
    first: Sequence[Row], second: Sequence[Row], combine: Callable[[Row, Row], Row]
) -> list[Row]:
    """Rows of two quantities put together: by id, or one for all."""

    def one(pair: Row) -> Row:
        a, b = pair["first"], pair["second"]
        for row in (a, b):
            if row.get("status", "ok") != "ok":
                raise UnusableStructureError(row.get("reason", "an earlier step failed"))
        inside = a.get("in_domain", True) and b.get("in_domain", True)
        return {"id": a["id"], **combine(a, b), "in_domain": inside, "status": "ok"}

    pairs = [{"id": a["id"], "first": a, "second": b} for a, b in _pairs(first, second)]
    return row_by_row(pairs, one)


def _nernst_einstein(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def conductivity(diffusivity: Row, density: Row) -> Row:
        if diffusivity.get("diffusivity_kind") == "tracer":
            raise UnusableStructureError(
                "its diffusivity is that of all ions (tracer), the density that of carriers: their "
                "product is no conductivity"
            )
        ion = diffusivity.get("working_ion") or density.get("working_ion") or "Li"
        factor = nernst_einstein(
            1.0,
            10.0 ** density["log10_carrier_density_cm3"],
            context.at.temperature_K,
            charge=CHARGE_NUMBER.get(ion, 1),
        )
        value = diffusivity["log10_diffusivity_cm2_s"] + math.log10(float(factor))
        std = math.hypot(diffusivity["std"], density["std"], HAVEN_STD_DECADES)
        return {"log10_conductivity_S_cm": value, "std": std}

    return {
        "conductivity": combined(tables["diffusivity"], tables["carrier_density"], conductivity)
    }


def _capacity(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.planning.inputs import row_ion

    def capacity(row: Row) -> Row:
        record = composition_of(row)
        ion = row_ion(row)
        if ion is None:
            raise UnusableStructureError(f"{record.id}: no working ion in {record.formula}")
        charges = CHARGE_NUMBER.get(ion, 1) * float(record.composition[ion])
        limit = min(charges, _redox_electrons(record.composition.get_el_amt_dict()) or charges)
        per_gram = FARADAY_C_PER_MOL * MAH_PER_C / float(record.composition.weight)
        return {
            "id": record.id,
            "gravimetric_capacity_mAh_g": limit * per_gram,
            "std": 0.2 * limit * per_gram,
            "in_domain": True,
            "status": "ok",
        }

    return {"gravimetric_capacity": row_by_row(tables["composition"], capacity)}


def _redox_electrons(amounts: Mapping[str, float]) -> float:
    """Electrons that the metals can still give, by their usual oxidation states."""
    from ionbridge.structures.chemistry.composition import formula_oxidation_states

    try:
        states: Mapping[str, float] = formula_oxidation_states(amounts)
    except UnusableStructureError:
        return 0.0
    total = 0.0
    for symbol, amount in amounts.items():
        usual = BRANCHES[symbol][0]
        highest = usual.lowest + len(usual.steps_V)
        if states[symbol] > 0:
            total += amount * max(highest - states[symbol], 0.0)
    return total


def _specific_energy(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def energy(voltage: Row, capacity: Row) -> Row:
        V, Q = voltage["voltage_V"], capacity["gravimetric_capacity_mAh_g"]
        return {
            "specific_energy_Wh_kg": V * Q,
            "std": math.hypot(voltage["std"] * Q, capacity["std"] * V),
        }

    return {"specific_energy": combined(tables["voltage"], tables["gravimetric_capacity"], energy)}


def _electrode(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    designs = tables["electrode_design"]

    def transport(row: Row) -> Row:
        return {
            "id": row["id"],
            "effective_transport": float(row["porosity"]) ** BRUGGEMAN,
            "std": 0.05,
            "in_domain": True,
            "status": "ok",
        }

    def tortuosity(row: Row) -> Row:
        return {
            "id": row["id"],
            "tortuosity": float(row["porosity"]) ** (1.0 - BRUGGEMAN),
            "std": 0.5,
            "in_domain": True,
            "status": "ok",
        }

    def loading(capacity: Row, design: Row) -> Row:
        solid = (1.0 - design["porosity"]) * design["active_fraction"]
        mass = design["thickness_um"] * 1e-4 * solid * design.get("density_g_cm3", DENSITY_G_CM3)
        return {
            "loading_mAh_cm2": mass * capacity["gravimetric_capacity_mAh_g"],
            "std": mass * capacity["std"],
        }

    return {
        "effective_transport": row_by_row(designs, transport),
        "tortuosity": row_by_row(designs, tortuosity),
        "loading": combined(tables["gravimetric_capacity"], designs, loading),
    }


DENSITY_G_CM3 = 4.0
"""Of an oxide or phosphate host, where a design states none."""


OBSERVED_EV_ATOM = 0.067
"""Nine of ten observed inorganic crystals are less far above the hull (Sun et al., Sci. Adv. 2,
e1600225 (2016))."""


def _metastability(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def chance(row: Row) -> Row:
        gap, std = OBSERVED_EV_ATOM - row["energy_above_hull_eV_atom"], float(row["std"])
        value = 0.5 * (1.0 + math.erf(gap / std / math.sqrt(2.0))) if std > 0 else float(gap >= 0)
        return {
            "id": row["id"],
            "stability": value,
            "std": 0.3,
            "in_domain": row.get("in_domain", True),
            "status": "ok",
        }

    return {"stability": row_by_row(tables["energy_above_hull"], chance)}
