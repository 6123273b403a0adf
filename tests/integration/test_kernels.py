"""One table on every processor: the embedded campaign with other kernels and numbers of threads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

RELATIVE = 1e-6
ABSOLUTE = 1e-8
"""Of values that may be zero."""
N_CANDIDATES = 16
OLD_PROCESSOR = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
"""What torch would do on a processor without wide vectors."""
MACHINES = {
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott", **OLD_PROCESSOR},
    "Zen": {"OPENBLAS_CORETYPE": "Zen"},
    "two threads": {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "2"},
}


def screened(folder: Path, settings: dict[str, str]) -> pd.DataFrame:
    """The table of the embedded campaign's first candidates under environment variables."""
    threads = settings.get("OMP_NUM_THREADS", "1")
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    command = "screen", "--limit", str(N_CANDIDATES), "--workers", "1", "--out", str(folder)
    subprocess.run(
        [sys.executable, "-m", "ionbridge.screening.cli", *command],
        check=True,
        env={**os.environ, **dict.fromkeys(names, threads), **settings},
    )
    return pd.read_parquet(folder / "ranked.parquet")  # all digits; ranked.csv has six


@pytest.mark.slow
def test_the_table_is_the_same_under_every_kernel(tmp_path: Path) -> None:
    tables = {name: screened(tmp_path / name, values) for name, values in MACHINES.items()}
    first = tables.pop("Haswell")
    assert (first["status"] == "ok").sum() > N_CANDIDATES // 2
    for name, table in tables.items():
        for column in first:
            one, other = first[column], table[column]
            if pd.api.types.is_float_dtype(one):
                np.testing.assert_allclose(
                    other, one, rtol=RELATIVE, atol=ABSOLUTE, err_msg=f"{name}: {column}"
                )
            else:
                assert other.equals(one), f"{name}: {column}"
    machines = {name: recorded_machine(tmp_path / name) for name in MACHINES}
    assert kernels(machines["Haswell"]) != kernels(machines["Prescott"])
    assert machines["two threads"]["torch"]["threads"] == 2
    assert all(one["processor"] for one in machines.values())


def recorded_machine(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "campaign.json").read_text(encoding="utf-8"))
    machine: dict[str, Any] = record["machine"]
    return machine


def kernels(machine: dict[str, Any]) -> set[str]:
    return {blas["kernel"] for blas in machine["blas"]}
