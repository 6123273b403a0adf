"""The 132 Magpie statistics of a composition, read from the data files of the ``matminer`` package.

L. Ward et al., npj Comput. Mater. 2, 16028 (2016). Importing matminer itself costs seconds, and its
featurizer milliseconds a formula.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

Floats = NDArray[np.float64]

PROPERTIES = (
    "Number",
    "MendeleevNumber",
    "AtomicWeight",
    "MeltingT",
    "Column",
    "Row",
    "CovalentRadius",
    "Electronegativity",
    "NsValence",
    "NpValence",
    "NdValence",
    "NfValence",
    "NValence",
    "NsUnfilled",
    "NpUnfilled",
    "NdUnfilled",
    "NfUnfilled",
    "NUnfilled",
    "GSvolume_pa",
    "GSbandgap",
    "GSmagmom",
    "SpaceGroupNumber",
)
STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
NAMES = tuple(f"MagpieData {s} {p}" for p in PROPERTIES for s in STATISTICS)
"""Of the statistics, in their order."""
HEAVIEST = 118


def magpie_statistics(amounts: Mapping[str, float]) -> Floats:
    """(132,) statistics of elemental properties over a composition, in the order of ``NAMES``.

    Means are weighted by the amounts, the mode is that of the commonest element (the smallest of
    several). What rests on a property that an element lacks is zero.

    Args:
        amounts: ``{symbol: amount}``, any scale.
    """
    table = _table()[[Element(symbol).Z - 1 for symbol in amounts]]
    weight = np.array(list(amounts.values()), dtype=float)
    low, high = table.min(axis=0), table.max(axis=0)
    mean = weight @ table / weight.sum()
    deviation = weight @ np.abs(table - mean) / weight.sum()
    commonest = table[np.isclose(weight, weight.max())].min(axis=0)
    found = np.stack([low, high, high - low, mean, deviation, commonest], 1).ravel()
    return np.asarray(np.nan_to_num(found))


@cache
def _table() -> Floats:
    """(118, 22) properties of the elements; NaN where they are not known."""
    spec = find_spec("matminer")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("Magpie data come from the package matminer: install matminer")
    root = Path(next(iter(spec.submodule_search_locations)))
    folder = root / "utils" / "data_files" / "magpie_elementdata"
    return np.array([_column(folder / f"{name}.table") for name in PROPERTIES]).T


def _column(path: Path) -> list[float]:
    values = [_number(line) for line in path.read_text(encoding="utf-8").splitlines()[:HEAVIEST]]
    return values + [float("nan")] * (HEAVIEST - len(values))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
