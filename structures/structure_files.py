"""One structure file (CIF, POSCAR, extended XYZ) as crystals; partial occupancy is kept."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import ase.io
from pymatgen.core import DummySpecies, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp import Poscar

from structures.json_records import OCCUPANCY_TOLERANCE, check_geometry, check_species
from structures.records import Crystal, UnusableStructureError


def crystals_in_text(text: str, form: str) -> Iterator[Crystal | UnusableStructureError]:
    """The crystals of one file's text, in its order; one that is unusable is yielded as its error.

    Args:
        text: The file's content.
        form: ``cif``, ``poscar`` or ``extxyz``.
    """
    if not text.strip():
        yield UnusableStructureError(f"empty {_NAMES[form]} file")
        return
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # what matters of them is checked below
            structures = list(_PARSERS[form](text))
    except Exception as error:  # parsers of foreign text raise whatever they meet
        yield UnusableStructureError(f"not a readable {_NAMES[form]} file: {_one_line(error)}")
        return
    for structure in structures:
        try:
            _check_elements(structure)
            crystal = Crystal.from_pymatgen(structure, id="")
            check_species(crystal.species, "site")
            check_geometry(crystal.lattice, frac=crystal.frac)
            yield crystal
        except UnusableStructureError as error:
            yield error
        except ValueError as error:
            yield UnusableStructureError(_one_line(error))


def crystal_file(path: Path) -> Crystal:
    """The first crystal of a CIF.

    Raises:
        UnusableStructureError: If there is none.
    """
    first = next(crystals_in_text(path.read_text(encoding="utf-8", errors="replace"), "cif"))
    if isinstance(first, UnusableStructureError):
        raise first
    return first


def _cif(text: str) -> list[Structure]:
    parser = CifParser.from_str(text, occupancy_tolerance=1 + OCCUPANCY_TOLERANCE)
    return parser.parse_structures(primitive=False, on_error="raise")


def _poscar(text: str) -> list[Structure]:
    poscar = Poscar.from_str(text, read_velocities=False)
    if not poscar.true_names:  # the parser would call them H, He, Li, ...
        raise ValueError("no element symbols (VASP 4 form); add their line above the atom counts")
    return [poscar.structure]


def _extxyz(text: str) -> list[Structure]:
    frames = ase.io.read(io.StringIO(text), index=":", format="extxyz")
    assert isinstance(frames, list)
    if not all(frame.cell.rank == 3 for frame in frames):
        raise ValueError('no Lattice="..." in the comment line: not a periodic crystal')
    return [AseAtomsAdaptor.get_structure(frame) for frame in frames]


def _check_elements(structure: Structure) -> None:
    for species in structure.species_and_occu:
        for one in species:
            if isinstance(one, DummySpecies):
                raise UnusableStructureError(f"unknown element {one.symbol!r}")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).removeprefix("No structure parsed for section 1 in CIF.").split())
    if "NaN to integer" in text:
        text = "coordinates or cell are not finite (NaN)"
    return text[:200] or type(error).__name__


_PARSERS = {"cif": _cif, "poscar": _poscar, "extxyz": _extxyz}
_NAMES = {"cif": "CIF", "poscar": "POSCAR", "extxyz": "extended XYZ"}
