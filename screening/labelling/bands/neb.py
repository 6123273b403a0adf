"""Migration barriers by the nudged elastic band, with any ASE calculator.

Climbing image and improved tangent: G. Henkelman, B. P. Uberuaga and H. Jonsson, J. Chem. Phys.
113, 9901 (2000); G. Henkelman and H. Jonsson, J. Chem. Phys. 113, 9978 (2000).
"""

from __future__ import annotations

import contextlib
import time
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.mep import NEB
from ase.optimize import BFGS, FIRE, LBFGS
from numpy.typing import NDArray

from ionbridge.screening.errors import InputError
from ionbridge.screening.labelling.bands.checked_calculator import (
    BrokenCalculationError,
    CheckedCalculator,
    Watch,
)
from ionbridge.screening.labelling.bands.hop_cell import HopCell, Mirror, made_symmetric, mirror_of
from ionbridge.screening.labelling.bands.short_relaxation import free_host, relaxed_briefly
from ionbridge.structures.records import Crystal

Floats = NDArray[np.float64]

SPRING_EV_A2 = 0.1
MAX_STEP_A = 0.1
SHAKE_A = 0.03
"""Standard deviation of the displacements that bring an end point off a saddle."""
DEEPER_EV = 0.05
"""An image that is deeper than both ends by more shows that they are not the sites of a hop."""
TOP_STEPS = 6
"""Of the middle image on its own, before there is a band."""
NO_BARRIER_EV = 0.005
"""Where no image is higher than an end by this much, that end is no site."""
TIE_EV = 1e-9
"""A mirror image is this much lower, so that the one of the pair that is computed climbs."""
SYMMETRY_ERROR_EV = 0.003
"""A mirror image whose energy differs by more is none to the calculator."""
LEFT_ITS_SITE_A = 1.2
"""An ion that relaxes this far from where it was put was on no site."""


@dataclass(frozen=True)
class NebSettings:
    """How a barrier is computed.

    Attributes:
        n_images: Images between the end points.
        fmax_eV_A: Largest force on any atom of a converged end point or band.
        max_steps: Most steps of an end point, and of the band.
        min_distance_A: Least distance of the ion from its periodic copies.
        max_atoms: Cells with more atoms are refused.
        time_limit_min: Longest time for one hop.
        relax_cell: Relax the cell of a crystal first, not only the positions of its atoms.
    """

    n_images: int = 5
    fmax_eV_A: float = 0.05
    max_steps: int = 200
    min_distance_A: float = 8.0
    max_atoms: int = 200
    time_limit_min: float = 60.0
    relax_cell: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            InputError: Which one, and what was expected.
        """
        for name in ("n_images", "fmax_eV_A", "max_atoms", "time_limit_min", "min_distance_A"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if self.max_steps < 2:
            raise InputError(f"max_steps: expected 2 or more, got {self.max_steps}")


@dataclass(frozen=True, eq=False)
class NebResult:
    """What the band has found.

    Attributes:
        path_A: (n_images + 2, 3) positions of the ion, ends included.
        energies_eV: (n_images + 2,) total energies.
        force_eV_A: Largest force at the last step.
        n_steps: Steps of the band.
        symmetric: True if half of the band is the mirror image of the other.
        n_endpoint_steps: Steps of the end points that were relaxed.
        n_force_calls: Calls of the calculator.
        reason: Why it is no barrier of a hop, empty if it is.
    """

    path_A: Floats
    energies_eV: Floats
    force_eV_A: float
    n_steps: int
    symmetric: bool
    n_endpoint_steps: int = 0
    n_force_calls: int = 0
    reason: str = ""

    @property
    def converged(self) -> bool:
        """True if every force is below the limit, and both ends are sites."""
        return not self.reason

    @property
    def barrier_eV(self) -> float:
        """Highest image above the initial end point."""
        return float(self.energies_eV.max() - self.energies_eV[0])

    @property
    def barrier_backward_eV(self) -> float:
        """Highest image above the final end point."""
        return float(self.energies_eV.max() - self.energies_eV[-1])


def neb_barrier(cell: HopCell, calculator: Calculator, settings: NebSettings) -> NebResult:
    """The barrier of one hop: end points relaxed, then the band between them.

    Where a symmetry operation of the host takes the path to its own reverse, one end point is
    relaxed and the other is its image, and half of the band is computed. The band starts from the
    path of the cell, its ends moved to where the ion relaxed to, its middle relaxed for a few steps
    with the ion held across the path, and the host interpolated linearly between the three; the
    highest image climbs from the first step. Where an image ends up below both ends,
    symmetry held these on a saddle of the host: they are shaken, and all is done once more.

    Args:
        cell: The hop.
        calculator: Any ASE calculator with energies and forces.
        settings: Number of images and limits.

    Raises:
        BrokenCalculationError: The calculator failed, an end point is no minimum, or the limits
            passed before there was a band: there is nothing to keep.
        UnusableStructureError: The path touches the host.
    """
    cell.check_path()
    watch = Watch(time.monotonic() + 60 * settings.time_limit_min)
    mirror = mirror_of(cell)
    if mirror is not None:
        cell = made_symmetric(cell, mirror)
    found = _band_between(cell, mirror, calculator, settings, watch, 0.0)
    if found.converged and _no_hop(found) and not watch.is_over:
        with contextlib.suppress(BrokenCalculationError):  # then the first band stands
            found = _band_between(cell, mirror, calculator, settings, watch, SHAKE_A)
    found = replace(found, n_force_calls=watch.n_calls)
    return replace(found, reason=_no_hop(found)) if found.converged else found


def _no_hop(found: NebResult) -> str:
    """Why a converged band does not lead from site to site; empty if it does."""
    ends = float(min(found.energies_eV[0], found.energies_eV[-1]))
    depth = ends - float(found.energies_eV.min())
    if depth > DEEPER_EV:
        return (
            f"no single hop: an image lies {depth:.3f} eV below both ends, which are saddles or "
            "have a deeper site between them"
        )
    if min(found.barrier_eV, found.barrier_backward_eV) < NO_BARRIER_EV:
        return "no single hop: one end is the top of the path, no site"
    return ""


def _band_between(
    cell: HopCell,
    mirror: Mirror | None,
    calculator: Calculator,
    settings: NebSettings,
    watch: Watch,
    shake_A: float,
) -> NebResult:
    """The band after its end points, which are shaken before they are relaxed."""
    images = cell.images(settings.n_images)
    shaken = images[[0, -1]] + shake_A * np.random.default_rng(0).standard_normal(images[0].shape)
    first, n_endpoint_steps = _end_point(cell, shaken[0], calculator, settings, watch)
    last = None if mirror is None else _mirrored_end(cell, first, mirror, calculator, watch)
    if last is None:
        mirror = None
        last, n_steps = _end_point(cell, shaken[1], calculator, settings, watch)
        n_endpoint_steps += n_steps
    share = np.linspace(0.0, 1.0, len(images))[:, None, None]
    images += (1 - share) * (first.positions - images[0]) + share * (last.positions - images[-1])
    images += _give_way(cell, images, mirror, calculator, watch)
    atoms = [first, *(cell.atoms(image) for image in images[1:-1]), last]
    for k, image in enumerate(atoms[1:-1], start=1):
        twin = len(atoms) - 1 - k
        image.calc = (
            CheckedCalculator(calculator, watch)
            if mirror is None or twin >= k
            else _MirrorImage(atoms[twin], mirror)
        )
    found = _relaxed_band(_Band(atoms, mirror), settings, watch)
    return replace(found, n_endpoint_steps=n_endpoint_steps)


def _give_way(
    cell: HopCell, images: Floats, mirror: Mirror | None, calculator: Calculator, watch: Watch
) -> Floats:
    """(n_images + 2, n_atoms, 3) how the images move as the middle one relaxes for a few steps.

    One image for a few steps is cheaper than the steps of the band that it saves; where there is no
    image in the middle, nothing moves.
    """
    if len(images) % 2 == 0:
        return np.zeros_like(images)
    middle = len(images) // 2
    along = images[middle + 1, -1] - images[middle - 1, -1]
    free = free_host(cell, images[[0, middle, -1], -1])
    top = cell.atoms(images[middle])
    moved = relaxed_briefly(top, along, free, True, calculator, TOP_STEPS, watch).positions_A
    if mirror is not None:
        moved = 0.5 * (moved + mirror.positions(moved))
    nearness = 1.0 - np.abs(np.arange(len(images)) - middle) / middle
    move = nearness[:, None, None] * (moved - images[middle])
    if mirror is not None:
        for k in range(middle + 1, len(images)):
            move[k] = mirror.positions(images[-1 - k] + move[-1 - k]) - images[k]
    return np.asarray(move)


def relaxed_crystal(crystal: Crystal, calculator: Calculator, settings: NebSettings) -> Crystal:
    """The ordered crystal with the positions of its atoms relaxed, and its cell where asked.

    Raises:
        BrokenCalculationError: See :func:`relaxed_atoms`.
    """
    atoms = relaxed_atoms(crystal, calculator, settings)
    lattice = np.array(atoms.cell)
    return replace(crystal, lattice=lattice, frac=atoms.positions @ np.linalg.inv(lattice))


def relaxed_atoms(
    crystal: Crystal, calculator: Calculator, settings: NebSettings, time_limit_s: float = np.inf
) -> Atoms:
    """The same as atoms that know their energy.

    Raises:
        BrokenCalculationError: The calculator failed, or the forces did not fall below the limit.
    """
    symbols = [next(iter(site)) for site in crystal.species]
    atoms = Atoms(symbols, crystal.frac @ crystal.lattice, cell=crystal.lattice, pbc=True)
    watch = Watch(time.monotonic() + time_limit_s)
    atoms.calc = CheckedCalculator(calculator, watch, with_stress=settings.relax_cell)
    target = FrechetCellFilter(atoms) if settings.relax_cell else atoms
    optimizer = _silent(LBFGS, target, maxstep=MAX_STEP_A)
    fmax, steps = 0.5 * settings.fmax_eV_A, 2 * settings.max_steps
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "logm result may be inaccurate")  # by 1e-13
        for done in optimizer.irun(fmax=fmax, steps=steps):
            if done:
                return atoms
            if watch.is_over:
                raise BrokenCalculationError(f"the crystal does not relax in {time_limit_s:g} s")
    raise BrokenCalculationError(
        f"the crystal does not relax: not below {fmax:g} eV/angstrom in {steps} steps"
    )


class _MirrorImage(Calculator):
    """An image that is another one's mirror image and costs nothing."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE declares it)

    def __init__(self, twin: Atoms, mirror: Mirror) -> None:
        super().__init__()
        self._twin = twin
        self._mirror = mirror

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {
            "energy": self._twin.get_potential_energy() - TIE_EV,
            "forces": self._mirror.forces(self._twin.get_forces()),
        }


class _Band(NEB):
    """The band; with a mirror the optimizer sees one half of it, the other follows."""

    def __init__(self, images: list[Atoms], mirror: Mirror | None) -> None:
        super().__init__(images, k=SPRING_EV_A2, climb=True, method="improvedtangent")
        n_inner = len(images) - 2
        self.mirror = mirror
        self.n_free = n_inner if mirror is None else (n_inner + 1) // 2

    def __len__(self) -> int:
        return int(self.n_free * self.natoms)

    def get_positions(self) -> Floats:
        return np.concatenate([image.positions for image in self.images[1 : self.n_free + 1]])

    def set_positions(self, positions: Floats, adjust_positions: bool = True) -> None:
        for k, part in enumerate(positions.reshape(self.n_free, -1, 3), start=1):
            self.images[k].set_positions(part)
            twin = len(self.images) - 1 - k
            if self.mirror is not None and twin > k:
                self.images[twin].set_positions(self.mirror.positions(part))

    def get_forces(self) -> Floats:
        return np.asarray(super().get_forces()[: len(self)])


def _silent(kind: Any, target: Any, **settings: Any) -> Any:
    """An optimizer without a log; ASE declares fewer targets than it takes."""
    return kind(target, logfile=None, **settings)


def _end_point(
    cell: HopCell, positions_A: Floats, calculator: Calculator, settings: NebSettings, watch: Watch
) -> tuple[Atoms, int]:
    """The relaxed end point, frozen, and the steps that it took."""
    atoms = cell.atoms(positions_A)
    atoms.calc = CheckedCalculator(calculator, watch)
    optimizer = _silent(BFGS, atoms, maxstep=MAX_STEP_A)  # unlike LBFGS never goes uphill
    for converged in optimizer.irun(fmax=settings.fmax_eV_A, steps=settings.max_steps):
        if converged or watch.is_over:
            break
    if not converged:
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        raise BrokenCalculationError(
            f"an end point has a force of {force:.3f} eV/angstrom after {optimizer.nsteps} steps, "
            f"{settings.fmax_eV_A:g} asked"
        )
    moved = float(np.linalg.norm(atoms.positions[-1] - positions_A[-1]))
    if moved > LEFT_ITS_SITE_A:
        raise BrokenCalculationError(
            f"the ion leaves its site: an end point relaxed {moved:.2f} angstrom away"
        )
    return _frozen(atoms), optimizer.nsteps


def _mirrored_end(
    cell: HopCell, first: Atoms, mirror: Mirror, calculator: Calculator, watch: Watch
) -> Atoms | None:
    """The other end point as a mirror image; None where the calculator says it is none."""
    last = cell.atoms(mirror.positions(first.positions))
    last.calc = CheckedCalculator(calculator, watch)
    difference = last.get_potential_energy() - first.get_potential_energy()
    return _frozen(last) if abs(difference) < SYMMETRY_ERROR_EV else None


def _frozen(atoms: Atoms) -> Atoms:
    """The atoms with the energy and forces that they have, which are not computed again."""
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def _relaxed_band(band: _Band, settings: NebSettings, watch: Watch) -> NebResult:
    """The band at its last step, converged or not.

    LBFGS takes a fifth of the steps of FIRE on most bands and falls into a cycle on a few; so FIRE
    takes over where LBFGS has had half of the steps.

    Raises:
        BrokenCalculationError: The calculator failed at the first step.
    """
    found: NebResult | None = None
    n_before = 0
    for optimizer in (_silent(LBFGS, band, maxstep=MAX_STEP_A), _silent(FIRE, band)):
        try:
            for converged in optimizer.irun(settings.fmax_eV_A, steps=settings.max_steps // 2):
                found = _snapshot(band, n_before + optimizer.nsteps)
                if converged:
                    return found
                if watch.is_over:
                    return _unconverged(found, settings, f" in {settings.time_limit_min:g} minutes")
        except BrokenCalculationError as error:
            if found is None:
                raise
            return _unconverged(found, settings, f", {error} after {found.n_steps} steps")
        n_before += optimizer.nsteps
    assert found is not None
    return _unconverged(found, settings, f" in {n_before} steps")


def _unconverged(found: NebResult, settings: NebSettings, why: str) -> NebResult:
    return replace(
        found,
        reason=f"not converged{why}: largest force {found.force_eV_A:.3f} eV/angstrom, "
        f"{settings.fmax_eV_A:g} asked",
    )


def _snapshot(band: _Band, n_steps: int) -> NebResult:
    """What the band has found so far; its forces have just been computed."""
    return NebResult(
        path_A=np.array([image.positions[-1] for image in band.images]),
        energies_eV=np.array(band.energies),
        force_eV_A=float(np.linalg.norm(band.get_forces(), axis=1).max()),
        n_steps=n_steps,
        symmetric=band.mirror is not None,
    )
