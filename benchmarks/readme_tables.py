"""Fill the tables of README and docs: ``python -m benchmarks.readme_tables``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MODEL_NAMES = {
    "global_mean": "global mean",
    "family_mean": "family and ion mean",
    "trees": "extra trees, path + composition",
    "bond_valence": "bond-valence barrier, calibrated",
    "gaussian_process": "Gaussian process on path scalars",
    "network-scratch": "network, from scratch",
    "network-frozen": "network, pretrained, host frozen",
    "path": "process and trees on path and composition",
    "published labels alone": "and what pretrained networks expect of CHGNet",
    "hop-barrier": "**`hop-barrier`**, no potential: and computed labels",
    "hop-barrier, rigid profile": "**`hop-barrier`**, given CHGNet's energies in a rigid host",
    "hop-barrier, short relaxation": "**`hop-barrier`**, given a short relaxation with SevenNet-0",
    "hop-barrier, relaxed band": "**`hop-barrier`**, given a band relaxed with MACE-MP",
}


PROTOCOLS = (
    "grouped",
    "leave-family-out",
    "leave-ion-out",
    "leave-family-and-ion-out",
    "random",
)


def hop_barriers(result: dict[str, Any]) -> str:
    protocols = [p for p in PROTOCOLS if p in result]
    lines = [
        f"Migration barriers of {result['n']} DFT-NEB hops, out of fold: MAE in eV [95 % bootstrap "
        "over host frameworks] / Spearman. `grouped` keeps host frameworks together, "
        "`leave-family-out` and `leave-ion-out` hold out whole families and ions, `random` is how "
        "published test sets are drawn (`python -m benchmarks.hop_barriers`, "
        "`shipped_hop_barrier`).",
        "",
    ]

    def cell(entry: dict[str, Any]) -> str:
        value, low, high = entry["mae_eV"]
        return f"{value:.3f} [{low:.2f}, {high:.2f}] / {entry['spearman']:.2f}"

    simple = {p: {k: v for k, v in result[p].items() if k in MODEL_NAMES} for p in protocols}
    ours = json.loads((RESULTS / "shipped_hop_barrier.json").read_text(encoding="utf-8"))
    shown = ("hop-barrier", "hop-barrier, rigid profile", "hop-barrier, short relaxation")
    columns = {p: {**rows, **{k: ours[p][k] for k in shown}} for p, rows in simple.items()}
    return "\n".join([*lines, *grid("model", columns, MODEL_NAMES, cell)])


def grid(
    corner: str,
    columns: Mapping[str, Mapping[str, Any]],
    titles: Mapping[str, str],
    cell: Callable[[dict[str, Any]], str],
) -> list[str]:
    """A table with a row a name and a column each; rows without any entry are left out."""
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, title in titles.items():
        entries = [column.get(name) for column in columns.values()]
        if any(entries):
            shown = ("" if entry is None else cell(entry) for entry in entries)
            lines.append(f"| {title} | " + " | ".join(shown) + " |")
    return lines


def shipped_hop_barrier(result: dict[str, Any]) -> str:
    protocols = [p for p in PROTOCOLS if p in result]
    lines = [
        f"{result['n']} hops, {result['n_with_energies']} of them with energies; MAE in eV / "
        "Spearman (MAE of rows up to 2 eV; mean Spearman within families; share of values in the "
        "90 % intervals).",
        "",
    ]
    names = dict.fromkeys(n for p in protocols for n in result[p] if n != "seconds")

    def cell(entry: dict[str, Any]) -> str:
        coverage = entry.get("interval_coverage_90")
        return (
            f"{entry['mae_eV'][0]:.3f} / {entry['spearman']:.2f} "
            f"({entry['mae_up_to_2_eV']:.3f}; {entry['spearman_within_families']:.2f}"
            + (f"; {100 * coverage:.0f} %)" if coverage is not None else ")")
        )

    titles = {name: MODEL_NAMES.get(name, name) for name in names}
    return "\n".join(
        [
            *lines,
            *grid("model", {p: result[p] for p in protocols}, titles, cell),
            "",
            "Each family counted once: mean over families of the MAE / worst family of ten or more "
            "hops / largest bias of such a family / worst ion, eV.",
            "",
            *grid("model", {p: result[p] for p in protocols if p != "random"}, titles, worst_of),
            "",
            "Large families that do worse than the mean by ion, and such whose 90 % intervals hold "
            "fewer than 85 %, both with whole families left out:",
            "",
            *failing(result["leave-family-out"]),
        ]
    )


def worst_of(entry: dict[str, Any]) -> str:
    if "worst_family" not in entry:
        return ""
    family, biased, ion = (entry[k] for k in ("worst_family", "most_biased_family", "worst_ion"))
    return (
        f"{entry['mean_over_families_mae_eV']:.3f} / {family['mae_eV']:.2f} ({family['family']}) / "
        f"{biased['bias_eV']:+.2f} ({biased['family']}) / {ion['mae_eV']:.2f} ({ion['ion']})"
    )


def failing(column: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, entry in column.items():
        if name.startswith("hop-barrier"):
            worse = ", ".join(entry["worse_than_mean_by_ion"]) or "none"
            narrow = ", ".join(
                f"{family} {100 * v['interval_coverage_90']:.0f} %"
                for family, v in entry["families"].items()
                if v["interval_coverage_90"] < 0.85
            )
            lines.append(f"- {MODEL_NAMES[name]}: {worse}; {narrow or 'none'}")
    return lines


def pretraining_signals(result: dict[str, Any]) -> str:
    """What is read of encoders, then what tuning them gives."""

    def error(entry: dict[str, Any]) -> str:
        return f"{entry['mae_eV'][0]:.3f} / {entry['spearman']:.2f}"

    def cell(entry: dict[str, Any]) -> str:
        if "mae_minus_none_eV" not in entry:
            return error(entry)
        gap, low, high = entry["mae_minus_none_eV"]
        return f"{error(entry)} ({gap:+.3f} [{low:+.3f}, {high:+.3f}])"

    def tuned(entry: dict[str, Any]) -> str:
        parts = [entry] if "mae_eV" in entry else [entry["network"], entry["mixed"]]
        return "; ".join(error(part) for part in parts)

    titles = {name: name for column in result["read"].values() for name in column}
    columns = {p: result[p] for p in ("grouped", "leave-family-out") if p in result}
    own = {name: name for column in columns.values() for name in column}
    return "\n".join(
        [
            "Energies of one network, read by the shipped process and trees: MAE in eV / Spearman "
            "(difference to none with 95 % interval over host frameworks).",
            "",
            *grid("pretrained on", result["read"], titles, cell),
            "",
            f"The same networks tuned to the labels, {result['epochs']} epochs, framework layers "
            "kept: the network alone, then averaged with the Gaussian process.",
            "",
            *grid("pretrained on", columns, own, tuned),
        ]
    )


RIVAL_NAMES = {
    "global-mean": "global mean",
    "family-ion-mean": "family and ion mean",
    "bond-valence-line": "bond-valence barrier, on a line",
    "chgnet-line": "CHGNet saddle, rigid host, on a line",
    "mace": "band relaxed with MACE-MP, as it is",
    "mace-line": "the same, on a line",
    "boosting": "gradient boosting",
    "boosting-tuned": "gradient boosting, tuned",
    "trees": "extra trees",
    "trees-tuned": "extra trees, tuned",
    "process": "Gaussian process on path scalars",
    "process-tuned": "the same, tuned",
    "cgcnn": "crystal-graph network (CGCNN-like), from scratch",
    "alignn": "line-graph network (ALIGNN-like), from scratch",
    "own-network-scratch": "our network, from scratch",
    "own-network-pretrained": "our network pretrained, tuned to the labels, with a process",
    "ours": "`hop-barrier`, of published labels alone",
    "ours-tuned": "the same, tuned",
    "ours-chgnet": "the same, given CHGNet's energies in a rigid host",
    "ours-chgnet-tuned": "the same, given these and tuned",
    "hop-barrier": "**`hop-barrier`**, no potential",
    "hop-barrier, rigid profile": "**`hop-barrier`**, given CHGNet's energies in a rigid host",
    "hop-barrier, short relaxation": "**`hop-barrier`**, given a short relaxation",
}


def rivals(result: dict[str, Any]) -> str:
    lines = [
        f"{result['n']} hops, families dealt into {len(result['folds'])} folds, seed "
        f"{result['seed']}; tuned: {result['trials']} trials inside the training folds "
        "(`python -m benchmarks.rivals.comparison`).",
        "",
        "| model | MAE in eV [95 %] | up to 2 eV | Spearman | difference to the tuned trees | s |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in RIVAL_NAMES.items():
        if (entry := result["models"].get(name)) is None:
            continue
        value, low, high = entry["mae_eV"]
        gap = entry.get("mae_minus_trees-tuned_eV")
        shown = "" if gap is None else f"{gap[0]:+.3f} [{gap[1]:+.3f}, {gap[2]:+.3f}]"
        epochs = f", {entry['epochs']} epochs" if "epochs" in entry else ""
        lines.append(
            f"| {title}{epochs} | {value:.3f} [{low:.2f}, {high:.2f}] | "
            f"{entry['mae_up_to_2_eV']:.3f} | {entry['spearman']:.2f} | {shown} | "
            f"{entry['seconds']:.0f} |"
        )
    return "\n".join(lines)


LEVEL_NAMES = {"hop-barrier": "no potential", "hop-barrier, short relaxation": "short relaxation"}


def unseen_levels(result: dict[str, Any]) -> str:
    protocols = ("leave-family-out", "leave-ion-out", "leave-family-and-ion-out")
    lines = [
        "| change of the MAE, eV [95 % over families] | family left out | ion left out | both left "
        "out | worse than the mean by ion |",
        "|---|---|---|---|---|",
    ]
    for fidelity, title in LEVEL_NAMES.items():
        for variant, entry in result[protocols[0]][fidelity].items():
            if "mae_minus_shipped_eV" not in entry:
                continue
            changes = (
                result[protocol][fidelity][variant]["mae_minus_shipped_eV"]
                for protocol in protocols
            )
            cells = [f"{v:+.3f} [{low:+.3f}, {high:+.3f}]" for v, low, high in changes]
            worse = ", ".join(entry["worse_than_mean_by_ion"]) or "none"
            lines.append(f"| {title}: {variant} | {' | '.join(cells)} | {worse} |")
    return "\n".join(lines)


def relaxed_relatives(result: dict[str, Any]) -> str:
    lines = [
        f"Families of 8 or more hops left out, {result['draws']} draws; MAE in eV / Spearman of "
        "the hops that are asked for (change, 95 % over families; mean over families).",
        "",
        "| relaxed hops of the family | hops | not used | offset, shrunk | learnt from |",
        "|---|---|---|---|---|",
    ]
    for name, entry in result.items():
        if not isinstance(entry, dict) or "learnt from" not in entry:
            continue
        ways = [entry["not"], entry.get("moved by"), entry["learnt from"]]
        cells = [_way(way) if way else "" for way in ways]
        lines.append(f"| {name} | {entry['n_hops']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _way(entry: dict[str, Any]) -> str:
    shown = f"{entry['mae_eV']:.3f} / {entry['spearman']:.2f}"
    if "change_eV" not in entry:
        return f"{shown} ({entry['mean_over_families_mae_eV']:.3f})"
    value, low, high = entry["change_eV"]
    mean = entry["mean_over_families_mae_eV"]
    return f"{shown} ({value:+.3f} [{low:+.3f}, {high:+.3f}]; {mean:.3f})"


JOINED_TITLES = {
    "learned": "**`hop-barrier`**, no potential",
    "fed": "**`hop-barrier`**, given CHGNet's energies in a rigid host",
    "short": "**`hop-barrier`**, given a short relaxation",
}
"""Of the shipped model on labels joined with its own, by what hops bring."""


def few_shot(result: dict[str, Any]) -> str:
    columns = {
        f"{k} ({len(result[k]['draws_by_family'])} families)": result[k]["strategies"]
        for k in ("k=4", "k=8", "k=16")
    }
    titles = {
        n: f"{JOINED_TITLES.get(n, n.replace('_', ' '))} ({d})" for n, d in result["draws"].items()
    }

    def cell(entry: dict[str, Any]) -> str:
        gap, low, high = entry["all"]["minus_trees_eV"]
        rest = (entry[kind]["mae_eV"] for kind in ("up_to_2_eV", "without_implausible_rows"))
        return f"{entry['all']['mae_eV']:.3f} ({gap:+.3f} [{low:+.3f}, {high:+.3f}]); " + "; ".join(
            f"{value:.3f}" for value in rest
        )

    lines = [
        "A family left out, k of its host frameworks added; MAE in eV of all rows (difference to "
        "the trees on the same rows, 95 % interval over host frameworks); of rows up to 2 eV; "
        "without the rows whose geometry cannot belong to their label.",
        "",
        *grid("strategy (draws)", columns, titles, cell),
    ]
    return "\n".join([*lines, "", *_efficiency(result), "", *_intervals(result)])


def _efficiency(result: dict[str, Any]) -> list[str]:
    references = {"trees": "trees", "trees_scratch": "trees", "process_scratch": "process"}
    columns = {}
    for last, k in ((4, 1), (16, 2), (16, 4)):
        part = result["label_efficiency"][f"families with {last} frameworks"]
        for reference, title in references.items():
            alone = " from scratch" if reference.endswith("scratch") else " joint"
            columns[f"{title}{alone}, k={k} ({len(part['families'])} families)"] = {
                name: entry[f"k={k}"]
                for name, entry in part[f"frameworks that {reference} needs over k"].items()
            }

    def cell(entry: dict[str, Any]) -> str:
        most = entry["at_most_measurable"]
        value, *ends = (
            f"> {most:g}" if v is None else f"{v:.1f}"
            for v in (entry["value"], *entry["interval_95"])
        )
        return f"{value} [{', '.join(ends)}]"

    shown = (
        *("trees_weighted", "process", "learned", "fed", "short", "committee", "auto"),
        "network_frozen",
    )
    titles = {name: JOINED_TITLES.get(name, name.replace("_", " ")) for name in shown}
    return [
        "Label efficiency: host frameworks that a reference needs for the error that a strategy "
        "has with k, over k (95 % interval over families and draws; > where the reference does not "
        "get there with all frameworks that the families allow).",
        "",
        *grid("strategy", columns, titles, cell),
    ]


def _intervals(result: dict[str, Any]) -> list[str]:
    ways = (
        "source, frameworks left out",
        "labels and source, frameworks left out",
        "source, families left out",
        "labels and source, families left out",
    )
    columns: dict[str, Any] = {}
    for strategy, by_k in result["intervals_90"].items():
        for k in ("k=0", "k=4", "k=8", "k=16"):
            columns[f"{strategy}, {k}"] = by_k[k]

    def cell(entry: dict[str, Any]) -> str:
        value, low, high = (100 * v for v in entry["coverage"])
        return f"{value:.0f} [{low:.0f}, {high:.0f}]; {entry['median_width_eV']:.2f}"

    return [
        "Values in the 90 % intervals, in %, with 95 % interval over host frameworks; median width "
        "in eV. The factor on the spread comes from cross-validation on the other families, alone "
        "or with the residuals of the few labels.",
        "",
        *grid("factor from", columns, {way: way for way in ways}, cell),
    ]


def olivine_transfer(result: dict[str, Any]) -> str:
    titles = {
        "family_mean": "median of the olivine labels",
        "trees_scratch": "trees, olivines alone",
        "process_scratch": "process, olivines alone",
        "trees": "trees, joint",
        "process": "process, joint",
        "process_family": "process, joint, the family with an offset of its own",
        **JOINED_TITLES,
        "network_frozen": "pretrained network and process, joint",
        "auto_labels": "chosen by cross-validation on the olivine labels",
    }
    columns = {
        f"{source}, k={k}": result[source][f"k={k}"]
        for source in ("the layered family", "all other families")
        for k in (0, 1, 2, 4, 8)
    }

    def cell(entry: dict[str, Any]) -> str:
        gap = entry.get("minus trees")
        both = f"{entry['mae_eV'][0]:.3f}; {entry['median_eV']:.3f}"
        if gap is None:
            return both
        value, low, high = gap["difference_eV"]
        return f"{both} ({value:+.3f} [{low:+.3f}, {high:+.3f}], ±{gap['detectable_eV']:.3f})"

    return "\n".join(
        [
            f"{result['n_olivines']} olivines of {result['n_frameworks']} host frameworks, "
            f"{result['draws']} draws of k frameworks to learn from; mean and median "
            "absolute error of the others in eV (difference of means to the joint trees with 95 % "
            "interval over host frameworks, smallest one detectable with 80 % power). "
            f"Spread of the labels {result['label_std_eV']:.3f} eV; error of the median of the "
            f"other frameworks {result['mae_of_median_of_other_frameworks_eV']:.3f} eV.",
            "",
            *grid("learnt from", columns, titles, cell),
        ]
    )


def md_diffusivity(result: dict[str, Any]) -> str:
    columns = {name: result[name] for name in ("by formula", "by host element")}
    lines = [
        f"ln D of {result['n_labels']} AIMD labels of {result['n_formulas']} formulas, "
        f"{result['n_folds']} folds, {len(result['seeds'])} dealings: MAE [95 % bootstrap over "
        "formulas]; at 1000 / 1500 / 2000 / 2500 K; MAE of the activation energy in eV; share of "
        "values in the 90 % intervals (`python -m benchmarks.md_diffusivity`).",
        "",
    ]

    def cell(entry: dict[str, Any]) -> str:
        value, low, high = entry["mae_ln_D"]
        each = " / ".join(f"{v:.2f}" for v in entry["mae_ln_D_at_K"].values())
        energy = f"{entry['mae_activation_energy_eV']:.3f}"
        coverage = entry.get("interval_coverage_90")
        held = "" if coverage is None else f"; {100 * coverage:.0f} %"
        return f"{value:.2f} [{low:.2f}, {high:.2f}]; {each}; {energy}{held}"

    names = {name: name for name in result["by formula"]}
    return "\n".join([*lines, *grid("left out", columns, names, cell)])


def methods(result: dict[str, Any]) -> str:
    names = dict.fromkeys(name for entry in result["shares"].values() for name in entry)
    columns = {f"{share} of the frameworks": entry for share, entry in result["shares"].items()}
    lines = [
        f"{result['n']} hops, {result['n_folds']} folds grouped by host framework, mean over "
        f"{len(result['seeds'])} draws; MAE in eV (difference to the process on DFT labels alone "
        "with 95 % interval) (`python -m benchmarks.methods`).",
        "",
    ]

    def cell(entry: dict[str, Any]) -> str:
        if "mae_minus_dft_alone_eV" not in entry:
            return f"{entry['mae_eV']:.3f}"
        gap, low, high = entry["mae_minus_dft_alone_eV"]
        return f"{entry['mae_eV']:.3f} ({gap:+.3f} [{low:+.3f}, {high:+.3f}])"

    return "\n".join([*lines, *grid("DFT labels of", columns, {n: n for n in names}, cell)])


def domain_error(result: dict[str, Any]) -> str:
    protocols = ("grouped", "leave-family-out", "leave-ion-out")
    bins = {p: result[p]["bins"] for p in protocols}
    titles = {name: name.replace("2 to inf", "above 2") for name in bins["grouped"]}
    lines = [
        "MAE in eV [95 % bootstrap over host frameworks]; share of values in the 90 % intervals; "
        "number of hops (`python -m benchmarks.domain_error`).",
        "",
    ]

    def cell(entry: dict[str, Any]) -> str:
        if not entry["n"]:
            return "none"
        value, low, high = entry["mae_eV"]
        coverage = 100 * entry["interval_coverage_90"]
        return f"{value:.2f} [{low:.2f}, {high:.2f}]; {coverage:.0f} %; {entry['n']}"

    return "\n".join([*lines, *grid("distance, flag", bins, titles, cell)])


def pool_campaign(result: dict[str, Any]) -> str:
    counts = result["counts"]
    share = 100.0 * counts.get("failed", 0) / result["n_candidates"]
    return (
        f"The {result['n_candidates']:,} Li crystals of the Materials Project pool, screened to "
        f"the end on {result['n_workers']} CPU cores: {result['crystals_per_s']:.1f} crystals/s, "
        f"{counts['ok']:,} with a result, {share:.1f} % without, each with a reason "
        "(`python -m benchmarks.pool_campaign`)."
    )


def throughput(result: dict[str, Any]) -> str:
    found = result["sets"]["embedded_campaign"]
    ratios, stages, start = found["ratios"], found["stages"], result["start_cpu_s"]
    names = ("models list", "data list", "models show hop-barrier", "a worker's imports")
    starts = ", ".join(
        f"{name if ' imports' in name else f'`{name}`'} {start['now'][name]:.2f}"
        + (f" (in version {start['old_is']} {start['old'][name]:.2f})" if "old" in start else "")
        for name in names
    )
    parts = ", ".join(
        f"{name} {1000 * stages[name]:.1f}" for name in ("hops", "classification", "model")
    )
    rates = ""
    if "two" in found:
        one, two = (found[number]["crystals_per_s"] for number in ("one", "two"))
        rates = (
            f"{one:.0f} a second of wall time by one process, {two:.0f} by two on two cores "
            f"(target 80), {ratios['two_processes_over_one']:.2f} times as many (target 1.8), "
        )
    return (
        f"A crystal of {found['mean_sites']:.0f} sites takes "
        f"{1000 * found['whole']['cpu_s_a_crystal']:.0f} ms of one core ({parts} of it; "
        f"{found['n_crystals']} crystals of the embedded campaign, the better of two repeats at a "
        f"load of {result['load']:.0f}): {rates}"
        f"{ratios['old_over_new']:.1f} times less than in version {result['old']} in the same run "
        f"(target 10), {ratios['of_one_chgnet_energy']:.2f} of one CHGNet energy of the same "
        f"crystals (target 0.1; {found['chgnet']['n']} ordered ones). CPU seconds to start, at a "
        f"load of {start['load']:.0f} on two cores, where `--help` takes "
        f"{start['now']['--help']:.2f} (targets on quiet ones 0.5, a worker's imports 2): {starts} "
        "(`python -m benchmarks.throughput`)."
    )


def chaos(result: dict[str, Any]) -> str:
    def ends(kind: str) -> str:
        return ", ".join(f"{n} {end.lower()}" for end, n in sorted(result[kind].items()))

    return (
        f"Campaigns under chance, gone on with: {result['n_kills']} kills: {ends('kills')}; "
        f"{result['n_stage_kills']} kills in a round of labels, a refinement or cells: "
        f"{ends('stage_kills')}; "
        f"{result['n_worker_kills']} runs whose worker was killed twice: {ends('worker_kills')}; "
        f"{result['n_damages']} damages to a finished folder: {ends('damages')}. A program that "
        "believes what it reads would have taken other rows in "
        f"{result['damages_that_reading_without_checks_takes_for_rows']} of the damages "
        "(`python -m benchmarks.chaos`)."
    )


def bvse_agreement(result: dict[str, Any]) -> str:
    summary = result["summary"]
    return (
        "Bond-valence percolation barriers agree with `bvlain` within 0.1 eV on "
        f"{summary['n_crystals_within_0.1_eV']} of {summary['n_crystals']} crystals, at "
        f"{summary['speed_ratio_total']:.0f} times its speed in the same run "
        "(`python -m benchmarks.bvse_agreement`)."
    )


def conductivity(result: dict[str, Any]) -> str:
    names = {
        "constant": "median of the labels",
        "family median": "median of the family",
        "extra trees on the composition": "extra trees on the composition",
        "hop network": "hop network alone (barriers, paths, carriers)",
        "composition model": "measured compositions alone (`conductivity-trees`)",
        "estimate": "**the estimate** (`conduction-estimate`)",
    }
    subsets = (
        "OBELiX rows with a CIF",
        "ordered cells",
        "OBELiX rows",
        "known sodium conductors",
        "all rows",
    )
    ordered, warm = result["ordered cells"]["estimate"], result["above room temperature"]
    lines = [
        "Measured room-temperature conductivity, every row predicted by models that saw neither "
        "its paper nor its composition: MAE in decades [95 % bootstrap over papers] / Spearman / "
        "median error (`python -m benchmarks.conductivity`). Two papers on one composition differ "
        "by 0.98 decades in the mean. Ordered cells: the crystals of the first column with whole "
        "atoms in place of partial occupancies, as computed crystals have them.",
        "",
        "| | " + " | ".join(f"{name}, {result[name]['estimate']['n']}" for name in subsets) + " |",
        "|---|" + "---|" * len(subsets),
    ]
    for name, title in names.items():
        cells = []
        for subset in subsets:
            entry = result[subset].get(name)
            if entry is None:
                cells.append("")
                continue
            value, low, high = entry["mae"]
            cells.append(
                f"{value:.2f} [{low:.2f}, {high:.2f}] / {entry['spearman'][0]:.2f} / "
                f"{entry['median_error']:.2f}"
                if entry["n"] == result[subset]["estimate"]["n"] or subset in subsets[:2]
                else ""
            )
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    with_cif, hot = result[subsets[0]]["estimate"], warm["above 450 K"]
    computed = result["computed cells"]["composition model"]
    return "\n".join(
        [
            *lines,
            "",
            f"90 % intervals hold {100 * with_cif['interval_coverage_90']:.0f} % of the rows "
            f"with a CIF and {100 * ordered['interval_coverage_90']:.0f} % of the ordered cells, "
            f"{with_cif['interval_width_mean']:.1f} and {ordered['interval_width_mean']:.1f} "
            f"decades wide. {computed['n']} predictions of computed cells of the Materials Project "
            "that have a measured formula, by compositions alone: "
            f"{_spread(computed['mae'], 2)} decades, Spearman {computed['spearman'][0]:.2f}. "
            f"{warm['all']['n']} conductivities of {warm['n_compositions']} "
            "compositions measured above room temperature, the estimate carried there by its "
            f"activation energy: {_spread(warm['all']['mae'], 2)} decades, bias "
            f"{warm['all']['bias']:+.2f}; above 450 K ({hot['n']}) {_spread(hot['mae'], 2)}, "
            f"bias {hot['bias']:+.2f}.",
        ]
    )


def conductivity_variants(result: dict[str, Any]) -> str:
    subsets = ("measured crystals", "ordered cells", "computed cells", "all rows")
    lithium, sodium = result["lithium"], result["sodium"]
    first = next(iter(lithium.values()))

    def cell(entry: dict[str, Any]) -> str:
        return "{:.2f} ± {:.2f} / {:.2f}".format(*entry["mae"], entry["spearman"][0])

    groups = next(iter(sodium.values()))
    return "\n".join(
        [
            "What was tried for the model of compositions: extra trees on composition, space group "
            "and cell unless said otherwise, lithium rows, ten folds without the paper and the "
            "composition; MAE in decades ± standard deviation over three dealings of the folds / "
            "Spearman (`python -m benchmarks.conductivity_variants`). Computed cells: cells of the "
            "Materials Project with a measured formula.",
            "",
            "| learnt from | " + " | ".join(f"{n}, {first[n]['n']}" for n in subsets) + " |",
            "|---|" + "---|" * len(subsets),
            *(
                f"| {name} | " + " | ".join(cell(entry[n]) for n in subsets) + " |"
                for name, entry in lithium.items()
            ),
            "",
            "| learnt from | "
            + " | ".join(f"{name}, {entry['n']}" for name, entry in groups.items())
            + " |",
            "|---|" + "---|" * len(groups),
            *(
                f"| {name} | " + " | ".join(cell(entry[n]) for n in groups) + " |"
                for name, entry in sodium.items()
            ),
        ]
    )


def hop_variants(result: dict[str, Any]) -> str:
    own = result["hop network"]
    few = own["random_rows"]
    lines = [
        "The hop network alone where ions block each other (`ionbridge label kmc`) in place of "
        f"independent carriers: {own['n_simulated']} measured crystals with partly filled sites of "
        f"the ion, of {own['n_with_hops']} with hops; coefficients of the calibration from other "
        "papers. MAE in decades [95 % bootstrap over papers] / Spearman / change of the MAE "
        "(`python -m benchmarks.conductivity_variants --hops`).",
        "",
        f"| what stands for the barrier | all, {own['n_simulated']} | at random, "
        f"{next(iter(few.values()))['n']} |",
        "|---|---|---|",
    ]

    def cell(entry: dict[str, Any] | None) -> str:
        if entry is None:
            return ""
        change = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*entry["change_of_mae"])
        return f"{_spread(entry['mae'], 2)} / {entry['spearman'][0]:.2f} / {change}"

    rows = own["simulated_rows"]
    lines += [f"| {n} | {cell(rows.get(n))} | {cell(few.get(n))} |" for n in {**rows, **few}]
    quarters = {
        name: "{:.2f}, {:.2f}, {:.2f}".format(*own[f"{name}_quartiles"])
        for name in (
            "tracer_correlation_factor",
            "collective_correlation_factor",
            "haven_ratio",
        )
    }
    sites = own["site_energies"]
    return "\n".join(
        [
            *lines,
            "",
            "Quartiles at room temperature: f "
            f"{quarters['tracer_correlation_factor']}; f_I "
            f"{quarters['collective_correlation_factor']}; Haven ratio {quarters['haven_ratio']}. "
            f"In {own['n_without_motion']} crystals nothing was carried; their upper ends count. "
            f"{own['n_partly_filled'] - own['n_simulated']} more leave no empty site beside the "
            "other atoms on the ions' sites, or hold more ions than fit, two sites closer than 1.5 "
            "angstrom never being filled at once. "
            f"Energies of {sites['n_kinds_of_sites']} kinds of partly filled sites spread by "
            f"{1e3 * sites['std_model_eV']:.0f} meV by the model of hops and by "
            f"{1e3 * sites['std_refined_eV']:.0f} meV by what was refined, rank correlation "
            f"{sites['spearman']:.2f}.",
        ]
    )


def beyond_domain(result: dict[str, Any]) -> str:
    regimes = {
        "an element never seen": "without one of their elements",
        "a region never seen": "without their region",
    }
    names = {
        "composition model": "measured compositions alone",
        "hop network": "hop network alone",
        "as if near": "combined as if measured compositions were near",
        "estimate": "**the estimate**; its trust learnt on the other elements or regions",
    }
    numbers = ", ".join(f"{result[own]['estimate']['n']} {t}" for own, t in regimes.items())
    lines = [
        "Measured crystals far from all that the composition model has seen: by models without one "
        "of their elements (P, S, Cl, Ti, Zr, La, Ge, Sn, one by one), or without the region of "
        "compositions (k-means, one of 14) that they lie in, where that puts them outside the "
        f"domain ({numbers}). MAE in decades [95 % bootstrap over papers] / Spearman, and share of "
        "values in the 90 % interval (`python -m benchmarks.conductivity`).",
        "",
        "| | " + " | ".join(f"{title} | in the interval" for title in regimes.values()) + " |",
        "|---|" + "---|---|" * len(regimes),
    ]
    for name, title in names.items():
        cells = []
        for regime in regimes:
            entry = result[regime][name]
            cover = entry.get("interval_coverage_90")
            cells += [
                f"{_spread(entry['mae'], 2)} / {entry['spearman'][0]:.2f}",
                "" if cover is None else f"{100 * cover:.0f} %",
            ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def screening_power(result: dict[str, Any]) -> str:
    trials = {
        "ordered approximants": "all crystals ordered",
        "as measured": "as measured",
    }
    lines = [
        f"{result['n_superionic']} measured superionic conductors (above 1e-4 S/cm), each "
        "predicted by models that saw neither its paper nor its composition, hidden among "
        f"{result['n_other_measured']} slower ones and {result['n_pool_whole']:,} lithium crystals "
        f"of the Materials Project, {result['n_pool']} of which stand for all: share found in the "
        "first 5 % of the ranking / area under the curve [95 % bootstrap] "
        "(`python -m benchmarks.screening_power`). Left, every measured crystal is hidden as an "
        "ordered cell, as computed crystals are; right, as it was refined, where disorder alone "
        "gives it away.",
        "",
        "| ranking by | " + " | ".join(trials.values()) + " |",
        "|---|" + "---|" * len(trials),
    ]
    rules = ("single rule: softest anions", "single rule: disordered crystals first")
    for name in ("estimate", "composition model", "hop network", *rules):
        cells = []
        for trial in trials:
            entry = result[trial].get(name)
            if entry is None:
                cells.append("")
                continue
            found, area = entry["found_in_first_5_percent"], entry["area_under_curve"]
            cells.append(
                f"{100 * found[0]:.0f} % [{100 * found[1]:.0f}, {100 * found[2]:.0f}] / "
                f"{_spread(area, 2)}"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "| random | 5 % / 0.50 | 5 % / 0.50 |"])


def prescreen(result: dict[str, Any]) -> str:
    found = result["prescreen"]
    lines = [
        "What a first stage by the composition model (`prescreen`) loses: of "
        f"{found['n_superionic']} measured conductors of Li and Na above 1e-4 S/cm, each predicted "
        "from its formula by models that saw neither its paper nor its composition (or nothing of "
        "its family), the share below the threshold [95 % bootstrap over papers]; beside it that "
        f"of {found['n_pool_electrolytes']:,} lithium electrolytes of the Materials Project "
        "(`python -m benchmarks.screening_power`).",
        "",
        "| `min_log10_conductivity_S_cm` | pool discarded | good ones lost | and by their family |",
        "|---|---|---|---|",
    ]
    for threshold, entry in found["mean"].items():
        if -8.0 <= float(threshold) <= -3.5:
            lost, unseen = (
                entry[f"superionic_discarded_unseen_{name}"] for name in ("papers", "families")
            )
            cells = [
                f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
                for value, low, high in (lost, unseen)
            ]
            pool = f"{100 * entry['pool_discarded']:.1f} %"
            lines.append(f"| {threshold} | {pool} | {' | '.join(cells)} |")
    end, balance = found["q95"]["-3"], found["charge_imbalance"]
    lost = end["superionic_discarded_unseen_papers"][0]
    lines += [
        "",
        "To ask for the upper end of the 90 % interval instead loses more at the same share: "
        f"{100 * lost:.0f} % where {100 * end['pool_discarded']:.0f} % are discarded. Charge "
        f"balance within 5 % discards {100 * balance['0.05']['pool_discarded']:.1f} % of the pool "
        f"and {100 * balance['0.05']['superionic_discarded']:.0f} % of "
        f"{balance['n_superionic_with_crystal']} measured conductors with a crystal.",
    ]
    return "\n".join(lines)


def aimd_diffusivity(result: dict[str, Any]) -> str:
    own = result["summary"]
    error, slope = own["mae_decades"], own["mae_slope_eV"]
    md = result["molecular dynamics"]
    beyond = md["beyond_bounds_decades"]
    kelvins = " or ".join(f"{t:.0f}" for t in md["temperatures_K"])
    lines = [
        f"log10 D at 500 to 1000 K against AIMD, {own['n_compounds']} compounds, and slope of ln D "
        f"of {len(result['slopes'])}, by models that saw neither paper nor composition "
        "(`python -m benchmarks.aimd_diffusivity`).",
        "",
        "| | error, decades | error of the slope, eV |",
        "|---|---|---|",
    ]
    for name, title in (
        ("constant", "the mean of the others"),
        ("hop network", "hop network alone"),
        ("estimate", "**the estimate**"),
    ):
        key = f"{name.replace(' ', '_')}_eV"
        lines.append(f"| {title} | {error[name]:.2f} | {slope[key]:.3f} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Bias {own['bias_decades']:+.2f} decades; the 90 % intervals hold "
            f"{100 * own['interval_coverage_90']:.0f} %, {own['interval_width_mean']:.1f} decades "
            f"wide; {sum(own['bounds_kept'])} of {len(own['bounds_kept'])} upper ends of runs too "
            "short for a value are kept. " + blocked_argyrodites(own["partly_filled"]),
            "",
            f"Own molecular dynamics with CHGNet at {kelvins} K, {md['n']} crystals of the "
            "Materials Project as their records have them: the estimate is "
            f"{md['mae_decades']['estimate']:.2f} decades off (bias "
            f"{md['bias_decades']['estimate']:+.2f}), the hop network alone "
            f"{md['mae_decades']['hop network']:.2f} ({md['bias_decades']['hop network']:+.2f}), "
            f"the mean of the others {md['mae_decades']['constant']:.2f}; the 90 % intervals hold "
            f"{100 * md['interval_coverage_90']:.0f} %. Of {len(beyond)} runs that give but an "
            f"upper end the estimate keeps {sum(b == 0 for b in beyond)}; "
            f"left out: runs in which the crystal melted ({md['n_molten']}).",
        ]
    )


def blocked_argyrodites(own: dict[str, Any]) -> str:
    """What kinetic Monte Carlo says of the compounds of which AIMD gives a value or a bound."""
    error, kept = own["mae_decades"], own["bounds_kept_by_kinetic_monte_carlo"]
    return (
        f"Ions that block each other (`ionbridge label kmc`; only {own['n_compounds']} of the "
        "compounds with a value has partly filled sites): "
        f"{error['kinetic_monte_carlo']:.2f} decades there, hop network "
        f"{error['hop_network']:.2f}, estimate {error['estimate']:.2f}; {sum(kept)} of "
        f"{len(kept)} upper ends are kept."
    )


def acquisition(result: dict[str, Any]) -> str:
    needed = result["labels_needed"]["strict"]
    chosen, chance = needed["expected_improvement, first random"], needed["random"]
    return (
        f"What to label next: replayed on {result['n_hops']} DFT-NEB hops with hidden labels, 8 of "
        f"the 10 fastest host frameworks are found after {chosen['mean']:.0f} labels "
        f"[{chosen['min']} to {chosen['max']} over {result['n_seeds']} seeds], by chance after "
        f"{chance['mean']:.0f}: {chosen['fewer_than_random']:.1f} times fewer "
        "(`python -m benchmarks.acquisition`)."
    )


def funnel(result: dict[str, Any]) -> str:
    lines = [
        "A funnel of fidelities on the same hops, each family held out from what combines network "
        "and potential; the band's figures are those of a published universal potential "
        "(`python -m benchmarks.funnel`).",
        "",
        "| barriers by | hops | MAE, eV | Spearman | CPU s a hop |",
        "|---|---|---|---|---|",
    ]
    titles = {
        "network": "network",
        "energies": "network + CHGNet energies on the path",
        "neb": "network + relaxed band (MACE)",
    }
    for name, title in titles.items():
        step = result["steps"][name]
        value, low, high = step["mae_eV"]
        lines.append(
            f"| {title} | {step['n']} | {value:.3f} [{low:.2f}, {high:.2f}] | "
            f"{step['spearman'][0]:.2f} | {step['cpu_s_a_hop']:g} |"
        )
    return "\n".join(lines)


def random_walks(result: dict[str, Any]) -> str:
    held = [walk["tracer"]["held"] for walk in result["walks"].values() if "tracer" in walk]
    plain = [
        walk["baseline_straight_line"]["held"]
        for walk in result["walks"].values()
        if "baseline_straight_line" in walk
    ]
    spreads = {
        name: entry["over_generalised"]
        for name, entry in result["yardstick"].items()
        if isinstance(entry, dict)
    }
    return (
        f"Diffusivity from trajectories: on {len(held)} kinds of walks with a known diffusivity "
        f"({result['n_walks']} walks each) the 95 % intervals hold the truth in "
        f"{100 * min(held):.0f} to {100 * max(held):.0f} %, those of a straight line in "
        f"{100 * min(plain):.0f} to {100 * max(plain):.0f} % (`python -m benchmarks.random_walks`)."
        " The spread over repeats is "
        f"{min(spreads.values()):.1f} to {max(spreads.values()):.2f} times that of published "
        f"generalised least squares (target {result['yardstick']['target']}; the largest: "
        f"{max(spreads, key=lambda name: spreads[name])})."
    )


def lattice_gas(result: dict[str, Any]) -> str:
    lone = result["lone_vacancy"]
    worst = max(abs(entry["deviation"]) for entry in lone.values())
    parts = []
    for name, title in (("f", "f"), ("f_I", "f_I")):
        run, end = result["garnet"][name], result["garnet"][f"{name}_limit"]
        parts.append(
            f"{title} is off by {100 * run['rms_deviation']:.1f} % (root mean square; own standard "
            f"error {100 * run['rms_own_std']:.1f} %), within 2 % in "
            f"{100 * run['within_2_percent']:.0f} % of the settings; by "
            f"{100 * end['rms_deviation']:.1f} % in the limit of endless runs"
        )
    left_out = len(result["other_occupation"])
    n = result["garnet"]["f"]["n"]
    return (
        f"Kinetic Monte Carlo: correlation factors of a lone vacancy on {len(lone)} lattices are "
        f"within {100 * worst:.1f} % of the exact ones. Of a published garnet lattice gas ({n} "
        f"settings of filling, repulsion and site energy, runs as short as published; {left_out} "
        "left out, as its occupation is not that of equilibrium) "
        f"{'; '.join(parts)}. Without correlation (f = f_I = 1) it would be "
        f"{100 * result['garnet']['f']['baseline_rms_deviation_of_1']:.0f} and "
        f"{100 * result['garnet']['f_I']['baseline_rms_deviation_of_1']:.0f} % "
        "(`python -m benchmarks.lattice_gas`)."
    )


def cell_rom(result: dict[str, Any]) -> str:
    lines = [
        f"The reduced-order cell on {result['n_test']} held-out discharges of "
        f"{result['base_cell']}, 0.1C to 5C, half of them diffusion-limited: voltage RMSE in mV, "
        "mean over all / over those in which the salt does not run out (`python -m "
        "benchmarks.cell_rom`).",
        "",
        "| formulation | 64 simulations | 300 simulations |",
        "|---|---|---|",
    ]
    for name, entry in result["formulations"].items():
        cells = [
            f"{entry[n]['all']['rmse_mV']:.1f} / {entry[n]['salt_lasts']['rmse_mV']:.1f}"
            for n in ("64", "300")
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell_transfer(result: dict[str, Any]) -> str:
    curves = result["mean_and_std_over_seeds"]
    shown = {
        "none/closed_form": "closed form, nothing learnt",
        "none/scratch": "network from scratch",
        "none/process_target": "Gaussian process on the closed form's residual",
        "{source}/no_learning": "transferred network as it is",
        "{source}/full": "transferred, all layers tuned",
        "{source}/last_layers": "transferred, last layers tuned",
        "{source}/heads": "transferred, heads tuned",
        "{source}/lora": "transferred, low-rank adapters",
        "{source}/process_transferred": "Gaussian process on the transferred network's residual",
        "{source}/auto": "**chosen by `transfer`**",
    }
    sizes = ("2", "8", "32", "128")
    lines = [
        f"Carried to LFP from five other sets, and to LCO from four sets without LCO "
        f"({result['n_test']} held-out discharges each; LCO: those in which the salt lasts): "
        "voltage RMSE in mV / capacity error in %, by the number of the target's simulations, mean "
        "over five draws (`python -m benchmarks.cell_transfer`).",
        "",
        "| way | " + " | ".join(f"{t}, {n}" for t in ("LFP", "LCO") for n in sizes) + " |",
        "|---|" + "---|" * (2 * len(sizes)),
    ]
    targets = (("lfp", "all", ""), ("lco", "no_lco", "_salt_lasts"))
    for key, title in shown.items():
        cells = []
        for target, source, rows in targets:
            entry = curves.get(f"{target}/stratified/{key.format(source=source)}", {})
            cells += [
                f"{entry[n][f'rmse{rows}_mV'][0]:.2f} / "
                f"{entry[n][f'capacity{rows}_percent'][0]:.3f}"
                if n in entry
                else ""
                for n in sizes
            ]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell_rom_speed(result: dict[str, Any]) -> str:
    parts = []
    for name, entry in result.items():
        learnt = entry["learnt"]["with_uncertainty"]
        parts.append(
            f"{name} {learnt['batch_ratio']:.0f} times in a batch and "
            f"{learnt['single_ratio']:.0f} times alone"
            + (
                f"; of its designs {100 * entry['stepped']['share']:.0f} % are stepped through "
                f"time, {entry['stepped']['batch_ratio']:.1f} times as fast as the full model"
                if "batch_ratio" in entry["stepped"]
                else ""
            )
        )
    return (
        "Speed of the reduced-order cells against the full model on the same mesh in one run, "
        f"uncertainty included: {'; '.join(parts)} (`python -m benchmarks.cell_rom_speed`)."
    )


def cycle_life(result: dict[str, Any]) -> str:
    lines = [
        f"Cycle life of {result['n_cells']} LFP cells from their first 100 cycles: error in % "
        f"(mean over {result['n_draws']} draws of the training cells) "
        "(`python -m benchmarks.cycle_life`).",
        "",
        "| model | 5 cells | 10 | 20 |",
        "|---|---|---|---|",
    ]
    for name in result["table"]["5"]:
        cells = [f"{result['table'][n][name]['mape_mean']:.1f}" for n in ("5", "10", "20")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def orchestrator(result: dict[str, Any]) -> str:
    lines = [
        "How good the orchestrator's choice among ways to learn is: mean regret (relative excess "
        "error over the best choice in hindsight), share of choices within 5 % of the best, and "
        "share of harmful transfers avoided (`python -m benchmarks.transfer.orchestrator`).",
        "",
        "| rule | hops, family left out | hops, ion left out | bulk properties |",
        "|---|---|---|---|",
    ]
    hops = result["hops"]
    parts = (hops["family left out"], hops["ion left out"], result["bulk"]["all"])
    for name in (
        "orchestrator",
        "always full fine-tuning",
        "always last layers only",
        "never transfer (trees)",
        "never transfer (network)",
        "never transfer (Gaussian process)",
    ):
        cells = [
            f"{p[name]['mean_regret']:.2f} / {100 * p[name]['best_or_within_5_percent']:.0f} % / "
            f"{100 * p[name]['negative_transfer_avoided']:.0f} %"
            for p in parts
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def headline() -> str:
    """Four rows for the first page: question, error, simplest rule, how sharp an answer can be."""
    hops, means, conductivity, cells = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("shipped_hop_barrier", "hop_barriers", "conductivity", "cell_experiment")
    )

    def barrier(protocol: str) -> str:
        rule = means[protocol]["family_mean"]["mae_eV"][0]
        free, short = (
            hops[protocol][name]["mae_eV"]
            for name in ("hop-barrier", "hop-barrier, short relaxation")
        )
        return (
            f"{_spread(free, 2)} eV; with a short relaxation {short[0]:.2f} | "
            f"mean by family and ion {rule:.2f}"
        )

    crystals = conductivity["OBELiX rows with a CIF"]
    slow = {k: v["rmse_mV"] for k, v in cells["means"].items() if k.startswith("slow")}
    return "\n".join(
        [
            "| what is asked | error [95 %] | simplest rule |",
            "|---|---|---|",
            f"| DFT barrier in a framework never seen ({hops['n']} hops) | {barrier('grouped')} |",
            f"| DFT barrier in a family never seen | {barrier('leave-family-out')} |",
            "| measured conductivity of a crystal, paper and composition never seen "
            f"({crystals['estimate']['n']} crystals) | "
            f"{_spread(crystals['estimate']['mae'], 1)} decades, rank correlation "
            f"{crystals['estimate']['spearman'][0]:.2f} | median of the family "
            f"{crystals['family median']['mae'][0]:.1f} |",
            "| voltage of a measured cell at other rates, from one slow curve (3 cells) | "
            f"{slow['slow curve: fitted, carried']:.0f} mV | base set scaled to the curve "
            f"{slow['slow curve: one scale factor']:.0f} |",
        ]
    )


def _spread(value: list[float], digits: int) -> str:
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*value, d=digits)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "hop_barriers": hop_barriers,
    "conductivity": conductivity,
    "conductivity_variants": conductivity_variants,
    "hop_variants": hop_variants,
    "beyond_domain": beyond_domain,
    "screening_power": screening_power,
    "prescreen": prescreen,
    "aimd_diffusivity": aimd_diffusivity,
    "pool_campaign": pool_campaign,
    "throughput": throughput,
    "chaos": chaos,
    "bvse_agreement": bvse_agreement,
    "acquisition": acquisition,
    "funnel": funnel,
    "random_walks": random_walks,
    "lattice_gas": lattice_gas,
    "cell_rom": cell_rom,
    "cell_transfer": cell_transfer,
    "cell_rom_speed": cell_rom_speed,
    "cycle_life": cycle_life,
    "orchestrator": orchestrator,
    "shipped_hop_barrier": shipped_hop_barrier,
    "rivals": rivals,
    "pretraining_signals": pretraining_signals,
    "few_shot": few_shot,
    "olivine_transfer": olivine_transfer,
    "relaxed_relatives": relaxed_relatives,
    "unseen_levels": unseen_levels,
    "methods": methods,
    "md_diffusivity": md_diffusivity,
    "domain_error": domain_error,
}
PRINTED_WITH = {
    "hop_variants": "conductivity_variants",
    "beyond_domain": "conductivity",
    "prescreen": "screening_power",
}
"""Tables from a result of another name."""
PAGES = ("README.md", "docs/validation.md", "docs/barriers.md", "docs/conductivity.md")


def filled(text: str) -> str:
    """A page with every table that has a result made anew."""
    for name, make in TABLES.items():
        path = RESULTS / f"{PRINTED_WITH.get(name, name)}.json"
        if path.exists():
            text = _put(text, name, make(json.loads(path.read_text(encoding="utf-8"))))
    return _put(text, "headline", headline())


def _put(text: str, name: str, table: str) -> str:
    pattern = rf"(<!-- table:{name} -->\n).*?(<!-- /table:{name} -->)"
    return re.sub(pattern, partial(_between, table), text, flags=re.S)


def _between(table: str, found: re.Match[str]) -> str:
    return f"{found[1]}{table}\n{found[2]}"


if __name__ == "__main__":
    for page in (ROOT / name for name in PAGES):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
