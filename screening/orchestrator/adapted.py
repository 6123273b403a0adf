"""The entry that fills a gap: a model adapted to the user's labels, measured before it is used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from screening.orchestrator.catalogue import Entry, StepContext, Tables, ValidatedError
from screening.orchestrator.quantities import Row
from screening.orchestrator.records import hop_of
from screening.orchestrator.trained import MAE_TO_STD, predicted_hops


def adapted_entries() -> tuple[Entry, ...]:
    """One for hops: the nearest model, adapted to labelled hops of the new chemistry."""
    return (
        Entry(
            name="adapted-hop-model",
            kind="network",
            about="the strategy that grouped cross-validation on the labels finds best",
            inputs=("hop_labels", "hop"),
            outputs=("migration_barrier",),
            fidelity="dft",
            cost_s=60.0,
            errors={
                "migration_barrier": {
                    "all": ValidatedError(MAE_TO_STD * 0.29, 0, "few-shot trials of other families")
                }
            },
            run=_adapt,
        ),
    )


def _adapt(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from models.adaptation import Base, adapt

    hops = [hop_of(row) for row in tables["hop_labels"]]
    labels = np.array([float(row["barrier_eV"]) for row in tables["hop_labels"]])
    model = adapt(hops, labels, Base.of("hop-barrier"), seed=context.at.seed)
    model.save(context.folder / "model", model.card_)
    return {"migration_barrier": predicted_hops(model, tables["hop"])}
