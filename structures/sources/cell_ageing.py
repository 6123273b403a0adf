"""Real cells over their life: LCO cells of CALCE, 18650 cells of NASA, LFP cells of Severson."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.io.tables import read_table
from ionbridge.structures.sources.source import Loaded, Remote, Source

FOLDER = "cell_ageing"
CALCE_FILES = tuple(f"{FOLDER}/lco_calce_CS2_{n}.csv" for n in (35, 36, 37, 38))
NASA_FILES = tuple(f"{FOLDER}/nasa_{n}.csv" for n in ("B0005", "B0006", "B0007", "B0018"))
SEVERSON_FILE = f"{FOLDER}/lfp_severson_train.csv"
N_SEVERSON_CELLS = 41
SEVERSON_CURVES = f"{FOLDER}/severson_train"
"""Of each cell, the discharge capacity in Ah: a row a voltage, a column a cycle from the second."""
SEVERSON_LIVES = f"{SEVERSON_CURVES}/train_cycle_lives.csv"
SEVERSON_SERVED = (
    "https://raw.githubusercontent.com/petermattia/revisit-severson-et-al/"
    "cc1773251150dc1d71e31cdb63fe732dba160b64/data"
)
SMOOTHED_CYCLES = 9
"""Width of the running median that takes out check-ups and interrupted cycles."""

EARLY_COLUMNS = (
    "qmax_cycle2_Ah",
    "qmax_cycle100_Ah",
    "log10_var_dQ_100_10",
    "min_dQ_100_10",
    "mean_dQ_100_10",
)


@dataclass(frozen=True, eq=False)
class CapacitySeries:
    """Discharge capacity of one cell over its cycles.

    Attributes:
        cell: As published.
        cathode: ``LCO``; empty where the source does not state it.
        cycle: (n,) cycle numbers, ascending.
        capacity_Ah: (n,) discharge capacity.
        resistance_Ohm: (n,) internal resistance, where measured.
    """

    cell: str
    cathode: str
    cycle: NDArray[np.float64]
    capacity_Ah: NDArray[np.float64]
    resistance_Ohm: NDArray[np.float64] | None = None

    @property
    def smooth_capacity_Ah(self) -> NDArray[np.float64]:
        """(n,) running median of the capacity."""
        half = SMOOTHED_CYCLES // 2
        padded = np.pad(self.capacity_Ah, half, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED_CYCLES)
        return np.median(windows, axis=1)

    def cycle_life(self, share: float = 0.8) -> float | None:
        """First cycle at which the smoothed capacity is below a share of its start; None if never.

        Args:
            share: Of the first smoothed capacity.
        """
        capacity = self.smooth_capacity_Ah
        below = np.flatnonzero(capacity < share * capacity[0])
        return float(self.cycle[below[0]]) if len(below) else None

    def relative_loss(self, cycle: float) -> float:
        """Share of the first smoothed capacity that is lost at a cycle."""
        capacity = self.smooth_capacity_Ah
        return float(1 - np.interp(cycle, self.cycle, capacity) / capacity[0])


@dataclass(frozen=True)
class EarlyCycles:
    """What the first hundred cycles of a cell show, and how long it lived.

    Q(V) is the discharge capacity as a function of voltage, dQ its change from cycle 10 to 100.

    Attributes:
        cell: Name of the cell.
        log10_var_dQ_100_10: log10 of the variance of dQ over voltage, Ah^2.
        min_dQ_100_10: Least dQ, Ah (negative).
        mean_dQ_100_10: Mean dQ, Ah.
        qmax_cycle2_Ah: Discharge capacity at cycle 2, where known.
        qmax_cycle100_Ah: Discharge capacity at cycle 100, where known.
        cycle_life: Cycles to 80 % of the nominal capacity, where known.

    Raises:
        ValueError: A capacity or a life that is not positive, or features that no curve has.
    """

    cell: str
    log10_var_dQ_100_10: float
    min_dQ_100_10: float
    mean_dQ_100_10: float
    qmax_cycle2_Ah: float | None = None
    qmax_cycle100_Ah: float | None = None
    cycle_life: float | None = None

    def __post_init__(self) -> None:
        for name in ("qmax_cycle2_Ah", "qmax_cycle100_Ah", "cycle_life"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value:g}")
        if self.min_dQ_100_10 >= self.mean_dQ_100_10:
            raise ValueError(
                f"min_dQ_100_10 ({self.min_dQ_100_10:g}) is not below mean_dQ_100_10 "
                f"({self.mean_dQ_100_10:g})"
            )
        if self.qmax_cycle2_Ah is not None and self.min_dQ_100_10 < -self.qmax_cycle2_Ah:
            raise ValueError(
                f"min_dQ_100_10 ({self.min_dQ_100_10:g} Ah) takes more than the whole capacity "
                f"({self.qmax_cycle2_Ah:g} Ah)"
            )


def early_cycles(row: Mapping[str, str]) -> EarlyCycles:
    """A row of a table with ``EARLY_COLUMNS``, ``cell`` and, where known, ``cycle_life``.

    Raises:
        ValueError: A feature is missing or is not a number, or what `EarlyCycles` refuses.
    """
    values: dict[str, float | None] = {}
    for name in (*EARLY_COLUMNS, "cycle_life"):
        optional = name.startswith("qmax") or name == "cycle_life"
        text = (row.get(name) or "").strip()
        if not text and optional:
            values[name] = None
            continue
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{name} is not a number: {text!r}") from None
        if not math.isfinite(value):
            raise ValueError(f"{name} is not finite: {text!r}")
        values[name] = value
    return EarlyCycles(cell=(row.get("cell") or "").strip(), **values)  # type: ignore[arg-type]


def load_severson(data_dir: str | Path) -> Loaded[EarlyCycles]:
    """The 41 LFP cells that the one-feature model of the paper was trained on."""
    records: list[EarlyCycles] = []
    dropped: Counter[str] = Counter()
    for row in read_table(Path(data_dir) / SEVERSON_FILE)[1]:
        try:
            record = early_cycles(row)
        except ValueError as error:
            dropped[str(error)] += 1
            continue
        records.append(record)
    return Loaded(tuple(records), dict(dropped))


def load_calce(data_dir: str | Path) -> Loaded[CapacitySeries]:
    """Four LCO cells of one protocol (1C discharge), cycled far beyond 80 %."""
    records = []
    dropped: Counter[str] = Counter()
    for name in CALCE_FILES:
        rows = []
        for row in read_table(Path(data_dir) / name)[1]:
            values = [float(row[key]) for key in ("cycle", "capacity", "resistance")]
            if all(map(math.isfinite, values)) and values[1] > 0:
                rows.append(values)
            else:
                dropped["capacity is not a positive number"] += 1
        cycle, capacity, resistance = np.array(sorted(rows)).T
        cell = Path(name).stem.removeprefix("lco_calce_")
        records.append(CapacitySeries(cell, "LCO", cycle, capacity, resistance))
    return Loaded(tuple(records), dict(dropped))


def load_nasa(data_dir: str | Path) -> Loaded[CapacitySeries]:
    """Four 18650 cells; the files hold cycle number and capacity under the headings 0 and 1."""
    records = []
    for name in NASA_FILES:
        rows = sorted((float(r["0"]), float(r["1"])) for r in read_table(Path(data_dir) / name)[1])
        cycle, capacity = np.array(rows).T
        records.append(CapacitySeries(Path(name).stem.removeprefix("nasa_"), "", cycle, capacity))
    return Loaded(tuple(records))


def arrange_severson(data_dir: Path) -> None:
    """What the discharge curves of the cells show in their first hundred cycles, as a table."""
    lives = (data_dir / SEVERSON_LIVES).read_text(encoding="utf-8").split()
    rows = []
    for number, life in enumerate(lives, start=1):
        cell = f"cell{number}"
        capacity_Ah = np.loadtxt(data_dir / SEVERSON_CURVES / f"{cell}.csv", delimiter=",")
        rows.append({"cell": cell, "cycle_life": float(life), **early_features(capacity_Ah)})
    target = data_dir / SEVERSON_FILE
    part = target.with_name(f".{target.name}.part")
    with part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ("cell", "cycle_life", *EARLY_COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, target)


def early_features(capacity_Ah: NDArray[np.float64]) -> dict[str, float]:
    """`EARLY_COLUMNS` of discharge curves.

    Args:
        capacity_Ah: (n voltages, 99) discharge capacity at cycles 2 to 100.

    Raises:
        ValueError: Other cycles.
    """
    if capacity_Ah.ndim != 2 or capacity_Ah.shape[1] != 99:
        raise ValueError(
            f"curves of shape {capacity_Ah.shape}, expected 99 columns: cycles 2 to 100"
        )
    change = capacity_Ah[:, 100 - 2] - capacity_Ah[:, 10 - 2]
    return {
        "qmax_cycle2_Ah": float(capacity_Ah[:, 0].max()),
        "qmax_cycle100_Ah": float(capacity_Ah[:, -1].max()),
        "log10_var_dQ_100_10": math.log10(change.var()),
        "min_dQ_100_10": float(change.min()),
        "mean_dQ_100_10": float(change.mean()),
    }


SEVERSON = Source(
    name="severson_lfp",
    title="Early-cycle features and cycle life of fast-charged LFP/graphite cells",
    home="https://data.matr.io/1/",
    licence="see the site",
    citation="10.1038/s41560-019-0356-8",
    files=(SEVERSON_FILE,),
    load=load_severson,
    remotes=(
        Remote(f"{SEVERSON_SERVED}/cycle_lives/train_cycle_lives.csv", SEVERSON_LIVES),
        *(
            Remote(f"{SEVERSON_SERVED}/train/cell{n}.csv", f"{SEVERSON_CURVES}/cell{n}.csv")
            for n in range(1, N_SEVERSON_CELLS + 1)
        ),
    ),
    arrange=arrange_severson,
)
CALCE = Source(
    name="calce_lco",
    title="Capacity and resistance of four LCO cells (CS2) over their life",
    home="https://calce.umd.edu/battery-data",
    licence="see the site",
    citation="https://calce.umd.edu/battery-data",
    files=CALCE_FILES,
    load=load_calce,
)
NASA = Source(
    name="nasa_18650",
    title="Capacity of four 18650 cells over their life, chemistry unstated",
    home="https://www.nasa.gov/intelligent-systems-division/discovery-and-systems-health/pcoe/"
    "pcoe-data-set-repository/",
    licence="see the site",
    citation="NASA Prognostics Center of Excellence, battery data set",
    files=NASA_FILES,
    load=load_nasa,
)
SOURCES = (SEVERSON, CALCE, NASA)
