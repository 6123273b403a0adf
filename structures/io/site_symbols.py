"""What stands on an atom row: elements and shares from the symbols that people write.

``Fe3+``, ``LI``, ``7Li``, ``D``, ``OH``, ``'0.60Fe + 0.40Mn'``, ``Va``: every symbol is an element,
a mixture, a vacancy, or refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ionbridge.structures.records import UnusableStructureError

if TYPE_CHECKING:
    from pymatgen.core import Element

_PERIODIC_TABLE = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb
Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf
Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
ELEMENT_SYMBOLS = frozenset(_PERIODIC_TABLE.split())
ISOTOPES = {"D": "H", "T": "H"}
VACANCIES = frozenset(
    {"va", "vac", "vacancy", "vacant", "vc", "none", "void", "empty", "box", "□", "vac.", "$va"}
)
"""Names of nothing; ``X`` and ``Du`` are not among them, they stand for an unknown atom."""
_LARGEST_SHARES = 1.02
_CHARGE = r"(?:\d*\.?\d*[+-]|[+-]\d*\.?\d*)"
_PLAIN = re.compile(rf"([A-Za-z]{{1,2}})(?:{_CHARGE}|0)?$")
_MASS_FIRST = re.compile(rf"\^?\(?(\d{{1,3}})\)?-?([A-Z][a-z]?)(?:{_CHARGE})?$")
_MASS_LAST = re.compile(r"([A-Z][a-z]?)[-_(^]?(\d{1,3})\)?$")
_SHARE_FIRST = re.compile(rf"(\d*\.\d+|\d+\.?)\s*\*?\s*([A-Za-z]{{1,8}})(?:{_CHARGE})?$")
_SHARE_LAST = re.compile(r"([A-Z][a-z]?)\s*(\d*\.\d+|[01])$")
_JOINED = re.compile(r"([A-Z][a-z]?)(\d*\.\d+)")
_HYDRATED = re.compile(r"([A-Z][a-z]?)-?H(\d?)(?:[+-]|\d[+-])?$")
_WATER = {"ow": "O", "wat": "O", "water": "O", "hw": "H", "h2o": "O", "oh": "O", "oh2": "O"}


@dataclass(frozen=True)
class Occupants:
    """Content of a fully occupied site.

    Attributes:
        shares: ``{element: share}``, summing to one at most; empty for a vacancy.
        hydrogens: Hydrogen atoms that the symbol names without a position (``OH``, ``NH4``).
        note: How the symbol was understood, where it is more than an element with its charge.
    """

    shares: Mapping[str, float]
    hydrogens: float = 0.0
    note: str = ""


def occupants(symbol: str, expected: Collection[str] = ()) -> Occupants:
    """What a type symbol stands for.

    Args:
        symbol: As a CIF, POSCAR or extended XYZ writes it.
        expected: Elements that the file says it holds; they settle what may be read in two ways.

    Raises:
        UnusableStructureError: The symbol is no element, mixture or vacancy.
    """
    text = symbol.strip().strip("'\"").strip()
    text = re.sub(r"</?su[bp]>", "", text)
    if text.lower() in VACANCIES:
        return Occupants({}, note="a vacancy")
    if element := _plain_element(text, expected):
        return Occupants({ISOTOPES.get(element, element): 1.0}, note=_case_note(text, element))
    if text.lower() in _WATER:
        return _hydrated(text, _WATER[text.lower()], expected)
    for pattern, group in ((_MASS_FIRST, 2), (_MASS_LAST, 1)):
        match = pattern.match(text)
        if match and _is_isotope(match[group], int(match[3 - group])):
            return Occupants({ISOTOPES.get(match[group], match[group]): 1.0})
    match = _HYDRATED.match(text)
    if match and match[1] in ELEMENT_SYMBOLS and match[1] != "H":
        return _hydrated(text, match[1], expected)
    shares = _mixture(text)
    if list(shares.values()) == [1.0]:
        return Occupants(shares, note=f"read as {next(iter(shares))}")
    if shares:
        return Occupants(shares, note=f"shared by {_named(shares)}")
    raise UnusableStructureError(
        f"unknown element {text!r}" + (", no vacancy or mixture with shares either" if text else "")
    )


def occupants_of_label(label: str, expected: Collection[str] = ()) -> Occupants:
    """What a site label stands for where no type symbol is given: ``Li1``, ``FE2``, ``O1A``.

    Raises:
        UnusableStructureError: It starts with no element, or may be one of two.
    """
    text = label.strip().strip("'\"")
    match = re.match(r"(?:\d{1,2})?([A-Za-z□]+)", text)
    letters = match[1] if match else ""
    if letters.lower() in VACANCIES and not ("V" in expected and letters.lower() == "va"):
        return Occupants({}, note="a vacancy")
    candidates = []
    for length in (2, 1):
        symbol = letters[:length].capitalize()
        if len(symbol) == length and (symbol in ELEMENT_SYMBOLS or symbol in ISOTOPES):
            candidates.append(symbol)
    fitting = [s for s in candidates if ISOTOPES.get(s, s) in expected] if expected else candidates
    if not fitting:
        raise UnusableStructureError(f"unknown element in label {label!r}")
    exact = [s for s in fitting if letters == s]
    chosen = exact[0] if exact else fitting[0]
    is_open = len(fitting) > 1 and not exact and not letters.startswith(chosen)
    if is_open and (expected or letters[1:2].isupper()):
        raise UnusableStructureError(
            f"label {label!r} may be {' or '.join(fitting)}; add _atom_site_type_symbol"
        )
    rest = letters[len(chosen) :]
    if re.match(r"h\d?$", rest.lower()) and chosen != "H" and chosen in ("O", "N", "C"):
        return _hydrated(letters + text[match.end() :] if match else letters, chosen, expected)
    note = "" if not rest and letters == chosen else f"read as {chosen}"
    return Occupants({ISOTOPES.get(chosen, chosen): 1.0}, note=note)


def _plain_element(text: str, expected: Collection[str]) -> str:
    """The element of a symbol with or without its charge; empty if it is none."""
    match = _PLAIN.match(text)
    if match is None:
        return ""
    letters = match[1]
    symbol = letters.capitalize()
    if symbol not in ELEMENT_SYMBOLS and symbol not in ISOTOPES:
        return ""
    if letters != symbol and len(letters) == 2:
        # CO, HO, NO ...: two elements or one in capitals; what the file says it holds decides
        both = {letters[0].upper(), letters[1].upper()}
        if symbol not in expected and expected and both <= set(expected):
            return ""
        if _element(symbol).Z > 96:
            return ""
    return symbol


def _element(symbol: str) -> Element:
    from pymatgen.core import Element

    return Element(symbol)


def _case_note(text: str, element: str) -> str:
    return "" if text.startswith(element) else f"read as {element}"


def _is_isotope(symbol: str, mass: int) -> bool:
    """True if a mass number suits an element, so that 7Li is one and 60Li is not."""
    if symbol in ISOTOPES:
        return mass in (2, 3)
    if symbol not in ELEMENT_SYMBOLS:
        return False
    return abs(mass - float(_element(symbol).atomic_mass)) <= max(2.5, 0.06 * mass)


def _hydrated(text: str, heavy: str, expected: Collection[str]) -> Occupants:
    if heavy == "H":
        return Occupants({"H": 1.0}, note="read as H")
    lower = text.lower()
    count = 0 if lower.startswith("ow") else 2 if lower in ("wat", "water", "h2o") else 1
    if digits := re.search(r"h(\d)", lower):
        count = int(digits[1]) if lower != "h2o" else 2
    if not count:
        return Occupants({heavy: 1.0}, note=f"read as {heavy}")
    return Occupants(
        {heavy: 1.0},
        hydrogens=float(count),
        note=f"read as {heavy}; its {count} H {'has' if count == 1 else 'have'} no position",
    )


def _mixture(text: str) -> dict[str, float]:
    """Shares of a mixture; empty if it is none, or states none."""
    plain = re.sub(r"[\[\](){}:=]", "", re.sub(r"\(\d+\)", "", text))
    shares: dict[str, float] = {}
    parts = [
        part.strip()
        for part in re.split(r"\s*[,;/]\s*|\s*\+\s+|\s+\+\s*|\+(?=[\d.])", plain)
        if part.strip()
    ]
    pairs = []
    for part in parts:
        if match := _SHARE_FIRST.match(part):
            pairs.append((match[2], match[1]))
        elif match := _SHARE_LAST.match(part):
            pairs.append((match[1], match[2]))
        else:
            pairs = []
            break
    if not pairs:
        squeezed = re.sub(r"\s+", "", plain)
        pairs = _JOINED.findall(squeezed)
        if "".join(a + b for a, b in pairs) != squeezed:
            return {}
    for name, amount in pairs:
        if name.lower() in VACANCIES:
            continue
        if name not in ELEMENT_SYMBOLS and name not in ISOTOPES:
            return {}
        element = ISOTOPES.get(name, name)
        shares[element] = shares.get(element, 0.0) + float(amount)
    return shares if shares and 0 < sum(shares.values()) <= _LARGEST_SHARES else {}


def _named(shares: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {element}" for element, amount in shares.items())
