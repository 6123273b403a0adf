"""The JSON forms of crystals and hops (one object a line in a file), checked as they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice

from ionbridge.structures.crystals.geometry import MAX_SITE_OCCUPANCY, perpendicular_widths
from ionbridge.structures.io.site_symbols import ELEMENT_SYMBOLS, ISOTOPES
from ionbridge.structures.plain_text import clean_text
from ionbridge.structures.records import (
    ROLES,
    Bound,
    Crystal,
    Hop,
    Occupancy,
    UnusableStructureError,
    split_bound,
)

SILENT_EXCESS = 5e-4
"""Sums of rounded occupancies (3 x 0.3333 + ...) exceed one by less; more is scaled with a note."""
SMALLEST_VOLUME_A3 = 1e-3
LARGEST_VECTOR_A = 1e5
THINNEST_CELL_A = 0.5
"""Opposite faces of a cell lie further apart, in the shortest vectors of its lattice."""
FAR_CELLS = 2.0
"""A hop further out than this is brought back; its path stays in one piece."""
FARTHEST_CELL = 1e6
"""Coordinates beyond so many cells are no coordinates, and have lost their digits."""
DECIMALS = 8
"""Written coordinates: 1e-8 of a cell vector or angstrom."""

_COMMON_KEYS = ("id", "cell", "lattice", "working_ion", "family")
_CRYSTAL_KEYS = {*_COMMON_KEYS, "formula", "species", "frac", "role", "source"}
_HOP_KEYS = {
    *(*_COMMON_KEYS, "host_species", "host_frac", "path_frac"),
    *("barrier_eV", "barrier_backward_eV", "method"),
}


def is_hop_json(data: Mapping[str, Any]) -> bool:
    """True if the object has the keys of a hop record."""
    return "path_frac" in data or "host_species" in data


def crystal_from_json(data: Mapping[str, Any], id: str | None = None) -> Crystal:
    """A crystal record from its JSON object; unknown keys are kept in ``extra``.

    Args:
        data: ``species``, ``frac`` and ``cell`` (six parameters) or ``lattice`` (rows, angstrom).
        id: Used if the object names none.

    Raises:
        UnusableStructureError: With what is wrong, in one line.
    """
    species, notes = _species(_required(data, "species"), "species")
    crystal = Crystal(
        id=_id(data, id),
        lattice=_lattice(data),
        species=species,
        frac=_points(_required(data, "frac"), "frac", len(species)),
        working_ion=_symbol(data.get("working_ion")),
        role=_role(data.get("role")),
        family=_text(data.get("family")),
        source=_text(data.get("source")),
        extra={k: v for k, v in data.items() if k not in _CRYSTAL_KEYS},
    )
    return compact(crystal.with_notes(*notes) if notes else crystal)


def hop_from_json(data: Mapping[str, Any], id: str | None = None) -> Hop:
    """A hop record from its JSON object; unknown keys are kept in ``extra``.

    Barriers are numbers, or bounds as text: ``"<0.3"``, ``">1.0"``.

    Raises:
        UnusableStructureError: With what is wrong, in one line.
    """
    species, _ = _species(_required(data, "host_species"), "host_species")
    path = _points(_required(data, "path_frac"), "path_frac", None)
    if len(path) < 2:
        raise UnusableStructureError(f"path_frac has {len(path)} point; a hop needs 2 or more")
    ion = _symbol(_required(data, "working_ion"))
    assert ion is not None
    lattice = _lattice(data)
    host = _points(_required(data, "host_frac"), "host_frac", len(species))
    if max(np.abs(host).max(initial=0.0), np.abs(path).max()) > FAR_CELLS:
        host, path = wrapped(_near(host)), _near(path) - np.floor(path[0])
    if _thinnest_A(lattice) < 0.1 * THINNEST_CELL_A:
        raise UnusableStructureError(f"lattice {lattice.round(4).tolist()} is flat, or too skewed")
    barrier_eV, bound = barrier_label(data)
    backward_eV, backward_bound = barrier_label(data, "barrier_backward_eV")
    if barrier_eV is None:
        bound = backward_bound
    elif backward_eV is not None and bound != backward_bound:
        raise UnusableStructureError(
            f"barrier_eV = {data['barrier_eV']!r} and barrier_backward_eV = "
            f"{data['barrier_backward_eV']!r} share a saddle: both are values, or bounds of one "
            "kind"
        )
    return Hop(
        id=_id(data, id),
        working_ion=ion,
        lattice=lattice,
        host_species=species,
        host_frac=host,
        path_frac=path,
        barrier_eV=barrier_eV,
        barrier_backward_eV=backward_eV,
        bound=bound,
        method=_text(data.get("method")),
        family=_text(data.get("family")),
        extra={k: v for k, v in data.items() if k not in _HOP_KEYS},
    )


def crystal_to_json(crystal: Crystal) -> dict[str, Any]:
    """The JSON object of a crystal; ``crystal_from_json`` gives the same crystal back."""
    stated = {
        "working_ion": crystal.working_ion,
        "role": crystal.role,
        "family": crystal.family,
        "source": crystal.source,
    }
    return {
        "id": crystal.id,
        "formula": crystal.formula,
        "lattice": _rounded(crystal.lattice),
        "species": _species_json(crystal.species),
        "frac": _rounded(crystal.frac),
        **{k: v for k, v in stated.items() if v is not None},
        **crystal.extra,
    }


def hop_to_json(hop: Hop) -> dict[str, Any]:
    """The JSON object of a hop; ``hop_from_json`` gives the same hop back."""
    stated = {
        "barrier_eV": _with_bound(hop.barrier_eV, hop.bound),
        "barrier_backward_eV": _with_bound(hop.barrier_backward_eV, hop.bound),
        "method": hop.method,
        "family": hop.family,
    }
    return {
        "id": hop.id,
        "working_ion": hop.working_ion,
        "lattice": _rounded(hop.lattice),
        "host_species": _species_json(hop.host_species),
        "host_frac": _rounded(hop.host_frac),
        "path_frac": _rounded(hop.path_frac),
        **{k: v for k, v in stated.items() if v is not None},
        **hop.extra,
    }


def lattice_from_parameters(
    a: float, b: float, c: float, alpha: float, beta: float, gamma: float
) -> NDArray[np.float64]:
    """(3, 3) lattice rows, angstrom, oriented as pymatgen does (c along z, a in the xz plane).

    Args:
        a: Length of the first vector, angstrom; b and c likewise.
        b: See a.
        c: See a.
        alpha: Angle between b and c, degrees; beta between a and c, gamma between a and b.
        beta: See alpha.
        gamma: See alpha.
    """
    cos_a, cos_b, cos_g = np.cos(np.radians([alpha, beta, gamma]))
    sin_a, sin_b = np.sin(np.radians([alpha, beta]))
    if min(a, b, c) <= 0 or min(sin_a, sin_b) <= 0:
        raise UnusableStructureError(f"cell {[a, b, c, alpha, beta, gamma]} is not a cell")
    cos_g_star = (cos_a * cos_b - cos_g) / (sin_a * sin_b)
    if abs(cos_g_star) >= 1:
        raise UnusableStructureError(f"cell angles {alpha}, {beta}, {gamma} cannot close a cell")
    sin_g_star = np.sqrt(1 - cos_g_star**2)
    return np.array(
        [
            [a * sin_b, 0.0, a * cos_b],
            [-b * sin_a * cos_g_star, b * sin_a * sin_g_star, b * cos_a],
            [0.0, 0.0, c],
        ]
    )


def scaled_occupancy(site: Occupancy, where: str) -> tuple[Occupancy, str]:
    """Occupancies of a site that sum to one at most, and a note where they had to be scaled.

    Args:
        site: ``{symbol: occupancy}``; rounding may make the sum 1.02.
        where: Name of the site in messages.

    Raises:
        UnusableStructureError: One is not above 0, or the sum is above 1.02.
    """
    amounts = list(site.values())
    if not amounts or not all(a > 0 for a in amounts):
        raise UnusableStructureError(f"{where}: occupancies {dict(site)} must be above 0")
    total = sum(amounts)
    if total <= 1.0:
        return site, ""
    if not total <= MAX_SITE_OCCUPANCY + 1e-9:
        raise UnusableStructureError(
            f"{where}: occupancies {dict(site)} sum to {total:.4g}, above one"
        )
    note = f"{where}: occupancies sum to {total:.4g}, scaled to 1"
    scaled = {symbol: amount / total for symbol, amount in site.items()}
    return scaled, note if total > 1 + SILENT_EXCESS else ""


def checked_species(
    species: Sequence[Occupancy], key: str = "species"
) -> tuple[tuple[Occupancy, ...], list[str]]:
    """Sites with known elements and occupancies in (0, 1], and notes on those that were scaled.

    Raises:
        UnusableStructureError: No site, an unknown element, or an impossible occupancy.
    """
    if not species:
        raise UnusableStructureError(f"{key} is empty: no atoms")
    kept, notes = [], []
    for k, site in enumerate(species):
        unknown = [symbol for symbol in site if symbol not in ELEMENT_SYMBOLS]
        if unknown:
            raise UnusableStructureError(f"{key}[{k}]: unknown element {unknown[0]!r}")
        scaled, note = scaled_occupancy(site, f"{key}[{k}]")
        kept.append(scaled)
        notes += [note] if note else []
    return tuple(kept), notes


def wrapped(frac: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional coordinates in [0, 1)."""
    inside = frac - np.floor(frac)
    return np.where(inside >= 1.0, 0.0, inside)


def _thinnest_A(lattice: NDArray[np.float64]) -> float:
    """Lower bound of the distance between opposite faces; without numpy, which is slow at three."""
    a, b, c = (math.hypot(*row) for row in lattice.tolist())
    volume = abs(_determinant(lattice))
    return volume / max(a * b, b * c, a * c)


def _determinant(lattice: NDArray[np.float64]) -> float:
    (a, b, c), (d, e, f), (g, h, i) = lattice.tolist()
    return float(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def _near(frac: NDArray[np.float64]) -> NDArray[np.float64]:
    """The coordinates; UnusableStructureError where they are none."""
    far = float(np.abs(frac).max(initial=0.0))
    if far > FARTHEST_CELL:
        raise UnusableStructureError(f"a coordinate of {far:.3g} cells is no fractional coordinate")
    return frac


def compact(crystal: Crystal) -> Crystal:
    """The same crystal with atoms in the cell, and in shorter cell vectors where it is very flat.

    Atoms outside the cell cost memory with the box that they span, and a skewed cell costs time
    with its flatness.

    Raises:
        UnusableStructureError: The lattice is flat in any vectors, or a coordinate is none.
    """
    low, high = float(crystal.frac.min(initial=0.0)), float(crystal.frac.max(initial=0.0))
    if low < 0 or high >= 1:
        crystal = replace(crystal, frac=wrapped(_near(crystal.frac)))
    if _thinnest_A(crystal.lattice) >= THINNEST_CELL_A:
        return crystal
    reduced = np.array(Lattice(crystal.lattice).get_lll_reduced_lattice().matrix)
    thinnest = float(perpendicular_widths(reduced).min())
    if not thinnest >= THINNEST_CELL_A:
        raise UnusableStructureError(
            f"the cell is flat: {thinnest:.2g} angstrom between opposite faces"
        )
    change = crystal.lattice @ np.linalg.inv(reduced)
    moved = replace(crystal, lattice=reduced, frac=wrapped(crystal.frac @ change))
    return moved.with_notes("very skewed cell: shorter vectors of the same lattice are used")


def check_geometry(lattice: NDArray[np.float64], **points: NDArray[np.float64]) -> None:
    """Raise UnusableStructureError unless the cell has a volume and all numbers are finite."""
    numbers = [number for row in lattice.tolist() for number in row]
    if not all(map(math.isfinite, numbers)):
        raise UnusableStructureError("lattice holds numbers that are not finite (NaN or infinity)")
    longest = max(map(abs, numbers))
    if longest > LARGEST_VECTOR_A:
        raise UnusableStructureError(f"lattice holds a length of {longest:.3g} angstrom")
    volume = abs(_determinant(lattice))
    if volume < SMALLEST_VOLUME_A3:
        raise UnusableStructureError(f"lattice has a volume of {volume:.3g} cubic angstrom")
    for key, values in points.items():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise UnusableStructureError(
                f"{key}[{bad[0]}] = {values[bad[0]].tolist()} is not finite"
            )


def _required(data: Mapping[str, Any], key: str) -> Any:
    value = data.get(key)
    if value is None:
        known = ", ".join(list(data)[:8])
        raise UnusableStructureError(f"key '{key}' is missing (keys given: {known})")
    return value


def _id(data: Mapping[str, Any], fallback: str | None) -> str:
    given = data.get("id")
    if given is None or given == "":
        given = fallback
    if given is None:
        raise UnusableStructureError("key 'id' is missing")
    if clean_text(str(given)) != str(given):
        raise UnusableStructureError(
            f"id '{clean_text(str(given))[:80]}' holds characters that no table can carry"
        )
    return str(given)


def _text(value: Any) -> str | None:
    return None if value is None else clean_text(str(value))


def _role(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if value not in ROLES:
        raise UnusableStructureError(f"role = {value!r}, expected {' or '.join(ROLES)}")
    return str(value)


def _symbol(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and value in ELEMENT_SYMBOLS):
        raise UnusableStructureError(f"working_ion: unknown element {value!r}")
    return value


def barrier_label(data: Mapping[str, Any], key: str = "barrier_eV") -> tuple[float | None, Bound]:
    """A barrier of a hop's JSON object, eV, and whether it is a value or a bound.

    Raises:
        UnusableStructureError: It is no finite number.
    """
    value = data.get(key)
    if value is None:
        return None, "="
    bound: Bound = "="
    text = value
    if isinstance(value, str):
        bound, text = split_bound(value)
    try:
        number = float(text)
    except (TypeError, ValueError, OverflowError):
        raise UnusableStructureError(f"{key} = {value!r} is not a number") from None
    if not np.isfinite(number):
        raise UnusableStructureError(f"{key} = {value!r} is not finite")
    return number, bound


def _with_bound(barrier_eV: float | None, bound: Bound) -> float | str | None:
    return barrier_eV if barrier_eV is None or bound == "=" else f"{bound}{float(barrier_eV)!r}"


def _species(value: Any, key: str) -> tuple[tuple[Occupancy, ...], list[str]]:
    if not isinstance(value, list):
        raise UnusableStructureError(f"{key} must be a list, got {type(value).__name__}")
    if not value:
        raise UnusableStructureError(f"{key} is empty: no atoms")
    try:  # ordered: the common case, each distinct symbol looked at once
        whole = {symbol: {ISOTOPES.get(symbol, symbol): 1.0} for symbol in set(value)}
    except TypeError:
        return checked_species([_site(site, f"{key}[{k}]") for k, site in enumerate(value)], key)
    for symbol in whole:
        if symbol not in ELEMENT_SYMBOLS and symbol not in ISOTOPES:
            raise UnusableStructureError(
                f"{key}[{value.index(symbol)}]: unknown element {symbol!r}"
            )
    return tuple(whole[symbol] for symbol in value), []


def _site(value: Any, where: str) -> Occupancy:
    if isinstance(value, str):
        return {ISOTOPES.get(value, value): 1.0}
    if isinstance(value, dict):
        try:
            content: dict[str, float] = {}
            for symbol, amount in value.items():
                element = ISOTOPES.get(str(symbol), str(symbol))
                content[element] = content.get(element, 0.0) + float(amount)
            return content
        except (TypeError, ValueError, OverflowError):
            pass
    raise UnusableStructureError(f"{where} = {value!r} is neither a symbol nor symbol: occupancy")


def _lattice(data: Mapping[str, Any]) -> NDArray[np.float64]:
    key = "lattice" if data.get("lattice") is not None else "cell"
    given = _required(data, key)
    shape = (3, 3) if key == "lattice" else (6,)
    values = _array(given, key)
    if values.shape != shape:
        raise UnusableStructureError(f"{key} has shape {values.shape}, expected {shape}")
    if not np.all(np.isfinite(values)):
        raise UnusableStructureError(f"{key} = {given} is not finite")
    lattice = values if key == "lattice" else lattice_from_parameters(*values.tolist())
    check_geometry(lattice)
    return lattice


def _points(value: Any, key: str, count: int | None) -> NDArray[np.float64]:
    points = _array(value, key)
    if points.ndim != 2 or points.shape[1] != 3 or count not in (None, len(points)):
        expected = f"({'n' if count is None else count}, 3)"
        raise UnusableStructureError(f"{key} has shape {points.shape}, expected {expected}")
    finite = np.isfinite(points)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise UnusableStructureError(f"{key}[{row}] = {points[row].tolist()} is not finite")
    return points


def _array(value: Any, key: str) -> NDArray[np.float64]:
    try:
        return np.array(value, dtype=float)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise UnusableStructureError(f"{key} is not a regular table of numbers") from None


def _rounded(values: NDArray[np.float64]) -> list[list[float]]:
    rounded: list[list[float]] = np.round(values, DECIMALS).tolist()
    return rounded


def _species_json(species: tuple[Occupancy, ...]) -> list[Any]:
    return [
        next(iter(site)) if len(site) == 1 and next(iter(site.values())) == 1.0 else dict(site)
        for site in species
    ]
