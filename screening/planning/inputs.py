"""What a user gives to a plan: files, chemistry names and values, as rows of quantities."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from pymatgen.core import Composition

from ionbridge.models.adaptation.multi_fidelity import UNSTATED, asked_method
from ionbridge.screening.cell.base_cells import is_fit
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import quantity
from ionbridge.screening.planning.records import LABEL
from ionbridge.screening.planning.settings_files import read_settings
from ionbridge.screening.prediction.conductivities import why_not_learnable
from ionbridge.screening.prediction.files import read_input
from ionbridge.screening.table import Row, given_table
from ionbridge.structures.configuration import nearest
from ionbridge.structures.features.diffusivity_labels import (
    is_diffusivity_file,
    read_diffusivities,
)
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.io.json_records import barrier_label, crystal_to_json, hop_to_json
from ionbridge.structures.io.site_symbols import ELEMENT_SYMBOLS
from ionbridge.structures.io.tables import ConductivityRow, conductivity_row, open_table
from ionbridge.structures.plain_text import number_of
from ionbridge.structures.quantities import QUANTITIES
from ionbridge.structures.records import WORKING_IONS, Crystal, Hop

CHEMISTRY = "chemistry:"
CELL_CHEMISTRIES = {
    "LCO": ("LiCoO2", "Ai2020_extended"),
    "LFP": ("LiFePO4", "Prada2013_balanced"),
    "NMC": ("LiNi0.8Mn0.1Co0.1O2", "Chen2020"),
}
"""Names of cell chemistries, with the formula of the cathode and the base cell."""

_TRAJECTORY_NAMES = ("XDATCAR", "vasprun.xml")
_TRAJECTORY_SUFFIXES = (".traj",)
_FRAME_SUFFIXES = (".extxyz", ".xyz")
INTERVAL = "frame_interval="
_VALUE_FORM = re.compile(
    r"^(?P<name>[a-z_]+)=(?P<value>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(?P<unit>.*)$"
)
EARLY_COLUMN = "log10_var_dQ_100_10"
"""What a table of early cycles has: log10 of the variance of Q100(V) - Q10(V), Ah^2."""


@dataclass(frozen=True, eq=False)
class Given:
    """One thing that the user gave.

    Attributes:
        name: As the user wrote it.
        tables: Rows of each quantity that it holds, one a record.
        found: What was found in it, in words.
        failed: Rows of its records that cannot be used, with their reasons.
        order: Of a file of records or a folder, all of them as they came: the id of one that can be
            used, the row of one that cannot.
    """

    name: str
    tables: Mapping[str, tuple[Row, ...]]
    found: str = ""
    failed: tuple[Row, ...] = field(default=())
    order: tuple[str | Row, ...] = field(default=())


def read_givens(texts: Sequence[str | Path]) -> list[Given]:
    """All of ``--given``: files, ``chemistry:NAME`` and ``QUANTITY=VALUE UNIT``.

    Raises:
        InputError: One cannot be read, its unit does not fit, or two contradict each other.
    """
    interval = any(str(text).startswith(INTERVAL) for text in texts)
    givens = [read_given(text, frames=interval) for text in texts]
    check_consistent(givens)
    return [_only_what_it_is_for(given, givens) for given in givens]


MATERIALS = (
    "crystal",
    "hop",
    "composition",
    "diffusivity",
    "chemical_diffusivity",
    "trajectory",
)


def _only_what_it_is_for(given: Given, givens: Sequence[Given]) -> Given:
    """Labels beside materials teach; a cell chemistry beside materials names the cell alone.

    Beside an electrode that is made otherwise, a cell chemistry is no longer the whole cell.
    """
    others = [other for other in givens if other is not given]

    def beside(*names: str, but: str = "") -> bool:
        return any(n in other.tables for other in others if but not in other.tables for n in names)

    tables = dict(given.tables)
    for labels in ("diffusivity_labels", "conductivity_labels"):
        if labels in tables and beside("crystal", "composition", but=labels):
            tables = {labels: tables[labels]}
    if "base_cell" in tables and beside(*MATERIALS):
        tables = {"base_cell": tables["base_cell"]}
    if "base_cell" in tables and beside("coating", "electrode_design"):
        tables.pop("cell_design", None)
    return replace(given, tables=tables)


def read_given(text: str | Path, frames: bool = False) -> Given:
    """One file, chemistry name or value.

    Args:
        text: As the user wrote it.
        frames: Whether a time between frames is given beside it: then an extended XYZ file holds
            the frames of a trajectory, not crystals.

    Raises:
        InputError: It cannot be read or understood.
    """
    name = str(text)
    if name.startswith(CHEMISTRY):
        return _chemistry(name)
    if "=" in name and not Path(name).exists():
        return _value(name)
    path = Path(name)
    if is_fit(name) or path.suffix in (".yaml", ".yml"):
        return _measured_cell(name, path)
    if not path.exists():
        raise InputError(
            f"--given {name}: no such file, and neither chemistry:NAME nor QUANTITY=VALUE"
        )
    suffixes = (*_TRAJECTORY_SUFFIXES, *(_FRAME_SUFFIXES if frames else ()))
    if path.is_file() and (
        any(name in path.name for name in _TRAJECTORY_NAMES) or path.suffix in suffixes
    ):
        row = {"id": path.name, "path": str(path.resolve()), "status": "ok"}
        return Given(name, {"trajectory": (row,)}, "found a trajectory")
    if path.is_file() and is_diffusivity_file(path):
        return _diffusivities(name, path)
    if path.suffix == ".json":
        special = _settings(path)
        if special is not None:
            return special
    if path.name.endswith(".csv"):
        special = _cell_table(path)
        if special is not None:
            return special
    return _records(name, path)


def _measured_cell(name: str, path: Path) -> Given:
    """A fitted cell, or cells with their measured discharges."""
    if path.is_dir():
        from ionbridge.screening.cell.fitted import read_document

        row = {"id": path.resolve().name, "fit": read_document(path), "status": "ok"}
        return Given(name, {"fitted_cell": (row,)}, "found a fitted cell")
    from ionbridge.screening.cell.experiments import measured_cells

    rows = tuple(
        {
            "id": cell,
            "cells_file": str(path.resolve()),
            "curves": [str(curve.resolve()) for curve in curves],
            "checksums": [sha256(file.read_bytes()).hexdigest() for file in (path, *curves)],
            "status": "ok",
        }
        for cell, curves in measured_cells(path).items()
    )
    return Given(
        name, {"measured_discharges": rows}, f"found {number_of(len(rows), 'measured cell')}"
    )


def _diffusivities(name: str, path: Path) -> Given:
    """Labels of diffusivity, and their compositions."""
    found = read_diffusivities(path)
    failed = tuple({"id": f.id, "status": "failed", "reason": f.reason} for f in found.failed)
    if not found.rows:
        why = found.failed[0].reason if found.failed else "it is empty"
        raise InputError(f"--given {name}: not one usable diffusivity ({why})")
    by_formula = {row.composition.reduced_formula: row for row in found.rows}
    compositions = tuple(
        {**plan_row_of_composition(r), "id": r.formula} for r in by_formula.values()
    )
    text = f"found {len(found.rows)} diffusivities of {len(by_formula)} compositions"
    labels = tuple(_label_row(row, k) for k, row in enumerate(found.rows))
    tables = {"diffusivity_labels": labels, "composition": compositions}
    return Given(name, tables, text, failed)


def _label_row(row: ConductivityRow, k: int) -> Row:
    """A composition with its label, as a row of a plan."""
    assert row.label is not None
    label = {name: value for name, value in asdict(row.label).items() if name != "quantity"}
    value = label.pop("value")
    return {
        **plan_row_of_composition(row),
        "id": f"{row.id}{LABEL}{k}",
        "doi": row.doi,
        row.label.quantity: value,
        **label,
    }


def _records(name: str, path: Path) -> Given:
    """Hops, crystals or rows of a conductivity table."""
    data = read_input([path])
    tables: dict[str, list[Row]] = {}
    failed: list[Row] = []
    order: list[str | Row] = []
    for record in data.records:
        order.append(record.id)
        if isinstance(record, Hop):
            row = {**hop_to_json(record), "status": "ok"}
            tables.setdefault("hop", []).append(row)
            if record.barrier_eV is not None:
                tables.setdefault("hop_labels", []).append(row)
        elif isinstance(record, Crystal):
            tables.setdefault("crystal", []).append({**crystal_to_json(record), "status": "ok"})
        elif isinstance(record, ConductivityRow):
            tables.setdefault("composition", []).append(plan_row_of_composition(record))
            if not why_not_learnable(record):
                labels = tables.setdefault("conductivity_labels", [])
                labels.append(_label_row(record, len(labels)))
        else:
            failed.append({"id": record.id, "status": "failed", "reason": record.reason})
            order[-1] = failed[-1]
    if not tables:
        why = f"{failed[0]['id']}: {failed[0]['reason']}" if failed else data.found
        raise InputError(f"--given {name}: not one usable record ({why})")
    _check_barriers(name, tables.get("hop_labels", ()))
    labelled = len(tables.get("hop_labels", ()))
    bounds = sum(barrier_label(row)[1] != "=" for row in tables.get("hop_labels", ()))
    if labelled and labelled < len(tables["hop"]):  # the others are what the plan is for
        tables["hop"] = [row for row in tables["hop"] if row.get("barrier_eV") is None]
    found = data.found + (f", {labelled} with barrier_eV" if labelled else "")
    found += f" ({bounds} of them bounds)" if bounds else ""
    if labelled > bounds:
        methods = [str(row.get("method") or UNSTATED) for row in tables["hop_labels"]]
        rows = zip(tables["hop_labels"], methods, strict=True)
        asked = asked_method([m for row, m in rows if barrier_label(row)[1] == "="])
        pairs = zip(tables["hop_labels"], methods, strict=True)
        tables["hop_labels"] = [row for row, method in pairs if method == asked]
        if len(tables["hop_labels"]) < labelled:
            found += f", learnt from are the {len(tables['hop_labels'])} of method {asked} alone"
    found_rows = {k: tuple(v) for k, v in tables.items()}
    return Given(name, found_rows, found, tuple(failed), tuple(order))


def _check_barriers(name: str, rows: Sequence[Row]) -> None:
    """Refuse labels that are most likely in another unit."""
    low, high = QUANTITIES["migration_barrier"].plausible
    for row in rows:
        value, _ = barrier_label(row)
        assert value is not None
        if not low <= value <= high:
            raise InputError(
                f"--given {name}: hop {row['id']} has barrier_eV {value:g}, outside {low:g} to "
                f"{high:g} eV; is the unit right (meV)?"
            )


def plan_row_of_composition(row: ConductivityRow) -> Row:
    """The row of a conductivity table as a row of a plan."""
    return {
        "id": row.id,
        "formula": row.composition.formula.replace(" ", ""),
        "cell": None if row.cell is None else list(row.cell),
        "space_group": row.space_group,
        "family": row.family,
        "status": "ok",
    }


def _chemistry(name: str) -> Given:
    """A formula, a framework family, or a cell chemistry."""
    chemistry = name.removeprefix(CHEMISTRY).strip()
    known = reference_crystals()
    tables: dict[str, tuple[Row, ...]] = {}
    formula = chemistry
    if chemistry.upper() in CELL_CHEMISTRIES:
        formula, base_cell = CELL_CHEMISTRIES[chemistry.upper()]
        cell = {"id": base_cell, "base_cell": base_cell, "status": "ok"}
        tables |= {"base_cell": (cell,), "cell_design": (cell,)}
    family = canonical_family(chemistry)
    in_family = [c for c in known if c.family and canonical_family(c.family) == family]
    composition = None if in_family else _formula(formula)
    if composition is None and not in_family:
        names = [*CELL_CHEMISTRIES, *sorted({str(c.family) for c in known if c.family})]
        raise InputError(
            f"--given {name}: neither a formula, nor a framework family, nor one of "
            f"{', '.join(CELL_CHEMISTRIES)}; {nearest(chemistry, names)}"
        )
    if composition is not None and not any(composition[ion] for ion in WORKING_IONS):
        raise InputError(
            f"--given {name}: {formula} holds no working ion ({', '.join(WORKING_IONS)})"
        )
    if composition is not None:
        reduced = composition.reduced_formula
        in_family = [c for c in known if c.formula == reduced]
        table = conductivity_row({"Formula": formula}, chemistry)
        assert isinstance(table, ConductivityRow)
        tables["composition"] = (plan_row_of_composition(table),)
    if in_family:
        tables["crystal"] = tuple({**crystal_to_json(c), "status": "ok"} for c in in_family)
    parts = ", ".join(f"{len(rows)} {kind}" for kind, rows in tables.items())
    return Given(name, tables, f"{chemistry}: {parts}")


def _formula(text: str) -> Composition | None:
    """A composition, where the text is a formula of known elements with a working ion."""
    symbols = re.findall(r"[A-Z][a-z]?", text)
    if not symbols or not set(symbols) <= ELEMENT_SYMBOLS or not re.fullmatch(r"[\w.()]+", text):
        return None
    try:
        return Composition(text)
    except Exception:  # pymatgen raises ValueError, KeyError, TypeError by turns
        return None


def _value(text: str) -> Given:
    """``QUANTITY=VALUE UNIT``, turned into the unit of the quantity."""
    match = _VALUE_FORM.match(text)
    if match is None:
        raise InputError(f"--given {text}: expected QUANTITY=VALUE UNIT, e.g. voltage=3.4V")
    known = quantity(match["name"])
    if not known.is_number:
        raise InputError(f"--given {text}: {known.name} is no number; give {known.given_by}")
    units = known.units
    unit = match["unit"].strip()
    if unit not in units:
        expected = ", ".join(u or "no unit" for u in units)
        raise InputError(
            f"--given {text}: the unit '{unit}' does not fit {known.name}; expected {expected}"
        )
    value = float(match["value"]) * units[unit]
    if known.is_log10:
        if value <= 0:
            raise InputError(f"--given {text}: {known.name} must be positive")
        value = math.log10(value)
    low, high = known.plausible
    if not low <= value <= high:
        raise InputError(
            f"--given {text}: {value:g} {known.unit} is outside {low:g} to {high:g}; "
            "is the unit right?"
        )
    row = {"id": "given", known.column: value, "std": 0.0, "in_domain": True, "status": "ok"}
    return Given(text, {known.name: (row,)}, f"{known.name} {value:g} {known.unit}")


def _settings(path: Path) -> Given | None:
    """A JSON object that is a coating, a design, a duty or the like; None for anything else."""
    found = read_settings(path)
    if found is None:
        return None
    name, values = found
    return Given(str(path), {name: ({"id": path.stem, **values, "status": "ok"},)}, name)


def _cell_table(path: Path) -> Given | None:
    """Cell designs or early cycles of cells; None for another table."""
    try:
        with open_table(path) as (columns, _):
            pass
    except (OSError, ValueError) as error:
        raise InputError(f"--given {path}: {error}") from error
    if "base_cell" in columns:
        from ionbridge.screening.cell.designs import read_designs

        has_temperature = "temperature_K" in columns
        rows = tuple(
            {
                "id": design.design_id,
                "base_cell": design.base_cell,
                "c_rate": design.c_rate,
                "temperature_K": design.temperature_K if has_temperature else None,
                "parameters": dict(design.parameters),
                "status": "failed" if design.trouble else "ok",
                "reason": design.trouble,
            }
            for design in read_designs(path)
        )
        return Given(
            str(path), {"cell_design": rows}, f"found {number_of(len(rows), 'cell design')}"
        )
    if EARLY_COLUMN in columns:
        _, cells = given_table(path)
        early = tuple({"id": c.get("cell") or f"cell{k}", **c} for k, c in enumerate(cells))
        return Given(
            str(path),
            {"early_cycles": early},
            f"found early cycles of {number_of(len(early), 'cell')}",
        )
    return None


def check_consistent(givens: Sequence[Given]) -> None:
    """Refuse givens that contradict each other.

    Raises:
        InputError: One id with two different labels, or crystals of another chemistry than named.
    """
    labels: dict[str, tuple[str, str]] = {}
    for given in givens:
        for row in given.tables.get("hop_labels", ()):
            value, bound = barrier_label(row)
            text = f"{bound}{value:.6g}".lstrip("=")
            before = labels.setdefault(row["id"], (text, given.name))
            if before[0] != text:
                raise InputError(
                    f"contradictory givens: hop {row['id']} has barrier_eV {before[0]} in "
                    f"{before[1]} and {text} in {given.name}"
                )
        for name, known in QUANTITIES.items():
            others = [g for g in givens if known.is_number and name in g.tables]
            if len(others) > 1:
                raise InputError(
                    f"contradictory givens: {name} is given twice "
                    f"({', '.join(g.name for g in others)})"
                )
    _check_chemistry(givens)


def _check_chemistry(givens: Sequence[Given]) -> None:
    """Crystals, hops and named chemistries must share a working ion."""
    named = [g for g in givens if g.name.startswith(CHEMISTRY)]
    if not named:
        return
    for given in givens:
        if given in named:
            continue
        own = given_ions(given)
        for other in named:
            theirs = given_ions(other)
            if own and theirs and not own & theirs:
                raise InputError(
                    f"contradictory givens: {given.name} moves {', '.join(sorted(own))}, "
                    f"{other.name} {', '.join(sorted(theirs))}"
                )


def given_ions(given: Given) -> set[str]:
    """Working ions of the records of a given."""
    ions = set()
    for name in ("hop", "crystal", "composition"):
        for row in given.tables.get(name, ()):
            ion = row_ion(row)
            if ion:
                ions.add(ion)
    return ions


def row_ion(row: Row) -> str | None:
    """Working ion of a row of hops, crystals or compositions."""
    if row.get("working_ion"):
        return str(row["working_ion"])
    return next((ion for ion in WORKING_IONS if ion in row_elements(row)), None)


def row_elements(row: Row) -> set[str]:
    """Elements of a row of hops, crystals or compositions."""
    elements: set[str] = set()
    for site in (*row.get("species", ()), *row.get("host_species", ())):
        elements |= set(site) if isinstance(site, dict) else {site}
    if not elements and row.get("formula"):
        elements = {str(e) for e in Composition(str(row["formula"]))}
    if row.get("working_ion"):
        elements.add(str(row["working_ion"]))
    return elements
