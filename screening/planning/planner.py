"""From what is given to the goal: all chains of entries, compared by error and cost.

The search goes backwards: the goal needs an entry that gives it, that entry needs its inputs, and
so on until everything needed is given. A chain is one choice of entry for every quantity that is
not given. Its error is propagated to first order: the error of each entry counts once, however many
ways lead from it to the goal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from ionbridge.models.estimator import table_html
from ionbridge.models.prediction import HALF_WIDTH_90
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import (
    Catalogue,
    Conditions,
    Entry,
    ValidatedError,
    goals,
    quantity,
)
from ionbridge.screening.planning.conditions import (
    OPTIONS,
    check_designs,
    completed,
    unused,
    used,
    values,
)
from ionbridge.screening.planning.inputs import Given, row_elements, row_ion
from ionbridge.screening.planning.potentials import NEB, label_error_eV
from ionbridge.screening.planning.wanted_labels import WantedLabel, wanted_labels
from ionbridge.screening.table import Row
from ionbridge.structures.configuration import nearest
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.plain_text import number_of
from ionbridge.structures.quantities import QUANTITIES

MAX_CHAINS = 400
"""Chains looked at; the search is depth first and cheap entries come first."""
MAX_RUNNERS_UP = 5
AS_GOOD_AS = 0.05
"""Of chains whose error is this close to the least, the cheapest is chosen."""
MAX_COST_S = 1800.0
"""Chains that take longer are chosen only where no other can run inside its domain."""
N_MEASURED = 8
"""Records whose distance to the training set is measured while planning."""

RECORDS = ("hop", "crystal", "composition")
"""Tables of the records to predict."""

Tables = Mapping[str, Sequence[Row]]
T = TypeVar("T")


@dataclass(frozen=True)
class DomainReport:
    """Whether the records of a plan are like those an entry knows.

    Attributes:
        unseen_ions: Working ions that its training set lacks.
        unseen_elements: Elements that it lacks.
        unseen_families: Families that it lacks; errors of unseen families are used for them.
        outside_ranges: Conditions of the plan that it was not made for, in words.
        distance: Median distance to the training set in embedding space, in units of the distance
            that 95 % of the training rows keep; None where nothing could be measured.
        share_outside: Share of the measured records beyond that distance.
        n_measured: Records measured.
    """

    unseen_ions: tuple[str, ...] = ()
    unseen_elements: tuple[str, ...] = ()
    unseen_families: tuple[str, ...] = ()
    outside_ranges: tuple[str, ...] = ()
    distance: float | None = None
    share_outside: float | None = None
    n_measured: int = 0

    @property
    def is_inside(self) -> bool:
        """False where ions or elements are unseen, or most of the measured records lie outside."""
        near = self.share_outside is None or self.share_outside <= 0.5
        known = not self.unseen_ions and not self.unseen_elements
        return known and near and not self.outside_ranges

    @property
    def words(self) -> str:
        """What is outside, in words; empty where nothing is."""
        parts = list(self.outside_ranges)
        for name, unseen in (("ion", self.unseen_ions), ("element", self.unseen_elements)):
            if unseen:
                parts.append(f"unseen {name} {', '.join(unseen)}")
        if self.share_outside is not None and self.share_outside > 0:
            parts.append(
                f"{self.share_outside:.0%} of {self.n_measured} measured records outside "
                f"(median distance {self.distance:.2f})"
            )
        if self.unseen_families:
            parts.append(f"unseen family {', '.join(self.unseen_families)}")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return {
            "in_domain": self.is_inside,
            "unseen_ions": list(self.unseen_ions),
            "unseen_elements": list(self.unseen_elements),
            "unseen_families": list(self.unseen_families),
            "outside_ranges": list(self.outside_ranges),
            "distance": self.distance,
            "share_outside": self.share_outside,
            "n_measured": self.n_measured,
        }


@dataclass(frozen=True)
class Step:
    """One entry in its place in a chain.

    Attributes:
        entry: Its name.
        kind: What it is.
        about: What it does.
        inputs: Quantities that it is given.
        outputs: Quantities that it is used for.
        errors: One standard deviation of each numeric output, propagated up to here, in the unit
            of the quantity; None where an entry on the way is not validated.
        own_errors: The same, of this entry alone.
        basis: What the own errors rest on.
        n_records: Records that it will see, as far as known.
        cost_s: Seconds for all of them on one core.
        domain: Whether they are like what it knows.
        unavailable: Why it cannot run here; empty where it can.
        checksum: Of the entry.
    """

    entry: str
    kind: str
    about: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    errors: Mapping[str, float | None]
    own_errors: Mapping[str, float | None]
    basis: str
    n_records: int
    cost_s: float
    domain: DomainReport
    unavailable: str
    checksum: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return {
            "entry": self.entry,
            "kind": self.kind,
            "about": self.about,
            "inputs": list(self.inputs),
            "outputs": [
                {
                    "quantity": name,
                    "unit": QUANTITIES[name].unit,
                    "carrier": QUANTITIES[name].carrier,
                    "error_std": self.errors.get(name),
                    "own_error_std": self.own_errors.get(name),
                }
                for name in self.outputs
            ],
            "basis": self.basis,
            "n_records": self.n_records,
            "cost_s": round(self.cost_s, 3),
            "domain": self.domain.to_dict(),
            "unavailable": self.unavailable,
            "checksum": self.checksum,
        }


@dataclass(frozen=True)
class Chain:
    """Steps that lead from what is given to the goal, in the order in which they run.

    Attributes:
        steps: The steps.
        error: One standard deviation of the goal in its unit; None where not validated.
        error_90: Half of the goal's 90 % interval: the tails of the errors of every step counted.
        cost_s: Seconds on one core.
        warnings: What to know before trusting it.
    """

    steps: tuple[Step, ...]
    error: float | None
    error_90: float | None
    cost_s: float
    warnings: tuple[str, ...]

    @property
    def is_inside(self) -> bool:
        """True where every step is used inside its domain."""
        return all(step.domain.is_inside for step in self.steps)

    @property
    def is_available(self) -> bool:
        """True where every step can run here."""
        return not any(step.unavailable for step in self.steps)

    @property
    def words(self) -> str:
        """Names of the steps with arrows between them."""
        return " -> ".join(step.entry for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return {
            "steps": [step.to_dict() for step in self.steps],
            "error_std": self.error,
            "error_90": self.error_90,
            "cost_s": round(self.cost_s, 3),
            "in_domain": self.is_inside,
            "available": self.is_available,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Missing:
    """A quantity that nobody gave and nothing reachable gives.

    Attributes:
        quantity: Its name.
        given_by: How a user would give it.
        would_feed: The entry that waits for it.
    """

    quantity: str
    given_by: str
    would_feed: str

    def to_dict(self) -> dict[str, str]:
        """Plain values, ready to be written as JSON."""
        return {
            "quantity": self.quantity,
            "given_by": self.given_by,
            "would_feed": self.would_feed,
        }


@dataclass(frozen=True, eq=False)
class Plan:
    """The answer of the planner.

    Attributes:
        goal: Quantity asked for.
        unit: Of the goal.
        given: What was given, by name, in words.
        tables: The rows given, by quantity.
        at: Conditions.
        conditions: Values of every condition that the chosen chain depends on.
        chosen: The chain to run; None where nothing reaches the goal.
        runners_up: Other chains, best first.
        why: Why the chosen one, in a sentence or two.
        missing: What would have to be given, where nothing reaches the goal.
        warnings: What to know before trusting the answer.
        wanted: Labels that would help most, where the chosen chain uses a hop model on what it does
            not know and no labels were given.
        order: All records that the chosen chain starts from, as they came: the id of one that can
            be used, the row of one that cannot.
    """

    goal: str
    unit: str
    given: Mapping[str, str]
    tables: Tables
    at: Conditions
    chosen: Chain | None
    runners_up: tuple[Chain, ...]
    why: str
    missing: tuple[Missing, ...] = ()
    warnings: tuple[str, ...] = ()
    wanted: tuple[WantedLabel, ...] = ()
    conditions: Mapping[str, list[float]] = field(default_factory=dict)
    order: tuple[str | Row, ...] = ()

    def __repr__(self) -> str:
        return f"Plan({self.goal}, {self.unit}: {self.why})"

    def _repr_html_(self) -> str:
        chains = ([self.chosen] if self.chosen else []) + list(self.runners_up)
        rows = {
            f"{place}. {chain.words}": ", ".join(
                (
                    _error_words(chain, self.unit),
                    duration(chain.cost_s),
                    "in domain" if chain.is_inside else "outside its domain",
                    *([] if chain.is_available else ["cannot run here"]),
                )
            )
            for place, chain in enumerate(chains, start=1)
        }
        missing = {f"missing: {m.quantity}": m.given_by for m in self.missing}
        said = {"why": self.why, **({"warnings": self.warnings} if self.warnings else {})}
        return table_html(f"Plan for {self.goal} ({self.unit})", {**rows, **missing, **said})

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the rows given."""
        return {
            "goal": self.goal,
            "unit": self.unit,
            "given": dict(self.given),
            "conditions": {
                **{name: self.conditions.get(name, []) for name in OPTIONS},
                "seed": self.at.seed,
            },
            "feasible": self.chosen is not None,
            "chosen": None if self.chosen is None else self.chosen.to_dict(),
            "runners_up": [chain.to_dict() for chain in self.runners_up],
            "why": self.why,
            "missing": [m.to_dict() for m in self.missing],
            "warnings": list(self.warnings),
            "wanted_labels": [label.to_dict() for label in self.wanted],
        }


def plan(
    goal: str,
    given: Sequence[Given],
    catalogue: Catalogue | None = None,
    at: Conditions | None = None,
    max_cost_s: float = MAX_COST_S,
) -> Plan:
    """Find, compare and choose the chains from what is given to the goal.

    Args:
        goal: Name of a numeric quantity.
        given: What the user has, from :func:`ionbridge.screening.planning.inputs.read_givens`.
        catalogue: Entries to plan with; by default everything built in, shipped and the user's.
        at: Temperature, rate, seed.
        max_cost_s: A chain that takes longer is chosen only where no other one can run inside its
            domain.

    Returns:
        The plan; where nothing reaches the goal it has no chosen chain and says what is missing.

    Raises:
        InputError: Unknown goal, nothing given, or an empty catalogue.
    """
    if goal not in goals():
        raise InputError(f"unknown goal '{goal}'; {nearest(goal, goals())}")
    if not given:
        raise InputError("nothing is given: pass --given FILE or --given chemistry:NAME")
    at = at or Conditions()
    if catalogue is None:
        from ionbridge.screening.planning.entries import default_catalogue

        catalogue = default_catalogue()
    if not catalogue.entries:
        raise InputError("the catalogue is empty: no models and no formulas to plan with")
    tables = completed(_for_goal(goal, merged(given)), at)
    found = {g.name: g.found for g in given}
    unit = quantity(goal).unit
    if goal in tables:
        stands = (f"{goal} is given and stands as it is", *unused({}, at))
        chain = Chain((), 0.0, 0.0, 0.0, ())
        said = (*_unread(given), *stands[1:])
        return Plan(goal, unit, found, tables, at, chain, (), stands[0], warnings=said)
    survey = _Survey(catalogue, tables, at)
    chains = [survey.chain(goal, choice) for choice in survey.choices(goal)]
    if not chains:
        missing, why = survey.missing(goal)
        return Plan(goal, unit, found, tables, at, None, (), why, missing)
    ordered = _ordered(chains, max_cost_s)
    chosen, others = ordered[0], ordered[1:]
    entries = [catalogue[step.entry] for step in chosen.steps]
    check_designs(entries, tables, at)
    conditions = used(entries, tables, at)
    return Plan(
        goal,
        unit,
        found,
        tables,
        at,
        chosen if chosen.is_available else None,
        tuple((others if chosen.is_available else ordered)[:MAX_RUNNERS_UP]),
        "; ".join((_why(ordered, unit, max_cost_s), *survey.adaptations(chosen))),
        warnings=(
            *chosen.warnings,
            *_unread(given),
            *_label_warnings(tables, chosen),
            *_given_warnings(tables, chosen),
            *unused(conditions, at),
        ),
        wanted=survey.wanted(chosen),
        conditions=conditions,
        order=_order(given, tables, chosen),
    )


def _for_goal(goal: str, tables: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Hops that are given beside crystals teach; what crystals conduct by are their own hops."""
    if QUANTITIES[goal].carrier != "hop" and "crystal" in tables:
        return {name: rows for name, rows in tables.items() if name != "hop"}
    return tables


def merged(given: Sequence[Given]) -> dict[str, list[Row]]:
    """Rows of each quantity from all givens; of rows with one id the first is kept."""
    tables: dict[str, dict[str, Row]] = {}
    for one in given:
        for name, rows in one.tables.items():
            for row in rows:
                tables.setdefault(name, {}).setdefault(row["id"], row)
    found = {name: list(rows.values()) for name, rows in tables.items()}
    unlabelled = [row for row in found.get("hop", ()) if row.get("barrier_eV") is None]
    if unlabelled:  # they are what the plan is for, wherever the labels came from
        found["hop"] = unlabelled
    return found


def _label_warnings(tables: Tables, chosen: Chain) -> Iterator[str]:
    """That labels of a potential are no measurements, where a chain rests on them."""
    error = label_error_eV(tables.get("hop_labels", ()))
    if error and any("hop_labels" in step.inputs for step in chosen.steps):
        yield (
            f"the labels were computed with a universal potential, itself off by +-{error:.2g} eV; "
            "that is counted in"
        )


def _unread(given: Sequence[Given]) -> Iterator[str]:
    """Which records of what is given are left out."""
    for one in given:
        if one.failed:
            first = one.failed[0]
            yield (
                f"{one.name}: {number_of(len(one.failed), 'record')} left out: {first['id']}: "
                f"{first['reason']}" + ("; ..." if len(one.failed) > 1 else "")
            )


def _order(given: Sequence[Given], tables: Tables, chosen: Chain) -> tuple[str | Row, ...]:
    """The records that a chain starts from; those of labels alone are none of them."""
    inputs = {name for step in chosen.steps for name in step.inputs}
    read = {name for name in RECORDS if name in tables and name in inputs}
    return tuple(one for g in given if read & g.tables.keys() for one in g.order)


def _given_warnings(tables: Tables, chosen: Chain) -> Iterator[str]:
    """That a diffusivity that is given is taken for that of one carrier."""
    if "diffusivity" in tables and any("diffusivity" in step.inputs for step in chosen.steps):
        yield (
            "the diffusivity given is taken for that of one carrier (vacancy or interstitial); "
            "what GITT or PITT measure is chemical_diffusivity"
        )


def _ordered(chains: Sequence[Chain], max_cost_s: float) -> list[Chain]:
    """Best first: can run, inside its domain, short enough, validated, least error, least cost."""

    def rank(chain: Chain) -> tuple[bool, bool, bool, bool, float, float, int]:
        error = math.inf if chain.error is None else chain.error
        validated = chain.error is not None
        return (
            not chain.is_available,
            not chain.is_inside,
            chain.cost_s > max_cost_s,
            not validated,
            error,
            chain.cost_s,
            len(chain.steps),
        )

    ordered = sorted(chains, key=rank)
    best = ordered[0]
    if best.error is None:
        return ordered
    close = [
        chain
        for chain in ordered
        if rank(chain)[:4] == rank(best)[:4]
        and chain.error is not None
        and chain.error <= (1.0 + AS_GOOD_AS) * best.error
    ]
    cheapest = min(close, key=lambda chain: (chain.cost_s, len(chain.steps)))
    return [cheapest, *(chain for chain in ordered if chain is not cheapest)]


def _why(ordered: Sequence[Chain], unit: str, max_cost_s: float) -> str:
    """Why the first chain, next to the second."""
    best = ordered[0]
    if not best.is_available:
        reasons = dict.fromkeys(s.unavailable for c in ordered[:3] for s in c.steps)
        return "no chain can run here: " + "; ".join(r for r in reasons if r)
    text = f"{best.words}: {_error_words(best, unit)}, about {duration(best.cost_s)}"
    if not best.is_inside:
        text += "; outside the domain of a step, and so is every other chain that can run"
    if len(ordered) == 1:
        return text + "; the only chain from what is given"
    other = ordered[1]
    reason = f"; next is {other.words} ({_error_words(other, unit)}, {duration(other.cost_s)}"
    for step in other.steps:
        if step.unavailable:
            return f"{text}{reason}, {step.entry} {step.unavailable})"
    if best.is_inside and not other.is_inside:
        return text + reason + ", outside the domain of a step)"
    if best.cost_s <= max_cost_s < other.cost_s:
        return text + reason + f", longer than {duration(max_cost_s)})"
    if best.error is not None and other.error is not None and other.error < best.error:
        return text + reason + f", as good within {AS_GOOD_AS:.0%} and costs more)"
    return text + reason + ")"


def _error_words(chain: Chain, unit: str) -> str:
    if chain.error is None:
        return "error not validated"
    within = f"; 90 % within {chain.error_90:.2g}" if chain.error_90 else ""
    return f"expected error {chain.error:.2g} {unit} (one sigma{within})"


def duration(seconds: float) -> str:
    """A time that a person reads: 0.3 s, 12 s, 4.0 min, 2.1 h."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


Choice = Mapping[str, str]
"""Quantity -> name of the entry that gives it."""


class _Survey:
    """One search: what the entries are, what is given, and what was measured on the way."""

    def __init__(self, catalogue: Catalogue, tables: Tables, at: Conditions) -> None:
        self.catalogue = catalogue
        self.tables = tables
        self.at = at
        self._domains: dict[str, DomainReport] = {}
        self._broken: dict[str, str] = {}
        self._judgements: dict[str, Mapping[str, ValidatedError]] = {}
        self._reachable = self._closure()

    def _closure(self) -> set[str]:
        """Quantities that entries can reach from what is given."""
        reached = set(self.tables)
        while True:
            new = {
                output
                for entry in self.catalogue.entries
                if set(entry.inputs) <= reached
                for output in entry.outputs
            } - reached
            if not new:
                return reached
            reached |= new

    def choices(self, goal: str) -> Iterator[Choice]:
        """All ways to choose an entry for every quantity that is needed, without circles."""
        seen: set[frozenset[tuple[str, str]]] = set()
        n = 0
        for choice in self._extended({}, (goal,)):
            key = frozenset(choice.items())
            if key in seen or self._order(goal, choice) is None:
                continue
            seen.add(key)
            yield choice
            n += 1
            if n >= MAX_CHAINS:
                return

    def _extended(self, choice: Choice, needed: tuple[str, ...]) -> Iterator[Choice]:
        """Complete a partial choice for the quantities still needed."""
        needed = tuple(n for n in needed if n not in self.tables and n not in choice)
        if not needed:
            yield choice
            return
        first, rest = needed[0], needed[1:]
        providers = [
            entry
            for entry in self.catalogue.providers(first)
            if set(entry.inputs) <= self._reachable and first not in entry.inputs
        ]
        for entry in sorted(providers, key=lambda e: (e.cost_s, e.name)):
            yield from self._extended({**choice, first: entry.name}, (*rest, *entry.inputs))

    def _order(self, goal: str, choice: Choice) -> list[Entry] | None:
        """Entries in the order in which they run; None where they wait for each other."""
        order: list[Entry] = []
        state: dict[str, bool] = {}  # False: being visited, True: done

        def visit(name: str) -> bool:
            if name in self.tables:
                return True
            entry = self.catalogue[choice[name]]
            if entry.name in state:
                return state[entry.name]
            state[entry.name] = False
            if not all(visit(i) for i in entry.inputs):
                return False
            state[entry.name] = True
            order.append(entry)
            return True

        return order if visit(goal) else None

    def chain(self, goal: str, choice: Choice) -> Chain:
        """Steps with propagated errors, costs and domains."""
        order = self._order(goal, choice)
        assert order is not None
        sources: dict[str, dict[str, float] | None] = {name: {} for name in self.tables}
        steps: list[Step] = []
        tails: dict[str, float] = {}
        n_records = {name: len(rows) for name, rows in self.tables.items()}
        for entry in order:
            used = tuple(o for o in entry.outputs if choice.get(o) == entry.name)
            scopes = self._scopes(entry)
            slopes = entry.sensitivities(self.at)
            own: dict[str, float | None] = {}
            basis: list[str] = []
            n = _n_records(entry, n_records)
            for output in used:
                n_records[output] = n * (HOPS_A_CRYSTAL if _multiplies(entry, output) else 1)
                if not QUANTITIES[output].is_number:
                    sources[output] = _joined(entry, output, sources, slopes)
                    continue
                error = self._judged(entry).get(output) or entry.error_of(output, scopes)
                own[output] = None if error is None else error.std
                joined = _joined(entry, output, sources, slopes)
                if error is None or joined is None:
                    sources[output] = None
                else:
                    found = {**joined, f"{entry.name}:{output}": error.std}
                    tails[f"{entry.name}:{output}"] = error.tail
                    sources[output] = _limited(found, entry.largest_errors.get(output))
                    basis.append(error.basis)
            steps.append(
                Step(
                    entry=entry.name,
                    kind=entry.kind,
                    about=entry.about,
                    inputs=entry.inputs,
                    outputs=used,
                    errors={o: _total(sources[o]) for o in own},
                    own_errors=own,
                    basis="; ".join(dict.fromkeys(basis)),
                    n_records=n,
                    cost_s=entry.cost_s * n,
                    domain=self._domain(entry),
                    unavailable=entry.unavailable or self._broken.get(entry.name, ""),
                    checksum=entry.checksum,
                )
            )
        return Chain(
            tuple(steps),
            _total(sources[goal]),
            _half_90(sources[goal], tails),
            sum(step.cost_s for step in steps),
            tuple(_warnings(steps)),
        )

    def _rows(self) -> list[Row]:
        """The records that decide about domains: those to predict, not the labels."""
        return [row for name in RECORDS for row in self.tables.get(name, ())]

    def _scopes(self, entry: Entry) -> tuple[str, ...]:
        """Scopes of validated errors that fit the records given, the most special first."""
        rows = self._rows()
        ions = {ion for row in rows if (ion := row_ion(row))}
        families = {canonical_family(row["family"]) for row in rows if row.get("family")}
        scopes = []
        if entry.domain.working_ions and ions - entry.domain.working_ions:
            scopes += ["unseen_ion", "unseen_family"]
        if entry.domain.families and families - entry.domain.families:
            scopes.append("unseen_family")
        if len(families) == 1:
            scopes += [f"family:{family}" for family in families]
        if len(ions) == 1:
            scopes += [f"ion:{ion}" for ion in ions]
        return tuple(scopes)

    def _judged(self, entry: Entry) -> Mapping[str, ValidatedError]:
        """Errors of an entry on the labels given, measured once a search."""
        if entry.judge is None or entry.judged_on not in self.tables:
            return {}
        if entry.name not in self._judgements:
            found: Mapping[str, ValidatedError] = self._guarded(
                entry, partial(entry.judge, self.tables), {}
            )
            own = label_error_eV(self.tables.get("hop_labels", ()))
            self._judgements[entry.name] = {
                name: error.beside(own) for name, error in found.items()
            }
        return self._judgements[entry.name]

    def adaptations(self, chain: Chain) -> Iterator[str]:
        """What every step that learns from the labels gains on them, in words."""
        for step in chain.steps:
            entry = self.catalogue[step.entry]
            for output in step.outputs if entry.learns else ():
                after = self._judged(entry).get(output)
                if after is None:
                    continue
                before = [
                    (found.std, other.name)
                    for other in self.catalogue.entries
                    if not other.learns and other.judged_on == entry.judged_on
                    for found in [self._judged(other).get(output)]
                    if found is not None
                ]
                text = (
                    f"{entry.name} learns from {len(self.tables[entry.judged_on])} labels; error "
                    f"on labels unseen {after.std:.2g} {quantity(output).unit} (one sigma)"
                )
                if before:
                    std, name = min(before)
                    text += f", before {std:.2g} ({name}): gain {std - after.std:.2g}"
                yield text

    def _guarded(self, entry: Entry, look: Callable[[], T], otherwise: T) -> T:
        """A look at an entry; one that breaks cannot be used, and the plan goes on without it."""
        try:
            return look()
        except Exception as error:  # models may be anybody's
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._broken[entry.name] = f"breaks when it is looked at ({text})"
            return otherwise

    def _domain(self, entry: Entry) -> DomainReport:
        if entry.name not in self._domains:
            self._domains[entry.name] = self._measured(entry)
        return self._domains[entry.name]

    def _measured(self, entry: Entry) -> DomainReport:
        """What of the given records the entry does not know, by content and by distance."""
        rows, known = self._rows(), entry.domain
        ions = {ion for row in rows if (ion := row_ion(row))}
        elements = {e for row in rows for e in row_elements(row)}
        families = {canonical_family(row["family"]) for row in rows if row.get("family")}
        report = DomainReport(
            tuple(sorted(ions - known.working_ions)) if known.working_ions else (),
            tuple(sorted(elements - known.elements)) if known.elements else (),
            tuple(sorted(families - known.families)) if known.families else (),
            tuple(self._outside_ranges(entry)),
        )
        if entry.measure is None or report.unseen_ions:
            return report
        measured: Sequence[float] = self._guarded(
            entry, partial(entry.measure, _sampled(self.tables)), ()
        )
        distances = np.array(measured, dtype=float)
        distances = distances[np.isfinite(distances)]
        if not len(distances):
            return report
        return replace(
            report,
            distance=float(np.median(distances)),
            share_outside=float(np.mean(distances > 1.0)),
            n_measured=len(distances),
        )

    def _outside_ranges(self, entry: Entry) -> Iterator[str]:
        """Conditions of the plan beyond the ranges of an entry."""
        for name, (low, high) in entry.domain.ranges.items():
            outside = [v for v in values(name, entry, self.tables, self.at) if not low <= v <= high]
            if outside:
                yield f"{name} {outside[0]:g} outside {low:g} to {high:g}"

    def wanted(self, chosen: Chain) -> tuple[WantedLabel, ...]:
        """Labels that would help: where hops are unlike those that a hop model knows.

        Also where a potential computes all of them: it could as well teach a model by a few.
        """
        if "hop_labels" in self.tables:
            return ()
        for step in chosen.steps:
            doubtful = not step.domain.is_inside or step.domain.unseen_families
            learnt = self.catalogue[step.entry].folder is not None
            if step.inputs == ("hop",) and (step.entry == NEB or (doubtful and learnt)):
                return wanted_labels(self.tables)
        return ()

    def missing(self, goal: str) -> tuple[tuple[Missing, ...], str]:
        """The fewest quantities that would have to be given, and a line that says so."""
        gap = self._fewest(goal, ())
        names = sorted(n for n in gap.needed if n != goal) or [goal]
        missing = tuple(
            Missing(n, QUANTITIES[n].given_by, ", ".join(sorted(gap.feeds.get(n, {goal}))))
            for n in names
        )
        text = f"nothing reaches {goal}: " + "; ".join(
            f"missing {m.quantity} (for {m.would_feed}); give {m.given_by}" for m in missing
        )
        cycle = self.catalogue.cycle()
        if cycle and set(cycle) & {goal, *names}:
            text += f"; entries need each other in a circle: {' <- '.join(cycle)}"
        return missing, text

    def _fewest(self, name: str, waiting: tuple[str, ...]) -> _Gap:
        """Quantities to give so that a quantity can be reached, and the entries they feed.

        Of ways that lack equally many the one that uses most of what is given.
        """
        if name in self._reachable:
            return _Gap(frozenset(), {}, frozenset((name,)) & frozenset(self.tables))
        gaps = [_Gap(frozenset((name,)), {}, frozenset())]
        for entry in self.catalogue.providers(name) if name not in waiting else ():
            own = {i: self._fewest(i, (*waiting, name)) for i in entry.inputs}
            needed = frozenset().union(*(gap.needed for gap in own.values()))
            if name in needed:
                continue
            feeds: dict[str, frozenset[str]] = {}
            for one, gap in own.items():
                direct = {one: frozenset((entry.name,))} if one in gap.needed else {}
                for key, value in (*gap.feeds.items(), *direct.items()):
                    feeds[key] = feeds.get(key, frozenset()) | value
            used = frozenset().union(*(gap.used for gap in own.values()))
            gaps.append(_Gap(needed, feeds, used))
        return min(gaps[1:] or gaps, key=lambda gap: (len(gap.needed), -len(gap.used)))


@dataclass(frozen=True)
class _Gap:
    """What lacks on one way to a quantity.

    Attributes:
        needed: Quantities to give.
        feeds: The entries that wait for each of them.
        used: What is given and used on the way.
    """

    needed: frozenset[str]
    feeds: Mapping[str, frozenset[str]]
    used: frozenset[str]


HOPS_A_CRYSTAL = 4
"""Symmetry-unique hops that a crystal has, for estimates of cost."""


def _n_records(entry: Entry, n_records: Mapping[str, int]) -> int:
    """Records that an entry sees: of the inputs on its outputs' carrier, else the most numerous."""
    carriers = {QUANTITIES[o].carrier for o in entry.outputs}
    own = [i for i in entry.inputs if QUANTITIES[i].carrier in carriers] or entry.inputs
    return max((n_records.get(i, 1) for i in own), default=1)


def _multiplies(entry: Entry, output: str) -> bool:
    """Whether one input record gives several output records: crystals give hops."""
    carriers = {QUANTITIES[i].carrier for i in entry.inputs}
    return QUANTITIES[output].carrier == "hop" and carriers == {"crystal"}


def _joined(
    entry: Entry,
    output: str,
    sources: Mapping[str, dict[str, float] | None],
    slopes: Mapping[tuple[str, str], float],
) -> dict[str, float] | None:
    """Errors of the inputs carried to an output, by where they come from."""
    total: dict[str, float] = {}
    for name in entry.inputs:
        slope = slopes.get((output, name), 0.0)
        own = sources[name]
        if slope == 0.0:
            continue
        if own is None:
            return None
        for source, value in own.items():
            total[source] = total.get(source, 0.0) + slope * value
    return total


def _limited(errors: dict[str, float], largest: float | None) -> dict[str, float]:
    """Errors scaled down together where their sum is beyond the largest that there can be."""
    total = _total(errors)
    if largest is None or total is None or total <= largest:
        return errors
    return {source: value * largest / total for source, value in errors.items()}


def _total(errors: Mapping[str, float] | None) -> float | None:
    return None if errors is None else math.sqrt(sum(e**2 for e in errors.values()))


def _half_90(errors: Mapping[str, float] | None, tails: Mapping[str, float]) -> float | None:
    """Half of the 90 % interval of a sum of errors, each with its own tail."""
    if errors is None:
        return None
    return HALF_WIDTH_90 * math.sqrt(sum((tails[name] * e) ** 2 for name, e in errors.items()))


def _warnings(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        if step.unavailable:
            yield f"{step.entry} cannot run here: {step.unavailable}"
        if not step.domain.is_inside:
            yield f"{step.entry} is outside its domain: {step.domain.words}"
        elif step.domain.unseen_families:
            yield f"{step.entry}: {step.domain.words}; its error on unseen families is used"
        if any(error is None for error in step.own_errors.values()):
            yield f"{step.entry} is not validated: no error can be stated"


def _sampled(tables: Tables) -> Tables:
    """At most N_MEASURED records a quantity, evenly spread."""
    return {
        name: [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, N_MEASURED).astype(int))]
        for name, rows in tables.items()
        if len(rows)
    }
