"""Candidates by substitution and mixing on the sites of framework prototypes.

Every slot of a prototype (working ion, metal, cation, polyanion centre, anion, second anion) may
hold other elements or a mixture of two or three, as partial occupancies. A combination is kept when
usual oxidation states make it neutral with every element in a state it takes on that slot, when the
radii fit, and when its name is new. The cell is rescaled by the cubes of cation-anion bond lengths.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice, product
from typing import Any

import numpy as np

from ionbridge.structures.chemistry.composition import role
from ionbridge.structures.chemistry.oxidation import Assignment, assign
from ionbridge.structures.chemistry.radii import ionic_radius
from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.frameworks.prototypes import PROTOTYPES, Prototype, Slot
from ionbridge.structures.records import Crystal

Mixture = tuple[tuple[str, float], ...]
"""((symbol, fraction), ...) of one slot, fractions summing to one."""

METAL_STATES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("Mg", "Ca", "Zn", "Cu"), (2, 2)),
    **dict.fromkeys(("Al", "Ga", "In", "Sc", "Y", "Cr"), (3, 3)),
    **dict.fromkeys(("La", "Gd", "Dy", "Ho", "Er", "Yb", "Lu"), (3, 3)),
    **dict.fromkeys(("Zr", "Hf", "Sn", "Ge", "Si"), (4, 4)),
    **dict.fromkeys(("Nb", "Ta", "Sb"), (5, 5)),
    **dict.fromkeys(("W", "Te", "Mo"), (6, 6)),
    "Ti": (3, 4),
    "V": (3, 4),
    "Mn": (2, 4),
    "Fe": (2, 3),
    "Co": (2, 3),
    "Ni": (2, 3.5),
}
"""Least and largest average oxidation state on a metal slot."""

CATION_STATES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("La", "Pr", "Nd", "Sm", "Gd", "Y"), (3, 3)),
    **dict.fromkeys(("Ca", "Sr", "Ba"), (2, 2)),
}
_OXIDE_CENTRES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("P", "As", "V"), (5, 5)),
    **dict.fromkeys(("Si", "Ge"), (4, 4)),
    **dict.fromkeys(("S", "Se"), (6, 6)),
}
_SULPHIDE_CENTRES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("P", "As", "Sb", "V"), (5, 5)),
    **dict.fromkeys(("Si", "Ge", "Sn"), (4, 4)),
    "W": (6, 6),
}
_TRIANGULAR_CENTRES: dict[str, tuple[float, float]] = {"B": (3, 3)}
ANION_GROUPS: tuple[dict[str, tuple[float, float]], ...] = (
    {"O": (-2, -2)},
    {"S": (-2, -2), "Se": (-2, -2)},
    {"F": (-1, -1)},
    {"Cl": (-1, -1), "Br": (-1, -1), "I": (-1, -1)},
    {"N": (-3, -3)},
)
"""Anions that may replace each other."""

HALIDE_STATES: dict[str, dict[str, tuple[float, float]]] = {
    "F": {"F": (-1, -1), "O": (-2, -2)},
    "Cl": {"Cl": (-1, -1), "Br": (-1, -1), "I": (-1, -1)},
}
"""What may stand on the second anion's slot, by its host; oxygen for fluorine as in LiVOPO4."""

RADIUS_WINDOW: dict[Slot, float] = {"metal": 0.10, "cation": 0.10, "centre": 0.15}
"""Largest change of a slot's bond length, relative to the host's, for each element on it."""

SUBSTITUTED_IONS = ("Li", "Na", "K")
"""Working ions that may replace each other."""
PAIR_FRACTIONS = (0.5, 0.25, 0.75, 1 / 3, 2 / 3)
MAX_COMPLEXITY = 2
"""Most elements beyond one a slot, summed over the slots."""

ION_STEP = 0.5
"""Step of the working ion's content, a formula unit, where the metals allow a range."""

ION_VOLUME_WEIGHT = 0.6
"""Weight of working-ion bonds in the volume: frameworks follow the ion less than the metal."""


@dataclass(frozen=True)
class _Host:
    """A prototype as a host of substitutions: contents and radii of its slots."""

    prototype: Prototype

    @cached_property
    def amounts(self) -> dict[Slot | None, dict[str, float]]:
        """Content of every slot in the primitive cell, working ion left out."""
        amounts: dict[Slot | None, dict[str, float]] = {}
        for k in self.prototype.positions[1]:
            site = self.prototype.sites[k]
            for symbol, n in site.species.items():
                if symbol != self.prototype.working_ion:
                    slot: Slot | None = None if site.slot == "ion" else site.slot
                    content = amounts.setdefault(slot, {})
                    content[symbol] = content.get(symbol, 0.0) + n
        return amounts

    @cached_property
    def states(self) -> Mapping[str, float]:
        """Oxidation states of the prototype itself."""
        total = {self.prototype.working_ion: self.prototype.ion_content}
        for content in self.amounts.values():
            for symbol, n in content.items():
                total[symbol] = total.get(symbol, 0.0) + n
        return assign(total).states

    @cached_property
    def coordination(self) -> dict[Slot, int]:
        """Anions within 1.2 times the shortest bond, rounded mean over the sites of a slot."""
        frac, orbit = self.prototype.positions
        slots = [self.prototype.sites[k].slot for k in orbit]
        src, dst, _, distance = periodic_edges(self.prototype.lattice, frac, 3.6)
        ligand = np.array([s in ("anion", "halide") for s in slots])
        counts: dict[Slot, list[int]] = {}
        for atom, slot in enumerate(slots):
            bonds = distance[(src == atom) & ligand[dst]]
            if slot is not None and not ligand[atom] and len(bonds):
                counts.setdefault(slot, []).append(int(np.sum(bonds < 1.2 * bonds.min())))
        return {slot: round(float(np.mean(n))) for slot, n in counts.items()}

    def slot_size(self, slot: Slot) -> float:
        """Amount of a slot in the primitive cell."""
        return sum(self.amounts[slot].values())

    def radius(self, slot: Slot, symbol: str, state: float) -> float | None:
        """Ionic radius on a slot, angstrom."""
        return ionic_radius(symbol, state, self.coordination.get(slot, 6))

    @cached_property
    def anion_radius(self) -> float:
        """Mean radius of the host's anions, angstrom."""
        return self.mean_anion_radius({s: self.amounts[s] for s in ("anion", "halide")
                                       if s in self.amounts})  # fmt: skip

    @staticmethod
    def mean_anion_radius(contents: Mapping[Any, Mapping[str, float]]) -> float:
        """Amount-weighted radius of anions (coordination six), angstrom."""
        pairs = [(n, _anion_radius(symbol)) for c in contents.values() for symbol, n in c.items()]
        return sum(n * r for n, r in pairs) / sum(n for n, _ in pairs)

    def fits(self, slot: Slot, symbol: str, state: float) -> bool:
        """True if the element's bond length on the slot is within the window of the host's."""
        radius = self.radius(slot, symbol, state)
        hosts = [
            (n, r)
            for s, n in self.amounts[slot].items()
            if (r := self.radius(slot, s, self.states[s])) is not None
        ]
        if radius is None or not hosts:
            return False
        host = sum(n * r for n, r in hosts) / sum(n for n, _ in hosts)
        return abs(radius - host) <= RADIUS_WINDOW[slot] * (host + self.anion_radius)


@dataclass(frozen=True)
class _Option:
    """A mixture that may stand on a slot, and the least and largest charge it brings, a cell."""

    mixture: Mixture
    charge: tuple[float, float]


@dataclass(frozen=True)
class Recipe:
    """One combination: what stands on each slot, and how much of the working ion.

    Attributes:
        host: The framework.
        working_ion: Symbol of the mobile ion.
        mixtures: What stands on each slot.
        ion_content: Working ions in the primitive cell.
    """

    host: _Host
    working_ion: str
    mixtures: tuple[tuple[Slot, Mixture], ...]
    ion_content: float

    @cached_property
    def contents(self) -> dict[Slot | None, dict[str, float]]:
        """Content of every slot in the primitive cell, working ion left out."""
        contents: dict[Slot | None, dict[str, float]] = {
            slot: {s: x * self.host.slot_size(slot) for s, x in mixture}
            for slot, mixture in self.mixtures
        }
        if None in self.host.amounts:
            contents[None] = self.host.amounts[None]
        return contents

    @cached_property
    def formula(self) -> str:
        """Formula per formula unit of the prototype, for example ``LiMn0.5Fe0.5PO4``."""
        units = self.host.prototype.n_formula_units
        text = _amount(self.working_ion, self.ion_content / units)
        halide = self.contents.get("halide", {})
        oxide = {s: n for s, n in halide.items() if s == "O"}
        for content in (
            *(self.contents.get(slot, {}) for slot in ("cation", "metal", None)),
            oxide,
        ):
            for symbol, n in content.items():
                text += _amount(symbol, n / units)
        centre = {s: n / units for s, n in self.contents.get("centre", {}).items()}
        anion = {s: n / units for s, n in self.contents["anion"].items()}
        group = sum(centre.values())
        if group > 1.01 and abs(sum(anion.values()) / group - 4) < 1e-6 and len(anion) == 1:
            inner = "".join(_amount(s, n / group) for s, n in centre.items())
            text += f"({inner}{next(iter(anion))}4){_number(group)}"
        else:
            text += "".join(_amount(s, n) for s, n in (*centre.items(), *anion.items()))
        return text + "".join(_amount(s, n / units) for s, n in halide.items() if s != "O")

    @property
    def id(self) -> str:
        """Name of the candidate: framework and formula."""
        return f"{self.host.prototype.tag}-{self.formula}"

    @property
    def complexity(self) -> int:
        """Elements beyond one a slot, summed over the slots."""
        return sum(len(mixture) - 1 for _, mixture in self.mixtures)

    @property
    def family(self) -> str:
        """Family of the framework that is substituted."""
        return self.host.prototype.family

    @property
    def content(self) -> dict[str, float]:
        """Atoms of each element in the primitive cell."""
        total = {self.working_ion: self.ion_content}
        for content in self.contents.values():
            for symbol, n in content.items():
                total[symbol] = total.get(symbol, 0.0) + n
        return total

    def assignment(self) -> Assignment:
        """Oxidation states of the candidate."""
        return assign(self.content)

    def is_sound(self) -> bool:
        """Neutral, every element in a state its slot allows, and of a radius that fits."""
        assignment = self.assignment()
        if not assignment.is_balanced:
            return False
        for slot, mixture in self.mixtures:
            allowed = _allowed_states(self.host, slot)
            for symbol, _ in mixture:
                state = assignment.states[symbol]
                low, high = allowed[symbol]
                if not low - 0.01 <= state <= high + 0.01:
                    return False
                if slot in RADIUS_WINDOW and not self.host.fits(slot, symbol, state):
                    return False
        return True

    def volume_factor(self) -> float:
        """Volume over that of the prototype: ratio of the summed cubes of its bond lengths."""
        states = self.assignment().states
        own, host = self.host.prototype, self.host
        anions = {s: c for s, c in self.contents.items() if s in ("anion", "halide")}
        new = self._bond_volume(self.contents, self.working_ion, states,
                                host.mean_anion_radius(anions))  # fmt: skip
        old = self._bond_volume(host.amounts, own.working_ion, host.states, host.anion_radius)
        return new / old

    def _bond_volume(
        self,
        contents: Mapping[Slot | None, Mapping[str, float]],
        ion: str,
        states: Mapping[str, float],
        anion_radius: float,
    ) -> float:
        ion_radius = ionic_radius(ion, 1.0, 6) or 0.0
        ions = ION_VOLUME_WEIGHT * self.host.prototype.ion_content
        total = ions * (ion_radius + anion_radius) ** 3
        for slot in ("metal", "cation", "centre"):
            for symbol, n in contents.get(slot, {}).items():
                radius = self.host.radius(slot, symbol, states[symbol]) or 0.0
                total += n * (radius + anion_radius) ** 3
        return total

    def build(self) -> Crystal:
        """The candidate as a crystal."""
        prototype = self.host.prototype
        frac, orbit = prototype.positions
        mixtures = dict(self.mixtures)
        occupancies = _ion_occupancies(prototype, self.ion_content)
        species = []
        for k in orbit:
            site = prototype.sites[k]
            content: dict[str, float] = {}
            for symbol, n in site.species.items():
                if symbol == prototype.working_ion:
                    content[self.working_ion] = occupancies[k]
                elif site.slot is None or site.slot == "ion":
                    content[symbol] = n
                else:
                    for new, x in mixtures[site.slot]:
                        content[new] = content.get(new, 0.0) + x * n
            species.append({s: n for s, n in content.items() if n > 0})
        crystal = Crystal(
            id=self.id,
            lattice=prototype.lattice * self.volume_factor() ** (1 / 3),
            species=tuple(species),
            frac=frac,
            working_ion=self.working_ion,
            family=prototype.family,
            source=f"prototype:{prototype.name}",
        )
        return Crystal(**{**crystal.__dict__, "role": role(crystal)})


def recipes(
    families: Iterable[str] | None = None,
    working_ions: Sequence[str] = ("Li", "Na"),
    max_count: int | None = 5000,
    seed: int = 0,
) -> Iterator[Recipe]:
    """Charge-balanced substitution candidates, each composition of a framework once, unbuilt.

    Args:
        families: Families to use; all by default.
        working_ions: Mobile ions of charge one.
        max_count: Stop after so many, drawn in turn from every (family, working ion), candidates
            with few elements first; None for all of them (some hundred thousand).
        seed: Of the order among candidates of equal complexity.

    Returns:
        Recipes of crystals with unique ids ``<framework>-<formula>``, family, working ion and role.

    Raises:
        ValueError: Unknown family, or an ion that cannot replace Li or Na.
    """
    known = {p.family for p in PROTOTYPES.values()}
    chosen = known if families is None else set(families)
    if chosen - known:
        raise ValueError(
            f"unknown families {', '.join(sorted(chosen - known))}; "
            f"known: {', '.join(sorted(known))}"
        )
    unknown_ions = set(working_ions) - set(SUBSTITUTED_IONS)
    if unknown_ions:
        raise ValueError(
            f"working ions {', '.join(sorted(unknown_ions))} cannot replace Li or Na at equal "
            f"charge; choose from {', '.join(SUBSTITUTED_IONS)}"
        )
    return islice(_in_turn(chosen, working_ions, seed), max_count)


def _in_turn(families: set[str], working_ions: Sequence[str], seed: int) -> Iterator[Recipe]:
    """One recipe of every (family, ion), then the next of each, until none has any left."""
    rng = random.Random(seed)
    streams = [stream(family, ion, rng) for family in sorted(families) for ion in working_ions]
    while streams:
        for one in list(streams):
            recipe = next(one, None)
            if recipe is None:
                streams.remove(one)
            else:
                yield recipe


def stream(
    family: str, ion: str, rng: random.Random, max_complexity: int = MAX_COMPLEXITY
) -> Iterator[Recipe]:
    """Sound recipes of one family and ion, simple ones first, each name once.

    Args:
        family: Framework family.
        ion: Working ion.
        rng: Of the order among recipes of equal complexity.
        max_complexity: Leave more complex ones out.
    """
    hosts = [_Host(p) for p in PROTOTYPES.values() if p.family == family]
    seen: set[str] = set()
    own = [h for h in hosts if h.prototype.working_ion == ion]
    served = {h.prototype.tag for h in own}
    foreign = [h for h in hosts if h not in own and h.prototype.tag not in served]
    for complexity in range(max_complexity + 1):
        found = _Combinations(own + foreign, ion, complexity)
        rng.shuffle(found.codes)
        for code in found.codes:
            recipe = found.recipe(code)
            if recipe.id not in seen and recipe.is_sound():
                seen.add(recipe.id)
                yield recipe


class _Combinations:
    """Combinations of a complexity whose charge can vanish, a number each: there are millions.

    Args:
        hosts: Frameworks, in their order.
        ion: Working ion.
        complexity: Elements beyond one a slot, summed over the slots.
    """

    BLOCK, PLACE = 44, 8  # bits: which block, which place in its product, which ion content

    def __init__(self, hosts: Sequence[_Host], ion: str, complexity: int) -> None:
        self.ion = ion
        self.blocks: list[tuple[_Host, list[Slot], list[list[_Option]]]] = []
        self.codes = array("Q")
        for host in hosts:
            slots: list[Slot] = [
                s for s in ("cation", "metal", "centre", "anion", "halide") if s in host.amounts
            ]
            options = [_options(host, slot, ion, complexity) for slot in slots]
            for levels in product(range(complexity + 1), repeat=len(slots)):
                if sum(levels) == complexity:
                    choices = [by_level[n] for by_level, n in zip(options, levels, strict=True)]
                    self.blocks.append((host, slots, choices))
                    self._add_last()

    def _add_last(self) -> None:
        """Take what is possible of the last block."""
        host, slots, choices = self.blocks[-1]
        last = len(self.blocks) - 1 << self.BLOCK
        for place, chosen in enumerate(product(*choices)):
            contents = self._contents(host, chosen)
            if not contents:
                continue
            symbols = [
                s
                for slot, option in zip(slots, chosen, strict=True)
                for s, _ in option.mixture
                if slot != "halide"
            ]
            if len(set(symbols)) == len(symbols):
                first = last | place << self.PLACE
                self.codes.extend(first | k for k in range(len(contents)))

    @staticmethod
    def _contents(host: _Host, chosen: Sequence[_Option]) -> list[float]:
        """Contents of the working ion that balance what is chosen."""
        fixed = sum(n * host.states[s] for s, n in host.amounts.get(None, {}).items())
        ions = host.prototype.ion_content
        least, most = (r * ions for r in host.prototype.ion_range)
        low = fixed + sum(option.charge[0] for option in chosen)
        high = fixed + sum(option.charge[1] for option in chosen)
        if -low < least * 0.999 or -high > most * 1.001:
            return []
        return _ion_contents(host.prototype, max(least, -high), min(most, -low))

    def recipe(self, code: int) -> Recipe:
        """The combination of a number."""
        host, slots, choices = self.blocks[code >> self.BLOCK]
        place = (code & (1 << self.BLOCK) - 1) >> self.PLACE
        chosen: list[_Option] = []
        for options in reversed(choices):
            place, k = divmod(place, len(options))
            chosen.append(options[k])
        chosen.reverse()
        mixtures = tuple((s, o.mixture) for s, o in zip(slots, chosen, strict=True))
        content = self._contents(host, chosen)[code & (1 << self.PLACE) - 1]
        return Recipe(host, self.ion, mixtures, content)


def _ion_contents(prototype: Prototype, low: float, high: float) -> list[float]:
    """Contents of the working ion to try, in the primitive cell, within the bounds."""
    slack = 1e-3 * prototype.ion_content
    if high < low - slack:
        return []
    if high - low < slack:
        return [(low + high) / 2]
    step = ION_STEP * prototype.n_formula_units
    return [k * step for k in range(int(np.ceil((low - slack) / step)),
                                    int(np.floor((high + slack) / step)) + 1)]  # fmt: skip


def _allowed_states(host: _Host, slot: Slot) -> Mapping[str, tuple[float, float]]:
    if slot == "metal":
        return METAL_STATES
    if slot == "cation":
        return CATION_STATES
    if slot == "centre":
        if "B" in host.amounts["centre"]:
            return _TRIANGULAR_CENTRES
        return _OXIDE_CENTRES if "O" in host.amounts["anion"] else _SULPHIDE_CENTRES
    present = host.amounts[slot]
    if slot == "halide":
        return HALIDE_STATES[next(iter(present))]
    return next(group for group in ANION_GROUPS if set(present) <= set(group))


def _options(host: _Host, slot: Slot, ion: str, complexity: int) -> list[list[_Option]]:
    """What may stand on a slot, by radius: elements, pairs, three metals, up to a complexity."""
    allowed = _allowed_states(host, slot)
    symbols = [
        s
        for s, states in allowed.items()
        if s != ion
        and (slot != "metal" or not host.prototype.metals or s in host.prototype.metals)
        and (slot not in RADIUS_WINDOW or any(host.fits(slot, s, q) for q in set(states)))
    ]
    mixtures: list[list[Mixture]] = [[((s, 1.0),) for s in symbols]]
    if complexity >= 1:
        pairs = combinations(symbols, 2)
        mixtures.append([((a, x), (b, 1 - x)) for a, b in pairs for x in PAIR_FRACTIONS])
    if complexity >= 2:
        trios = combinations(symbols if slot == "metal" else (), 3)
        mixtures.append([tuple((s, 1 / 3) for s in trio) for trio in trios])
    size = host.slot_size(slot)
    charges = {s: (size * low, size * high) for s, (low, high) in allowed.items()}
    return [[_option(m, charges) for m in level] for level in mixtures]


def _option(mixture: Mixture, charges: Mapping[str, tuple[float, float]]) -> _Option:
    low = high = 0.0
    for symbol, x in mixture:
        low += x * charges[symbol][0]
        high += x * charges[symbol][1]
    return _Option(mixture, (low, high))


def _ion_occupancies(prototype: Prototype, content: float) -> dict[int, float]:
    """Occupancy of the working ion by orbit: the prototype's, scaled, none above one."""
    orbit = prototype.positions[1]
    number = {k: int(np.sum(orbit == k)) for k in set(orbit.tolist())}
    weight = {k: prototype.sites[k].species.get(prototype.working_ion, 0.0) for k in number}
    full: set[int] = set()
    while True:
        open_content = content - sum(number[k] for k in full)
        scale = open_content / (sum(number[k] * weight[k] for k in number if k not in full) or 1.0)
        over = {k for k in number if k not in full and scale * weight[k] > 1.0 + 1e-9}
        if not over:
            return {k: 1.0 if k in full else scale * weight[k] for k in number}
        full |= over


def _anion_radius(symbol: str) -> float:
    radius = ionic_radius(symbol, {"N": -3.0, "O": -2.0, "S": -2.0, "Se": -2.0}.get(symbol, -1.0))
    if radius is None:
        raise ValueError(f"no ionic radius of the anion {symbol}")
    return radius


def _number(n: float) -> str:
    return "" if abs(n - 1) < 5e-4 else f"{n:.3f}".rstrip("0").rstrip(".")


def _amount(symbol: str, n: float) -> str:
    return f"{symbol}{_number(n)}"
