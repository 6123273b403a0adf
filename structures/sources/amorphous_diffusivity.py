"""Diffusivities of Li alloys in amorphous phases by AIMD, as series over temperature."""

from __future__ import annotations

import csv
import gzip
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.io.tables import read_table
from ionbridge.structures.sources.source import Loaded, Remote, Source
from ionbridge.structures.units import BOLTZMANN_EV_PER_K

TABLE_FILE = "amorphous_diffusivity/ln_diffusivity_792.csv.gz"
SERVED_FILE = "amorphous_diffusivity/train_target_lnD.dat"
SERVED = (
    "https://raw.githubusercontent.com/Tinaatucsd/DFT_amorphous_structure/"
    "364e1805dbb52311b6f6da8738fe539c5239f6f0/machine_learning_models/train_target_lnD.dat"
)
MIN_TEMPERATURES = 2


@dataclass(frozen=True, eq=False)
class DiffusivitySeries:
    """ln D of one formula over temperature; the unit of D is not stated, so only slopes count.

    Attributes:
        formula: As published.
        inverse_kT: (n,) 1/(k_B T) in 1/eV.
        ln_diffusivity: (n,) ln D, D in an unstated unit.
    """

    formula: str
    inverse_kT: NDArray[np.float64]
    ln_diffusivity: NDArray[np.float64]

    @property
    def activation_energy_eV(self) -> float:
        """Arrhenius slope -d ln D / d(1/kT), eV."""
        return -float(np.polyfit(self.inverse_kT, self.ln_diffusivity, 1)[0])


def load(data_dir: str | Path) -> Loaded[DiffusivitySeries]:
    """One series a formula, in the order of the file."""
    points: dict[str, list[tuple[float, float]]] = {}
    dropped: Counter[str] = Counter()
    for row in read_table(Path(data_dir) / TABLE_FILE)[1]:
        pair = float(row["inverse_kbT"]), float(row["lnD"])
        if not all(map(math.isfinite, pair)):
            dropped["not finite"] += 1
            continue
        points.setdefault(row["formula"], []).append(pair)
    series = []
    for formula, pairs in points.items():
        inverse_kT, ln_diffusivity = np.array(sorted(pairs)).T
        if len(set(inverse_kT)) < MIN_TEMPERATURES:
            dropped["one temperature only"] += len(pairs)
            continue
        series.append(DiffusivitySeries(formula, inverse_kT, ln_diffusivity))
    return Loaded(tuple(series), dict(dropped))


def arrange(data_dir: Path) -> None:
    """The served table, whose last column ``inverseTemp`` is 1000 K / T, as CSV over 1/(k_B T)."""
    lines = (data_dir / SERVED_FILE).read_text(encoding="utf-8").splitlines()
    header, *rows = [line.split() for line in lines if line.strip()]
    formula, ln_diffusivity, inverse = (
        header.index(name) for name in ("formula", "lnD", "inverseTemp")
    )
    target = data_dir / TABLE_FILE
    part = target.with_name(f".{target.name}.part")
    with gzip.open(part, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("formula", "lnD", "inverse_kbT"))
        for row in rows:
            per_eV = float(row[inverse]) / (1000 * BOLTZMANN_EV_PER_K)
            writer.writerow((row[formula], row[ln_diffusivity], repr(per_eV)))
    os.replace(part, target)


SOURCE = Source(
    name="amorphous_diffusivity",
    title="AIMD diffusivities in amorphous Li alloys against 1/kT (slopes only)",
    home="https://github.com/Tinaatucsd/DFT_amorphous_structure",
    licence="see the repository",
    citation="https://github.com/Tinaatucsd/DFT_amorphous_structure",
    files=(TABLE_FILE,),
    load=load,
    remotes=(Remote(SERVED, SERVED_FILE),),
    arrange=arrange,
)
