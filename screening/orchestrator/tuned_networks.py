"""Networks of whole hops as ways to learn from a few labels: as they are, and fine-tuned."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models import library
from ionbridge.models.adaptation import Base, adapt, ensemble_config, out_of_fold
from ionbridge.models.ensemble import HopEnsemble
from ionbridge.models.finetuning import STRATEGIES
from ionbridge.models.physics_fed import PhysicsFed
from ionbridge.screening.orchestrator.adaptation import MAX_FOLDS, Choice
from ionbridge.screening.orchestrator.trained import were_trained_on
from ionbridge.structures.records import Hop
from ionbridge.structures.splits import GroupedKFold, Split

Floats = NDArray[np.float64]

NETWORK, ENCODER = "hop-barrier", "hop-encoder"
"""The model that has learnt barriers, and the networks that have seen computed signals alone: where
tuning starts when the first was trained on the labels themselves."""
ZERO_SHOT = f"{NETWORK} as it is"
JOINED = f"{NETWORK} joined"
TUNED = {**{f"{NETWORK} {name}": name for name in ("frozen", "full")}, JOINED: PhysicsFed.kind}
"""Names of the ways to adapt it, with the strategy of each: networks tuned, or the labels joined
with those that it knows."""
TIME_LIMIT_S = 240.0
"""For all comparisons of networks together; what is not done by then is left out, and said."""
N_MEMBERS = 3
"""Networks of an adapted model."""


class _TimeIsUpError(Exception):
    """The comparison has taken too long."""


@dataclass(frozen=True, eq=False)
class TunedNetworks:
    """Networks compared on labels.

    Attributes:
        held_out_eV: (n,) barriers of each way: cross-validated, or of a network that was not
            trained on the labels.
        base: Model that tuning starts from.
        left_out: Ways that were not compared, with the reason.
    """

    held_out_eV: Mapping[str, Floats]
    base: str
    left_out: Mapping[str, str] = field(default_factory=dict)


def is_network(strategy: str) -> bool:
    """Whether a way to learn is one of these."""
    return strategy == ZERO_SHOT or strategy in TUNED


def tuned_networks(
    hops: Sequence[Hop],
    barrier_eV: Floats,
    groups: Sequence[str],
    seed: int = 0,
    limit_s: float = TIME_LIMIT_S,
) -> TunedNetworks:
    """Cross-validate the shipped network on labels, as it is and fine-tuned.

    Args:
        hops: (n,) labelled hops.
        barrier_eV: (n,) their barriers.
        groups: (n,) host frameworks, kept together.
        seed: Of folds and fits.
        limit_s: Most time for all of it.
    """
    ends = time.monotonic() + limit_s
    network = library.load(NETWORK)
    found: dict[str, Floats] = {}
    left_out: dict[str, str] = {}
    base = NETWORK
    if were_trained_on(network, hops).any():
        base = ENCODER
        left_out[ZERO_SHOT] = f"{NETWORK} was trained on some of the labels"
    else:
        found[ZERO_SHOT] = network.predict(hops).mean
    folds = _folds(groups, seed)
    start = Base.of(base)
    shipped = Base.of(NETWORK)
    of_its_method = all((hop.method or shipped.method) == shipped.method for hop in hops)
    known = shipped.without(hops).fed if of_its_method else None
    for name, strategy in TUNED.items():
        if name == JOINED:
            make: Callable[[], Any] = partial(PhysicsFed, seed, False, known=known, n_folds=0)
        else:
            config = ensemble_config(start, STRATEGIES[strategy](), len(hops), seed, 1, "auto")
            make = partial(HopEnsemble, config, start.weights, start.process)
        try:
            found[name] = out_of_fold(_until(ends, make), hops, barrier_eV, folds).mean
        except _TimeIsUpError:
            left_out[name] = f"not done in {limit_s:g} s"
    return TunedNetworks(found, base, left_out)


def _folds(groups: Sequence[str], seed: int) -> list[Split]:
    """As in the comparison of the other ways."""
    names = list(groups) if len(set(groups)) > 1 else [str(i) for i in range(len(groups))]
    return list(GroupedKFold(min(MAX_FOLDS, len(set(names))), seed, str).split(names))


def _until(ends: float, make: Callable[[], Any]) -> Callable[[], Any]:
    """Makers of models, until the time is up."""

    def made() -> Any:
        if time.monotonic() > ends:
            raise _TimeIsUpError
        return make()

    return made


def against_networks(
    choice: Choice, chosen: Floats, networks: Mapping[str, Floats], barrier_eV: Floats
) -> Choice:
    """The choice among fixed descriptors, or a network that is measurably better.

    No trials tell what the errors of networks on labels are worth, so that a network must be better
    on the labels by more than the standard error of the difference, hop by hop.

    Args:
        choice: Among the ways on fixed descriptors.
        chosen: (repeats, n) its cross-validated barriers.
        networks: (n,) the same of each network.
        barrier_eV: (n,) labels.
    """
    own = np.abs(chosen - barrier_eV).mean(axis=0)
    errors = {name: np.abs(values - barrier_eV) for name, values in networks.items()}
    cv = {**choice.cv, **{name: float(error.mean()) for name, error in errors.items()}}
    choice = replace(choice, cv=cv)
    if not errors:
        return choice
    best = min(errors, key=lambda name: cv[name])
    gain = own - errors[best]
    margin = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    text = f"{best} has {cv[best]:.3g} on the same folds"
    if gain.mean() <= margin:
        return replace(choice, why=f"{choice.why}; {text}, not better beyond doubt")
    why = f"{best}: {text}, better than {choice.strategy} by {gain.mean():.2g} +-{margin:.1g}"
    return replace(choice, strategy=best, transfers=True, transfer_hurts=False, why=why)


def tuned_network(
    strategy: str, base: str, hops: Sequence[Hop], barrier_eV: Floats, seed: int = 0
) -> Any:
    """The network of a name, fine-tuned on all labels and calibrated on them."""
    if strategy == ZERO_SHOT:
        return library.load(NETWORK)
    return adapt(
        hops,
        barrier_eV,
        Base.of(NETWORK if strategy == JOINED else base),
        TUNED[strategy],
        seed=seed,
        n_members=N_MEMBERS,
        n_folds=MAX_FOLDS,
    )
