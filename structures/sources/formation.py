"""Cells from their formation to the end of their life: NMC pouch cells, University of Michigan.

Two ways of formation, fast and baseline, and ageing at room temperature or 45 C. What is known once
a cell is formed is kept here; how it was to be aged is not known then.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ionbridge.structures.io.tables import read_table
from ionbridge.structures.sources.source import Loaded, Source

FILE = "formation_to_life/cells_train.csv"
EFFICIENCY = "form_first_cycle_efficiency"
PEAK = "form_c20_charge_right_peak_v_per_ah"
SIGNALS = (EFFICIENCY, PEAK)
"""Columns of a table of formed cells, as published."""
LIFE = "cycles_to_80_pct"


@dataclass(frozen=True)
class FormedCell:
    """What formation shows of a cell, and how long it lived.

    Attributes:
        cell: Name of the cell.
        first_cycle_efficiency: Charge given back in the first cycle of the formation over that put
            in.
        c20_right_peak_V_per_Ah: Height of the right peak of dV/dQ on the C/20 charge, of graphite.
        cycle_life: Cycles to a share of the capacity, where known.
        group: Cells formed and aged alike, where known.

    Raises:
        ValueError: A number that no cell has.
    """

    cell: str
    first_cycle_efficiency: float
    c20_right_peak_V_per_Ah: float
    cycle_life: float | None = None
    group: str = ""

    def __post_init__(self) -> None:
        for name, value, most in (
            (EFFICIENCY, self.first_cycle_efficiency, 1.0),
            (PEAK, self.c20_right_peak_V_per_Ah, math.inf),
            (LIFE, 1.0 if self.cycle_life is None else self.cycle_life, math.inf),
        ):
            if not (math.isfinite(value) and 0.0 < value <= most):
                asked = "positive" if math.isinf(most) else "a share between 0 and 1"
                raise ValueError(f"{name} must be {asked}, got {value:g}")


def formed_cell(row: Mapping[str, str], life: str = LIFE) -> FormedCell:
    """A row of a table with SIGNALS, ``cellid`` or ``cell``, and, where known, the life.

    Args:
        row: Column -> text.
        life: Column of the life.

    Raises:
        ValueError: A signal is missing or no number, or what `FormedCell` refuses.
    """
    values = []
    for name in SIGNALS:
        text = (row.get(name) or "").strip()
        try:
            values.append(float(text))
        except ValueError:
            raise ValueError(f"{name} is not a number: {text!r}") from None
    text = (row.get(life) or "").strip()
    return FormedCell(
        (row.get("cell") or row.get("cellid") or "").strip(),
        values[0],
        values[1],
        float(text) if text else None,
        (row.get("group") or "").strip(),
    )


def load_formation(data_dir: str | Path, life: str = LIFE) -> Loaded[FormedCell]:
    """The formed cells whose life is known.

    Args:
        data_dir: Folder of the data sets.
        life: ``cycles_to_80_pct``, or to 70, 60 or 50 %.
    """
    records, dropped = [], Counter[str]()
    for row in read_table(Path(data_dir) / FILE)[1]:
        try:
            record = formed_cell(row, life)
        except ValueError as error:
            dropped[str(error)] += 1
            continue
        if record.cycle_life is None:
            dropped["no life"] += 1
            continue
        records.append(record)
    return Loaded(tuple(records), dict(dropped))


SOURCE = Source(
    name="formation_to_life",
    title="Formation signals and cycle life of NMC111/graphite pouch cells, fast and baseline",
    home="https://doi.org/10.7302/pa3f-4w30",
    licence="not stated",
    citation="10.7302/pa3f-4w30",
    files=(FILE,),
    load=partial(load_formation, life=LIFE),
)
