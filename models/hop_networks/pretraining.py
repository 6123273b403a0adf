"""Pretraining of the hop encoder on signals that need no labels, settled by one YAML file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from ionbridge.models.hop_networks.encoder import HopEncoder
from ionbridge.models.hop_networks.hop_signals import (
    Sampling,
    choose_crystals,
    framework_formula,
    make_signals,
    with_potential,
)
from ionbridge.models.hop_networks.host_signals import (
    HostLoss,
    HostNetwork,
    host_examples,
    labelled_crystals,
)
from ionbridge.models.hop_networks.losses import ProfileLoss
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig
from ionbridge.models.hop_networks.training import Example, TrainingConfig, collate, fit_network
from ionbridge.models.transforms import LogShift
from ionbridge.structures.configuration import ConfigurationError, from_mapping
from ionbridge.structures.features.graph import BVSE_CAP_EV
from ionbridge.structures.io.reading import iter_records
from ionbridge.structures.records import Crystal, FailedRecord, Hop

POOL = "materials_project/structures_69k.jsonl.gz"
EVALUATION_SETS = (
    "neb_barriers/hops_train.jsonl.gz",
    "obelix/train.csv",
    "na_conductivity/na_conductors.csv",
)
"""Nothing with a formula of these is pretrained on, so that they can serve as tests."""


Signal = Literal["bulk", "denoising", "bond_valence", "potential"]
OF_HOSTS: tuple[Signal, ...] = ("bulk", "denoising")
Taught = dict[Signal, tuple[list[Example], list[Example]]]
SIGNALS: dict[Signal, str] = {
    "bulk": "computed bulk properties and electrode pairs (Materials Project, CC BY 4.0)",
    "denoising": "bond lengths of displaced atoms (Materials Project, CC BY 4.0)",
    "potential": "CHGNet energies along bond-valence paths, made by this project",
}


@dataclass(frozen=True)
class Stage:
    """One signal that a network learns before the next.

    Attributes:
        signal: ``bulk`` (computed properties of crystals) and ``denoising`` (bond lengths of
            displaced atoms) teach the framework layers; ``bond_valence`` and ``potential``
            (energies of a universal potential) are profiles of hops and teach all layers.
        epochs: Passes over its examples.
        learning_rate: Highest rate.
    """

    signal: Signal
    epochs: int = 20
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class PretrainingConfig:
    """One pretraining run.

    Attributes:
        name: Of the encoder.
        n_networks: Encoders trained from different seeds; ensembles start from them in turn.
        network: Their sizes; path scalars are left out, since they hold what is to be learnt.
        stages: What they learn, in this order.
        training: How they are fitted; epochs and rate are those of the stages.
        sampling: Which crystals give hops.
        n_crystals: Most crystals of each set of bulk properties.
        potential_hops: File of a universal potential's energies, beside the YAML file.
        validation_fraction: Share of the host frameworks kept for early stopping.
    """

    name: str
    n_networks: int = 2
    network: HopNetworkConfig = field(default_factory=HopNetworkConfig)
    stages: tuple[Stage, ...] = (Stage("bond_valence"),)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: Sampling = field(default_factory=Sampling)
    n_crystals: int = 8000
    potential_hops: str = ""
    validation_fraction: float = 0.05

    @classmethod
    def from_yaml(cls, path: Path) -> PretrainingConfig:
        """Read and check a YAML file.

        Raises:
            ConfigurationError: Unreadable file, unknown key or wrong type.
        """
        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{path}: cannot be read ({error})".splitlines()[0]) from None
        config = from_mapping(cls, data, str(path))
        if not config.stages:
            raise ConfigurationError(f"{path}: stages: expected at least one signal to learn")
        if any(stage.signal == "potential" for stage in config.stages):
            file = Path(path).parent / config.potential_hops
            if not file.is_file():
                raise ConfigurationError(
                    f"{path}: potential_hops: {file} is no file; benchmarks.make.potential_hops "
                    "makes it"
                )
            config = replace(config, potential_hops=str(file))
        return config


def pretrain(
    config: PretrainingConfig, data: Path, out: Path, workers: int = 2, progress: bool = True
) -> HopEncoder:
    """Make the signals, fit the networks, write the encoder to ``out``; goes on where it stopped.

    Args:
        config: Settings.
        data: Data folder; POOL is read from it, EVALUATION_SETS are kept out where they are there.
        out: Model folder; signals and unfinished training are kept in ``out/work``.
        workers: Processes that make signals.
        progress: Show progress bars.

    Returns:
        The encoder, with its validation in the card.

    Raises:
        ConfigurationError: The pool is not in the data folder, or ``out/work`` belongs to a run
            with other settings or crystals.
    """
    pool_path = data / POOL
    if not pool_path.is_file():
        raise ConfigurationError(f"{pool_path} is missing; --data names the folder that holds it")
    held_out = evaluation_formulas(data)
    pool = (r for r in iter_records(pool_path) if isinstance(r, Crystal))
    crystals, n_held_out = choose_crystals(pool, config.sampling, held_out)
    work = out / "work"
    _check_same_run(work, config, crystals)
    taught = teaching(config, data, held_out, crystals, work, workers)
    weights, scores = fit_networks(config, taught, work, progress)
    examples = [example for part in taught["bond_valence"] for example in part]
    card: dict[str, Any] = {
        "name": config.name,
        "predicts": "embeddings of hops, for fine-tuning",
        "working_ions": list(config.sampling.working_ions),
        "trained_on": [
            {
                "name": "bond-valence profiles of hops, made by this project",
                "structures": "Materials Project, CC BY 4.0",
                "n_crystals": len(examples),
                "n_hops": int(sum(len(e.targets["forward_eV"]) for e in examples)),
            },
            *(
                {"name": SIGNALS[signal], "n_crystals": sum(map(len, parts))}
                for signal, parts in taught.items()
                if signal != "bond_valence"
            ),
        ],
        "leak_report": {
            "evaluation_formulas": len(held_out),
            "pool_crystals_held_out": n_held_out,
            "shared_formulas": leaked(crystals, held_out),
        },
        "validation": {"split": "whole host frameworks held out", "networks": scores},
        "settings": _settings(config),
        "licence": "MIT",
    }
    encoder = HopEncoder(replace(config.network, use_scalars=False), weights)
    encoder.card_ = card
    encoder.save(out)
    return encoder


def teaching(
    config: PretrainingConfig,
    data: Path,
    held_out: frozenset[str],
    crystals: Sequence[Crystal],
    work: Path,
    workers: int,
) -> Taught:
    """Training and validation part of bond valences and of every signal of the stages."""
    sampling = config.sampling
    hops = make_signals(crystals, sampling, work, workers)
    parts: Taught = {"bond_valence": split_by_group(hops, config.validation_fraction)}
    for signal in dict.fromkeys(stage.signal for stage in config.stages):
        if signal == "potential":
            examples = with_potential(hops, Path(config.potential_hops))
        elif signal in OF_HOSTS:
            labelled = labelled_crystals(
                data, held_out, config.n_crystals, sampling.max_atoms, sampling.seed
            )
            examples = host_examples(labelled, signal == "denoising", sampling.seed, workers)
        else:
            continue
        parts[signal] = split_by_group(examples, config.validation_fraction)
    return parts


def fit_networks(
    config: PretrainingConfig, taught: Taught, work: Path, progress: bool
) -> tuple[list[dict[str, Tensor]], list[dict[str, Any]]]:
    """Every network through all stages; a stage that is in ``work`` is read, not run again.

    Returns:
        The weights, and the validation scores on the last signal that is of hops.
    """
    weights, scores = [], []
    of_hops = (s.signal for s in config.stages[::-1] if s.signal not in OF_HOSTS)
    last: Signal = next(of_hops, "bond_valence")
    for k in range(config.n_networks):
        seed = config.training.seed + k
        torch.manual_seed(seed)
        network = HopNetwork(replace(config.network, use_scalars=False))
        for n, stage in enumerate(config.stages):
            of_hosts = stage.signal in OF_HOSTS
            training, validation = taught[stage.signal]
            fit_network(
                HostNetwork(network) if of_hosts else network,
                training,
                HostLoss() if of_hosts else ProfileLoss(LogShift().shift_eV, BVSE_CAP_EV),
                replace(
                    config.training,
                    epochs=stage.epochs,
                    learning_rate=stage.learning_rate,
                    seed=seed,
                ),
                validation=validation,
                checkpoint=work / f"network-{k}-{n}-{stage.signal}.safetensors",
                progress=f"{stage.signal} {k + 1}/{config.n_networks}" if progress else None,
            )
        network.cpu()
        scores.append({"signal": last, **profile_scores(network, taught[last][1])})
        weights.append(dict(network.state_dict()))
    return weights, scores


def split_by_group(
    examples: Sequence[Example], fraction: float
) -> tuple[list[Example], list[Example]]:
    """Training and validation part; a framework is on one side, chosen by a hash of its formula."""
    limit = fraction * 2**32
    held = [crc32(example.group.encode()) < limit for example in examples]
    if not any(held) or all(held):  # too few frameworks for the share: the first one validates
        held = [example.group == examples[0].group for example in examples]
    training = [e for e, out in zip(examples, held, strict=True) if not out]
    return training or list(examples), [e for e, out in zip(examples, held, strict=True) if out]


def evaluation_formulas(data: Path) -> frozenset[str]:
    """Reduced formulas, with and without working ion, of the evaluation sets in a data folder."""
    formulas: set[str] = set()
    for name in EVALUATION_SETS:
        if not (data / name).is_file():
            continue
        for record in iter_records(data / name):
            if isinstance(record, FailedRecord):
                continue
            if isinstance(record, Hop):
                formulas.add(record.framework)
            else:
                formulas.add(record.composition.reduced_formula)
    return frozenset(formulas - {""})


def leaked(crystals: Sequence[Crystal], held_out: frozenset[str]) -> list[str]:
    """Formulas of crystals that are in the evaluation sets all the same; should be none."""
    found = {c.formula for c in crystals}
    found |= {framework_formula(c, c.working_ion) for c in crystals if c.working_ion}
    return sorted(found & held_out)


def profile_scores(network: HopNetwork, examples: Sequence[Example]) -> dict[str, float]:
    """Mean absolute error (eV) and rank correlation of the forward barrier it was trained on."""
    predicted: list[NDArray[np.float64]] = []
    with torch.no_grad():
        for first in range(0, len(examples), 32):
            batch, _ = collate(examples[first : first + 32], torch.device("cpu"))
            predicted.append(network(batch).forward_eV.double().numpy())
    truth = np.concatenate([e.targets["forward_eV"].double().numpy() for e in examples])
    known = truth < BVSE_CAP_EV  # unknown is not
    values = np.concatenate(predicted)[known]
    return {
        "n_hops": int(known.sum()),
        "mae_eV": round(float(np.abs(values - truth[known]).mean()), 4),
        "spearman": round(float(spearmanr(values, truth[known]).statistic), 4),
    }


def _check_same_run(work: Path, config: PretrainingConfig, crystals: Sequence[Crystal]) -> None:
    """Note in the work folder what is run; refuse to go on with something else."""
    same_anywhere = replace(config, training=replace(config.training, device="auto"))
    run: dict[str, Any] = {
        "settings": _settings(same_anywhere),
        "crystals_sha256": sha256("\n".join(c.id for c in crystals).encode()).hexdigest(),
    }
    note = work / "run.json"
    if note.is_file():
        before = json.loads(note.read_text(encoding="utf-8"))
        changed = [k for k in run["settings"] if before["settings"].get(k) != run["settings"][k]]
        if before != run:
            raise ConfigurationError(
                f"{work}: holds a pretraining with other {', '.join(changed) or 'crystals'}; "
                "give the settings and data that it was started with, or another --out"
            )
        return
    work.mkdir(parents=True, exist_ok=True)
    temporary = note.with_suffix(".tmp")
    temporary.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, note)


def _settings(config: PretrainingConfig) -> dict[str, Any]:
    """For a card: without the folders of this machine."""
    settings: dict[str, Any] = _plain(asdict(config))
    return settings | {"potential_hops": Path(config.potential_hops).name}


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
