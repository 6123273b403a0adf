"""A hop model and crystals small enough to screen within a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.ensemble import HopEnsemble, HopEnsembleConfig
from models.network import HopNetworkConfig
from models.training import TrainingConfig
from structures.records import Crystal, Hop
from structures.sites import find_hops

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
