"""Frames of extended XYZ as crystals, one by one, so that a bad one leaves the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pymatgen.core import Element

from ionbridge.structures.io.json_records import check_geometry, checked_species
from ionbridge.structures.io.site_symbols import occupants
from ionbridge.structures.plain_text import clean_text
from ionbridge.structures.records import Crystal, UnusableStructureError

_NUMBERS = ("z", "numbers", "atomic_numbers")


def crystals_in_extxyz(text: str) -> Iterator[Crystal | UnusableStructureError]:
    """The frames of a file; one that is cut or odd is its error."""
    lines = text.splitlines()
    first = number = 0
    while first < len(lines) and any(line.strip() for line in lines[first:]):
        try:
            n_atoms = int(lines[first])
            if n_atoms < 0:
                raise ValueError
        except ValueError:
            yield UnusableStructureError(
                f"frame {number}: expected the number of atoms in line {first + 1}, "
                f"got {clean_text(lines[first])[:40]!r}"
            )
            return
        frame = lines[first : first + n_atoms + 2]
        if len(frame) < n_atoms + 2:
            yield UnusableStructureError(
                f"frame {number}: the file ends after {max(len(frame) - 2, 0)} of {n_atoms} atoms"
            )
            return
        try:
            yield _frame(frame)
        except UnusableStructureError as error:
            yield UnusableStructureError(f"frame {number}: {error}")
        first, number = first + n_atoms + 2, number + 1


def _frame(lines: list[str]) -> Crystal:
    from ase.io.extxyz import key_val_str_to_dict

    try:
        header = {str(k).lower(): v for k, v in key_val_str_to_dict(lines[1]).items()}
    except Exception as error:  # the parser of foreign text raises whatever it meets
        reason = clean_text(" ".join(str(error).split()))[:80]
        raise UnusableStructureError(f"unreadable comment line: {reason}") from None
    notes: list[str] = []
    given = header.get("lattice")
    if given is None:
        raise UnusableStructureError('no Lattice="..." in the comment line: not a periodic crystal')
    try:
        # ASE keeps the nine numbers by columns of its own
        lattice = np.array(given, dtype=float).reshape(3, 3).T
    except (TypeError, ValueError, OverflowError):
        raise UnusableStructureError("Lattice is not nine numbers") from None
    check_geometry(lattice)
    periodic = np.atleast_1d(np.array(header.get("pbc", True)))
    if periodic.dtype != bool or len(periodic) not in (1, 3):
        notes.append("pbc is not understood: read as periodic")
    elif not periodic.all():
        notes.append("not periodic in every direction by its pbc: read as periodic")
    columns = _columns(str(header.get("properties", "species:S:1:pos:R:3")))
    where = {name.lower(): start for name, start, _ in columns}
    place = where.get("pos", where.get("positions"))
    kind = where.get("species", where.get("element", where.get("symbols")))
    numbers = next((where[name] for name in _NUMBERS if name in where), None)
    if place is None or (kind is None and numbers is None):
        raise UnusableStructureError("Properties name no species or no pos")
    width = max(start + n for _, start, n in columns)
    sites: list[dict[str, float]] = []
    positions = np.empty((len(lines) - 2, 3))
    share = where.get("occupancy")
    for k, line in enumerate(lines[2:]):
        words = line.split()
        if len(words) < width:
            raise UnusableStructureError(
                f"atom {k + 1} has {len(words)} of {width} columns: {clean_text(line)[:40]!r}"
            )
        symbol = words[kind] if kind is not None else _symbol(words[numbers or 0])
        inside = occupants(symbol)
        if inside.hydrogens:
            raise UnusableStructureError(f"unknown element {clean_text(symbol)!r}")
        if inside.note:
            notes.append(f"'{clean_text(symbol)}': {inside.note}")
        try:
            positions[k] = [float(word) for word in words[place : place + 3]]
            amount = 1.0 if share is None else float(words[share])
        except ValueError:
            raise UnusableStructureError(
                f"atom {k + 1}: {clean_text(line)[:60]!r} has something else than numbers"
            ) from None
        sites.append({s: x * amount for s, x in inside.shares.items()})
    if share is not None and any(0 < sum(site.values()) < 1 for site in sites):
        notes.append("partial occupancies are of the named element; others of the site are lost")
    kept = [k for k, site in enumerate(sites) if site]
    species, scaled = checked_species([sites[k] for k in kept], "site")
    frac = positions @ np.linalg.inv(lattice)
    check_geometry(lattice, pos=positions, frac=frac)
    crystal = Crystal(id="", lattice=lattice, species=species, frac=frac[kept])
    return crystal.with_notes(*dict.fromkeys(notes), *scaled)


def _columns(text: str) -> list[tuple[str, int, int]]:
    """(name, first column, number of columns) of what ``Properties`` names."""
    parts = text.split(":")
    found, start = [], 0
    try:
        for name, _, count in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
            if not 0 < int(count) < 1000:
                raise ValueError
            found.append((name, start, int(count)))
            start += int(count)
    except ValueError:
        raise UnusableStructureError(
            f"Properties={clean_text(text)[:60]!r} is not understood"
        ) from None
    return found


def _symbol(word: str) -> str:
    try:
        return Element.from_Z(int(word)).symbol
    except (ValueError, KeyError):
        return word
