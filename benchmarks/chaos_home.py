"""Campaigns that take seconds: small crystals, a tiny model, and a pair potential."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

from ionbridge.models.hop_networks.ensemble import HopEnsemble, HopEnsembleConfig
from ionbridge.models.hop_networks.network import HopNetworkConfig
from ionbridge.models.hop_networks.training import TrainingConfig
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import write_json_lines

N_CRYSTALS = 4
N_COPIES = 4
"""Each crystal is screened under so many names."""
CHARGES = {"Li": 1.0, "Na": 1.0, "Cl": -1.0, "O": -2.0, "S": -2.0, "N": -3.0, "Co": 3.0, "Ti": 3.0}
RADII_A = {"Li": 0.8, "Na": 1.0, "Cl": 1.8, "O": 1.4, "S": 1.8, "N": 1.5, "Co": 0.55, "Ti": 0.67}
CUTOFF_A, SCREENING_A, HARDNESS_A, CORE_EV = 5.0, 2.0, 0.25, 0.3
COULOMB_EV_A = 14.4


class ScreenedIons(Calculator):
    """Screened charges with soft cores: crystals of ions stand in it, and an energy costs little.

    E = sum over pairs of e^2 q_i q_j exp(-r / SCREENING_A) / r + CORE_EV exp((R_i + R_j - r) /
    HARDNESS_A), shifted and tilted so that energy and force are nothing at CUTOFF_A.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE declares it)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Energy (eV) and forces (eV/angstrom) of some atoms."""
        super().calculate(atoms, properties or ["energy"], system_changes)
        assert self.atoms is not None
        symbols = self.atoms.get_chemical_symbols()
        charge = np.array([CHARGES[s] for s in symbols])
        radius = np.array([RADII_A[s] for s in symbols])
        i, j, r, vector = neighbor_list("ijdD", self.atoms, CUTOFF_A)

        def pair(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            screened = COULOMB_EV_A * charge[i] * charge[j] * np.exp(-r / SCREENING_A) / r
            core = CORE_EV * np.exp((radius[i] + radius[j] - r) / HARDNESS_A)
            return screened + core, -screened * (1 / r + 1 / SCREENING_A) - core / HARDNESS_A

        energy, slope = pair(r)
        at_end, tilt = pair(np.full(len(r), CUTOFF_A))
        energy -= at_end + tilt * (r - CUTOFF_A)
        slope -= tilt
        forces = np.zeros((len(symbols), 3))
        np.add.at(forces, i, slope[:, None] * vector / r[:, None])
        self.results = {"energy": 0.5 * float(energy.sum()), "forces": forces}


IONIC = ("LiCl-rocksalt", "Li2S-antifluorite", "Li3OCl-anti-perovskite")
"""Crystals in whose bands ScreenedIons converges."""
STAGES = """
name: stages
model: model
n_draws: 8
shard_size: 2
n_paths: 0
candidates: {files: [ionic.jsonl]}
active: {rounds: 1, batch: 2, max_hops: 1, strategy: heads, calculator: CALCULATOR}
refine: {calculator: CALCULATOR, n_energies: 4, n_neb: 2}
cell: {base_cell: Prada2013_balanced, top_n: 3}
"""
"""A round of labels and fine-tuning, a refinement with energies and bands, and cells."""


def make_home(home: Path) -> tuple[Path, Path]:
    """Campaign files at 300 and 600 K over the same crystals, in a new folder, and STAGES."""
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
    ionic = [c for c in reference_crystals() if c.id in IONIC]
    pool = [replace(c, id=f"{c.id} {k}") for k in range(N_COPIES // 2) for c in ionic]
    write_json_lines(home / "ionic.jsonl", pool)
    calculator = f"'{__name__}:{ScreenedIons.__name__}'"
    (home / "stages.yaml").write_text(STAGES.replace("CALCULATOR", calculator), encoding="utf-8")
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
