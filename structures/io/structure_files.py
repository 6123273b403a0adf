"""One structure file (CIF, POSCAR, extended XYZ, ASE trajectory) as crystals, with notes."""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ionbridge.structures.io.ase_trajectory import crystals_in_traj
from ionbridge.structures.io.cif import crystals_in_cif
from ionbridge.structures.io.extended_xyz import crystals_in_extxyz
from ionbridge.structures.io.file_text import MAX_FILE_MB, FileTooLargeError, read_text
from ionbridge.structures.io.json_records import compact
from ionbridge.structures.io.poscar import crystal_in_poscar
from ionbridge.structures.records import Crystal, UnusableStructureError

NAMES = {
    "cif": "CIF",
    "poscar": "POSCAR",
    "extxyz": "extended XYZ",
    "traj": "ASE trajectory",
}


def crystals_in_file(
    file: Path, form: str, max_MB: float = MAX_FILE_MB
) -> Iterator[Crystal | UnusableStructureError]:
    """The crystals of a file in its order; one that is unusable is yielded as its error.

    Args:
        file: The file, plain or gzip.
        form: One of ``NAMES``.
        max_MB: Largest file, after unpacking.

    Raises:
        OSError: It cannot be read, or is larger.
    """
    if form == "traj":
        if file.stat().st_size > max_MB * 1e6:
            raise FileTooLargeError(f"larger than {max_MB:g} MB; --max-file-MB raises the limit")
        yield from crystals_in_traj(file)
        return
    text, note = read_text(file, max_MB)
    for one in crystals_in_text(text, form):
        yield one.with_notes(note) if note and isinstance(one, Crystal) else one


def crystals_in_text(text: str, form: str) -> Iterator[Crystal | UnusableStructureError]:
    """The crystals of one file's text, in its order; one that is unusable is yielded as its error.

    Args:
        text: The file's content.
        form: ``cif``, ``poscar`` or ``extxyz``.
    """
    name = NAMES[form]
    if not text.strip("\ufeff \t\r\n"):
        yield UnusableStructureError(f"empty {name} file")
        return
    if re.search(r"[\x00-\x08\x0e-\x1b]", text):
        yield UnusableStructureError(f"not a readable {name} file: holds NUL or control characters")
        return
    for one in _crystals(text.lstrip("\ufeff"), form):
        try:
            yield compact(one) if isinstance(one, Crystal) else one
        except UnusableStructureError as error:
            yield error


def _crystals(text: str, form: str) -> Iterator[Crystal | UnusableStructureError]:
    if form == "cif":
        yield from crystals_in_cif(text)
    elif form == "extxyz":
        yield from crystals_in_extxyz(text)
    else:
        try:
            yield crystal_in_poscar(text)
        except UnusableStructureError as error:
            yield UnusableStructureError(f"not a readable POSCAR file: {error}")


def crystal_of_cif(folder: Path, name: str, max_MB: float = MAX_FILE_MB) -> Crystal | None:
    """The crystal of ``<name>.cif`` (or ``.CIF``, ``.mcif``, each also gzip) in a folder.

    Args:
        folder: The folder.
        name: The file's name without its ending.
        max_MB: Largest file, after unpacking.

    Returns:
        None if there is no such file.

    Raises:
        UnusableStructureError: There is one, and it cannot be read, or holds no crystal.
    """
    file = _cif_named(folder, name)
    if file is None:
        return None
    try:
        found = list(crystals_in_file(file, "cif", max_MB))
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UnusableStructureError(f"{file.name} cannot be read: {error}") from None
    crystals = [one for one in found if isinstance(one, Crystal)]
    if not crystals:
        raise UnusableStructureError(str(found[0]))
    first = crystals[0]
    if len(found) > 1:
        first = first.with_notes(f"{file.name} holds {len(found)} crystals: the first is used")
    return replace(first, id=name)


def _cif_named(folder: Path, name: str) -> Path | None:
    if not name or "/" in name or "\\" in name or "\0" in name:
        return None
    for packing in ("", ".gz", ".bz2", ".xz", ".GZ"):
        try:
            for ending in (".cif", ".CIF", ".Cif", ".mcif"):
                if (folder / f"{name}{ending}{packing}").is_file():
                    return folder / f"{name}{ending}{packing}"
        except OSError:  # a name that no file can have
            return None
    return None
