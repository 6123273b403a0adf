"""One structure file (CIF, POSCAR, extended XYZ) as crystals; partial occupancy is kept."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import ase
import ase.io
from pymatgen.core import DummySpecies, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp import Poscar

from ionbridge.structures.json_records import OCCUPANCY_TOLERANCE, check_geometry, check_species
from ionbridge.structures.records import Crystal, UnusableStructureError


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
        reason = (_cif_reason(text) if form == "cif" else "") or _one_line(error)
        yield UnusableStructureError(f"not a readable {_NAMES[form]} file: {reason}")
        return
    for structure in structures:
        if isinstance(structure, UnusableStructureError):
            yield structure
            continue
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


def _extxyz(text: str) -> Iterator[Structure | UnusableStructureError]:
    """Frame by frame, so that one that is cut or odd leaves the others."""
    lines = text.splitlines()
    first = number = 0
    while first < len(lines) and "".join(lines[first:]).strip():
        try:
            n_atoms = int(lines[first])
        except ValueError:
            yield UnusableStructureError(
                f"frame {number}: expected the number of atoms in line {first + 1}, "
                f"got {lines[first][:40]!r}"
            )
            return
        frame = lines[first : first + n_atoms + 2]
        if len(frame) < n_atoms + 2:
            yield UnusableStructureError(
                f"frame {number}: the file ends after {max(len(frame) - 2, 0)} of {n_atoms} atoms"
            )
            return
        try:
            yield _extxyz_frame("\n".join(frame))
        except Exception as error:  # as above: whatever the parser meets
            yield UnusableStructureError(f"frame {number}: {_one_line(error)}")
        first, number = first + n_atoms + 2, number + 1


def _extxyz_frame(text: str) -> Structure:
    frame = ase.io.read(io.StringIO(text), format="extxyz")
    assert isinstance(frame, ase.Atoms)
    if frame.cell.rank != 3:
        raise ValueError('no Lattice="..." in the comment line: not a periodic crystal')
    return AseAtomsAdaptor.get_structure(frame)


def _cif_reason(text: str) -> str:
    """What a CIF lacks, in its own terms; empty if that is not what is wrong with it."""
    if "data_" not in text:
        return "no data_ block"
    if "_atom_site_" not in text:
        return "no atom sites (a loop_ with _atom_site_label, _atom_site_fract_x, ...)"
    missing = [name for name in _CIF_NAMES if name not in text]
    if missing:
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    return ""


def _check_elements(structure: Structure) -> None:
    for species in structure.species_and_occu:
        for one in species:
            if isinstance(one, DummySpecies):
                raise UnusableStructureError(f"unknown element {one.symbol!r}")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).removeprefix("No structure parsed for section 1 in CIF.").split())
    if "NaN to integer" in text:
        text = "coordinates or cell are not finite (NaN)"
    if "zip() argument" in text or isinstance(error, ZeroDivisionError):
        text = "a loop_ ends in the middle of a row, or has rows but no column names"
    return text[:200] or type(error).__name__


_CIF_NAMES = (
    *("_cell_length_a", "_cell_length_b", "_cell_length_c"),
    *("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma"),
    *("_atom_site_label", "_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z"),
)
"""Without these a CIF holds no crystal."""

_PARSERS: dict[str, Callable[[str], Iterable[Structure | UnusableStructureError]]] = {
    "cif": _cif,
    "poscar": _poscar,
    "extxyz": _extxyz,
}
_NAMES = {"cif": "CIF", "poscar": "POSCAR", "extxyz": "extended XYZ"}
