"""``ionbridge finetune``: adapt a model to hops, conductivities or diffusivities with labels."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ionbridge.screening.commands.command import USABLE, add_command, check_new_folder, say

if TYPE_CHECKING:
    from ionbridge.structures.records import FailedRecord

MOST_REASONS = 8
"""Reasons for leaving records out that are said one by one."""


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    command = add_command(
        commands,
        "finetune",
        _run,
        "adapt a model to labelled hops, or to a table of compositions with conductivities or "
        'diffusivities (bounds as "<0.3", <1e-8); the way to do so is measured unless it is given',
        "ionbridge finetune --labels my-hops.jsonl --out ~/.ionbridge/models/mine\n"
        "  ionbridge finetune --labels my-conductivities.csv --out ~/.ionbridge/models/ours\n"
        "  ionbridge finetune --labels md.json --out ~/.ionbridge/models/diffusion",
    )
    command.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="FILE",
        help="hops with barrier_eV; a table with a composition and 'Ionic conductivity (S/cm)', or "
        "with temperature_K and tracer_diffusivity_cm2_s; what `ionbridge label md` or `kmc` wrote",
    )
    command.add_argument(
        "--base", metavar="NAME|DIR", help="model to start from (default: the best shipped one)"
    )
    command.add_argument(
        "--quantity",
        choices=("migration_barrier", "conductivity", "diffusivity"),
        help="default: what fits the labels",
    )
    command.add_argument(
        "--strategy",
        default="auto",
        metavar="NAME",
        help="auto (default: measured); hops: physics_fed (joined with the labels of the base), "
        "full, gradual, heads, lora, scratch, ...; "
        "conductivities: mean, trees, process, zero-shot, offset, trees-joint, residual, stacked",
    )
    command.add_argument(
        "--method",
        metavar="NAME",
        help="whose values to predict where barriers or diffusivities are of several methods, "
        "which are never pooled (default: the most trusted: experiment, dft_neb, mlip_neb, bvse)",
    )
    command.add_argument(
        "--trials",
        type=int,
        default=0,
        metavar="N",
        help="search settings in an Optuna study of N trials (barriers; minutes to hours); it is "
        "kept as MODEL_DIR.study, goes on where it was, and its find is taken only where it wins "
        "on frameworks that were held out of the search (default: no search)",
    )
    command.add_argument(
        "--cifs", type=Path, metavar="DIR", help="folder with <ID>.cif for the rows of a table"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    command.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="folder of the model"
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening import api
    from ionbridge.screening.errors import InputError

    check_new_folder(args.out)
    try:
        data = api.labelled(args.labels, args.quantity, args.cifs)
        say(data.found)
        if data.failed:
            say(_left_out(data.failed, len(data.records) + len(data.failed)))
        if data.quantity == "diffusivity" and (args.base or args.strategy != "auto" or args.trials):
            raise InputError(
                "diffusivities are learnt in one way and from no base; "
                "leave out --base, --strategy and --trials"
            )
        model, card = api.adapt(
            data,
            base=args.base,
            strategy=args.strategy,
            method=args.method,
            trials=args.trials,
            study=args.out.with_name(f"{args.out.name}.study"),
            seed=args.seed,
            progress=sys.stderr.isatty(),
        )
    except ValueError as error:
        named = "" if str(error).startswith(str(args.labels)) else f"{args.labels}: "
        raise InputError(f"{named}{error}") from error
    model.save(args.out)
    _say_choice(card)
    if tuning := card.get("tuning"):
        _say_tuning(tuning)
    trained = card["trained_on"]
    if others := trained.get("n_hops_of_other_methods"):
        aside = ", ".join(f"{n} of {name}" for name, n in others.items())
        asked = trained["methods"][0] if trained["methods"] else "no stated method"
        say(
            f"{trained['n_hops']} labels of {asked} fitted and scored; {aside} only stand beside "
            "them in the Gaussian process, moved by the difference found between the methods"
        )
    if bounds := trained.get("bounds"):
        off = card["validation"]["mean_beyond_bounds_eV"]
        say(f"{trained['n_bounds']} bounds {bounds}; out of fold {off:.2f} eV beyond them")
    if aside := trained.get("n_bounds_of_other_methods_left_out"):
        say(f"{aside} bounds of other methods left out: they do not tell how methods differ")
    n = len(data.records)
    say(f"wrote {args.out} ({n} of {n + len(data.failed)} labels, learnt from {args.labels})")
    return USABLE


def _left_out(failed: Sequence[FailedRecord], n: int) -> str:
    """How many records were left out and why: the most frequent reasons, each with one record."""
    first = {f.reason: f.id for f in reversed(failed)}
    counts = Counter(f.reason for f in failed).most_common()
    said = [f"{reason} ({k}, as {first[reason]})" for reason, k in counts[:MOST_REASONS]]
    if others := sum(k for _, k in counts[MOST_REASONS:]):
        said.append(f"other reasons ({others})")
    return f"{len(failed)} of {n} left out: {'; '.join(said)}"


def _say_choice(card: dict[str, Any]) -> None:
    """The errors of all strategies, which was chosen, and what it gains over the simplest rule."""
    validation, chosen = card["validation"], card["strategy"]
    unit, suffix = ("eV", "_eV") if "mae_eV" in validation else ("decades", "")
    compared = card.get(f"compared_mae{suffix}")
    if not compared:
        if validation["n"]:
            error, split = validation[f"mae{suffix}"], validation["split"]
            line = validation.get("mae_of_the_common_line")
            beside = "" if line is None else f", the common Arrhenius line {line:.2f}"
            say(f"{chosen}: {error:.2f} {unit} off out of fold{beside} ({split})")
        return
    errors = ", ".join(f"{n} {e:.2f}" for n, e in sorted(compared.items(), key=lambda c: c[1]))
    say(f"{chosen} chosen; errors in {unit}, out of fold: {errors}")
    if why := card.get("chosen_because"):
        say(f"{chosen} is not the least of them: {why}")
    simplest = next(name for name in ("family_mean", "mean") if name in compared)
    rule = compared[simplest]
    if rule and chosen != simplest:
        less = 100.0 * (1.0 - compared[chosen] / rule)
        gain = f"{less:.0f} % less than" if less >= 0.5 else "no less than"
        say(f"its error is {gain} that of the simplest rule ({simplest}, {rule:.2f} {unit})")


def _say_tuning(tuning: dict[str, Any]) -> None:
    """What a search found, and what it was worth."""
    history, held_out = tuning["best_so_far_eV"], tuning["held_out_mae_eV"]
    say(
        f"{tuning['n_trials']} trials: cross-validated error from {history[0]:.3f} to "
        f"{history[-1]:.3f} eV; best {_settings(tuning['tuned'])}"
    )
    if tuning["importances"]:
        shares = (f"{name} {100 * share:.0f} %" for name, share in tuning["importances"].items())
        say(f"what mattered: {', '.join(shares)}")
    gain, low, high = tuning["gain_eV"]
    say(
        f"on {tuning['n_held_out_hops']} hops held out of the search: defaults "
        f"({_settings(tuning['defaults'])}) {held_out['defaults']:.3f} eV, tuned "
        f"{held_out['tuned']:.3f} eV, gain {gain:.3f} [{low:.3f}, {high:.3f}]; "
        f"the {tuning['taken']} are taken"
    )


def _settings(values: dict[str, Any]) -> str:
    named = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
    return ", ".join(named).replace("strategy ", "", 1)
