"""Frames of an ASE ``.traj`` file as crystals, from its arrays alone.

The file (ASE's ULM) is JSON and raw numbers. Its constraints, calculators and tags are not looked
at, and the pickles of versions before 3.9 are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.io.foreign_json import ase_crystal, not_periodic
from ionbridge.structures.io.json_records import compact
from ionbridge.structures.records import Crystal, UnusableStructureError


def crystals_in_traj(file: Path) -> Iterator[Crystal | UnusableStructureError]:
    """Frames of a file, one that is damaged as its error."""
    from ase.io import ulm

    try:
        reader = ulm.open(file, "r")
    except Exception as error:  # as below: the parser of foreign bytes raises whatever it meets
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        yield UnusableStructureError(
            f"not a readable ASE trajectory: {reason} (files of ASE before 3.9 are pickles: "
            "convert them with ase.io.trajectory.convert)"
        )
        return
    with reader:
        size = file.stat().st_size
        first: Any = None
        for k in range(min(len(reader), size // 8)):
            try:
                frame = reader[k]
                first = frame if first is None else first
                yield _crystal(frame, first, size)
            except UnusableStructureError as error:
                yield UnusableStructureError(f"frame {k}: {error}")
            except Exception as error:
                yield UnusableStructureError(f"frame {k} is damaged ({type(error).__name__})")


def _crystal(frame: Any, first: Any, size: int) -> Crystal:
    numbers = _array(frame, first, "numbers", size)
    positions = _array(frame, first, "positions", size).astype(float)
    cell = _array(frame, first, "cell", size).astype(float)
    if cell.shape != (3, 3) or numbers.ndim != 1 or positions.shape != (len(numbers), 3):
        raise UnusableStructureError(
            f"numbers {numbers.shape}, positions {positions.shape}, cell {cell.shape} do not match"
        )
    pbc = _array(frame, first, "pbc", size) if "pbc" in frame or "pbc" in first else None
    return compact(ase_crystal(cell, numbers.astype(np.int64), positions, not_periodic(pbc)))


def _array(frame: Any, first: Any, name: str, size: int) -> NDArray[Any]:
    """An array of a frame, or of the first one where it did not change."""
    source = frame if name in frame else first
    if name not in source:
        raise UnusableStructureError(f"no {name}")
    try:
        stored = source.proxy(name)
    except AssertionError:  # a plain list
        return np.asarray(getattr(source, name))
    if stored.dtype.kind not in "fiub" or not 0 <= stored.nbytes <= size:
        raise UnusableStructureError(f"{name}: no numbers, or more than the file has bytes")
    return np.asarray(stored.read())
