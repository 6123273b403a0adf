"""Batches of CHGNet against its own calculator, and bands side by side against bands alone."""

import numpy as np
import pytest
import torch

pytest.importorskip("chgnet")

from ase.build import bulk

from benchmarks.batched_bands import Budget, relaxed_bands
from ionbridge.screening.campaign.starter import starter_crystals, starter_neb_hops
from ionbridge.screening.labelling.bands.chgnet_batch import (
    Cell,
    ChgnetBatch,
    frozen_profiles,
    joined,
    positions_of,
    topology,
)
from ionbridge.screening.labelling.bands.chgnet_calculator import ChgnetCalculator
from ionbridge.screening.labelling.bands.hop_cell import HopCell, hop_cell_of_crystal
from ionbridge.structures.hops.sites import find_hops


def cells() -> list[Cell]:
    """Two displaced states of LiF and of NaCl, some atoms outside of their cells."""
    rng = np.random.default_rng(0)
    found = []
    for name, edge_A in (("LiF", 4.03), ("NaCl", 5.64)):
        atoms = bulk(name, "rocksalt", edge_A, cubic=True)
        for _ in range(2):
            positions = atoms.positions + rng.normal(0, 0.1, atoms.positions.shape) + [0.3, -7, 2]
            symbols = tuple(atoms.get_chemical_symbols())
            found.append(Cell(symbols, np.array(atoms.cell), positions))
    return found


def test_energy_differences_and_forces_are_those_of_the_calculator():
    batch = cells()
    energies, forces = ChgnetBatch(topology(batch), "cpu").energies_and_forces(
        positions_of(batch, "cpu")
    )
    calculator = ChgnetCalculator(device="cpu")
    theirs = []
    for cell, mine in zip(batch, torch.split(forces, [len(c.symbols) for c in batch]), strict=True):
        atoms = bulk("LiF", "rocksalt", 4.0, cubic=True)
        atoms.set_cell(cell.lattice)
        atoms.set_chemical_symbols(cell.symbols)
        atoms.positions = cell.positions_A
        atoms.calc = calculator
        theirs.append(atoms.get_potential_energy())
        np.testing.assert_allclose(mine.numpy(), atoms.get_forces(), atol=2e-4)
    # reference energies of the elements cancel between two states of one composition
    np.testing.assert_allclose(
        np.diff(energies.reshape(2, 2).numpy()), np.diff(np.reshape(theirs, (2, 2))), atol=1e-4
    )


def test_a_batch_is_its_parts():
    batch = cells()
    whole = ChgnetBatch(topology(batch), "cpu").energies(positions_of(batch, "cpu"))
    parts = joined([topology(batch[:1]), topology(batch[1:])])
    np.testing.assert_allclose(
        ChgnetBatch(parts, "cpu").energies(positions_of(batch, "cpu")), whole, atol=1e-5
    )


def test_neighbours_may_stay_while_atoms_move_by_little():
    batch = cells()
    moved = positions_of(batch, "cpu") + 0.05 * torch.randn(
        positions_of(batch, "cpu").shape, generator=torch.Generator().manual_seed(0)
    )
    sizes = [len(c.symbols) for c in batch]
    anew = [
        Cell(cell.symbols, cell.lattice, part.double().numpy())
        for cell, part in zip(batch, torch.split(moved, sizes), strict=True)
    ]
    kept = ChgnetBatch(topology(batch), "cpu").energies(moved)
    np.testing.assert_allclose(kept, ChgnetBatch(topology(anew), "cpu").energies(moved), atol=2e-3)


def hop_cell(name: str) -> HopCell:
    (crystal,) = (c for c in starter_crystals() if c.id == name)
    graph = find_hops(crystal)
    hop = graph.hops[0]
    return hop_cell_of_crystal(graph.crystal, hop, 6.0, 40)


def test_a_band_ends_where_the_single_band_ended():
    hop = hop_cell("LiCl-rocksalt")
    (frozen,) = frozen_profiles([hop], 5, topology, "cpu")
    np.testing.assert_allclose(frozen, frozen[::-1], atol=1e-3)  # the hop is its own reverse
    (band,) = relaxed_bands([hop], Budget(3, 25, 35), topology, "cpu")
    (known,) = (h for h in starter_neb_hops() if h.id == hop.id)  # a larger cell, converged
    assert band.end_force_eV_A < 0.1
    assert band.barrier_eV == pytest.approx(known.barrier_eV, abs=0.03)
    assert band.barrier_backward_eV == pytest.approx(band.barrier_eV, abs=0.005)
    assert band.barrier_eV < frozen.max()  # the host gives way


def test_bands_do_not_feel_each_other():
    hops = [hop_cell("LiCl-rocksalt"), hop_cell("Li2S-antifluorite")]
    budget = Budget(3, 3, 4)
    together = relaxed_bands(hops, budget, topology, "cpu")
    for hop, band in zip(hops, together, strict=True):
        (alone,) = relaxed_bands([hop], budget, topology, "cpu")
        np.testing.assert_allclose(band.energies_eV, alone.energies_eV, atol=2e-3)
