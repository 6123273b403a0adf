"""What a crystal costs on the road of ``screen``, stage by stage, beside what others cost.

    python -m benchmarks.throughput [--data DIR] [--old CHECKOUT] [--n N] [--repeats N] [--rates]
    python -m benchmarks.throughput --only-start [--old CHECKOUT]

CPU seconds of one thread, the same crystals for all, in one run: every k-th candidate of the
embedded campaign and, with --data, CIFs of OBELiX. Each measurement is a process of its own that
first works on other crystals, so that imports, models and compiled loops are there; the least of
its repeats counts. --old is a checkout of another version, measured by the same lines in turn with
this one. Beside them: one energy by CHGNet 0.3.0 and a bond-valence landscape with percolation by
bvlain, of the ordered crystals. With --rates, what one and two worker processes do in a second of
wall time: that says something on a quiet machine only, and the load stands beside it. What it costs
to start is the CPU time of commands that print names and of a worker's imports (``--only-start``
measures that and keeps the rest).

Written to benchmarks/results/throughput.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.screening.campaign.campaign import Campaign
from ionbridge.screening.campaign.candidates import Candidate, read_crystals
from ionbridge.screening.execution.executor import LocalProcesses
from ionbridge.screening.execution.machine import machine
from ionbridge.screening.execution.shards import ShardFolder, write_json
from ionbridge.screening.prediction.conduction import hop_network_row
from ionbridge.screening.prediction.crystals import CrystalPredictor, loaded_model
from ionbridge.screening.prediction.estimate import estimated_rows
from ionbridge.screening.table import checked_row, failed_row
from ionbridge.structures.chemistry.composition import formula_oxidation_states
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import write_json_lines
from ionbridge.structures.records import Crystal, UnusableStructureError

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).parent / "results" / "throughput.json"
N_WARM = 8
N_BVLAIN = 4
"""Landscapes by bvlain; one takes seconds."""
SHARD = 16
PRINTING = ("--help", "--version", "models list", "models show hop-barrier", "data list")
WORKER = "a worker's imports"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
WHOLE = """
import importlib, json, os, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
root = Path(os.environ["PYTHONPATH"])
package = "ionbridge.screening" if (root / "ionbridge").is_dir() else "screening"  # before 0.2.0
package += ".campaign" * (root / "screening" / "campaign").is_dir()
campaign = importlib.import_module(f"{package}.campaign")
assert Path(campaign.__file__).resolve().is_relative_to(root.resolve()), campaign.__file__
Campaign = campaign.Campaign
read_crystals = importlib.import_module(f"{package}.candidates").read_crystals
predictor = Campaign.from_yaml(Path(sys.argv[1]).with_name("campaign.yaml")).predictor("cpu")
warm, own = (list(read_crystals([Path(name)])) for name in sys.argv[1:3])
predictor(warm)
before = time.process_time()
rows = []
for first in range(0, len(own), 16):
    rows += predictor(own[first : first + 16])
cpu_s = time.process_time() - before
n_ok = sum(row["status"] == "ok" for row in rows)
print(json.dumps({"cpu_s_a_crystal": cpu_s / len(own), "n_ok": n_ok}))
"""
"""What is run in this version and in the old one."""


def chosen(crystals: Sequence[Candidate], n: int) -> tuple[list[Crystal], list[Crystal]]:
    """N_WARM crystals to warm up on and n others, both spread over all."""
    usable = [c for c in crystals if isinstance(c, Crystal)]
    own = usable[:: max(len(usable) // n, 1)][:n]
    rest = [c for c in usable if c not in own]
    return rest[:: max(len(rest) // N_WARM, 1)][:N_WARM], own


def stages(warm: Path, own: Path) -> dict[str, float]:
    """CPU seconds a crystal of every stage."""
    predictor = Campaign({"name": "throughput", "candidates": {"files": [str(own)]}}).predictor(
        "cpu"
    )
    predictor(list(read_crystals([warm])))
    found: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        before = time.process_time()
        result = work()
        found[name] = found.get(name, 0.0) + time.process_time() - before
        return result

    crystals = timed("reading", lambda: list(read_crystals([own])))
    with tempfile.TemporaryDirectory() as folder:
        shards = ShardFolder(Path(folder), "throughput")
        for first in range(0, len(crystals), SHARD):
            part = crystals[first : first + SHARD]
            rows = _staged(predictor, part, timed)
            ids = [crystal.id for crystal in part]
            timed("writing", partial(shards.write, first, ids, [checked_row(r) for r in rows]))
    return {name: value / len(crystals) for name, value in found.items()}


def _staged(
    predictor: CrystalPredictor, part: Sequence[Crystal], timed: Callable[..., Any]
) -> list[dict[str, Any]]:
    """Rows of some crystals, each stage under the clock; those without hops are left out."""
    graphs, crystals = [], []
    for crystal in part:
        try:
            known = timed("classification", partial(predictor.classified, crystal))
            graphs.append(timed("hops", partial(find_hops, known)))
            crystals.append(known)
        except UnusableStructureError:
            continue
    model = loaded_model(predictor.model, "cpu")
    energies = timed("model", partial(model.crystal_energies, graphs))
    rows = []
    usable = []
    for crystal, graph, own in zip(crystals, graphs, energies, strict=True):
        try:
            rows.append(
                timed("network", partial(hop_network_row, graph, own, predictor.conditions))
            )
            usable.append(crystal)
        except UnusableStructureError:
            continue
    return timed("estimate", partial(estimated_rows, rows, usable))


def chgnet(own: Path) -> dict[str, float]:
    """CPU seconds of one energy by CHGNet, graph included, of the ordered crystals."""
    from pymatgen.io.ase import AseAtomsAdaptor

    from ionbridge.screening.labelling.bands.chgnet_calculator import ChgnetCalculator

    calculator = ChgnetCalculator(device="cpu")
    atoms = [AseAtomsAdaptor.get_atoms(c.to_pymatgen()) for c in ordered(own)]
    calculator.calculate(atoms[0], ["energy"])
    before = time.process_time()
    for one in atoms:
        calculator.calculate(one, ["energy"])
    return {"cpu_s_a_crystal": (time.process_time() - before) / len(atoms), "n": len(atoms)}


def bvlain(own: Path) -> dict[str, float]:
    """CPU seconds of bvlain's landscape (its own resolution) and percolation barriers."""
    from bvlain import Lain

    cpu_s, n = 0.0, 0
    for crystal in ordered(own)[:N_BVLAIN]:
        structure, ion = crystal.to_pymatgen(), crystal.working_ion
        ion = ion or next(s for s in ("Li", "Na", "K") if crystal.occupancy(s).any())
        states = {
            s: float(round(q)) for s, q in formula_oxidation_states(crystal.composition).items()
        }
        structure.add_oxidation_state_by_element(states)
        before = time.process_time()
        try:
            lain = Lain(verbose=False)
            lain.read_structure(structure, oxi_check=False)
            lain.bvse_distribution(mobile_ion=f"{ion}1+")
            lain.percolation_barriers()
        except Exception:  # some pairs are not in its tables
            continue
        cpu_s, n = cpu_s + time.process_time() - before, n + 1
    return {"cpu_s_a_crystal": cpu_s / max(n, 1), "n": n}


def ordered(own: Path) -> list[Crystal]:
    """The crystals of a file that a potential can take."""
    return [c for c in read_crystals([own]) if isinstance(c, Crystal) and c.is_ordered]


def rate(own: Path, n_workers: int) -> dict[str, float]:
    """Crystals a second of wall time once all workers have done a shard each."""
    predictor = Campaign({"name": "throughput", "candidates": {"files": [str(own)]}}).predictor(
        "cpu"
    )
    crystals = list(read_crystals([own]))
    pieces = range(0, len(crystals), 4)
    shards = [(k, crystals[first : first + 4]) for k, first in enumerate(pieces)]
    times = [
        time.perf_counter()
        for _ in LocalProcesses(n_workers).map_shards(predictor, shards, failed_row)
    ]
    counted = 4 * (len(times) - n_workers)
    return {
        "crystals_per_s": counted / (times[-1] - times[n_workers - 1]),
        "load": os.getloadavg()[0],
    }


CHILDREN: dict[str, Callable[..., Any]] = {
    "stages": stages,
    "chgnet": lambda warm, own: chgnet(own),
    "bvlain": lambda warm, own: bvlain(own),
    "one": lambda warm, own: rate(own, 1),
    "two": lambda warm, own: rate(own, 2),
}


def child(command: Sequence[str], root: Path) -> dict[str, Any]:
    """What a process of its own prints; imports come from a checkout."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, cwd=root
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured(
    crystals: Sequence[Candidate], n: int, repeats: int, old: Path | None, rates: bool
) -> dict[str, Any]:
    """All measurements of one set of crystals."""
    wanted = [name for name in CHILDREN if rates or name not in ("one", "two")]
    here = Path(__file__).resolve().parents[1]
    warm, own = chosen(crystals, n)
    with tempfile.TemporaryDirectory() as folder:
        contents = {"warm": warm, "own": own, "ordered": [c for c in own if c.is_ordered]}
        for name, records in contents.items():
            write_json_lines(Path(folder) / f"{name}.jsonl", records)
        settings = f"name: throughput\ncandidates: {{files: [{folder}/own.jsonl]}}\n"
        (Path(folder) / "campaign.yaml").write_text(settings, encoding="utf-8")
        names = [f"{folder}/{name}.jsonl" for name in ("warm", "own")]
        whole = [f"{folder}/{name}.jsonl" for name in ("warm", "ordered")]
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(repeats):
            found.setdefault("whole", []).append(child(["-c", WHOLE, *names], here))
            found.setdefault("ordered", []).append(child(["-c", WHOLE, *whole], here))
            if old is not None:
                found.setdefault("old", []).append(child(["-c", WHOLE, *names], old))
            for name in wanted:
                command = ["-m", "benchmarks.throughput", "--child", name, *names]
                found.setdefault(name, []).append(child(command, here))
    least = {name: min(runs, key=_cost) for name, runs in found.items()}
    return {
        "n_crystals": len(own),
        "mean_sites": float(np.mean([c.n_sites for c in own])),
        **least,
        "ratios": ratios(least),
    }


def _cost(run: dict[str, Any]) -> float:
    if "crystals_per_s" in run:
        return -float(run["crystals_per_s"])
    return float(run.get("cpu_s_a_crystal", sum(v for v in run.values())))


def ratios(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What the targets are about."""
    own = found["whole"]["cpu_s_a_crystal"]
    result = {
        "crystals_per_cpu_s": 1.0 / own,
        "of_one_chgnet_energy": found["ordered"]["cpu_s_a_crystal"]
        / found["chgnet"]["cpu_s_a_crystal"],
        "of_bvlain": own / found["bvlain"]["cpu_s_a_crystal"],
    }
    if "two" in found:
        two, one = (found[name]["crystals_per_s"] for name in ("two", "one"))
        result["two_processes_over_one"] = two / one
    if "old" in found:
        result["old_over_new"] = found["old"]["cpu_s_a_crystal"] / own
    return result


def start_cpu_s(checkouts: Mapping[str, Path], repeats: int) -> dict[str, dict[str, float]]:
    """CPU seconds of commands that only print, and of what a worker imports; the least counts.

    Bytecode is kept between the runs, as an installation keeps it; the first run makes it.

    Args:
        checkouts: Versions by name; they take turns, since a busy machine slows whoever is on it.
        repeats: Of each.
    """
    seconds: dict[str, dict[str, list[float]]] = {
        version: {name: [] for name in (*PRINTING, WORKER)} for version in checkouts
    }
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats + 1):
            for name in (*PRINTING, WORKER):
                for version, checkout in checkouts.items():
                    command = ["-m", "ionbridge", *name.split()]
                    if name == WORKER:
                        command = ["-c", _worker_import(checkout)]
                    seconds[version][name].append(_started_s(command, checkout, Path(folder)))
    return {
        version: {name: round(min(found[1:]), 3) for name, found in own.items()}
        for version, own in seconds.items()
    }


def _started_s(command: Sequence[str], checkout: Path, bytecode: Path) -> float:
    """CPU seconds of an interpreter that imports from a checkout."""
    environment = {
        **os.environ,
        **ONE_THREAD,
        "PYTHONPATH": str(checkout),
        "PYTHONPYCACHEPREFIX": str(bytecode),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _worker_import(checkout: Path) -> str:
    """What makes the worker of a checkout: its predictor has moved between versions."""
    moved = (checkout / "screening" / "prediction" / "crystals.py").exists()
    return f"import ionbridge.screening.{'prediction.crystals' if moved else 'predict'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the public data sets")
    parser.add_argument("--old", type=Path, help="checkout of the version to compare with")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--rates", action="store_true", help="wall time of one and two workers, too"
    )
    parser.add_argument(
        "--only-start", action="store_true", help="only what it costs to start; keep the rest"
    )
    parser.add_argument("--child", nargs=3, metavar=("WHAT", "WARM", "OWN"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.child:
        what, warm, own = args.child
        print(json.dumps(CHILDREN[what](Path(warm), Path(own))))
        return
    old = None if args.old is None else args.old.resolve()
    checkouts = {"now": ROOT}
    if old is not None and (old / "ionbridge").is_dir():  # before 0.2.0 there was no such package
        checkouts["old"] = old
    start: dict[str, Any] = {
        **start_cpu_s(checkouts, args.repeats),
        "old_is": _commit(old) if old is not None and "old" in checkouts else None,
        "load": os.getloadavg()[0],
    }
    if args.only_start:
        before = json.loads(RESULT.read_text(encoding="utf-8"))
        write_json(RESULT, {**before, "start_cpu_s": start})
        print(json.dumps(start, indent=1))
        return
    sets = {"embedded_campaign": list(Campaign.from_yaml().candidates())}
    if args.data is not None:
        cifs = sorted((args.data / "obelix").rglob("*.cif"))
        step = max(len(cifs) // (args.n + 2 * N_WARM), 1)
        sets["obelix_cifs"] = list(islice(read_crystals(cifs[::step]), args.n + 2 * N_WARM))
    found = {name: measured(c, args.n, args.repeats, old, args.rates) for name, c in sets.items()}
    result = {
        "machine": machine(),
        "old": None if old is None else _commit(old),
        "load": os.getloadavg()[0],
        "sets": found,
        "start_cpu_s": start,
    }
    write_json(RESULT, result)
    print(json.dumps({name: one["ratios"] for name, one in found.items()}, indent=1))


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
