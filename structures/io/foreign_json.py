"""Crystals in the JSON of other programs: pymatgen's ``as_dict``, OPTIMADE, ASE.

Only data is read: no class is looked up by its name, nothing of the file is run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from ionbridge.structures.io.json_records import (
    check_geometry,
    checked_species,
    compact,
    lattice_from_parameters,
)
from ionbridge.structures.io.site_symbols import ISOTOPES, occupants
from ionbridge.structures.plain_text import clean_text
from ionbridge.structures.records import Crystal, UnusableStructureError

AMOUNT_TOLERANCE = 0.01
HULLS = ("gga_gga+u_r2scan", "gga_gga+u", "r2scan")
"""Hulls of the Materials Project by functionals, the one that it shows first; the first counts that
an entry has."""
_MAX_DEPTH = 3


def foreign_form(data: Any) -> str | None:
    """``pymatgen``, ``OPTIMADE`` or ``ASE`` for an object of these that holds crystals."""
    if not isinstance(data, dict):
        return None
    if _pymatgen_structure(data) is not None:
        return "pymatgen"
    entries = data.get("data")
    if _is_optimade_entry(data) or (
        isinstance(entries, list | dict)
        and all(
            _is_optimade_entry(e) for e in (entries if isinstance(entries, list) else [entries])
        )
        and ("meta" in data or entries)
    ):
        return "OPTIMADE"
    if _is_ase_atoms(data) or (
        "ids" in data and any(_is_ase_atoms(v) for v in data.values() if isinstance(v, dict))
    ):
        return "ASE"
    return None


def crystals_in_foreign_json(
    data: Mapping[str, Any], form: str
) -> Iterator[tuple[str, Crystal | UnusableStructureError]]:
    """(id or empty, crystal or its error) of every crystal of an object.

    Args:
        data: The object.
        form: As :func:`foreign_form` gives it.
    """
    entries: list[tuple[str, Any]]
    if form == "pymatgen":
        own = next((data[k] for k in ("material_id", "entry_id", "id") if data.get(k)), "")
        entries = [(own, _pymatgen_structure(data))]
        read = _from_pymatgen
    elif form == "OPTIMADE":
        found = [data] if _is_optimade_entry(data) else data["data"]
        found = found if isinstance(found, list) else [found]
        entries = [(e.get("id", ""), e.get("attributes", e)) for e in found]
        read = _from_optimade
    else:
        rows = (
            [data]
            if _is_ase_atoms(data)
            else [v for v in data.values() if isinstance(v, dict) and _is_ase_atoms(v)]
        )
        entries = [("", row) for row in rows]
        read = _from_ase
    for id, entry in entries:
        name = clean_text(str(id)) if isinstance(id, str | int) else ""
        try:
            yield name, compact(read(entry))
        except UnusableStructureError as error:
            yield name, error
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, IndexError):
            yield name, UnusableStructureError(f"not a whole {form} structure")


def _pymatgen_structure(data: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any] | None:
    """The structure in a ``Structure``, an entry or a document that holds one."""
    lattice, sites = data.get("lattice"), data.get("sites")
    if isinstance(sites, list) and isinstance(lattice, dict):
        return data
    if isinstance(sites, list) and str(data.get("@class", "")).endswith("Molecule"):
        return data
    inner = data.get("structure")
    if isinstance(inner, dict) and depth < _MAX_DEPTH:
        return _pymatgen_structure(inner, depth + 1)
    return None


def _from_pymatgen(data: Mapping[str, Any]) -> Crystal:
    cell = data.get("lattice")
    if not isinstance(cell, dict):
        raise UnusableStructureError("a molecule (no lattice): not a periodic crystal")
    if cell.get("matrix") is not None:
        lattice = _matrix(cell["matrix"])
    else:
        lattice = lattice_from_parameters(
            *(float(cell[k]) for k in ("a", "b", "c", "alpha", "beta", "gamma"))
        )
    notes = not_periodic(cell.get("pbc"))
    sites, places = [], []
    for k, site in enumerate(data["sites"]):
        inside: dict[str, float] = {}
        for one in site["species"]:
            found = occupants(str(one["element"]))
            if found.hydrogens or (found.note and found.shares):
                raise UnusableStructureError(f"sites[{k}]: unknown element {one['element']!r}")
            notes += [f"'{clean_text(str(one['element']))}': {found.note}"] if found.note else []
            for symbol, share in found.shares.items():
                inside[symbol] = inside.get(symbol, 0.0) + share * float(one["occu"])
        sites.append(inside)
        if site.get("abc") is not None:
            places.append(site["abc"])
        else:
            places.append((np.array(site["xyz"], dtype=float) @ np.linalg.inv(lattice)).tolist())
    return _crystal(lattice, sites, places, notes)


def _is_optimade_entry(data: Any) -> bool:
    if not isinstance(data, dict):
        return False
    inside = data.get("attributes", data)
    return isinstance(inside, dict) and (
        "cartesian_site_positions" in inside or "lattice_vectors" in inside
    )


def _from_optimade(data: Mapping[str, Any]) -> Crystal:
    for key in ("lattice_vectors", "cartesian_site_positions", "species_at_sites"):
        if data.get(key) is None:
            raise UnusableStructureError(f"OPTIMADE entry without {key}")
    lattice = _matrix(data["lattice_vectors"])
    notes = not_periodic(data.get("dimension_types"))
    positions = _places(data["cartesian_site_positions"])
    named = list(data["species_at_sites"])
    if not len(named) == len(positions) == (data.get("nsites") or len(named)):
        raise UnusableStructureError(
            f"{len(positions)} positions, {len(named)} species_at_sites, nsites = "
            f"{data.get('nsites')}"
        )
    kinds = {str(kind["name"]): kind for kind in data.get("species") or ()}
    content = {
        name: _optimade_species(name, kinds.get(name), notes) for name in dict.fromkeys(named)
    }
    features = data.get("structure_features") or ()
    if "assemblies" in features:
        notes.append("correlated disorder (assemblies) is read as independent occupancies")
    if "implicit_atoms" in features:
        notes.append("atoms without a position (implicit_atoms) are left out")
    crystal = _crystal(
        lattice,
        [content[name] for name in named],
        (positions @ np.linalg.inv(lattice)).tolist(),
        notes,
    )
    _check_formula(crystal, data)
    return replace(crystal, extra={**crystal.extra, **_hull_energy(data.get("_mp_stability"))})


def _hull_energy(stability: Any) -> dict[str, float]:
    """The energy above hull in eV/atom of an entry of the Materials Project, where it has one."""
    if not isinstance(stability, dict):
        return {}
    hulls = [stability[name] for name in HULLS if isinstance(stability.get(name), dict)]
    found = [hull.get("energy_above_hull") for hull in hulls]
    known = [float(e) for e in found if isinstance(e, int | float) and math.isfinite(e)]
    return {"energy_above_hull_eV_atom": known[0]} if known else {}


def _optimade_species(
    name: str, kind: Mapping[str, Any] | None, notes: list[str]
) -> dict[str, float]:
    if kind is None:
        found = occupants(name)
        notes += [f"'{clean_text(name)}': {found.note}"] if found.note else []
        return dict(found.shares)
    symbols, shares = kind["chemical_symbols"], kind["concentration"]
    if len(symbols) != len(shares):
        raise UnusableStructureError(f"species {name!r}: symbols and concentrations do not match")
    if kind.get("attached"):
        notes.append(
            f"species {clean_text(name)!r}: attached atoms without a position are left out"
        )
    content: dict[str, float] = {}
    for symbol, share in zip(symbols, shares, strict=True):
        if symbol == "vacancy":
            continue
        if symbol == "X":
            raise UnusableStructureError(f"species {name!r} holds an unknown element 'X'")
        element = ISOTOPES.get(symbol, symbol)
        if not occupants(element).shares or float(share) < 0:
            raise UnusableStructureError(f"species {name!r}: {symbol!r} {share!r}")
        if float(share) > 0:
            content[element] = content.get(element, 0.0) + float(share)
    return content


def _check_formula(crystal: Crystal, data: Mapping[str, Any]) -> None:
    """Refuse an OPTIMADE entry whose reduced formula or elements are others than its sites'."""
    amounts = crystal.composition.as_dict()
    stated = data.get("chemical_formula_reduced")
    elements = data.get("elements")
    pairs = re.findall(r"([A-Z][a-z]?)(\d*)", stated) if isinstance(stated, str) else []
    formula = {ISOTOPES.get(s, s): float(n or 1) for s, n in pairs}
    if isinstance(elements, list) and {ISOTOPES.get(e, e) for e in elements} != set(amounts):
        named = ", ".join(map(str, elements))
        raise UnusableStructureError(
            f"sites hold {', '.join(sorted(amounts))}, elements says {named}"
        )
    if not formula:
        return
    ratio = sum(amounts.values()) / sum(formula.values())
    if set(formula) != set(amounts) or any(
        not math.isclose(amounts[s], n * ratio, rel_tol=AMOUNT_TOLERANCE)
        for s, n in formula.items()
    ):
        raise UnusableStructureError(
            f"read as {crystal.formula}, but chemical_formula_reduced says {stated}"
        )


def _is_ase_atoms(data: Mapping[str, Any]) -> bool:
    return "positions" in data and "numbers" in data and "cell" in data


def _from_ase(data: Mapping[str, Any]) -> Crystal:
    lattice = _matrix(_ase_array(data["cell"]))
    notes = not_periodic(_ase_array(data.get("pbc")))
    numbers = np.array(_ase_array(data["numbers"]))
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise UnusableStructureError("numbers are not a list of atomic numbers")
    positions = _places(_ase_array(data["positions"]))
    if len(positions) != len(numbers):
        raise UnusableStructureError(f"{len(numbers)} numbers for {len(positions)} positions")
    return ase_crystal(lattice, numbers, positions, notes)


def ase_crystal(
    lattice: NDArray[np.float64],
    numbers: NDArray[np.int64],
    positions_A: NDArray[np.float64],
    notes: list[str],
) -> Crystal:
    """A crystal of ASE's arrays.

    Args:
        lattice: (3, 3) rows, angstrom.
        numbers: (n,) atomic numbers; 0 is nobody's.
        positions_A: (n, 3), angstrom.
        notes: Notes of its reader.

    Raises:
        UnusableStructureError: An atomic number, a lattice or a position that is none.
    """
    known = {int(n) for n in np.unique(numbers)}
    if not all(1 <= n <= 118 for n in known):
        raise UnusableStructureError(f"unknown atomic number {min(known)} to {max(known)}")
    symbol = {n: Element.from_Z(n).symbol for n in known}
    check_geometry(lattice)
    places = positions_A @ np.linalg.inv(lattice)
    return _crystal(lattice, [{symbol[int(n)]: 1.0} for n in numbers], places.tolist(), notes)


def _ase_array(value: Any) -> Any:
    """Numbers of ASE's JSON form of an array or a cell."""
    if isinstance(value, dict) and "array" in value:
        value = value["array"]
    if isinstance(value, dict) and "__ndarray__" in value:
        shape, kind, flat = value["__ndarray__"]
        if kind not in ("float64", "int64", "bool", "float32", "int32"):
            raise UnusableStructureError(f"array of {clean_text(str(kind))[:20]}, expected numbers")
        return np.array(flat, dtype=kind).reshape(shape)
    return value


def not_periodic(pbc: Any) -> list[str]:
    """A note where a cell is not periodic in every direction."""
    flags = np.atleast_1d(np.array(True if pbc is None else pbc))
    if flags.size in (1, 3) and bool(np.all(flags.astype(bool))):
        return []
    return ["not periodic in every direction by its own flags: read as periodic"]


def _matrix(value: Any) -> NDArray[np.float64]:
    matrix = np.array(value, dtype=float)
    if matrix.shape == (6,):
        matrix = lattice_from_parameters(*matrix.tolist())
    if matrix.shape != (3, 3):
        raise UnusableStructureError(f"lattice has shape {matrix.shape}, expected (3, 3)")
    check_geometry(matrix)
    return matrix


def _places(value: Any) -> NDArray[np.float64]:
    places = np.array(value, dtype=float)
    if places.ndim != 2 or places.shape[1] != 3:
        raise UnusableStructureError(f"positions have shape {places.shape}, expected (n, 3)")
    return places


def _crystal(
    lattice: NDArray[np.float64], sites: list[dict[str, float]], places: list[Any], notes: list[str]
) -> Crystal:
    frac = _places(places)
    check_geometry(lattice, frac=frac)
    kept = [k for k, site in enumerate(sites) if site]
    species, scaled = checked_species([sites[k] for k in kept], "site")
    crystal = Crystal(id="", lattice=lattice, species=species, frac=frac[kept])
    return crystal.with_notes(*dict.fromkeys(notes), *scaled)
