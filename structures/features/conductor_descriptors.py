"""What trees see of a row of a conductivity table: composition, space group and cell, in blocks.

Only the composition is always there. Every block is invariant under the order of elements and, the
cell apart, under the number of formula units that the table counts.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Composition, Element

from ionbridge.structures.chemistry.composition import formula_oxidation_states
from ionbridge.structures.chemistry.radii import ionic_radius
from ionbridge.structures.crystals.canonical_cell import canonical_cell
from ionbridge.structures.crystals.symmetry import Setting, from_spglib, setting_of, symmetry_of
from ionbridge.structures.features.descriptors import ANIONS
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import WORKING_IONS, Crystal, SameContent, UnusableStructureError

OPTIONAL_BLOCKS = ("space_group", "cell")
"""Blocks that a row may lack."""
ANION_SHARES = ("O", "S", "Se", "N", "F", "Cl", "Br", "I")
VOLUME_PER_ATOM_A3 = (6.0, 60.0)
"""Beyond these the cell and the composition of a row do not belong together."""
CRYSTAL_SYSTEM_ENDS = (2, 15, 74, 142, 167, 194)
"""Last space group of triclinic, monoclinic, orthorhombic, tetragonal, trigonal and hexagonal."""

_GROUPS = ("anion", "cation")
_PROPERTIES = ("electronegativity", "radius_A", "charge")
_STATISTICS = ("mean", "spread", "max", "min")
COMPOSITION_FEATURES: tuple[str, ...] = (
    "ion_fraction",
    "ion_per_anion",
    "ion_per_cation",
    "cation_fraction",
    "transition_metal_fraction",
    "n_elements",
    "ion_amount_off_integer",
    "amount_off_integer",
    *(f"{g}_{p}_{s}" for g in _GROUPS for p in _PROPERTIES for s in _STATISTICS),
    *(f"{g}_{name}" for g in _GROUPS for name in ("period", "mass_u", "n_elements", "mixing")),
    *(f"anion_polarizability_{s}" for s in ("mean", "spread")),
    "electronegativity_difference",
    "cation_field_strength",
    "radius_ratio",
    *(f"anion_share_{symbol}" for symbol in ANION_SHARES),
)
SPACE_GROUP_FEATURES = ("space_group", "crystal_system", "n_symmetry_operations")
CELL_FEATURES = (
    "volume_per_atom_A3",
    "volume_per_anion_A3",
    "volume_per_ion_A3",
    "volume_A3",
    "packing_fraction",
    "free_volume_per_ion_A3",
    "a_A",
    "b_A",
    "c_A",
    "alpha_deg",
    "beta_deg",
    "gamma_deg",
    "shortest_axis_A",
    "longest_axis_A",
    "axis_ratio",
    "n_atoms",
)

_POLARIZABILITY_A3 = {
    "F": 1.04, "Cl": 3.66, "Br": 4.77, "I": 7.10, "O": 3.88, "S": 10.2, "Se": 10.5, "Te": 14.0
}  # fmt: skip
"""Free anions: Pauling, Proc. R. Soc. A 114, 181 (1927); radius cubed stands in for others."""


def table_row(crystal: Crystal) -> ConductivityRow:
    """What a conductivity table would say of a crystal: content of the conventional cell, cell,
    space group. The same crystal in another cell or setting gives the same row.
    """
    composition = crystal.composition
    found = _standard_setting(SameContent(crystal))
    if found is None:
        return ConductivityRow(crystal.id, crystal.formula, composition, family=crystal.family)
    number, cell = found
    n_cells = max(round(_volume(cell) / crystal.volume_A3, 6), 1e-6)
    return ConductivityRow(
        id=crystal.id,
        formula=crystal.formula,
        composition=composition * n_cells,
        cell=cell,
        space_group=number,
        family=crystal.family,
    )


@lru_cache(maxsize=256)
def _standard_setting(given: SameContent) -> Setting | None:
    """Space group number and cell of the standard setting; None where spglib finds no group."""
    cell = canonical_cell(given.crystal)
    if cell.setting is not None:
        return cell.setting
    symmetry = symmetry_of(cell.crystal)
    return setting_of(symmetry, cell.crystal.lattice) if symmetry.number else None


def conductor_ion(row: ConductivityRow) -> str:
    """The mobile ion of a row: the first of ``WORKING_IONS`` in its composition.

    Raises:
        UnusableStructureError: If it holds none.
    """
    for ion in WORKING_IONS:
        if row.composition[ion] > 0:
            return ion
    raise UnusableStructureError(
        f"{row.id}: no working ion (elements: {', '.join(sorted(map(str, row.composition)))}; "
        f"looked for {', '.join(WORKING_IONS)})"
    )


def known_blocks(row: ConductivityRow) -> tuple[str, ...]:
    """Which of ``OPTIONAL_BLOCKS`` a row has, in their order."""
    known = {"space_group": row.space_group is not None, "cell": _cell(row) is not None}
    return tuple(name for name in OPTIONAL_BLOCKS if known[name])


def cell_note(row: ConductivityRow) -> str:
    """Why the cell that a row states is not used; empty where it is, or where none is stated."""
    if row.cell is None or _belong(row.cell, row.composition):
        return ""
    volume, n_atoms = _volume(row.cell), row.composition.num_atoms
    if not volume:
        return "cell: no cell has these angles: not used"
    low, high = VOLUME_PER_ATOM_A3
    return (
        f"cell: {volume:.4g} A3 for the {n_atoms:.4g} atoms of the composition are "
        f"{volume / n_atoms:.3g} A3 an atom, not {low:g} to {high:g}: not used"
    )


def conductor_descriptors(
    row: ConductivityRow, elements: Sequence[str], blocks: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Composition, shares of the given elements, and the chosen further blocks.

    Args:
        row: A row that has the blocks.
        elements: Columns with atomic fractions.
        blocks: Of ``OPTIONAL_BLOCKS``, which the row must have.

    Raises:
        UnusableStructureError: If the row holds no working ion.
    """
    parts = [
        composition_block(row),
        atomic_fractions(row.composition, elements),
    ]
    if "space_group" in blocks:
        parts.append(_space_group_block(row))
    if "cell" in blocks:
        parts.append(_cell_block(row))
    return np.concatenate(parts)


def atomic_fractions(composition: Composition, elements: Sequence[str]) -> NDArray[np.float64]:
    """(n_elements,) shares of elements in a composition."""
    amounts = composition.get_el_amt_dict()
    shares = np.array([amounts.get(symbol, 0.0) for symbol in elements], dtype=float)
    return shares / sum(amounts.values())


def composition_block(row: ConductivityRow) -> NDArray[np.float64]:
    """(n_features,) numbers of the composition in the order of ``COMPOSITION_FEATURES``.

    Anions have a negative oxidation state; cations are what is neither anion nor working ion.
    Field strength is q / (r + 1.4 A)^2 averaged over cations, mixing the entropy
    -sum x ln x of a group, and "off integer" the distance of the amounts that the table writes
    from whole numbers: the trace of partial occupancy.
    """
    amounts = row.composition.get_el_amt_dict()
    return _composition_block(tuple(sorted(amounts.items())), conductor_ion(row)).copy()


@lru_cache(maxsize=8192)
def _composition_block(content: tuple[tuple[str, float], ...], ion: str) -> NDArray[np.float64]:
    amounts = dict(content)
    total = sum(amounts.values())
    states = _states(Composition(amounts))
    radii = {s: _radius(s, states[s]) for s in amounts}
    anions = {s: n for s, n in amounts.items() if _is_anion(s, states[s])}
    cations = {s: n for s, n in amounts.items() if s not in anions and s != ion}
    n_anions, n_cations = sum(anions.values()), sum(cations.values())
    metals = sum(n for s, n in cations.items() if Element(s).is_transition_metal)
    off = {s: abs(n - round(n)) for s, n in amounts.items()}
    values = [
        amounts[ion] / total,
        amounts[ion] / max(n_anions, 0.05 * total),
        amounts[ion] / max(n_cations, 0.05 * total),
        n_cations / total,
        metals / total,
        float(len(amounts)),
        off[ion],
        max(off.values()),
    ]
    for group in (anions, cations):
        for prop in (
            {s: _electronegativity(s) for s in group},
            {s: radii[s] for s in group},
            {s: abs(states[s]) for s in group},
        ):
            values += [*_moments(prop, group), *_extremes(prop)]
    for group in (anions, cations):
        values += [
            _moments({s: float(Element(s).row) for s in group}, group)[0],
            _moments({s: float(Element(s).atomic_mass) for s in group}, group)[0],
            float(len(group)),
            _mixing(group),
        ]
    values += _moments({s: _POLARIZABILITY_A3.get(s, radii[s] ** 3) for s in anions}, anions)
    by_name = dict(zip(COMPOSITION_FEATURES, values, strict=False))
    field = {s: states[s] / (radii[s] + 1.4) ** 2 for s in cations}
    values += [
        by_name["anion_electronegativity_mean"] - by_name["cation_electronegativity_mean"],
        _moments(field, cations)[0],
        by_name["cation_radius_A_mean"] / max(by_name["anion_radius_A_mean"], 0.1),
        *(amounts.get(s, 0.0) / max(n_anions, 1e-6) if s in anions else 0.0 for s in ANION_SHARES),
    ]
    return np.array(values, dtype=float)


def _space_group_block(row: ConductivityRow) -> NDArray[np.float64]:
    """Numbers of ``SPACE_GROUP_FEATURES``."""
    assert row.space_group is not None
    system = int(np.searchsorted(CRYSTAL_SYSTEM_ENDS, row.space_group))
    return np.array([row.space_group, system, _n_operations()[row.space_group]], dtype=float)


def _cell_block(row: ConductivityRow) -> NDArray[np.float64]:
    """Numbers of ``CELL_FEATURES``; angstrom and degrees."""
    found = _cell(row)
    assert found is not None
    (a, b, c, alpha, beta, gamma), composition = found
    amounts = composition.get_el_amt_dict()
    ion = conductor_ion(row)
    states = _states(composition)
    volume = _volume((a, b, c, alpha, beta, gamma))
    n_atoms = sum(amounts.values())
    n_anions = sum(n for s, n in amounts.items() if _is_anion(s, states[s]))
    spheres = {s: 4 / 3 * math.pi * _radius(s, states[s]) ** 3 * n for s, n in amounts.items()}
    framework = sum(v for s, v in spheres.items() if s != ion)
    n_ions = max(amounts.get(ion, 0.0), 1e-3 * n_atoms)
    return np.array(
        [
            volume / n_atoms,
            volume / max(n_anions, 0.05 * n_atoms),
            volume / n_ions,
            volume,
            sum(spheres.values()) / volume,
            (volume - framework) / n_ions,
            *(a, b, c, alpha, beta, gamma),
            min(a, b, c),
            max(a, b, c),
            max(a, b, c) / min(a, b, c),
            n_atoms,
        ],
        dtype=float,
    )


_Cell = tuple[float, float, float, float, float, float]


def _cell(row: ConductivityRow) -> tuple[_Cell, Composition] | None:
    """Cell of a row (else of its crystal) and what it holds; None where they cannot be."""
    if row.cell is not None and _belong(row.cell, row.composition):
        return row.cell, row.composition
    crystal = row.crystal
    if crystal is None:
        return None
    a, b, c, alpha, beta, gamma = map(float, crystal.to_pymatgen().lattice.parameters)
    cell = (a, b, c, alpha, beta, gamma)
    return (cell, crystal.composition) if _belong(cell, crystal.composition) else None


def _belong(cell: _Cell, composition: Composition) -> bool:
    low, high = VOLUME_PER_ATOM_A3
    return low <= _volume(cell) / composition.num_atoms <= high


def _volume(cell: _Cell) -> float:
    """V = a b c sqrt(1 - sum cos^2 + 2 prod cos); zero where no cell has such angles."""
    a, b, c, *angles = cell
    cosines = np.cos(np.radians(angles))
    square = 1.0 - float(np.sum(cosines**2)) + 2.0 * float(np.prod(cosines))
    return a * b * c * math.sqrt(max(square, 0.0))


def _states(composition: Composition) -> dict[str, float]:
    """Oxidation states, usual ones where no neutral assignment exists."""
    try:
        return formula_oxidation_states(composition)
    except UnusableStructureError:
        return {
            s: -2.0 if s in ANIONS else float(max(Element(s).common_oxidation_states or (1,)))
            for s in composition.get_el_amt_dict()
        }


def _is_anion(symbol: str, state: float) -> bool:
    return state < 0 or (state == 0 and symbol in ANIONS)


def _moments(prop: Mapping[str, float], amounts: Mapping[str, float]) -> list[float]:
    """Mean and spread weighted by amounts; zeros of an empty group."""
    if not amounts:
        return [0.0, 0.0]
    total = sum(amounts.values())
    mean = sum(n * prop[s] for s, n in amounts.items()) / total
    square = sum(n * (prop[s] - mean) ** 2 for s, n in amounts.items()) / total
    return [mean, math.sqrt(square)]


def _extremes(prop: Mapping[str, float]) -> list[float]:
    return [max(prop.values(), default=0.0), min(prop.values(), default=0.0)]


def _mixing(amounts: Mapping[str, float]) -> float:
    total = max(sum(amounts.values()), 1e-12)
    return -sum(n / total * math.log(n / total) for n in amounts.values())


@lru_cache(maxsize=4096)
def _radius(symbol: str, state: float) -> float:
    """Shannon radius, else the atomic one, angstrom."""
    radius = ionic_radius(symbol, state)
    return float(Element(symbol).atomic_radius or 1.0) if radius is None else radius


@lru_cache(maxsize=256)
def _electronegativity(symbol: str) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have none
        value = float(Element(symbol).X)
    return value if math.isfinite(value) else 0.0


@lru_cache(maxsize=1)
def _n_operations() -> dict[int, int]:
    """Symmetry operations in the conventional cell of every space group, standard setting."""
    result: dict[int, int] = {}
    for hall in range(1, 531):
        kind = from_spglib(spglib.get_spacegroup_type, hall)
        operations = from_spglib(spglib.get_symmetry_from_database, hall)
        if kind is not None and operations is not None:
            result.setdefault(kind.number, len(operations["rotations"]))
    return result
