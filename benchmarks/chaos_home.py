"""A campaign that takes seconds: small crystals, and a tiny model fitted for a moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ionbridge.models.hop_networks.ensemble import HopEnsemble, HopEnsembleConfig
from ionbridge.models.hop_networks.network import HopNetworkConfig
from ionbridge.models.hop_networks.training import TrainingConfig
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import write_json_lines

N_CRYSTALS = 4
N_COPIES = 4
"""Each crystal is screened under so many names."""


def make_home(home: Path) -> tuple[Path, Path]:
    """Campaign files at 300 and 600 K over the same crystals, in a new folder."""
    home.mkdir()
    crystals = sorted(reference_crystals(), key=lambda c: len(c.species))[:N_CRYSTALS]
    hops = [hop for crystal in crystals for hop in find_hops(crystal).hops[:1]]
    config = HopEnsembleConfig(
        network=HopNetworkConfig(n_features=8, n_layers=1, n_basis=6),
        training=TrainingConfig(epochs=2, device="cpu"),
        n_members=2,
    )
    labels = np.linspace(0.3, 0.6, len(hops))
    HopEnsemble(config).fit(hops, labels).save(home / "model", {"name": "tiny"})
    pool = [replace(c, id=f"{c.id} {k}") for k in range(N_COPIES) for c in crystals]
    write_json_lines(home / "pool.jsonl", pool)
    paths = []
    for kelvin in (300, 600):
        path = home / f"{kelvin}.yaml"
        path.write_text(
            f"name: chaos\nmodel: model\nn_draws: 8\nshard_size: 2\nn_paths: 0\n"
            f"temperature_K: {kelvin}\ncandidates: {{files: [pool.jsonl]}}\n"
            "refine: {calculator: 'ase.calculators.lj:LennardJones', n_energies: 4, n_neb: 0,\n"
            "  calculator_arguments: {sigma: 2.0, epsilon: 0.2, rc: 5.0}}\n",
            encoding="utf-8",
        )
        paths.append(path)
    return paths[0], paths[1]
