"""The shipped hop model, and what each quality of energies is worth to it.

    python -m benchmarks.shipped_hop_barrier --data DIR [--ship]

The published hops under five protocols (host frameworks kept together, whole families left out,
whole ions left out, one ion of one family from what shares neither with it, and at random, as the
published test set is drawn), all rows on the same footing: hops without energies (their path
touches another ion) are predicted without. `path` knows path and composition alone; `hop-barrier`
also the energies that pretrained networks expect of a universal potential; `rigid profile` CHGNet's
own along the path, the host as it stands, `short relaxation` barriers of SevenNet-0 after a few
steps (models/configs/short_relaxations.jsonl.gz; where the path leads over ions, these emptied),
and `relaxed band` those of the data set (MACE),
which cost minutes a hop. CHGNet energies are those of benchmarks.make.potential_hops, the rivals'
predictions those of benchmarks.hop_barriers. Hyperparameters of the processes are those of all
labels; nothing else of what is held out is known. Each protocol also says which family and which
ion fare worst, and how a family does against its mean by ion. With --ship the model is fitted on
all rows and written to models/library.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.hop_barriers import PROTOCOLS, RESULTS, UP_TO_EV
from benchmarks.make.potential_hops import CONFIG, SHIPPED
from benchmarks.make.short_relaxations import SHIPPED as SHORT_ROWS
from ionbridge.models.barriers.hop_barrier import (
    BAND,
    LOWEST_SHORT_EV,
    PROFILE,
    SHORT,
    SHORT_BACKWARD,
    SHORT_TOO_LOW,
    TARGET,
    HopBarrierModel,
    Inputs,
    Sources,
)
from ionbridge.models.calibration import Calibration
from ionbridge.models.checkpoint import sha256
from ionbridge.models.hop_networks.hop_signals import signal_hops
from ionbridge.models.hop_networks.pretraining import POOL, PretrainingConfig
from ionbridge.models.library import LIBRARY, load
from ionbridge.models.metrics import bootstrap, mae, paired_bootstrap, r2, spearman
from ionbridge.models.prediction import Prediction
from ionbridge.structures.chemistry.composition import working_ion
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.io.reading import iter_records
from ionbridge.structures.records import Crystal, Hop
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parent / "results" / "shipped_hop_barrier.json"
PATH, FAST = "path", "hop-barrier"
FED, BRIEF, BANDS = (
    f"{FAST}, {what}" for what in ("rigid profile", "short relaxation", "relaxed band")
)
HIDDEN = {
    FAST: ("view", "band", "short"),
    FED: ("band", "short"),
    BRIEF: ("view", "band"),
    BANDS: ("short",),
}
"""What hops do not bring, by the fidelity of what they do."""
LABELS = "published labels alone"
"""As `hop-barrier`, without computed labels: none beside the published ones, no share in these."""
RECIPES = {FAST: "learned", FED: "fed", BRIEF: "short"}
"""Names of out-of-fold predictions that are kept."""
HIGHEST_LABEL_EV = 4.0
LARGE_FAMILY = 10
"""Families and ions with fewer rows are not singled out."""
RIVALS = ("trees", "gaussian_process")
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--ship", action="store_true", help="write the model to models/library")
    args = parser.parse_args()
    torch.set_num_threads(1)
    hops = seen(neb_barriers.load(args.data).records)
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    checksum = sha256(args.data / neb_barriers.HOPS_FILE)
    inputs = Inputs.of(hops)
    asked = with_emptied(inputs, hops)
    profiled, band = inputs.sources.T
    out: dict[str, Any] = {
        "data_sha256": checksum,
        "n": len(hops),
        "n_with_energies": int(profiled.sum()),
        "n_relaxed": int(np.isfinite(asked.short[:, 0]).sum()),
        "raw_spearman": {
            "pretrained networks, where CHGNet energies are known": round(
                spearman(barrier[profiled], inputs.learned[profiled, 0]), 3
            ),
            "frozen host, saddle above the mean of the ends": round(
                spearman(barrier[profiled], inputs.view[profiled, 0]), 3
            ),
            "relaxed MACE band": round(spearman(barrier[band], inputs.band[band]), 3),
        },
        "pretrained_networks_against_frozen_host_spearman": round(
            spearman(inputs.view[profiled, 0], inputs.learned[profiled, 0]), 3
        ),
    }
    blind = without(inputs, "learned", "view", "band", "short")
    theta, blind_theta = (hyperparameters(i, barrier) for i in (inputs, blind))
    if args.ship:
        others, other_eV = computed(args.data, hops)
        beside = Inputs.of(others), other_eV
    else:
        beside = shipped_labels(len(hops))
    out["n_computed_labels"] = len(beside[1])
    if args.ship:
        model = HopBarrierModel(beside=(others, other_eV)).fit(hops, barrier)
        model.save(LIBRARY / FAST, card_of(FAST, model, hops, {}))
    for protocol, splitter in PROTOCOLS.items():
        folds = list(splitter.split(hops))
        started = time.perf_counter()
        found = {PATH: out_of_fold(blind, barrier, folds, blind_theta)}
        found[LABELS] = out_of_fold(inputs.unrelaxed(), barrier, folds, theta, HIDDEN[FAST])
        found |= by_fidelity(inputs, barrier, folds, theta, beside, asked=asked)
        means = {name: prediction.mean for name, prediction in found.items()}
        for name in RIVALS:
            file = RESULTS / f"{protocol}.{name}.json"
            if file.exists():
                means[name] = np.array(json.loads(file.read_text(encoding="utf-8"))["mean_eV"])
        for name, recipe in RECIPES.items():
            keep(protocol, recipe, hops, found[name], time.perf_counter() - started)
        out[protocol] = {
            name: scores(hops, barrier, mean, means.get("trees"), means[PATH])
            for name, mean in means.items()
        }
        by_ion = mean_by_ion(hops, barrier, folds)
        for name, prediction in found.items():
            inside = covered(hops, barrier, prediction)
            entry = out[protocol][name]
            entry["interval_coverage_90"] = round(float(inside.mean()), 3)
            entry |= extremes(hops, barrier, prediction.mean, by_ion, inside)
        out[protocol]["seconds"] = round(time.perf_counter() - started)
        for name, entry in out[protocol].items():
            print(f"{protocol:17s} {name:56s} {entry}", flush=True)
        RESULT.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    if args.ship:
        model.save(LIBRARY / FAST, card_of(FAST, model, hops, out))


def keep(
    protocol: str, recipe: str, hops: Sequence[Hop], found: Prediction, seconds: float
) -> None:
    """Out-of-fold predictions, beside those of the other models."""
    row = {
        "protocol": protocol,
        "model": recipe,
        "seed": 0,
        "n_members": 1,
        "seconds": round(seconds),
        "n": len(hops),
        "ids": [hop.id for hop in hops],
        "mean_eV": np.round(found.mean, 4).tolist(),
        "aleatoric_std_eV": np.round(found.aleatoric_std, 4).tolist(),
        "epistemic_std_eV": np.round(found.epistemic_std, 4).tolist(),
    }
    text = json.dumps(row) + "\n"
    (RESULTS / f"{protocol}.{recipe}.json").write_text(text, encoding="utf-8")


def seen(hops: Sequence[Hop]) -> list[Hop]:
    """The hops with what universal potentials say of them, as far as it was computed.

    No relaxation with ions on the way emptied: that is another hop than the label's, which is not
    to be drawn towards it.
    """
    brought: dict[str, dict[str, Any]] = {hop.id: {} for hop in hops}
    for row in lines_of(SHIPPED["neb"]):
        if "frozen_eV" in row:
            brought.get(row["id"], {})[PROFILE] = row["frozen_eV"]
    for row in lines_of(SHORT_ROWS):
        if row["set"] == "neb" and "emptied" not in row and (barriers := short_of(row)) is not None:
            brought[row["id"]] |= dict(zip((SHORT, SHORT_BACKWARD), barriers, strict=True))
    return [replace(hop, extra={**hop.extra, **brought[hop.id]}) for hop in hops]


def with_emptied(inputs: Inputs, hops: Sequence[Hop]) -> Inputs:
    """The inputs with all short relaxations, those with ions on the way emptied among them."""
    place = {hop.id: k for k, hop in enumerate(hops)}
    short = inputs.short.copy()
    for row in lines_of(SHORT_ROWS):
        if row["set"] == "neb" and "emptied" in row and (barriers := short_of(row)) is not None:
            short[place[row["id"]]] = np.maximum(barriers, LOWEST_SHORT_EV)
    return Inputs.of_arrays(inputs.arrays() | {"short": short})


def shipped_labels(n_published: int) -> tuple[Inputs, Floats]:
    """The computed labels that the shipped model has learnt from beside the published ones."""
    model = load(FAST)
    own = np.arange(len(model.barrier_eV_) - n_published)
    return model.inputs_.rows(own), model.barrier_eV_[own]


def computed(data: Path, published: Sequence[Hop]) -> tuple[list[Hop], Floats]:
    """Hops of the pretraining's crystals with barriers of short relaxations, moved to DFT's scale.

    They are labels of ions and hosts of which nothing is published; none is of a published
    framework.
    """
    known = {hop.framework for hop in published}
    rows = {r["id"]: r for r in lines_of(SHORT_ROWS) if r["set"] == "pool" and not r.get("note")}
    barrier = {k: both[0] for k, row in rows.items() if (both := short_of(row)) is not None}
    wanted = {k for k, value in barrier.items() if LOWEST_SHORT_EV < value < HIGHEST_LABEL_EV}
    crystals = {k.rpartition("#")[0] for k in wanted}
    sampling = PretrainingConfig.from_yaml(CONFIG).sampling
    hops: list[Hop] = []
    for record in iter_records(data / POOL):
        if isinstance(record, Crystal) and record.id in crystals:
            graph = signal_hops(replace(record, working_ion=working_ion(record)), sampling)
            hops += [h for h in graph.hops if h.id in wanted and h.framework not in known]
    hops.sort(key=lambda hop: hop.id)
    found = np.array([barrier[hop.id] for hop in hops])
    return hops, TARGET.inverse(TARGET.forward(found) + SHORT_TOO_LOW)


def short_of(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Barriers there and back after the last step; None where they could not be computed."""
    if "forward_after_eV" not in row:
        return None
    forward = list(row["forward_after_eV"].values())[-1]
    backward = list(row.get("backward_after_eV", row["forward_after_eV"]).values())[-1]
    return float(forward), float(backward)


def lines_of(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        return [row for row in map(json.loads, stream) if "id" in row]


def without(inputs: Inputs, *names: str) -> Inputs:
    """The inputs, some unknown; what is learnt is zero everywhere, so that it says nothing."""
    hidden = {
        name: np.zeros_like(inputs.learned)
        if name == "learned"
        else np.full_like(getattr(inputs, name), np.nan)
        for name in names
    }
    return Inputs.of_arrays(inputs.arrays() | hidden)


def hyperparameters(inputs: Inputs, barrier: Floats) -> Mapping[Sources, Floats]:
    """Log hyperparameters of the processes on all labels, by what they read."""
    model = HopBarrierModel()
    model.fit_inputs(inputs, barrier)
    return {sources: process.theta for sources, (process, _) in model.experts().items()}


def out_of_fold(
    inputs: Inputs,
    barrier: Floats,
    folds: Sequence[Any],
    theta: Mapping[Sources, Floats] | None = None,
    hidden: Sequence[str] = (),
) -> Prediction:
    return by_fidelity(inputs, barrier, folds, theta, hidden={"": hidden})[""]


def by_fidelity(
    inputs: Inputs,
    barrier: Floats,
    folds: Sequence[Any],
    theta: Mapping[Sources, Floats] | None = None,
    beside: tuple[Inputs, Floats] | None = None,
    hidden: Mapping[str, Sequence[str]] = HIDDEN,
    asked: Inputs | None = None,
) -> dict[str, Prediction]:
    """Every hop predicted by a model that saw nothing of its fold, by what the hop brings.

    Args:
        inputs: Of (n,) hops.
        barrier: (n,) labels.
        folds: Splits of them.
        theta: Hyperparameters of the processes; None finds them in every fold.
        beside: Labels that are learnt from in every fold.
        hidden: What hops do not bring, by the name of the prediction.
        asked: What hops bring where they are asked for; None as where they are learnt from.
    """
    asked = inputs if asked is None else asked
    parts = {name: np.zeros((3, len(barrier))) for name in hidden}
    for fold in folds:
        model = HopBarrierModel()
        rows, labels = inputs.rows(fold.train), barrier[fold.train]
        if beside is not None:
            rows, labels = beside[0].with_rows(rows), np.concatenate([beside[1], labels])
        model.fit_inputs(rows, labels, theta)
        for name, columns in hidden.items():
            found = model.predict_inputs(without(asked.rows(fold.test), *columns))
            parts[name][:, fold.test] = found.mean, found.aleatoric_std, found.epistemic_std
    return {name: Prediction(*part) for name, part in parts.items()}


def mean_by_ion(hops: Sequence[Hop], barrier: Floats, folds: Sequence[Any]) -> Floats:
    """The simplest rule: the mean of the training labels of an ion, of all where it has none."""
    ions = np.array([hop.working_ion for hop in hops])
    found = np.zeros(len(hops))
    for fold in folds:
        for k in fold.test:
            same = fold.train[ions[fold.train] == ions[k]]
            found[k] = barrier[same if len(same) else fold.train].mean()
    return found


def extremes(
    hops: Sequence[Hop], barrier: Floats, mean: Floats, by_ion: Floats, inside: NDArray[np.bool_]
) -> dict[str, Any]:
    """Each family counted once, and the family and the ion that fare worst."""
    families = np.array([canonical_family(hop.family) for hop in hops])
    ions = np.array([hop.working_ion for hop in hops])
    gap = mean - barrier

    def entries(names: NDArray[Any]) -> dict[str, dict[str, float]]:
        return {
            str(name): {
                "n": int(rows.sum()),
                "mae_eV": round(float(np.abs(gap[rows]).mean()), 3),
                "bias_eV": round(float(gap[rows].mean()), 3),
                "mean_by_ion_mae_eV": round(float(np.abs(by_ion - barrier)[rows].mean()), 3),
                "interval_coverage_90": round(float(inside[rows].mean()), 3),
            }
            for name in np.unique(names)
            for rows in (names == name,)
        }

    of_families, of_ions = entries(families), entries(ions)
    large = {k: v for k, v in of_families.items() if v["n"] >= LARGE_FAMILY}
    frequent = {k: v for k, v in of_ions.items() if v["n"] >= LARGE_FAMILY}
    worst = max(large, key=lambda k: large[k]["mae_eV"])
    biased = max(large, key=lambda k: abs(large[k]["bias_eV"]))
    ion = max(frequent, key=lambda k: frequent[k]["mae_eV"])
    return {
        "mean_over_families_mae_eV": round(
            float(np.mean([v["mae_eV"] for v in of_families.values()])), 3
        ),
        "worst_family": {"family": worst, **large[worst]},
        "most_biased_family": {"family": biased, **large[biased]},
        "worst_ion": {"ion": ion, **frequent[ion]},
        "worse_than_mean_by_ion": [
            k for k, v in large.items() if v["mae_eV"] > v["mean_by_ion_mae_eV"] + 0.02
        ],
        "families": large,
    }


def covered(hops: Sequence[Hop], barrier: Floats, prediction: Prediction) -> NDArray[np.bool_]:
    """Which labels lie in intervals widened by the residuals of the other half of the hosts."""
    groups = np.array([hop.framework for hop in hops])
    half = np.isin(groups, np.unique(groups)[::2])
    inside = np.zeros(len(hops), dtype=bool)
    for rows, others in ((half, ~half), (~half, half)):
        fields = (prediction.mean, prediction.aleatoric_std, prediction.epistemic_std)
        rest = Prediction(*(f[others] for f in fields))
        calibration = Calibration.fit(rest, barrier[others], TARGET)
        widened = calibration.calibrated(Prediction(*(f[rows] for f in fields)))
        lower, upper = calibration.interval(widened, TARGET)
        inside[rows] = (lower <= barrier[rows]) & (barrier[rows] <= upper)
    return inside


def scores(
    hops: Sequence[Hop],
    barrier: Floats,
    mean: Floats,
    trees: Floats | None = None,
    path: Floats | None = None,
) -> dict[str, Any]:
    groups = [hop.framework for hop in hops]
    low = barrier <= UP_TO_EV
    sound = np.array([not neb_barriers.is_implausible(hop) for hop in hops])
    families = np.array([canonical_family(hop.family) for hop in hops])
    within = [
        spearman(barrier[families == f], mean[families == f])
        for f in np.unique(families)
        if (families == f).sum() >= 8 and np.ptp(mean[families == f]) > 0
    ]
    error = bootstrap(mae, barrier, mean, groups=groups)
    entry = {
        "mae_eV": [round(v, 3) for v in (error.value, error.lower, error.upper)],
        "r2": round(r2(barrier, mean), 3),
        "spearman": round(spearman(barrier, mean), 3),
        "mae_up_to_2_eV": round(mae(barrier[low], mean[low]), 3),
        "mae_without_implausible_rows_eV": round(mae(barrier[sound], mean[sound]), 3),
        "spearman_within_families": round(float(np.mean(within)), 3),
    }
    for name, other in (("trees", trees), ("path", path)):
        if other is not None and other is not mean:
            gap = paired_bootstrap(barrier, mean, other, groups=groups)
            entry[f"mae_minus_{name}_eV"] = [round(v, 3) for v in (gap.value, gap.lower, gap.upper)]
    return entry


READS = (
    f"what a hop brings: {PROFILE}, CHGNet's energies along its path in a rigid host; {SHORT} and "
    f"{SHORT_BACKWARD}, barriers of a short relaxation; {BAND}, the barrier of a band relaxed with "
    "MACE-MP. A hop without is predicted from its path, its composition and what pretrained "
    "networks expect of CHGNet."
)


def card_of(
    name: str, model: HopBarrierModel, hops: list[Hop], out: dict[str, Any]
) -> dict[str, Any]:
    keys = (
        "mae_eV",
        "spearman",
        "interval_coverage_90",
        "mean_over_families_mae_eV",
        "worst_family",
        "worst_ion",
    )
    by_protocol = {
        protocol: {k: out[protocol][name][k] for k in keys}
        for protocol in PROTOCOLS
        if protocol in out
    }
    grouped = by_protocol.pop("grouped", {"mae_eV": [None]})
    others, _ = model.beside or ((), None)
    return {
        "name": name,
        "predicts": "migration barrier of a hop, eV",
        "quantity": "migration_barrier",
        "inputs": ["hop"],
        "working_ions": model.ions_,
        "elements": sorted(model.domain_.elements),
        "families": sorted({canonical_family(hop.family) for hop in hops if hop.family}),
        "trained_on": {
            "name": neb_barriers.SOURCE.title,
            "licence": neb_barriers.SOURCE.licence,
            "citation": neb_barriers.SOURCE.citation,
            "n_hops": len(hops),
            "n_frameworks": len({hop.framework for hop in hops}),
            "base_systems": sorted({hop.framework for hop in (*others, *hops)}),
            "methods": ["dft_neb"],
            "computed_labels": f"{len(others)} hops of the encoder's "
            "crystals, SevenNet-0 short relaxations (models/configs/short_relaxations.jsonl.gz)",
            "pretrained_networks": "hop-encoder: signals of crystals of other formulas (its card)",
        },
        "validation": {
            "split": "grouped by host framework, 10 folds",
            "n": len(hops),
            **grouped,
            "mae_eV": grouped["mae_eV"][0],
            **by_protocol,
        },
        "cost_s": 0.1,
        "reads": READS,
        "command": "python -m benchmarks.shipped_hop_barrier --data DIR --ship",
        "licence": "MIT",
    }


if __name__ == "__main__":
    main()
