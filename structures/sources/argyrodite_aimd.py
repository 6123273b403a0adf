"""Ab initio molecular dynamics of ordered and disordered argyrodites, as descriptions of runs.

The trajectories are read by ``ionbridge.screening.labelling.dynamics.trajectory``.
"""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ionbridge.structures.sources.source import Loaded, Remote, Source

FOLDER = "argyrodite_aimd"
TRAJECTORY, FRAME_NUMBERS = "actual_XDATCAR.gz", "frame_numbers.dat.gz"
SERVED = "https://raw.githubusercontent.com/bjmorgan/data_argyrodite_disorder/HEAD/data"
RUNS = ("Li6PS5Cl_0p_run1", "Li6PS5Cl_50p_run1", "Li6PS5I_0p_run1", "Li6PS5I_100p_run1")
TEMPERATURE_K = 500.0
TIMESTEP_FS = 2.0


@dataclass(frozen=True)
class AimdRun:
    """One trajectory.

    Attributes:
        name: Name of its folder.
        path: The XDATCAR, gzipped.
        formula: Compound.
        disorder: Part of the halide sites that sulphur has taken, and the other way round.
        working_ion: Mobile ion.
        temperature_K: Of the run, K.
        interval_fs: Time between two frames, fs.
    """

    name: str
    path: Path
    formula: str
    disorder: float
    working_ion: str
    temperature_K: float
    interval_fs: float


def load(data_dir: str | Path) -> Loaded[AimdRun]:
    """The runs that are there, in the order of their names."""
    runs = []
    dropped: Counter[str] = Counter()
    for name in RUNS:
        folder = Path(data_dir) / FOLDER / name
        if not (folder / TRAJECTORY).exists():
            dropped["no trajectory"] += 1
            continue
        formula, disorder, _ = name.split("_")
        runs.append(
            AimdRun(
                name=name,
                path=folder / TRAJECTORY,
                formula=formula,
                disorder=float(disorder.removesuffix("p")) / 100,
                working_ion="Li",
                temperature_K=TEMPERATURE_K,
                interval_fs=_interval_fs(folder / FRAME_NUMBERS),
            )
        )
    return Loaded(tuple(runs), dict(dropped))


def _interval_fs(path: Path) -> float:
    """Time between two frames, from the list of the steps that were kept.

    Raises:
        ValueError: The steps are not evenly spaced.
    """
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        steps = [int(line) for line in stream if line.strip()]
    gaps = {later - earlier for earlier, later in pairwise(steps)}
    if len(gaps) != 1:
        raise ValueError(f"{path}: frames are {sorted(gaps)} steps apart, expected one spacing")
    return gaps.pop() * TIMESTEP_FS


SOURCE = Source(
    name="argyrodite_aimd",
    title="AIMD of Li6PS5Cl and Li6PS5I at 500 K, anions ordered and exchanged",
    home="https://github.com/bjmorgan/data_argyrodite_disorder",
    licence="MIT",
    citation="10.1021/acs.chemmater.0c03738",
    files=tuple(f"{FOLDER}/{name}/{file}" for name in RUNS for file in (TRAJECTORY, FRAME_NUMBERS)),
    load=load,
    remotes=tuple(
        Remote(f"{SERVED}/{name.replace('_', '/')}/{file}", f"{FOLDER}/{name}/{file}")
        for name in RUNS
        for file in (TRAJECTORY, FRAME_NUMBERS)
    ),
)
