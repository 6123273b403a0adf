"""Crystals of a CIF: every atom row accounted for, the result compared with the file's claims.

gemmi reads the syntax. What is read must agree with the file's own formula, number of formula
units, space group and with gemmi's own reading of rows and operations; where it does not, the
crystal is refused with both answers. Every choice that the file leaves open is a note.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.crystals.geometry import perpendicular_widths
from ionbridge.structures.io import space_group_settings as settings
from ionbridge.structures.io.json_records import (
    check_geometry,
    lattice_from_parameters,
    scaled_occupancy,
    wrapped,
)
from ionbridge.structures.io.site_symbols import ISOTOPES, Occupants, occupants, occupants_of_label
from ionbridge.structures.io.space_group_settings import Operations
from ionbridge.structures.plain_text import clean_text, number_of
from ionbridge.structures.records import ContradictionError, Crystal, UnusableStructureError

SITE_TOLERANCE_A = 0.05
"""Rows this close share a site; an atom moved further to its special position is noted."""
FULL_SITE_TOLERANCE_A = 0.1
"""Images of one atom this close are one where there is no room for two."""
ROUNDING_A = 2e-3
"""Distances below this are rounding, however many digits are given."""
LARGEST_STEP = 0.005
"""Rounding of a coordinate, in cell vectors, however few digits it has (0.33 for 1/3)."""
METRIC_TOLERANCE = 0.02
"""Operations may strain the cell by this much (a cell relaxed without its symmetry)."""
FORMULA_TOLERANCE = 0.02
FORMULA_TOLERANCE_ATOMS = 0.03
"""Rounding of stated formulas: the larger of a share and of atoms in a formula unit."""
CLEARLY_BETTER = 1e-3
"""A setting whose strain is smaller by this suits the cell better."""
VOLUME_TOLERANCE = 0.02
MAX_NOTES_OF_A_KIND = 4
SEE = "; ionbridge inspect shows this reading"
MAX_SITES = 200_000
LONGEST_WORD = 120
"""Characters of a number or an operation; longer ones are none."""

_CELL = (
    *("_cell_length_a", "_cell_length_b", "_cell_length_c"),
    *("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma"),
)
_POSITION = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_magn_operation_xyz",
)
_CENTRINGS = "_space_group_symop_magn_centering_xyz"
_NAMES = (
    *("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m"),
    *("_space_group_name_h-m_full", "_symmetry_space_group_name_h-m_full"),
    "_space_group_name_h-m_ref",
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_NEEDED = re.compile(
    r"_(cell_|symmetry_|space_group_|chemical_formula_sum|atom_site_(?!aniso|moment))", re.I
)


@dataclass(frozen=True)
class _Row:
    """One atom row as understood."""

    label: str
    content: Mapping[str, float]
    frac: NDArray[np.float64]
    step: NDArray[np.float64]
    is_noted: bool
    number: int
    multiplicity: int | None = None


@dataclass
class _Block:
    """One data block: values by lower-case tag, dots read as underscores."""

    name: str
    values: dict[str, list[str]]
    source: gemmi.cif.Block | None
    notes: list[str] = field(default_factory=list)

    def first(self, *tags: str) -> str | None:
        """Value of the first of these tags that has one."""
        for tag in tags:
            for raw in self.values.get(tag, ())[:1]:
                if not gemmi.cif.is_null(raw):
                    text = " ".join(gemmi.cif.as_string(raw).split())
                    if text and text not in ("?", "."):
                        return text
        return None

    def column(self, tag: str, length: int) -> list[str] | None:
        """A column of the atom rows, null values empty."""
        raw = self.values.get(tag)
        if raw is None:
            return None
        if len(raw) != length:
            raise UnusableStructureError(
                f"{tag} has {len(raw)} values for {length} atom rows (atom sites listed twice?)"
            )
        return [value if gemmi.cif.is_null(value) else _text(value) for value in raw]


def crystals_in_cif(text: str) -> Iterator[Crystal | UnusableStructureError]:
    """The crystals of a CIF, block by block; a block that describes one badly is its error.

    Blocks that hold no atom sites (``data_global``, reflections) are passed over unless the file
    has no other.
    """
    blocks = list(_blocks(text))
    found: list[tuple[str, Crystal | UnusableStructureError]] = []
    for name, outcome in blocks:
        if isinstance(outcome, UnusableStructureError):
            found.append((name, outcome))
        elif any(tag.startswith("_atom_site_") for tag in outcome.values) and (
            set(_POSITION) & set(outcome.values) or "_atom_site_label" in outcome.values
        ):
            try:
                found.append((name, _crystal(outcome)))
            except UnusableStructureError as error:
                found.append((name, error))
    if not found:
        yield UnusableStructureError(f"not a readable CIF file: {_lack(blocks)}")
        return
    for name, one in found:
        if len(found) > 1 and isinstance(one, ContradictionError):
            one = ContradictionError(f"block '{name}': {one}", one.crystal)
        elif len(found) > 1 and isinstance(one, UnusableStructureError):
            one = UnusableStructureError(f"block '{name}': {one}")
        elif len(found) > 1 and isinstance(one, Crystal):
            one = one.with_notes(f"block '{name}'")
        yield one


def _lack(blocks: Sequence[tuple[str, _Block | UnusableStructureError]]) -> str:
    """What a file without crystals lacks, in its own terms."""
    if not blocks:
        return "no data_ block"
    return "no atom sites (a loop_ with _atom_site_label, _atom_site_fract_x, ...)"


def _blocks(text: str) -> Iterator[tuple[str, _Block | UnusableStructureError]]:
    """Name and content of every data block; one of bad syntax is its error."""
    text, notes = _plain_text(text)
    starts = _block_starts(text)
    for start, end in zip(starts, [*starts, len(text)][1:], strict=True):
        part = text[start:end]
        header = part.split(None, 1)[0]
        name = header[5:] or "without a name"
        line = text.count("\n", 0, start)
        try:
            yield name, _parsed(name, part, line, list(notes))
        except UnusableStructureError as error:
            yield name, error


def _plain_text(text: str) -> tuple[str, list[str]]:
    """The text in ASCII, which CIF is, and what had to be replaced for it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").replace("\v", "\n")
    notes: list[str] = []
    if text.isascii():
        return text, notes
    minus = re.compile("(?<![^\\s'\",(])[\u2212\u2010-\u2015\ufe63\uff0d](?=[\\d.xyzXYZ])")
    text, n = minus.subn("-", text)
    if n:
        notes.append(f"{number_of(n, 'typographic minus sign')} read as minus")
    text = text.replace("\u00a0", " ").replace("\u2009", " ").replace("\u202f", " ")
    text = text.replace("□", "Vac").replace("\ufeff", "")
    return re.sub(r"[^\x00-\x7f]", "~", text), notes


def _block_starts(text: str) -> list[int]:
    """Offsets of the data_ headings outside text fields (an endless field hides none)."""
    starts: list[int] = []
    hidden: list[int] = []
    inside = False
    offset = 0
    for line in text.split("\n"):
        if line.startswith(";"):
            inside = not inside
            hidden = []
        elif re.match(r"\s*data_\S", line, re.I) or re.match(r"\s*data_\s*$", line, re.I):
            (hidden if inside else starts).append(offset + len(line) - len(line.lstrip()))
        offset += len(line) + 1
    return starts + (hidden if inside else [])


def _parsed(name: str, text: str, first_line: int, notes: list[str]) -> _Block:
    text, n_quoted = _with_quoted_operations(text)
    if n_quoted:
        operations = number_of(n_quoted, "symmetry operation")
        notes.append(f"{operations} with blanks read without quotes")
    if "\x00" in text or re.search(r"[\x01-\x08\x0e-\x1f\x7f]", text):
        raise UnusableStructureError("holds control characters: damaged, or not a text file")
    document: gemmi.cif.Document
    try:
        document = gemmi.cif.read_string(text, check_level=0)
    except (ValueError, RuntimeError) as error:
        reason = _syntax_reason(str(error), first_line)
        essential = _essential(text)
        if essential is None:
            raise UnusableStructureError(
                f"{reason}: the CIF file is cut off or damaged there, export it again"
            ) from None
        document = essential
        notes.append(f"parts that say nothing of the crystal are damaged ({reason})")
    block: gemmi.cif.Block = next(iter(document))
    values: dict[str, list[str]] = {}
    for item in block:
        pair: Any = item.pair
        if pair is not None:
            _add(values, pair[0], [pair[1]])
        elif item.loop is not None:
            for k, tag in enumerate(item.loop.tags):
                width = len(item.loop.tags)
                _add(values, tag, list(item.loop.values)[k::width])
    return _Block(name, values, block, notes)


def _add(values: dict[str, list[str]], tag: str, new: list[str]) -> None:
    tag = tag.lower().replace(".", "_")
    old = values.get(tag)
    if old is not None and old != new and _NEEDED.match(tag):
        raise UnusableStructureError(f"{tag} is given twice, with different values")
    values.setdefault(tag, new)


def _syntax_reason(message: str, first_line: int) -> str:
    """Gemmi's message with the line of the file."""
    match = re.match(r".*?:(\d+):\d+(?:\(\d+\))?:?\s*(.*)", message, re.S)
    if match is None:
        return " ".join(message.split())[:150]
    what = " ".join(match[2].split())[:120]
    if "number of values" in what:
        what += " (a row ends early, or a value with blanks lacks its quotes)"
    return f"line {int(match[1]) + first_line}: {what}"


_TRIPLET = re.compile(
    r"^(\s*(?:\d+\s+)?)([-+xyz\d/.\s]*[xyz][-+xyz\d/.\s]*,[-+xyz\d/.\s]*[xyz][-+xyz\d/.\s]*,"
    r"[-+xyz\d/.\s]*[xyz][-+xyz\d/.]*)(\s*)$",
    re.I,
)


def _with_quoted_operations(text: str) -> tuple[str, int]:
    """Operations with blanks put into quotes, ``x+1/2, -y, z`` on a line of its own."""
    lines = text.split("\n")
    count = 0
    for k, line in enumerate(lines):
        match = _TRIPLET.match(line) if "," in line and len(line) < LONGEST_WORD else None
        if match and re.search(r"\s", match[2].strip()):
            lines[k] = f"{match[1]}'{match[2].strip()}'"
            count += 1
    return "\n".join(lines), count


def _essential(text: str) -> gemmi.cif.Document | None:
    """The items and loops that describe the crystal, alone; None if they are damaged, too."""
    kept, keeping = ["data_x"], False
    in_header = False
    for line in text.split("\n")[1:]:
        word = line.strip().split(None, 1)[0] if line.strip() else ""
        if word.lower() == "loop_":
            kept_before = len(kept)
            kept.append(line)
            in_header, keeping = True, False
            pending = kept_before
        elif word.startswith("_"):
            wanted = bool(_NEEDED.match(word.replace(".", "_")))
            if in_header:
                keeping = keeping or wanted
                kept.append(line)
            else:
                keeping = wanted
                if wanted:
                    kept.append(line)
            continue
        elif word.startswith("#") or not word:
            continue
        else:
            if in_header and not keeping:
                del kept[pending:]
            in_header = False
            if keeping:
                kept.append(line)
    if in_header:
        return None
    try:
        return gemmi.cif.read_string("\n".join(kept) + "\n", check_level=0)
    except (ValueError, RuntimeError):
        return None


def _text(raw: str) -> str:
    return " ".join(gemmi.cif.as_string(raw).split())


def _crystal(block: _Block) -> Crystal:
    """The crystal of a block.

    Raises:
        UnusableStructureError: With what is wrong, in one line.
    """
    for tag in ("_cell_modulation_dimension", "_space_group_ssg_name", "_cell_wave_vector_x"):
        if block.first(tag) not in (None, "0"):
            raise UnusableStructureError("a modulated structure: one cell does not describe it")
    notes = list(block.notes)
    lattice = _lattice(block, notes)
    formula, formula_text = _formula(block, notes)
    expected = frozenset(formula or ())
    rows, hydrogens = _rows(block, lattice, expected, notes)
    candidates, remarks = _candidates(block, lattice)
    units = _formula_units(block, notes)
    outcomes: list[_Outcome] = []
    whole: list[_Outcome] = []
    tried: list[_Outcome] = []
    refusals: list[str] = []
    for candidate in candidates:
        try:
            outcome = _expanded(rows, candidate, lattice)
        except UnusableStructureError as error:
            refusals.append(str(error) if len(candidates) == 1 else f"{candidate.name}: {error}")
            continue
        tried.append(outcome)
        fault = _formula_fault(outcome.amounts, formula, formula_text, units, hydrogens)
        shared = None if fault is None else outcome.with_shared_named(formula or {})
        if shared and _formula_fault(shared, formula, formula_text, units, hydrogens) is None:
            outcome.notes.append(f"elements that share a site are not all in {formula_text!r}")
            fault = None
        if fault is None and formula is None:
            fault = _multiplicity_fault(rows, outcome)
        if fault is None:
            outcomes.append(outcome)
            if units is None or _agrees(outcome.amounts, formula or {}, units, hydrogens):
                whole.append(outcome)
        else:
            where = "" if len(candidates) == 1 else f"{candidate.name}: "
            refusals.append(where + fault)
    stated = _stated(block, formula_text)
    if not outcomes:
        reason = "; ".join(refusals)
        if not tried:
            raise UnusableStructureError(reason)
        raise ContradictionError(f"{reason}{SEE}", tried[0].crystal([*notes, *remarks], stated))
    outcomes = whole or outcomes  # those with the stated number of formula units
    chosen = outcomes[0]
    if any(not chosen.is_same(other) for other in outcomes[1:]):
        outcomes = _plausible(outcomes, lattice)
        chosen = outcomes[0]
        if any(not chosen.is_same(other) for other in outcomes[1:]):
            readings = ", ".join(f"{o.operations.name} ({o.summary})" for o in outcomes)
            raise ContradictionError(
                f"the space group can be read in {len(outcomes)} ways: {readings}; list the "
                f"operations, or add the choice to the symbol (:1, :2, :H, :R){SEE}",
                chosen.crystal(notes, stated),
            )
    if len(candidates) > 1:
        notes.append(
            f"space group read as {chosen.operations.name}, which the content agrees with "
            f"({len(candidates)} readings tried)"
        )
    notes += remarks
    crystal = chosen.crystal(notes, stated)
    if len(candidates) == 1:
        fault = _second_reader_fault(block, rows, chosen, lattice)
        if fault is not None:
            raise ContradictionError(f"{fault}{SEE}", crystal)
    return crystal


def _stated(block: _Block, formula_text: str) -> dict[str, Any]:
    """What the file says of space group and formula."""
    extra: dict[str, Any] = {}
    stated = [text for text in (block.first(*_NAMES), block.first(*_HALL)) if text]
    number = block.first(*_NUMBER)
    if stated or number:
        extra["space_group_stated"] = clean_text(
            " / ".join([*stated[:1], *([number] if number else [])])
        )
    if formula_text:
        extra["formula_stated"] = clean_text(formula_text)
    return extra


def _limited(notes: Sequence[str]) -> list[str]:
    """Notes once each; of many alike (the same but for its row) the first few and their number."""
    kept: list[str] = []
    kinds: dict[str, int] = {}
    for note in dict.fromkeys(notes):
        kind = re.sub(r"row '[^']*'", "row", note)
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] <= MAX_NOTES_OF_A_KIND:
            kept.append(clean_text(note))
    more = sum(max(0, n - MAX_NOTES_OF_A_KIND) for n in kinds.values())
    return [*kept, f"{more} more rows alike"] if more else kept


def _number(text: str, what: str) -> tuple[float, int]:
    """A number and the digits after its point; a standard uncertainty in brackets is dropped.

    Raises:
        UnusableStructureError: It is none, or not finite.
    """
    if len(text) > LONGEST_WORD:
        raise UnusableStructureError(f"{what} = {clean_text(text)[:40]!r}... is not a number")
    match = re.fullmatch(r"([+-]?(?:\d+\.?(\d*)|\.(\d+))(?:[eEdD][+-]?\d{1,3})?)(?:\(\d*\))?", text)
    if match is not None:
        value = float(match[1].lower().replace("d", "e"))
        return value, len((match[2] or match[3] or "").rstrip("0"))
    match = re.fullmatch(r"([+-]?\d{1,3})/(\d{1,3})", text)
    if match is not None and int(match[2]):
        return int(match[1]) / int(match[2]), 12
    if text.lower().strip("+-") in ("nan", "inf", "infinity"):
        raise UnusableStructureError(f"{what} = {text} is not finite")
    raise UnusableStructureError(f"{what} = {clean_text(text)[:40]!r} is not a number")


def _lattice(block: _Block, notes: list[str]) -> NDArray[np.float64]:
    missing = [tag for tag in _CELL if block.first(tag) is None]
    missing += [tag for tag in _POSITION if tag not in block.values]
    if "_atom_site_label" not in block.values:
        missing.append("_atom_site_label")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        hint = ""
        if "_atom_site_cartn_x" in block.values:
            hint = " (Cartesian coordinates are not read: their axes differ between programs)"
        raise UnusableStructureError(f"{', '.join(missing)} {verb} missing{hint}")
    values = [_number(block.first(tag) or "", tag)[0] for tag in _CELL]
    lattice = lattice_from_parameters(*values)
    check_geometry(lattice)
    stated = block.first("_cell_volume")
    if stated is not None:
        try:
            volume = _number(stated, "_cell_volume")[0]
        except UnusableStructureError:
            return lattice
        own = float(abs(np.linalg.det(lattice)))
        if volume > 0 and abs(own - volume) > VOLUME_TOLERANCE * own:
            notes.append(f"the cell has {own:.5g} cubic angstrom, _cell_volume says {volume:.5g}")
    return lattice


def _formula(block: _Block, notes: list[str]) -> tuple[dict[str, float] | None, str]:
    text = block.first("_chemical_formula_sum")
    if text is None:
        return None, ""
    squeezed = re.sub(r"[\s_~']", "", text)
    pairs = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)(?:\(\d+\))?", squeezed)
    rebuilt = "".join(a + b for a, b in pairs)
    formula: dict[str, float] = {}
    for symbol, amount in pairs:
        symbol = ISOTOPES.get(symbol, symbol)
        try:
            formula[symbol] = formula.get(symbol, 0.0) + (float(amount) if amount else 1.0)
        except ValueError:
            rebuilt = ""
    known = all(gemmi.Element(symbol).atomic_number > 0 for symbol in formula)
    if rebuilt != re.sub(r"\(\d+\)", "", squeezed) or not known or not sum(formula.values()) > 0:
        notes.append(
            f"_chemical_formula_sum {clean_text(text)[:60]!r} is not understood, not compared"
        )
        return None, text
    return {s: n for s, n in formula.items() if n > 0}, text


def _formula_units(block: _Block, notes: list[str]) -> float | None:
    text = block.first("_cell_formula_units_z")
    if text is None:
        return None
    try:
        value = _number(text, "_cell_formula_units_Z")[0]
    except UnusableStructureError:
        value = 0.0
    if value > 0:
        return value
    notes.append(f"_cell_formula_units_Z {clean_text(text)[:20]!r} is not understood, not compared")
    return None


def _rows(
    block: _Block, lattice: NDArray[np.float64], expected: frozenset[str], notes: list[str]
) -> tuple[list[_Row], bool]:
    """The atom rows, and whether hydrogen is named that has no position."""
    n = len(block.values["_atom_site_label"])
    column = {
        tag: block.column(f"_atom_site_{tag}", n)
        for tag in ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    }
    flags = block.column("_atom_site_calc_flag", n) or [""] * n
    attached = block.column("_atom_site_attached_hydrogens", n) or [""] * n
    multiplicity = (
        block.column("_atom_site_symmetry_multiplicity", n)
        or block.column("_atom_site_site_symmetry_multiplicity", n)
        or [""] * n
    )
    rows: list[_Row] = []
    hydrogens = False
    for k in range(n):
        label = clean_text((column["label"] or [])[k])
        where = f"row '{label}'"
        type_symbol = "" if column["type_symbol"] is None else column["type_symbol"][k]
        if flags[k].lower() == "dum":
            notes.append(f"{where} is a dummy by its own flag: left out")
            continue
        inside = _occupants(type_symbol, label, expected, where)
        if inside.note:
            notes.append(f"{where} ('{clean_text(type_symbol or label)}'): {inside.note}")
        text = "." if column["occupancy"] is None else column["occupancy"][k]
        if text == "?":
            notes.append(f"{where}: occupancy unknown ('?'), taken as 1")
        occupancy = 1.0 if text in (".", "?", "") else _number(text, f"{where}: occupancy")[0]
        if not 0.0 <= occupancy <= 1.02 + 1e-9:
            raise UnusableStructureError(f"{where}: occupancy {occupancy:g}, expected 0 to 1")
        if text == "?" and not expected:
            raise UnusableStructureError(
                f"{where}: occupancy unknown ('?'), and no formula to tell"
            )
        place = [(column[f"fract_{axis}"] or [])[k] for axis in "xyz"]
        if any(value in (".", "?", "") for value in place):
            if set(inside.shares) - {"H"}:
                raise UnusableStructureError(f"{where} has no position ({' '.join(place)})")
            if inside.shares:
                hydrogens = True
                notes.append(f"{where}: hydrogen without a position, left out")
            continue
        given = [_number(v, f"{where}: {t}") for v, t in zip(place, _POSITION, strict=True)]
        frac = np.array([value for value, _ in given])
        if np.abs(frac).max() > 1e6:
            raise UnusableStructureError(f"{where}: {' '.join(place)} is no position in a cell")
        if inside.hydrogens or attached[k] not in ("", ".", "?", "0"):
            hydrogens = True
            if not inside.hydrogens:
                notes.append(f"{where}: {attached[k]} attached H without a position, left out")
        if not inside.shares:
            continue
        if not occupancy:
            notes.append(f"{where} is empty: left out")
            continue
        total = sum(inside.shares.values())
        if total < 1 and abs(total - occupancy) < 1e-6:
            occupancy = 1.0  # the shares say it already
        rows.append(
            _Row(
                label=label,
                content={s: share * occupancy for s, share in inside.shares.items()},
                frac=frac,
                step=np.array([_step(value, digits) for value, digits in given]),
                is_noted=bool(inside.note) or total != 1.0 or text == "?",
                number=k,
                multiplicity=int(multiplicity[k]) if multiplicity[k].isdigit() else None,
            )
        )
    if not rows:
        raise UnusableStructureError("no atoms: no row has an element and a position")
    return rows, hydrogens


def _step(value: float, digits: int) -> float:
    """What rounding may have done to a coordinate: a unit of its last digit, nothing to 0.25."""
    is_exact = abs(value * 8 - round(value * 8)) < 1e-9
    return 0.0 if is_exact else min(10.0**-digits, LARGEST_STEP)


def _occupants(type_symbol: str, label: str, expected: frozenset[str], where: str) -> Occupants:
    if type_symbol in ("", ".", "?"):
        try:
            return occupants_of_label(label, expected)
        except UnusableStructureError as error:
            raise UnusableStructureError(f"{where}: {error}") from None
    try:
        return occupants(type_symbol, expected)
    except UnusableStructureError as error:
        match = re.match(r"([A-Z][a-z]?)\d{1,2}[A-Za-z]?$", type_symbol)
        if match and label.startswith(match[1]):  # a label in place of the symbol
            try:
                return occupants_of_label(type_symbol, expected)
            except UnusableStructureError:
                pass
        raise UnusableStructureError(f"{where}: {error}") from None


def _candidates(block: _Block, lattice: NDArray[np.float64]) -> tuple[list[Operations], list[str]]:
    """What the stated space group may mean, and remarks; the first is the likeliest."""
    remarks: list[str] = []
    listed = _listed(block)
    symbol, hall = block.first(*_NAMES), block.first(*_HALL)
    number = _stated_number(block)
    named = [] if symbol is None else settings.by_name(symbol)
    by_hall = None if hall is None else settings.by_hall(hall)
    stated = [*([by_hall] if by_hall is not None else []), *named]
    fitting = _fitting(stated, lattice, remarks)
    if listed is not None and _strain(listed, lattice) > METRIC_TOLERANCE:
        raise UnusableStructureError(
            "the listed operations do not fit the cell's lengths and angles"
        )
    if listed is not None and listed.is_group:
        numbers = {s.number for s in stated} | ({number} if number else set())
        if (
            not numbers
            or listed.found_number in numbers
            or any(listed.key == s.key for s in stated)
        ):
            if numbers - {listed.found_number}:
                remarks.append(
                    f"the listed operations are of space group {listed.found_number}, "
                    f"{symbol or hall or number} is stated; the operations are used"
                )
            elif symbol and not named:
                remarks.append(f"unknown symbol {clean_text(symbol)!r}: the operations are used")
            return [listed], remarks
        others = _distinct(fitting or ([] if stated else settings.by_number(number or 1)))
        return [listed, *others], remarks
    if listed is not None:
        wider = _distinct([s for s in fitting if listed.key <= s.key])
        if not wider:
            raise UnusableStructureError(
                f"the {len(listed)} listed operations are no group"
                + (f", nor part of {clean_text(symbol)}" if symbol else "")
            )
        remarks.append(f"only {len(listed)} of {len(wider[0])} operations are listed")
        return wider, remarks
    if stated:
        if not fitting:
            raise UnusableStructureError(
                f"space group {clean_text(symbol or hall or '')!r} does not fit the cell's lengths "
                "and angles"
            )
        if by_hall is not None and fitting[0] is by_hall:
            if named and all(s.number != by_hall.found_number for s in named):
                return _distinct(fitting), remarks
            return [by_hall], remarks
        if number is not None and all(s.number != number for s in fitting):
            standard = [s for s in settings.by_number(number) if _strain(s, lattice) <= 0.02]
            return _distinct([*fitting, *standard]), remarks
        return _distinct(fitting), remarks
    if symbol is not None or hall is not None:
        raise UnusableStructureError(
            f"unknown space group {clean_text(symbol or hall or '')!r}; list the symmetry "
            "operations"
        )
    if number is not None:
        standard = [s for s in settings.by_number(number) if _strain(s, lattice) <= 0.02]
        if not standard:
            raise UnusableStructureError(
                f"space group {number} in its standard setting does not fit the cell; list the "
                "symmetry operations"
            )
        remarks.append(f"space group by number alone ({number}): standard setting")
        return _distinct(standard), remarks
    remarks.append("no space group stated: read as P 1")
    return settings.by_number(1), remarks


def _fitting(
    stated: Sequence[Operations], lattice: NDArray[np.float64], remarks: list[str]
) -> list[Operations]:
    """Settings that suit the cell; of a short monoclinic symbol the unique axis that suits best."""
    strains = [_strain(s, lattice) for s in stated]
    least = min(strains, default=0.0)
    fitting = [
        s
        for s, strain in zip(stated, strains, strict=True)
        if strain <= METRIC_TOLERANCE and strain <= least + CLEARLY_BETTER
    ]
    axes = {s.choice.lstrip("-")[:1] for s in fitting}
    if len(axes) > 1 and axes <= {"a", "b", "c"}:  # all angles are right angles
        conventional = [s for s in fitting if s.choice.lstrip("-").startswith("b")]
        if conventional:
            remarks.append(f"unique axis b assumed ({conventional[0].name})")
            return conventional
    return fitting


def _distinct(candidates: Sequence[Operations]) -> list[Operations]:
    return list({c.key: c for c in reversed(candidates)}.values())[::-1]


def _listed(block: _Block) -> Operations | None:
    lists = [
        [_text(value) for value in block.values.get(tag, ()) if not gemmi.cif.is_null(value)]
        for tag in _OPERATIONS
    ]
    lists = [texts for texts in lists if texts]
    if not lists:
        return None
    texts = lists[0]
    if any(_squeezed(other) != _squeezed(texts) for other in lists[1:]):
        raise UnusableStructureError("two lists of symmetry operations that differ")
    centring = [_text(v) for v in block.values.get(_CENTRINGS, ()) if not gemmi.cif.is_null(v)]
    if len(texts) * max(1, len(centring)) > settings.MAX_OPERATIONS:
        raise UnusableStructureError(f"{len(texts)} symmetry operations: more than any group has")
    try:
        listed = settings.parse_operations(texts)
        if centring:
            listed = settings.composed(listed, settings.parse_operations(centring))
    except ValueError as error:
        raise UnusableStructureError(clean_text(str(error))) from None
    if not listed.is_group:
        whole = settings.parse_operations(["x,y,z", *texts])
        if whole.is_group:
            return whole
    return listed


def _squeezed(texts: Sequence[str]) -> set[str]:
    return {re.sub(r"\s", "", text).lower() for text in texts}


def _stated_number(block: _Block) -> int | None:
    text = block.first(*_NUMBER)
    if text is None or not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= 230:
        return None
    return int(text)


def _strain(operations: Operations, lattice: NDArray[np.float64]) -> float:
    """Largest relative change of the metric under the operations."""
    metric = lattice @ lattice.T
    lengths = np.sqrt(np.diag(metric))
    turned = np.einsum("gka,kl,glb->gab", operations.rotation, metric, operations.rotation)
    return float(np.max(np.abs(turned - metric) / np.outer(lengths, lengths)))


@dataclass(frozen=True)
class _Outcome:
    """A cell filled by one choice of operations."""

    operations: Operations
    species: tuple[dict[str, float], ...]
    frac: NDArray[np.float64]
    multiplicities: tuple[int, ...]
    notes: list[str]
    lattice: NDArray[np.float64]

    def with_shared_named(self, formula: Mapping[str, float]) -> dict[str, float]:
        """Amounts in which a formula of one element a site stands for all that share the site."""
        amounts: dict[str, float] = {}
        for site in self.species:
            named = [symbol for symbol in site if symbol in formula]
            for symbol, share in site.items():
                known = symbol if symbol in formula or not named else named[0]
                amounts[known] = amounts.get(known, 0.0) + share
        return amounts

    def crystal(self, notes: Sequence[str], stated: Mapping[str, Any]) -> Crystal:
        """The crystal, with the notes of its reading and what its file states."""
        every = _limited([*notes, *self.notes])
        return Crystal(
            id="",
            lattice=self.lattice,
            species=self.species,
            frac=self.frac,
            extra={"notes": every, **stated} if every else dict(stated),
        )

    @property
    def amounts(self) -> dict[str, float]:
        amounts: dict[str, float] = {}
        for site in self.species:
            for symbol, share in site.items():
                amounts[symbol] = amounts.get(symbol, 0.0) + share
        return amounts

    @property
    def summary(self) -> str:
        content = " ".join(f"{s}{n:.4g}" for s, n in self.amounts.items())
        return f"{content}, {len(self.species)} sites"

    def is_same(self, other: _Outcome) -> bool:
        """True for the same sites with the same content."""
        if len(self.species) != len(other.species):
            return False
        for species, place in zip(self.species, self.frac, strict=True):
            away = other.frac - place
            away -= np.rint(away)
            near = np.flatnonzero(np.linalg.norm(away @ self.lattice, axis=1) < SITE_TOLERANCE_A)
            if not any(_alike(species, other.species[j]) for j in near):
                return False
        return True


def _alike(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return one.keys() == other.keys() and all(abs(one[s] - other[s]) < 1e-3 for s in one)


def _expanded(
    rows: Sequence[_Row], operations: Operations, lattice: NDArray[np.float64]
) -> _Outcome:
    """All sites of the cell: rows on special positions put there, rows that share a site joined."""
    notes: list[str] = []
    content: list[dict[str, float]] = []  # one a distinct row position
    orbits: list[NDArray[np.float64]] = []
    sites = _Sites(lattice)
    owners: list[_Row] = []
    multiplicities: list[int] = []
    n_images = 0
    for row in rows:
        orbit, moved = _orbit(row, operations, lattice)
        if moved > SITE_TOLERANCE_A:
            notes.append(f"row '{row.label}' moved {moved:.2f} angstrom to its special position")
        multiplicities.append(len(orbit))
        n_images += len(orbit)
        if n_images > MAX_SITES:
            raise UnusableStructureError(f"more than {MAX_SITES} sites in the cell")
        k = sites.find(orbit[0])
        if k is not None and len(orbits[k]) != len(orbit):
            k = None
        if k is None:
            sites.add(len(orbits), orbit)
            content.append(dict(row.content))
            orbits.append(orbit)
            owners.append(row)
            continue
        first = owners[k]
        total = sum(content[k].values()) + sum(row.content.values())
        is_copy = _alike(row.content, first.content) and (
            not np.allclose(row.frac, first.frac, atol=1e-6)
            or (row.label == first.label and total > 1.02 + 1e-9)
        )
        if is_copy:
            notes.append(f"row '{row.label}' repeats an image of row '{first.label}': read once")
            continue
        for symbol, share in row.content.items():
            content[k][symbol] = content[k].get(symbol, 0.0) + share
    species: list[dict[str, float]] = []
    for inside, orbit, owner in zip(content, orbits, owners, strict=True):
        scaled, note = scaled_occupancy(inside, f"row '{owner.label}'")
        if note:
            notes.append(note)
        species += [dict(scaled) for _ in orbit]
    return _Outcome(
        operations=operations,
        species=tuple(species),
        frac=np.concatenate(orbits),
        multiplicities=tuple(multiplicities),
        notes=notes,
        lattice=lattice,
    )


def _orbit(
    row: _Row, operations: Operations, lattice: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """(m, 3) distinct images of a row, the first its own, and how far it was moved, angstrom.

    An operation keeps the row where it is if rounding explains the difference, or if there is no
    room for both images; where that gives another multiplicity than the stated one, the one of the
    coordinates as they stand does if it agrees.
    """
    start = row.frac - np.floor(row.frac)
    step = np.abs(operations.rotation) @ row.step + row.step
    room = FULL_SITE_TOLERANCE_A if sum(row.content.values()) > 0.51 else ROUNDING_A
    place, fixed = _centred(start, operations, lattice, step, room)
    if row.multiplicity not in (None, len(operations) // int(fixed.sum())):
        other, strict = _centred(start, operations, lattice, 0.0 * step, ROUNDING_A)
        if len(operations) == row.multiplicity * int(strict.sum()):
            place, fixed = other, strict
    images = wrapped(operations.rotation @ place + operations.translation)
    kept: list[int] = []
    rest = np.arange(len(images))
    while len(rest):
        first = rest[0]
        away = images[rest] - images[first]
        away -= np.rint(away)
        same = np.linalg.norm(away @ lattice, axis=1) < 1e-3
        same[0] = True
        kept.append(int(first))
        rest = rest[~same]
    if len(kept) * int(fixed.sum()) != len(images):
        raise UnusableStructureError(
            f"row '{row.label}' lies neither on a special position nor off it; give more digits"
        )
    own = images[kept]
    away = own - place
    away -= np.rint(away)
    nearest = int(np.argmin(np.linalg.norm(away @ lattice, axis=1)))
    order = [nearest, *(k for k in range(len(own)) if k != nearest)]
    return own[order], float(np.linalg.norm((place - start) @ lattice))


def _centred(
    start: NDArray[np.float64],
    operations: Operations,
    lattice: NDArray[np.float64],
    step: NDArray[np.float64],
    room_A: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The mean of the images that are one with the position, and which operations give them."""
    place = start
    fixed = np.zeros(len(operations), dtype=bool)
    for _ in range(3):
        away = operations.rotation @ place + operations.translation - place
        away -= np.rint(away)
        near = np.linalg.norm(away @ lattice, axis=1) < room_A
        fixed = near | np.all(np.abs(away) <= step + 1e-9, axis=1)
        place = place + away[fixed].mean(axis=0)
    return place, fixed


class _Sites:
    """Where the sites are, for quick answers: thousands of rows in P 1 are common."""

    def __init__(self, lattice: NDArray[np.float64]):
        self._lattice = lattice
        widths = perpendicular_widths(lattice)
        self._shape = np.maximum(1, np.minimum(widths / 0.5, 200)).astype(int)
        self._boxes: dict[tuple[int, ...], list[tuple[int, NDArray[np.float64]]]] = {}

    def add(self, number: int, orbit: NDArray[np.float64]) -> None:
        """Enter the images of an orbit."""
        boxes = (np.floor(orbit * self._shape).astype(int) % self._shape).tolist()
        for box, place in zip(boxes, orbit, strict=True):
            self._boxes.setdefault(tuple(box), []).append((number, place))

    def find(self, place: NDArray[np.float64]) -> int | None:
        """Number of an orbit that has an image there."""
        box = np.floor(place * self._shape).astype(int)
        for shift in itertools.product((0, -1, 1), repeat=3):
            near = self._boxes.get(tuple(((box + shift) % self._shape).tolist()), ())
            for number, other in near:
                away = other - place
                away -= np.rint(away)
                if np.linalg.norm(away @ self._lattice) < SITE_TOLERANCE_A:
                    return number
        return None


def _formula_fault(
    amounts: Mapping[str, float],
    formula: Mapping[str, float] | None,
    text: str,
    units: float | None,
    hydrogens: bool,
) -> str | None:
    """How the content of the cell contradicts the stated formula; None if it does not."""
    if formula is None:
        return None
    heavy = sum(n for s, n in formula.items() if s != "H") or formula.get("H", 0.0)
    own = sum(n for s, n in amounts.items() if s != "H") or amounts.get("H", 0.0)
    ratio = own / heavy
    scales = [ratio if units is None else units]
    if units is not None and all(n / units % 1 < 1e-6 for n in formula.values()):
        scales.append(1.0)  # pymatgen states the sum of the whole cell beside its formula units
    if any(_agrees(amounts, formula, scale, hydrogens) for scale in scales):
        return None
    if _agrees(amounts, formula, ratio, hydrogens):
        return f"the cell holds {ratio:.4g} formula units, _cell_formula_units_Z says {units:g}"
    whole = " ".join(f"{s}{n:.4g}" for s, n in amounts.items())
    stated = f"_chemical_formula_sum says {clean_text(text)}" + (
        f", Z = {units:g}" if units else ""
    )
    return f"read as {whole} in the cell, but {stated}"


def _agrees(
    amounts: Mapping[str, float], formula: Mapping[str, float], scale: float, hydrogens: bool
) -> bool:
    if not 0 < scale < float("inf"):
        return False
    for symbol in amounts.keys() | formula.keys():
        own, stated = amounts.get(symbol, 0.0) / scale, formula.get(symbol, 0.0)
        if symbol == "H" and hydrogens and own <= stated + FORMULA_TOLERANCE_ATOMS:
            continue
        allowed = max(FORMULA_TOLERANCE * stated, FORMULA_TOLERANCE_ATOMS)
        is_missing = min(own, stated) == 0.0 and max(own, stated) > 0.005
        if is_missing or abs(own - stated) > allowed:
            return False
    return True


def _multiplicity_fault(rows: Sequence[_Row], outcome: _Outcome) -> str | None:
    """How stated multiplicities contradict the filled cell, where no formula does."""
    for row, own in zip(rows, outcome.multiplicities, strict=True):
        if row.multiplicity not in (None, own) and len(outcome.operations) > 1:
            return (
                f"row '{row.label}' gives {own} sites in the cell, its multiplicity says "
                f"{row.multiplicity}"
            )
    return None


def _plausible(outcomes: Sequence[_Outcome], lattice: NDArray[np.float64]) -> list[_Outcome]:
    """Those without two full sites closer than atoms come; all where none or each is so."""
    kept = [o for o in outcomes if _closest_A(o, lattice) > 0.9]
    return list(kept or outcomes)


def _closest_A(outcome: _Outcome, lattice: NDArray[np.float64]) -> float:
    total = np.array([sum(s.values()) for s in outcome.species])
    closest = np.inf
    for k in range(len(total) - 1):
        away = outcome.frac[k + 1 :] - outcome.frac[k]
        away -= np.rint(away)
        distance = np.linalg.norm(away @ lattice, axis=1)
        both = total[k + 1 :] + total[k] > 1.02
        if both.any():
            closest = min(closest, float(distance[both].min()))
    return closest


def _second_reader_fault(
    block: _Block, rows: Sequence[_Row], chosen: _Outcome, lattice: NDArray[np.float64]
) -> str | None:
    """How gemmi's own reading of rows and operations gives another crystal; None if it does not.

    Rows with a note are not compared (gemmi knows no mixtures, vacancies or OH), nor operations
    that it does not find.
    """
    assert block.source is not None
    try:
        other = gemmi.make_small_structure_from_block(block.source)
    except (RuntimeError, ValueError, IndexError):
        return None
    if len(other.sites) == len(block.values["_atom_site_label"]):
        for row in rows:
            site = other.sites[row.number]
            element = ISOTOPES.get(site.element.name, site.element.name)
            theirs = {element: site.occ}
            place = np.array(site.fract.tolist())
            if row.is_noted or element == "X" or np.isnan(place).any():
                continue
            if not _alike(row.content, theirs) or not np.allclose(place, row.frac, atol=1e-6):
                return (
                    f"row '{row.label}' is read as {dict(row.content)} at "
                    f"{np.round(row.frac, 5).tolist()}, by gemmi as {theirs} at "
                    f"{np.round(place, 5).tolist()}"
                )
    if other.spacegroup is None:
        return None
    operations = list(other.spacegroup.operations())
    theirs_all = Operations(
        rotation=np.array([op.rot for op in operations], dtype=np.int64) // gemmi.Op.DEN,
        translation=settings.snapped(
            np.array([op.tran for op in operations], dtype=float) / gemmi.Op.DEN
        ),
        name=f"{other.spacegroup.xhm()} of gemmi",
    )
    if theirs_all.key == chosen.operations.key:
        return None
    try:
        second = _expanded(rows, theirs_all, lattice)
    except UnusableStructureError:
        return None
    same = len(second.species) == len(chosen.species) and all(
        abs(second.amounts.get(s, 0.0) - n) < 1e-3 for s, n in chosen.amounts.items()
    )
    if same:
        return None
    return (
        f"two readers disagree: {chosen.summary} with {chosen.operations.name}, "
        f"{second.summary} with {theirs_all.name}"
    )
