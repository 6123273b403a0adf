"""softBV bond-valence parameters, read from the data files of the ``bvlain`` package.

Morse parameters and principal quantum numbers: H. Chen, L. L. Wong, S. Adams, Acta Cryst. B 75, 18
(2019), as tabulated by bvlain. The tables are pickles; they are read with an unpickler that knows
numbers and dictionaries only. Importing bvlain itself is not needed and costs seconds.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import covalent_radii
from pymatgen.core import Element

from ionbridge.structures.records import UnusableStructureError

COULOMB_EV_A = 14.4
"""e^2 / (4 pi epsilon_0) in eV angstrom, rounded as in the force field's definition."""

SCREENING_FACTOR = 0.74
"""Share of the sum of covalent radii at which the Coulomb repulsion is screened."""


@dataclass(frozen=True)
class MorsePair:
    """Morse attraction between a cation and an anion, E(r) = D0/2 ((e^{a (r_min - r)} - 1)^2 - 1).

    Attributes:
        depth_eV: D0; the pair energy at its minimum is -D0/2.
        alpha_per_A: a, the inverse of the bond-valence softness b.
        r_min_A: Distance of lowest energy.
    """

    depth_eV: float
    alpha_per_A: float
    r_min_A: float


@dataclass(frozen=True)
class BondValencePair:
    """Parameters of s = exp((r0 - r) / b) of a cation and an anion.

    Attributes:
        r0_A: Length of a bond of one valence unit.
        softness_A: b.
    """

    r0_A: float
    softness_A: float


class _NumbersOnly(pickle.Unpickler):
    """Unpickler for dictionaries of numbers: NumPy scalars become plain Python numbers."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "scalar" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return lambda dtype, raw: np.frombuffer(raw, dtype=dtype)[0].item()
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"a parameter table must not load {module}.{name}")


@cache
def _table(name: str) -> Mapping[Any, Any]:
    spec = find_spec("bvlain")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "softBV parameters come from the package bvlain: pip install bvlain"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / name
    with path.open("rb") as file:
        table = _NumbersOnly(file).load()
    if not isinstance(table, dict):
        raise ValueError(f"{path.name}: expected a dictionary of parameters")
    return table


def ion_charge(ion: str, oxidation_state: float | None = None) -> int:
    """Tabulated charge of a working ion nearest to its oxidation state (the lowest if not given).

    Args:
        ion: Symbol of the cation.
        oxidation_state: Its oxidation state in the crystal, if known.
    """
    charges = _table("cation.pkl").get(Element(ion).Z)
    if not charges:
        raise UnusableStructureError(f"no softBV parameters for the working ion '{ion}'")
    return int(min(charges, key=lambda q: (abs(q - oxidation_state) if oxidation_state else 0, q)))


def morse_pair(ion: str, charge: int, anion: str, oxidation_state: float) -> MorsePair:
    """Morse parameters of a working ion and an anion.

    The anion's tabulated oxidation state nearest to the given one is taken (peroxide oxygen: -2).

    Args:
        ion: Symbol of the working ion.
        charge: Its tabulated charge, see `ion_charge`.
        anion: Symbol of the anion.
        oxidation_state: Oxidation state of the anion, negative, possibly fractional.

    Raises:
        UnusableStructureError: The pair is not tabulated, or its entry is corrupt (bvlain 0.25.1:
            Mg-Se/Te/I, Ca-Br/Te/I, Sr-Br/Te/I have a negative softness).
    """
    states = _table("cation.pkl")[Element(ion).Z][charge].get(Element(anion).Z)
    if not states:
        raise UnusableStructureError(
            f"no softBV parameters for the pair {ion}{charge:+d} and {anion}{oxidation_state:+g}"
        )
    entry = states[min(states, key=lambda q: abs(q - oxidation_state))]
    if not (entry["alpha"] > 0 and entry["r_min"] > entry["r0"]):
        raise UnusableStructureError(
            f"softBV parameters of the pair {ion}-{anion} are corrupt (alpha "
            f"{entry['alpha']:.2f} 1/A, r_min {entry['r_min']:.2f} A, r0 {entry['r0']:.2f} A)"
        )
    return MorsePair(entry["d0"], entry["alpha"], entry["r_min"])


def bond_valence_pair(cation: str, state: float, anion: str, anion_state: float) -> BondValencePair:
    """Bond-valence parameters of the tabulated states nearest to the given ones.

    Args:
        cation: Symbol of the cation.
        state: Its oxidation state, positive, possibly fractional.
        anion: Symbol of the anion.
        anion_state: Its oxidation state, negative, possibly fractional.

    Raises:
        UnusableStructureError: The pair is not tabulated, or its entry is corrupt.
    """
    charge = ion_charge(cation, state)
    states = _table("cation.pkl")[Element(cation).Z][charge].get(Element(anion).Z)
    if not states:
        raise UnusableStructureError(f"no bond-valence parameters for {cation}{charge:+d} {anion}")
    entry = states[min(states, key=lambda q: abs(q - anion_state))]
    if not entry["alpha"] > 0:
        raise UnusableStructureError(f"bond-valence parameters of {cation}-{anion} are corrupt")
    return BondValencePair(entry["r0"], 1.0 / entry["alpha"])


def coulomb_pair(ion: str, charge: int, cation: str) -> tuple[float, float]:
    """Screened repulsion of a working ion and a cation of unit charge, E(r) = A/r erfc(r / s).

    A = 14.4 q_ion / sqrt(n_ion n_cation) eV angstrom with principal quantum numbers n, and
    s = 0.74 (r_ion + r_cation) with covalent radii (Cordero et al. 2008, from ASE, as in bvlain).

    Args:
        ion: Symbol of the working ion.
        charge: Its charge.
        cation: Symbol of the host cation; its charge multiplies A.

    Returns:
        ``A`` in eV angstrom, ``s`` in angstrom.
    """
    n = principal_quantum_number(ion) * principal_quantum_number(cation)
    radii = covalent_radii[Element(ion).Z] + covalent_radii[Element(cation).Z]
    return COULOMB_EV_A * charge / float(np.sqrt(n)), SCREENING_FACTOR * float(radii)


def principal_quantum_number(symbol: str) -> int:
    """Principal quantum number as tabulated by softBV; the period for elements not tabulated."""
    return int(_table("quantum_n.pkl").get(Element(symbol).Z) or Element(symbol).row)
