"""Many nudged elastic bands at once, for a GPU: the same band as `neb`, on a fixed budget of steps.

Climbing image and improved tangent: G. Henkelman, B. P. Uberuaga and H. Jonsson, J. Chem. Phys.
113, 9901 (2000); G. Henkelman and H. Jonsson, J. Chem. Phys. 113, 9978 (2000). The optimiser is
FIRE: E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ionbridge.screening.labelling.bands.chgnet_batch import (
    Cell,
    ChgnetBatch,
    Neighbours,
    cell_of,
    positions_of,
)
from ionbridge.screening.labelling.bands.hop_cell import HopCell
from ionbridge.screening.labelling.bands.neb import MAX_STEP_A, SPRING_EV_A2

Floats = NDArray[np.float64]

START_STEP, LONGEST_STEP = 0.1, 1.0
PATIENCE, SLOWER, FASTER, ALPHA, LESS_ALPHA = 5, 0.5, 1.1, 0.1, 0.99
SAME_NEIGHBOURS_STEPS = 15
"""Steps after which the neighbours are looked for again."""


@dataclass(frozen=True)
class Budget:
    """How much work a band may be.

    Attributes:
        n_images: Images between the end points.
        end_steps: Steps of the end points.
        band_steps: Steps of the band.
        climb_after: Share of the band's steps after which the highest image climbs.
    """

    n_images: int = 5
    end_steps: int = 45
    band_steps: int = 75
    climb_after: float = 0.3


@dataclass(frozen=True, eq=False)
class BatchedBand:
    """What the band of one hop has come to.

    Attributes:
        energies_eV: (n_images + 2,) above the first image, ends included.
        end_force_eV_A: Largest force on an end point.
        band_force_eV_A: Largest force on the band.
    """

    energies_eV: Floats
    end_force_eV_A: float
    band_force_eV_A: float

    @property
    def barrier_eV(self) -> float:
        """Highest image above the initial end point."""
        return float(self.energies_eV.max() - self.energies_eV[0])

    @property
    def barrier_backward_eV(self) -> float:
        """Highest image above the final end point."""
        return float(self.energies_eV.max() - self.energies_eV[-1])


def relaxed_bands(
    hops: Sequence[HopCell], budget: Budget, neighbours: Neighbours, device: str
) -> list[BatchedBand]:
    """The bands of some hops, relaxed side by side.

    Both ends are relaxed, then the band between them, which starts from the path of the ion and
    the host interpolated linearly; forces left over are reported, not waited for.
    """
    images = [hop.images(budget.n_images) for hop in hops]
    ends = [
        cell_of(hop, image)
        for hop, band in zip(hops, images, strict=True)
        for image in band[[0, -1]]
    ]
    end_energies, end_forces, moved = _relaxed_ends(ends, budget.end_steps, neighbours, device)
    share = np.linspace(0.0, 1.0, budget.n_images + 2)[:, None, None]
    cells: list[Cell] = []
    for k, (hop, band) in enumerate(zip(hops, images, strict=True)):
        first, last = moved[2 * k] - band[0], moved[2 * k + 1] - band[-1]
        cells += [cell_of(hop, image) for image in band + (1 - share) * first + share * last]
    band_forces, inner = _relaxed_inner(cells, end_energies, budget, neighbours, device)
    found = []
    for k in range(len(hops)):
        energies = np.concatenate([end_energies[k, :1], inner[k], end_energies[k, 1:]])
        found.append(
            BatchedBand(energies - energies[0], float(end_forces[k]), float(band_forces[k]))
        )
    return found


def _relaxed_ends(
    ends: list[Cell], n_steps: int, neighbours: Neighbours, device: str
) -> tuple[Floats, Floats, list[Floats]]:
    """Energies (n_hops, 2), largest force of each hop's ends, and the positions."""
    positions = positions_of(ends, device)
    owners = _owners(ends, device)
    fire = _Fire(positions, owners)
    for batch in _renewed(ends, fire, n_steps, neighbours, device):
        energies, forces = batch.energies_and_forces(fire.positions)
        largest = _largest(forces, owners, len(ends))
        fire.step(forces)
    sizes = [len(cell.symbols) for cell in ends]
    moved = [part.double().cpu().numpy() for part in torch.split(fire.positions, sizes)]
    pairs = energies.double().cpu().numpy().reshape(-1, 2)
    return pairs, largest.cpu().numpy().reshape(-1, 2).max(axis=1), moved


def _relaxed_inner(
    cells: list[Cell], end_energies: Floats, budget: Budget, neighbours: Neighbours, device: str
) -> tuple[Floats, Floats]:
    """Largest force of each band, and the energies (n_hops, n_images) of the images between."""
    m = budget.n_images
    n_hops = len(cells) // (m + 2)
    sizes = np.array([len(cell.symbols) for cell in cells])
    begin = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    is_inner = [0 < k % (m + 2) < m + 1 for k in range(len(cells))]
    rows = np.concatenate(
        [begin[k] + np.arange(sizes[k]) for k in range(len(cells)) if is_inner[k]]
    )
    step = np.concatenate([np.full(sizes[k], sizes[k]) for k in range(len(cells)) if is_inner[k]])
    inner = [cell for cell, is_in in zip(cells, is_inner, strict=True) if is_in]
    everywhere = positions_of(cells, device)
    row = torch.as_tensor(rows, device=device)
    before, after = (
        row - torch.as_tensor(step, device=device),
        row + torch.as_tensor(step, device=device),
    )
    image = _owners(inner, device)
    fire = _Fire(everywhere[row], image // m)
    ends = torch.as_tensor(end_energies, dtype=torch.float32, device=device)
    for n_done, batch in enumerate(_renewed(inner, fire, budget.band_steps, neighbours, device)):
        energies, forces = batch.energies_and_forces(fire.positions)
        everywhere[row] = fire.positions
        climbing = n_done >= budget.climb_after * budget.band_steps
        forces = _band_forces(
            energies.view(n_hops, m), ends, everywhere[before], fire.positions, everywhere[after],
            forces, image, climbing,
        )  # fmt: skip
        largest = _largest(forces, image // m, n_hops)
        fire.step(forces)
    return largest.cpu().numpy(), energies.double().cpu().numpy().reshape(n_hops, m)


def _band_forces(
    energies: Tensor, ends: Tensor, before: Tensor, here: Tensor, after: Tensor,
    forces: Tensor, image: Tensor, climbing: bool,
) -> Tensor:  # fmt: skip
    """(n, 3) forces across the band, springs along it; uphill along it for the climbing image."""
    whole = torch.cat([ends[:, :1], energies, ends[:, 1:]], dim=1)
    rise, fall = whole[:, 2:] - whole[:, 1:-1], whole[:, :-2] - whole[:, 1:-1]
    high, low = torch.maximum(rise.abs(), fall.abs()), torch.minimum(rise.abs(), fall.abs())
    uphill = whole[:, 2:] > whole[:, :-2]
    extreme = (rise > 0) == (fall > 0)
    forward = torch.where(
        extreme, torch.where(uphill, high, low), ((rise > 0) & (fall <= 0)).float()
    )
    backward = torch.where(
        extreme, torch.where(uphill, low, high), ((fall > 0) & (rise <= 0)).float()
    )
    n_images = whole.shape[0] * (whole.shape[1] - 2)
    there, back = after - here, here - before
    tangent = forward.reshape(-1)[image, None] * there + backward.reshape(-1)[image, None] * back
    tangent = tangent / _sums(tangent**2, image, n_images).sqrt().clamp(min=1e-8)[image, None]
    along = _sums(forces * tangent, image, n_images)
    stretch = _sums(there**2, image, n_images).sqrt() - _sums(back**2, image, n_images).sqrt()
    pull = SPRING_EV_A2 * stretch - along
    if climbing:
        top = torch.zeros_like(energies, dtype=torch.bool)
        top[torch.arange(len(energies)), energies.argmax(dim=1)] = True
        pull = torch.where(top.reshape(-1), -2.0 * along, pull)
    return forces + pull[image, None] * tangent


class _Fire:
    """FIRE on many independent systems, each with its own step."""

    def __init__(self, positions: Tensor, system: Tensor) -> None:
        self.positions = positions.clone()
        self._system = system
        self._n = int(system[-1]) + 1
        self._velocity = torch.zeros_like(positions)
        self._dt = torch.full((self._n,), START_STEP, device=positions.device)
        self._alpha = torch.full((self._n,), ALPHA, device=positions.device)
        self._n_down = torch.zeros(self._n, device=positions.device)

    def step(self, forces: Tensor) -> None:
        """Move downhill by at most MAX_STEP_A an atom."""
        of = self._system
        power = _sums(forces * self._velocity, of, self._n)
        down = power > 0
        speed = _sums(self._velocity**2, of, self._n).sqrt()
        force = _sums(forces**2, of, self._n).sqrt().clamp(min=1e-12)
        mixed = (1 - self._alpha)[of, None] * self._velocity
        mixed = mixed + (self._alpha * speed / force)[of, None] * forces
        self._velocity = torch.where(down[of, None], mixed, torch.zeros_like(mixed))
        self._n_down = torch.where(down, self._n_down + 1, torch.zeros_like(self._n_down))
        late = down & (self._n_down > PATIENCE)
        longer = (self._dt * FASTER).clamp(max=LONGEST_STEP)
        self._dt = torch.where(late, longer, torch.where(down, self._dt, self._dt * SLOWER))
        self._alpha = torch.where(late, self._alpha * LESS_ALPHA, self._alpha)
        self._alpha = torch.where(down, self._alpha, torch.full_like(self._alpha, ALPHA))
        self._velocity = self._velocity + self._dt[of, None] * forces
        move = self._dt[of, None] * self._velocity
        length = move.norm(dim=1, keepdim=True)
        self.positions = self.positions + move * (MAX_STEP_A / length.clamp(min=MAX_STEP_A))


def _renewed(
    cells: Sequence[Cell], fire: _Fire, n_steps: int, neighbours: Neighbours, device: str
) -> Iterator[ChgnetBatch]:
    """A batch for each step, its neighbours found anew now and then."""
    sizes = [len(cell.symbols) for cell in cells]
    for k in range(n_steps):
        if k % SAME_NEIGHBOURS_STEPS == 0:
            parts = torch.split(fire.positions, sizes)
            moved = [
                Cell(cell.symbols, cell.lattice, part.double().cpu().numpy())
                for cell, part in zip(cells, parts, strict=True)
            ]
            batch = ChgnetBatch(neighbours(moved), device)
        yield batch


def _sums(values: Tensor, of: Tensor, n: int) -> Tensor:
    """(n,) sums over atoms and axes."""
    return torch.zeros(n, device=values.device).index_add_(0, of, values.sum(dim=1))


def _largest(forces: Tensor, of: Tensor, n: int) -> Tensor:
    """(n,) largest force on an atom."""
    zeros = torch.zeros(n, device=forces.device)
    return zeros.scatter_reduce_(0, of, forces.norm(dim=1), "amax")


def _owners(cells: Sequence[Cell], device: str) -> Tensor:
    sizes = torch.tensor([len(cell.symbols) for cell in cells], device=device)
    return torch.repeat_interleave(torch.arange(len(cells), device=device), sizes)
