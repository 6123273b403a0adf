"""Entries that compute with a universal potential: slow, and good where nothing was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ionbridge.models.validation import errors_by_domain
from ionbridge.screening.planning.catalogue import Entry, StepContext, Tables, ValidatedError
from ionbridge.screening.planning.formulas import hop_row
from ionbridge.screening.planning.records import crystal_of, failed, hop_of, row_by_row, usable
from ionbridge.screening.table import Row
from ionbridge.structures.records import WORKING_IONS, UnusableStructureError
from ionbridge.structures.units import BOLTZMANN_EV_PER_K

NEB_METHOD = "mlip_neb"
"""Method of a label that a band with a universal potential has given."""
NEB = "chgnet-neb"
NEB_COST_S_AN_ATOM = 0.5
"""Of one band with CHGNet, on one core: median of the 101 starter hops of 35 to 79 atoms."""
NEB_COST_S = 60.0 * NEB_COST_S_AN_ATOM
"""Of one hop in a cell of the usual size."""
MD_COST_S = 15_000.0
"""Of three temperatures, 20 ps each, on one core."""
STATISTICAL_STD_DECADES = 0.2
"""Of a diffusivity from tens of jumps."""


NEB_VALIDATION = Path(__file__).parents[1] / "data" / NEB
"""Holds the rows of CHGNet bands against published DFT ones (benchmarks/neb_labels_vs_dft.py)."""
SIGMAS = 1.96
"""Half width of the intervals of molecular dynamics, standard deviations."""
TRACER = {"diffusivity_of": "ions (tracer)"}
"""Trajectories follow all ions: in a superionic conductor each of them is a carrier."""


def potential_entries() -> tuple[Entry, ...]:
    """CHGNet through ASE, and the analysis of trajectories that are there already."""
    chgnet = {
        "licence": "BSD-3-Clause (CHGNet)",
        "training_sets": ("Materials Project trajectories (MPtrj)",),
        "extra": "chgnet",
    }
    return (
        Entry(
            name=NEB,
            kind="potential",
            about="climbing-image nudged elastic band with CHGNet",
            inputs=("hop",),
            outputs=("migration_barrier",),
            fidelity="potential",
            cost_s=NEB_COST_S,
            errors={"migration_barrier": neb_errors()},
            run=_neb,
            **chgnet,  # type: ignore[arg-type]
        ),
        Entry(
            name="chgnet-md",
            kind="potential",
            about="molecular dynamics with CHGNet at 800 to 1200 K, extrapolated by Arrhenius",
            inputs=("crystal",),
            outputs=("diffusivity", "conductivity"),
            fidelity="potential",
            cost_s=MD_COST_S,
            conditions=("temperature_K",),
            run=_dynamics,
            **chgnet,  # type: ignore[arg-type]
        ),
        Entry(
            name="trajectory-analysis",
            kind="formula",
            about="tracer diffusivity and conductivity from the displacements in a trajectory",
            inputs=("trajectory", "frame_interval"),
            outputs=("diffusivity", "conductivity"),
            fidelity="physics",
            cost_s=30.0,
            errors={
                name: {
                    "all": ValidatedError(
                        STATISTICAL_STD_DECADES, 0, "statistics of tens of jumps, stated a run"
                    )
                }
                for name in ("diffusivity", "conductivity")
            },
            conditions=("temperature_K",),
            run=_analysis,
        ),
    )


def neb_errors() -> dict[str, ValidatedError]:
    """Errors of CHGNet bands by scope, from the stored rows."""
    return {
        scope: ValidatedError(e.std, e.n_rows, f"{e.n_rows} published DFT-NEB hops", e.half_90)
        for scope, e in errors_by_domain(NEB_VALIDATION).items()
    }


def label_error_eV(rows: Sequence[Row]) -> float:
    """One standard deviation of labelled hops as such: that of bands with CHGNet, 0 for others."""
    if not any(row.get("method") == NEB_METHOD for row in rows):
        return 0.0
    known = neb_errors().get("all")
    return 0.0 if known is None else known.std


def _neb(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.execution.executor import ThisProcess
    from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
    from ionbridge.screening.labelling.bands.neb_labels import NebLabeller, label_neb, neb_tasks

    rows = usable(tables["hop"])
    tasks = neb_tasks([hop_of(row) for row in rows])
    out = context.folder / "neb.jsonl"  # grows hop by hop: a killed step goes on from there
    labelled = label_neb(tasks, NebLabeller(CalculatorChoice()), out, ThisProcess())
    by_id = {row["id"]: row for row in labelled}
    known = neb_errors().get("all")
    spread = 0.0 if known is None else known.std

    def barrier(row: Row) -> Row:
        found = by_id[row["id"]]
        if found["status"] != "ok":
            raise UnusableStructureError(found["reason"])
        forward = float(found["barrier_eV"])
        backward = float(found["barrier_backward_eV"])
        return {
            **hop_row(row, forward, spread, True),
            "start_eV": [0.0],
            "end_eV": [forward - backward],
            "kra_eV": [0.5 * (forward + backward)],
        }

    return {"migration_barrier": row_by_row(tables["hop"], barrier)}


def _dynamics(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.execution.executor import ThisProcess
    from ionbridge.screening.labelling.dynamics.md_labels import MdSettings, md_labels

    records = [crystal_of(row) for row in usable(tables["crystal"])]
    settings = MdSettings((800.0, 1000.0, 1200.0))
    *_, labels = [[], *md_labels(records, settings, context.folder / "md", ThisProcess())]
    by_id = {label["id"]: label for label in labels}

    def extrapolated(row: Row) -> Row:
        label = by_id.get(row["id"], {})
        fit = label.get("arrhenius") or {}
        if fit.get("status") != "ok":
            raise UnusableStructureError(fit.get("reason") or label.get("reason") or "no diffusion")
        temperature_K = context.at.temperature_K
        decades = 1.0 / (BOLTZMANN_EV_PER_K * temperature_K * math.log(10.0))
        value = fit["log10_prefactor_cm2_s"] - fit["activation_energy_eV"] * decades
        half = 0.5 * (fit["activation_energy_eV_upper"] - fit["activation_energy_eV_lower"])
        room = math.log10(fit["conductivity_300K_S_cm"] / fit["tracer_diffusivity_300K_cm2_s"])
        return {
            "id": row["id"],
            "log10_diffusivity_cm2_s": value,
            "log10_conductivity_S_cm": value + room + math.log10(300.0 / temperature_K),
            "std": half / SIGMAS * decades,
            "in_domain": True,
            **TRACER,
            "status": "ok",
        }

    return _both(row_by_row(tables["crystal"], extrapolated))


def _analysis(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.labelling.dynamics.diffusion_label import motion
    from ionbridge.screening.labelling.dynamics.trajectory import read_trajectory

    interval_fs = float(tables["frame_interval"][0]["frame_interval_fs"])

    def diffusivity(row: Row) -> Row:
        trajectory = read_trajectory(Path(row["path"]), interval_fs)
        ion = next((ion for ion in WORKING_IONS if ion in trajectory.symbols), None)
        if ion is None:
            raise UnusableStructureError(f"{row['id']}: no working ion in the trajectory")
        label = motion(trajectory, ion, context.at.temperature_K).label
        if label["status"] != "ok":
            return failed(row, label["reason"])
        return {
            "id": row["id"],
            "log10_diffusivity_cm2_s": math.log10(label["tracer_diffusivity_cm2_s"]),
            "log10_conductivity_S_cm": math.log10(label["conductivity_S_cm"]),
            "std": label["log10_tracer_diffusivity_std"],
            "in_domain": True,
            "working_ion": ion,
            **TRACER,
            "status": "ok",
        }

    return _both(row_by_row(tables["trajectory"], diffusivity))


def _both(rows: list[Row]) -> Mapping[str, list[Row]]:
    return {"diffusivity": rows, "conductivity": rows}
