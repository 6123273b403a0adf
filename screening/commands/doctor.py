"""``ionbridge doctor``: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ionbridge.screening.commands.command import USABLE, add_command

CORE = ("torch", "torch-geometric", "pymatgen", "ase", "spglib", "numpy", "scipy", "scikit-learn")
PARTS = {
    "cell": ("cells: simulate, fit, export", ("pybamm", "bpx")),
    "chgnet": ("barriers and dynamics by CHGNet", ("chgnet",)),
    "sevennet": ("barriers and dynamics by SevenNet, short relaxations", ("sevenn",)),
    "trajectories": ("trajectories of GROMACS, AMBER and others", ("MDAnalysis",)),
    "dask": ("campaigns on several machines", ("distributed",)),
    "mcp": ("tools for language models", ("mcp",)),
    "notebooks": ("the notebooks", ("ipykernel", "nbclient")),
}
"""Optional parts: what each is for, and the packages that it needs."""


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    add_command(
        commands,
        "doctor",
        _run,
        "say what is installed, what is missing and how to get it",
        "ionbridge doctor",
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge import __version__

    print(f"ionbridge {__version__}, Python {platform.python_version()} ({sys.executable})")
    print(
        f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores for work"
    )
    print(f"GPU: {_gpu()}")
    print("\nalways needed")
    for name in CORE:
        print(f"  {name:16} {_version(name) or 'MISSING: pip install ionbridge'}")
    print("\noptional parts")
    for part, (purpose, packages) in PARTS.items():
        found = [f"{name} {v}" for name in packages if (v := _version(name))]
        if len(found) == len(packages):
            state = ", ".join(found)
        else:
            state = (
                f"not installed: pip install 'ionbridge[{part}]' (in a checkout: -e '.[{part}]')"
            )
        print(f"  {part:16} {purpose}: {state}")
    return USABLE


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str:
    try:
        import torch
    except ImportError:
        return "not known without torch"
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return "none that torch can use; everything runs on the CPU"
