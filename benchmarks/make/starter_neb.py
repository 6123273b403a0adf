"""Make the starter set of migration barriers: CHGNet climbing-image NEB, the project's own labels.

    python -m benchmarks.make.starter_neb --work DIR [--minutes M]

Well-known crystals and their substituted relatives, cells relaxed with CHGNet, then their shortest
hops. Every finished hop is a row of DIR/<crystal>.jsonl, so the script goes on where it was killed;
the converged rows are written to screening/data each time a crystal is done. Several of it may run
at a time: each takes crystals that no other has. Add crystals to CRYSTALS to extend the set; rows
that are there are not computed again.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import time
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.bands.neb import (
    BrokenCalculationError,
    NebSettings,
    relaxed_crystal,
)
from ionbridge.screening.labelling.bands.neb_labels import (
    NebLabeller,
    NebTask,
    label_neb,
    read_rows,
)
from ionbridge.screening.table import Row
from ionbridge.structures.crystals.symmetry import primitive_cell
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import crystal_from_json, crystal_to_json, write_json_lines
from ionbridge.structures.records import Crystal, UnusableStructureError

STARTER = Path(__file__).parents[2] / "screening" / "data" / "starter_hops_neb.jsonl.gz"
SETTINGS = NebSettings(n_images=5, fmax_eV_A=0.05, max_atoms=128, time_limit_min=180.0)
MAX_HOPS = 3
MAX_BVSE_BARRIER_EV = 2.5
"""Hops that bond valences call hopeless teach little and converge badly."""
SOURCE = "IonBridge: CHGNet NEB (benchmarks/make/starter_neb.py)"

CRYSTALS: tuple[tuple[str, dict[str, str]], ...] = (
    ("NaFePO4-olivine", {}),
    ("LiCoO2-layered", {}),
    ("LiFePO4-olivine", {}),
    ("NaFeO2-layered", {}),
    ("Na3PS4-cubic", {}),
    ("LiMn2O4-spinel", {}),
    ("LiTi2(PO4)3-NASICON", {}),
    ("LiVPO4F-tavorite", {}),
    ("Li2FeSiO4-orthosilicate-Pmn21", {}),
    ("LiFePO4-olivine", {"Fe": "Mn"}),
    ("LiFePO4-olivine", {"Fe": "Co"}),
    ("NaZr2(PO4)3-NASICON", {}),
    ("LiFeSO4F-tavorite", {}),
    ("LiTiS2-layered", {}),
    ("Li3OCl-anti-perovskite", {}),
    ("LiMn2O4-spinel", {"Mn": "Co"}),
    ("LiMn2O4-spinel", {"Mn": "Ni"}),
    ("LiMn2O4-spinel", {"Li": "Na"}),
    ("NaFeO2-layered", {"Fe": "Co"}),
    ("NaFeO2-layered", {"Fe": "V"}),
    ("NaFePO4-olivine", {"Fe": "Mn"}),
    ("LiVPO4F-tavorite", {"V": "Al"}),
    ("LiVPO4F-tavorite", {"V": "Mn"}),
    ("LiFeSO4F-tavorite", {"Fe": "Mg"}),
    ("LiVPO4F-tavorite", {"Li": "Na", "V": "Al"}),
    ("LiFeSO4F-tavorite", {"Li": "Na", "Fe": "Mg"}),
    ("Li2FeSiO4-orthosilicate-Pmn21", {"Fe": "Mn"}),
    ("Na2ZnSiO4-orthosilicate-Pc", {"Zn": "Mn"}),
    ("LiCoO2-layered", {"Co": "Ni"}),
    ("NaFeO2-layered", {"Fe": "Ni"}),
    ("LiMn2O4-spinel", {"Mn": "Ti"}),
    ("LiMn2O4-spinel", {"Mn": "V"}),
    ("LiMn2O4-spinel", {"Mn": "Cr"}),
    ("Li2S-antifluorite", {}),
    ("LiCl-rocksalt", {}),
    ("Na3PS4-tetragonal", {}),
    ("Na3PS4-cubic", {"S": "Se"}),
    ("Na3PS4-cubic", {"P": "Sb"}),
    ("LiTi2(PO4)3-NASICON", {"Ti": "Zr"}),
    ("LiTi2(PO4)3-NASICON", {"Ti": "Ge"}),
    ("LiTi2(PO4)3-NASICON", {"Ti": "Sn"}),
    ("NaZr2(PO4)3-NASICON", {"Zr": "Ti"}),
    ("NaZr2(PO4)3-NASICON", {"Zr": "Sn"}),
    ("LiTiS2-layered", {"Ti": "V"}),
    ("LiTiS2-layered", {"Li": "Na"}),
    ("Li3OCl-anti-perovskite", {"Cl": "Br"}),
    ("Li3OCl-anti-perovskite", {"Li": "Na"}),
    ("Li3N-nitride", {}),
    ("LiMnBO3-borate", {}),
    ("LiFeBO3-borate-Cc", {}),
    ("Li3PS4-beta", {}),
    ("Li10GeP2S12-LGPS", {}),
    ("Li3PO4-beta", {}),
    ("LiTiOPO4-oxyphosphate", {}),
    ("Li3ErCl6-halide", {}),
    ("Li3ErBr6-halide", {"Er": "Y"}),
    ("LiAlCl4-halide", {}),
    ("NaAlCl4-halide", {}),
    ("Li3Nd3Te2O12-garnet", {}),
    ("LiFePO4-olivine", {"Fe": "Ni"}),
    ("LiFePO4-olivine", {"Fe": "Mg"}),
    ("LiFePO4-olivine", {"Fe": "Sc", "P": "Si"}),
    ("LiFePO4-olivine", {"Fe": "Sc", "P": "Ge"}),
    ("LiFePO4-olivine", {"Fe": "In", "P": "Si"}),
    ("LiFePO4-olivine", {"Fe": "Mg", "P": "As"}),
    ("Li2FeSiO4-orthosilicate-Pmn21", {"Fe": "Co"}),
    ("Li2FeSiO4-orthosilicate-P21", {}),
    ("Na2ZnSiO4-orthosilicate-Pc", {"Zn": "Fe"}),
    ("Na2ZnSiO4-orthosilicate-Pc", {}),
    ("LiFeSO4F-tavorite", {"Fe": "Zn"}),
    ("LiVPO4F-tavorite", {"V": "Fe"}),
    ("LiVPO4F-tavorite", {"V": "Ti"}),
    ("NaFeF3-perovskite", {}),
    ("LiFeP2O7-pyrophosphate", {}),
    ("Na2MnP2O7-pyrophosphate", {}),
    ("NaFeP2O7-pyrophosphate", {}),
    ("Na2Fe3(PO4)3-alluaudite", {}),
    ("Na3V2(PO4)2F3-fluorophosphate", {}),
    ("Li3V2(PO4)3-anti-nasicon", {}),
    ("Na3AlF6-cryolite", {}),
    ("Li2MnO3-layered", {}),
    ("Li2TiO3-layered", {}),
    ("NaFePO4-maricite", {}),
    ("LiNbO3-LiNbO3", {}),
)
"""Prototype and the elements put in place of others; the first dozen covers six families."""


def crystal_of(name: str, swap: dict[str, str]) -> Crystal:
    """A prototype, or one with other elements on its sites, in its primitive cell."""
    parent = PROTOTYPES[name].build()
    ion = swap.get(str(parent.working_ion), parent.working_ion)
    species = tuple({swap.get(s, s): n for s, n in site.items()} for site in parent.species)
    crystal = replace(parent, species=species, working_ion=ion)
    kind = name.split("-", 1)[1]
    return primitive_cell(replace(crystal, id=f"{crystal.formula}-{kind}"))


def relaxed(crystal: Crystal, folder: Path, choice: CalculatorChoice) -> Crystal:
    """The crystal with its cell relaxed, computed once."""
    file = folder / f"{crystal.id}.crystal.json"
    if not file.exists():
        settings = replace(SETTINGS, relax_cell=True)
        found = relaxed_crystal(crystal, choice.make(), settings)
        change = found.volume_A3 / crystal.volume_A3 - 1
        extra = {**found.extra, "volume_change_on_relaxation": round(change, 4)}
        write_json(file, crystal_to_json(replace(found, extra=extra)))
    return crystal_from_json(json.loads(file.read_text(encoding="utf-8")))


def tasks_of(crystal: Crystal) -> list[NebTask]:
    """The shortest hops that are worth the time."""
    graph = find_hops(crystal)
    usable = [
        hop
        for hop in graph.hops
        if not hop.extra.get("n_passed_sites")
        and max(hop.extra.get("bvse_profile_eV", [0.0])) < MAX_BVSE_BARRIER_EV
    ]
    return [NebTask(hop, graph.crystal) for hop in usable[:MAX_HOPS]]


def ship(folder: Path) -> None:
    """Write the converged rows of all crystals, in the order of CRYSTALS."""
    shipped = []
    for name, swap in CRYSTALS:
        crystal = crystal_of(name, swap)
        origin = {
            "source": SOURCE,
            "prototype": name,
            "substituted": swap,
            "reference": crystal.extra["reference"],
        }
        rows = read_rows(folder / f"{crystal.id}.jsonl")
        shipped += [{**row, **origin} for row in rows if row["status"] == "ok"]
    write_json_lines(STARTER, shipped)
    families = Counter(row["family"] for row in shipped)
    print(f"{len(shipped)} hops: {dict(families)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of unfinished work")
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no crystal after")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    choice = CalculatorChoice("chgnet")
    labeller = NebLabeller(choice, SETTINGS)
    print(f"chgnet {version('chgnet')}", flush=True)
    started = time.monotonic()
    for name, swap in CRYSTALS:
        if time.monotonic() - started > 60 * args.minutes:
            break
        crystal = crystal_of(name, swap)
        with (
            (args.work / f"{crystal.id}.lock").open("w") as lock,
            contextlib.suppress(BlockingIOError),
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another process has this crystal
            label(crystal, args.work, labeller)
            ship(args.work)


def label(crystal: Crystal, folder: Path, labeller: NebLabeller) -> None:
    """Compute the hops of one crystal that are not there yet."""
    try:
        tasks = tasks_of(relaxed(crystal, folder, labeller.calculator))
    except (BrokenCalculationError, UnusableStructureError) as error:
        print(f"{crystal.id}: {error}", flush=True)
        return
    label_neb(tasks, labeller, folder / f"{crystal.id}.jsonl", ThisProcess(), tell)


def tell(row: Row) -> None:
    print(
        f"{row['id']}: {row.get('barrier_eV')} eV, {row.get('n_atoms')} atoms, "
        f"{row.get('n_force_calls')} calls, {row.get('cpu_s')} s {row['reason']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
