"""A hop model and crystals small enough to screen within a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pymatgen.core import Composition

from ionbridge.models.conductors.conductivity import ConductivityTrees
from ionbridge.models.hop_networks.ensemble import HopEnsemble, HopEnsembleConfig
from ionbridge.models.hop_networks.network import HopNetworkConfig
from ionbridge.models.hop_networks.training import TrainingConfig
from ionbridge.models.regressors.committee import CommitteeSettings
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.tables import QUANTITY, ConductivityRow
from ionbridge.structures.records import Crystal, Hop, Label

LAYERED_A = (2.83, 14.05)
"""Hexagonal cell of LiCoO2 (R-3m), angstrom."""


def layered(id: str = "LiCoO2", metal: str = "Co", ion: str = "Li", **fields: object) -> Crystal:
    """A layered oxide A M O2 in its primitive rhombohedral cell: four atoms."""
    a, c = LAYERED_A
    rows = np.array(
        [
            [a / 2, a / (2 * 3**0.5), c / 3],
            [-a / 2, a / (2 * 3**0.5), c / 3],
            [0, -a / 3**0.5, c / 3],
        ]
    )
    z = 0.24
    return Crystal(
        id=id,
        lattice=rows,
        species=({ion: 1.0}, {metal: 1.0}, {"O": 1.0}, {"O": 1.0}),
        frac=np.array([[0, 0, 0], [0.5, 0.5, 0.5], [z, z, z], [-z, -z, -z]]) % 1.0,
        **fields,  # type: ignore[arg-type]
    )


def rocksalt(id: str = "LiCl", ion: str = "Li", anion: str = "Cl", a: float = 5.13) -> Crystal:
    """A halide of two atoms, an electrolyte whose ions percolate in three dimensions."""
    rows = a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Crystal(
        id=id,
        lattice=rows.astype(float),
        species=({ion: 1.0}, {anion: 1.0}),
        frac=np.array([[0, 0, 0], [0.5, 0.5, 0.5]]),
    )


def tiny_hops() -> list[Hop]:
    """A few labelled hops of these crystals; the labels only have to be barriers."""
    crystals = [layered(), layered("NaCoO2", ion="Na"), rocksalt()]
    hops = [hop for crystal in crystals for hop in find_hops(crystal).hops[:1]]
    return [replace(h, barrier_eV=0.3 + 0.1 * k, family="layered") for k, h in enumerate(hops)]


def save_tiny_model(folder: Path) -> Path:
    """An ensemble of two networks of a few hundred weights, fitted for a moment."""
    hops = tiny_hops()
    config = HopEnsembleConfig(
        network=HopNetworkConfig(n_features=8, n_layers=1, n_basis=6),
        training=TrainingConfig(epochs=2, device="cpu"),
        n_members=2,
    )
    model = HopEnsemble(config).fit(hops, np.array([h.barrier_eV for h in hops]))
    model.save(folder, {"name": "tiny", "predicts": "migration barriers, for tests"})
    return folder


METALS = ("Zr", "Ti", "Sn", "Hf", "Ge")


def save_table_model(folder: Path) -> Path:
    """Trees on a dozen oxides, some with a lattice: enough for a table of a few rows."""
    rows = []
    for k in range(15):
        metal = METALS[k % 5]
        formula = f"Li{1 + k / 8:.2f}{metal}O3"
        rows.append(
            ConductivityRow(
                id=f"t{k}",
                formula=formula,
                composition=Composition(formula),
                cell=(4.0, 4.0, 4.0 + k / 20, 90.0, 90.0, 90.0) if k % 3 else None,
                space_group=63 + k if k % 3 else None,
                doi=f"10.1/{k}",
            )
        )
    labels = [Label(QUANTITY, -9.0 + k / 3) for k in range(15)]
    ConductivityTrees(CommitteeSettings(n_trees=8, n_rounds=8)).fit(rows, labels).save(folder)
    return folder
