"""Entries that compute with a universal potential: slow, and good where nothing was trained."""

from __future__ import annotations

from screening.orchestrator.catalogue import Entry

NOT_CONNECTED = "not connected to the labelling commands yet; use ionbridge label"


def potential_entries() -> tuple[Entry, ...]:
    """CHGNet through ASE: nudged elastic band for hops, molecular dynamics for crystals."""
    return (
        Entry(
            name="chgnet-neb",
            kind="potential",
            about="climbing-image nudged elastic band with CHGNet",
            inputs=("hop",),
            outputs=("migration_barrier",),
            fidelity="potential",
            cost_s=300.0,
            licence="BSD-3-Clause (CHGNet)",
            training_sets=("Materials Project trajectories (MPtrj)",),
            extra="chgnet",
            missing=NOT_CONNECTED,
        ),
        Entry(
            name="trajectory-analysis",
            kind="formula",
            about="tracer diffusivity from the mean squared displacement of a trajectory",
            inputs=("trajectory",),
            outputs=("diffusivity",),
            fidelity="physics",
            cost_s=30.0,
            missing=NOT_CONNECTED,
        ),
    )
