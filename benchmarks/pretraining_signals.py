"""What each pretraining signal is worth on real migration barriers: the ablation.

    python -m benchmarks.pretraining_signals --data DIR --work DIR [--workers N] [--minutes M]

Encoders (one network, fewer passes and bulk crystals than the shipped one's) are pretrained on one
signal, on several, on all, on the data-rich cathodes alone and on as many crystals of every kind,
and fine-tuned (general layers kept, one network, EPOCHS epochs) on the DFT-NEB hops under two
protocols: host frameworks kept together (by which a recipe may be chosen) and whole families left
out. `mixed` is the geometric mean with the Gaussian process on path scalars. `read`: no
network is tuned; what it says of each hop's energies is an input of the shipped process and trees
(ionbridge.models.barriers.hop_barrier), beside what they are without. Encoders and finished folds
are files of the work folder and are not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.hop_barriers import PROTOCOLS
from benchmarks.json_lines import read
from benchmarks.shipped_hop_barrier import out_of_fold, without
from ionbridge.models.adaptation.barriers import Base, ensemble_config
from ionbridge.models.barriers.hop_barrier import TARGET as FED
from ionbridge.models.barriers.hop_barrier import Inputs
from ionbridge.models.barriers.learned_energies import LearnedEnergies, learned_view
from ionbridge.models.checkpoint import sha256
from ionbridge.models.hop_networks.encoder import HopEncoder
from ionbridge.models.hop_networks.ensemble import HopEnsemble
from ionbridge.models.hop_networks.finetuning import FromScratch, FrozenHost
from ionbridge.models.hop_networks.hop_graphs import graph_of
from ionbridge.models.hop_networks.hop_signals import choose_crystals
from ionbridge.models.hop_networks.pretraining import (
    POOL,
    PretrainingConfig,
    Stage,
    Taught,
    evaluation_formulas,
    fit_networks,
    split_by_group,
    teaching,
)
from ionbridge.models.metrics import bootstrap, mae, paired_bootstrap, spearman
from ionbridge.models.regressors.gaussian_process import PathProcess, path_scalars
from ionbridge.models.transforms import LogShift
from ionbridge.structures.io.reading import iter_records
from ionbridge.structures.records import Crystal
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parent / "results" / "pretraining_signals.json"
CONFIG = Path("models/configs/hop_encoder.yaml")
BOND_VALENCE, POTENTIAL = Stage("bond_valence", 8), Stage("potential", 12)
BULK, DENOISING = Stage("bulk", 4), Stage("denoising", 2)
FEW_EPOCHS = 30
"""Epochs where there are few crystals, so that the number of steps is nearer to the others'."""
VARIANTS: dict[str, tuple[Stage, ...]] = {
    "bond_valence": (BOND_VALENCE,),
    "bond_valence, potential": (BOND_VALENCE, POTENTIAL),
    "all": (DENOISING, BULK, BOND_VALENCE, POTENTIAL),
    "bond_valence of cathodes": (Stage("bond_valence", FEW_EPOCHS),),
    "bond_valence of as few crystals of all kinds": (Stage("bond_valence", FEW_EPOCHS),),
    "bulk, bond_valence": (BULK, BOND_VALENCE),
    "denoising, bond_valence": (DENOISING, BOND_VALENCE),
    "potential": (POTENTIAL,),
    "bulk": (BULK,),
    "denoising": (DENOISING,),
}
EPOCHS = 45
BULK_CRYSTALS = 1500
TARGET = LogShift()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder of encoders and folds")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after")
    parser.add_argument("--device", default="auto", help="of the networks")
    parser.add_argument("--only", nargs="*", help="these variants")
    args = parser.parse_args()
    until = time.monotonic() + 60 * args.minutes
    torch.set_num_threads(1)
    variants = [name for name in VARIANTS if not args.only or name in args.only]
    fork = partial(ProcessPoolExecutor, mp_context=get_context("fork"))
    todo = [name for name in variants if not (folder(args.work, name) / "config.json").exists()]
    if todo:
        config = PretrainingConfig.from_yaml(CONFIG)
        training = replace(config.training, device=args.device)
        config = replace(config, training=training, n_crystals=BULK_CRYSTALS)
        _TAUGHT.update(all_taught(todo, config, args.data, args.work, args.workers))
        with fork(min(len(todo), args.workers)) as pool:  # they inherit the examples
            made = {name: pool.submit(pretrained, name, config, args.work) for name in todo}
            for name, encoder in made.items():
                print(name, encoder.result(), flush=True)
    hops = neb_barriers.load(args.data).records
    _HOPS.extend(hops)
    for hop in hops:
        graph_of(hop)
    tasks = [
        (name, protocol, k)
        for protocol in ("grouped", "leave-family-out")
        for name in (*variants, "none")
        for k in range(len(list(PROTOCOLS[protocol].split(hops))))
    ]
    file = args.work / "folds.jsonl"
    done = {(r["variant"], r["protocol"], r["fold"]) for r in read(file)}
    with fork(args.workers) as pool, file.open("a", encoding="utf-8") as stream:
        jobs = [
            pool.submit(fold_row, *task, args.work, until, args.device)
            for task in tasks
            if task not in done
        ]
        for job in jobs:
            if (row := job.result()) is not None:
                stream.write(json.dumps(row) + "\n")
                stream.flush()
    read_energies(args.work)
    summary(args.work, sha256(args.data / neb_barriers.HOPS_FILE))


_TAUGHT: dict[str, Taught] = {}
_HOPS: list[Any] = []


def folder(work: Path, name: str) -> Path:
    return work / name.replace(", ", "+").replace(" ", "-")


def all_taught(
    variants: list[str], config: PretrainingConfig, data: Path, work: Path, workers: int
) -> dict[str, Taught]:
    """The examples of the variants, made once: of all crystals, of cathodes, of as few of all."""
    held_out = evaluation_formulas(data)
    found: dict[str, Taught] = {}
    samplings = {"all": config.sampling}
    if any("few" in name or "cathodes" in name for name in variants):
        rich = replace(config.sampling, cathodes_only=True, working_ions=("Li",))
        samplings["cathodes"] = rich
    for name, sampling in samplings.items():
        records = (r for r in iter_records(data / POOL) if isinstance(r, Crystal))
        crystals, _ = choose_crystals(records, sampling, held_out)
        taught_in = {stage for v in variants for stage in VARIANTS[v]} if name == "all" else ()
        whole = replace(config, sampling=sampling, stages=tuple(taught_in))
        found[name] = teaching(whole, data, held_out, crystals, work / f"signals-{name}", workers)
        print(name, {k: [len(p) for p in v] for k, v in found[name].items()}, flush=True)
    if "cathodes" in found:
        few = sum(len(part) for part in found["cathodes"]["bond_valence"])
        everything = [e for part in found["all"]["bond_valence"] for e in part]
        chosen = np.random.default_rng(0).permutation(len(everything))[:few]
        parts = split_by_group([everything[i] for i in chosen], config.validation_fraction)
        found["few"] = {"bond_valence": parts}
    return found


def pretrained(name: str, config: PretrainingConfig, work: Path) -> list[dict[str, Any]]:
    """Make the encoder of a variant; its validation scores."""
    kind = "cathodes" if "cathodes" in name else "few" if "few" in name else "all"
    own = replace(config, name=name, stages=VARIANTS[name], n_networks=1)
    out = folder(work, name)
    (out / "work").mkdir(parents=True, exist_ok=True)
    weights, scores = fit_networks(own, _TAUGHT[kind], out / "work", progress=False)
    card = {"name": name, "validation": {"networks": scores}}
    HopEncoder(replace(config.network, use_scalars=False), weights).save(out, card)
    return scores


def fold_row(
    name: str, protocol: str, k: int, work: Path, until: float, device: str
) -> dict[str, Any] | None:
    """Predictions of one fold; None once the time is over."""
    if time.monotonic() > until:
        return None
    split = list(PROTOCOLS[protocol].split(_HOPS))[k]
    if name == "none":
        base = replace(Base.of(folder(work, "bond_valence")), weights=())
    else:
        base = Base.of(folder(work, name))
    strategy = FrozenHost() if base.weights else FromScratch()
    config = ensemble_config(base, strategy, len(split.train), 0, 1, device)
    config = replace(config, process_weight=0.0, training=replace(config.training, epochs=EPOCHS))
    barrier = np.array([hop.barrier_eV for hop in _HOPS], dtype=float)
    model = HopEnsemble(config, base.weights)
    model.fit([_HOPS[i] for i in split.train], barrier[split.train])
    mean = model.predict([_HOPS[i] for i in split.test]).mean
    return {
        "variant": name,
        "protocol": protocol,
        "fold": k,
        "ids": [_HOPS[i].id for i in split.test],
        "mean_eV": np.round(mean, 4).tolist(),
    }


def read_energies(work: Path) -> None:
    """Out-of-fold predictions of models that read an encoder's energies, one line an encoder."""
    file = work / "read.jsonl"
    done = {row["variant"] for row in read(file)}
    names = [n for n in (*VARIANTS, "none") if n == "none" or folder(work, n).exists()]
    if done >= set(names):
        return
    barrier = np.array([hop.barrier_eV for hop in _HOPS], dtype=float)
    unread = without(Inputs.of(_HOPS), "learned", "view", "band")
    graphs = [graph_of(hop) for hop in _HOPS]
    for name in (n for n in names if n not in done):
        inputs = unread
        if name != "none":
            energies = LearnedEnergies.of(HopEncoder.load(folder(work, name))).energies(graphs)
            learned = {"learned": learned_view(energies, FED)}
            inputs = Inputs.of_arrays(unread.arrays() | learned)
        row = {
            protocol: out_of_fold(inputs, barrier, list(splitter.split(_HOPS))).mean.round(4)
            for protocol, splitter in PROTOCOLS.items()
            if protocol != "random"
        }
        with file.open("a", encoding="utf-8") as stream:
            lists = {protocol: mean.tolist() for protocol, mean in row.items()}
            stream.write(json.dumps({"variant": name, **lists}) + "\n")
        print("read", name, flush=True)


def read_scores(work: Path, protocol: str, barrier: Any, groups: list[str]) -> dict[str, Any]:
    found = {row["variant"]: np.array(row[protocol]) for row in read(work / "read.jsonl")}
    scores: dict[str, Any] = {}
    for name, mean in found.items():
        scores[name] = score(barrier, mean, groups)
        if name != "none":
            gap = paired_bootstrap(barrier, mean, found["none"], groups=groups)
            scores[name]["mae_minus_none_eV"] = [
                round(v, 3) for v in (gap.value, gap.lower, gap.upper)
            ]
    return scores


def summary(work: Path, checksum: str) -> None:
    """Scores of the variants whose folds are all there."""
    barrier = np.array([hop.barrier_eV for hop in _HOPS], dtype=float)
    groups = [hop.framework for hop in _HOPS]
    place = {hop.id: i for i, hop in enumerate(_HOPS)}
    scalars = path_scalars(_HOPS)
    out: dict[str, Any] = {"data_sha256": checksum, "n": len(_HOPS), "epochs": EPOCHS}
    for protocol in ("grouped", "leave-family-out"):
        process = np.full(len(_HOPS), np.nan)
        for split in PROTOCOLS[protocol].split(_HOPS):
            fitted = PathProcess(scalars[split.train], TARGET.forward(barrier[split.train]))
            process[split.test] = fitted.predict(scalars[split.test])[0]
        found: dict[str, np.ndarray] = {}
        for row in read(work / "folds.jsonl"):
            if row["protocol"] == protocol:
                own = found.setdefault(row["variant"], np.full(len(_HOPS), np.nan))
                own[[place[id] for id in row["ids"]]] = row["mean_eV"]
        scores: dict[str, Any] = {"process alone": score(barrier, TARGET.inverse(process), groups)}
        for name, mean in found.items():
            if not np.isfinite(mean).all():
                continue
            mixed = TARGET.inverse(0.5 * (TARGET.forward(mean) + process))
            scores[name] = {
                "network": score(barrier, mean, groups),
                "mixed": score(barrier, mixed, groups),
            }
            if name != "none" and np.isfinite(found.get("none", np.nan)).all():
                gap = paired_bootstrap(barrier, mean, found["none"], groups=groups)
                scores[name]["mae_minus_none_eV"] = [
                    round(v, 3) for v in (gap.value, gap.lower, gap.upper)
                ]
        out[protocol] = scores
        for name, entry in scores.items():
            print(f"{protocol:18s} {name:46s} {entry}")
    out["read"] = {
        protocol: read_scores(work, protocol, barrier, groups)
        for protocol in PROTOCOLS
        if protocol != "random"
    }
    out["pretraining"] = {
        name: json.loads(json.dumps(HopEncoder.load(folder(work, name)).card_["validation"]))
        for name in VARIANTS
        if (folder(work, name) / "config.json").exists()
    }
    RESULT.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


def score(barrier: Any, mean: Any, groups: list[str]) -> dict[str, Any]:
    error = bootstrap(mae, barrier, mean, groups=groups)
    return {
        "mae_eV": [round(v, 3) for v in (error.value, error.lower, error.upper)],
        "spearman": round(spearman(barrier, mean), 3),
    }


if __name__ == "__main__":
    main()
