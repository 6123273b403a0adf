"""From what is known of a measured cell to the parameter set that its fit starts from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.models.cells.cell_discrepancy import Kind
from ionbridge.models.cells.measured_cell import CellBasis, Prior
from ionbridge.screening.cell.base_cells import BASE_CELLS, base_cell, import_pybamm
from ionbridge.screening.cell.bpx import from_document
from ionbridge.screening.cell.cell_tables import tabulate
from ionbridge.screening.cell.measured_dfn import DfnCell
from ionbridge.screening.errors import InputError

OWN, GENERIC = "own", "generic"
STAND_IN = "stand-in"
"""Whether a base set describes this very cell, or another of its chemistry."""

CATHODE_CLASSES: tuple[tuple[str, frozenset[str], str], ...] = (
    ("polyanion", frozenset({"V", "P"}), "Chayambuka2022"),
    ("olivine", frozenset({"Fe", "P"}), "Prada2013_balanced"),
    ("layered", frozenset({"Ni", "Co", "Al"}), "NCA_Kim2011"),
    ("layered", frozenset({"Ni", "Mn", "Co"}), "Chen2020"),
    ("layered", frozenset({"Co"}), "Ai2020_extended"),
    ("layered", frozenset({"Ni"}), "Chen2020"),
    ("spinel", frozenset({"Mn"}), "Mohtat2020"),
)
"""Class of a cathode, the elements that tell it, and the set that stands in for it."""
LITTLE_NICKEL, LITTLE_NICKEL_BASE = 0.6, "Mohtat2020"
SHORT_NAMES = {
    "LCO": "LiCoO2", "LFP": "LiFePO4", "NMC": "LiNi0.33Mn0.33Co0.33O2",
    "NMC111": "LiNi0.33Mn0.33Co0.33O2", "NMC532": "LiNi0.5Mn0.3Co0.2O2",
    "NMC622": "LiNi0.6Mn0.2Co0.2O2", "NMC811": "LiNi0.8Mn0.1Co0.1O2",
    "NCA": "LiNi0.8Co0.15Al0.05O2", "LMO": "LiMn2O4", "NVPF": "Na3V2P2O8F3", "NVP": "Na3V2P3O12",
}  # fmt: skip
ENDED_CURVES = {"Ai2020": "Ai2020_extended"}
"""Sets whose open-circuit curve ends within a discharge, and the one that goes on."""

GENERIC_WIDER = {
    "capacity": 3.0, "negative_excess": 4.0, "negative_full": 6.0, "positive_full": 6.0,
    "resistance": 2.0,
}  # fmt: skip
"""How much less a set of another cell says, over one of this cell."""

VOLUME_M3_PER_AH, HEAT_J_K_M3, LOSS_W_K_M2 = 8e-6, 2.0e6, 35.0
"""Of pouch and cylindrical cells: the measured ones have 7, 8.5 and 10 cm3/Ah, 1.7 to 1.9
MJ/K/m3, and, where the temperature was measured, lose 35 W/K/m2."""
ISOTHERMAL_BELOW_AH = 0.1
"""A smaller cell is held at the temperature of its surroundings."""


@dataclass(frozen=True, eq=False)
class FitBase:
    """What a fit starts from.

    Attributes:
        label: For a person.
        origin: How it is made again: ``{"set": NAME}`` or ``{"bpx": document}``, and ``area``, the
            factor to its electrodes' area.
        standing: OWN or GENERIC.
        values: ``pybamm.ParameterValues``.
        basis: The same as tables, with the heat balance.
        kind: What the cell shares with others.
        prior: Of the fit's parameters.
        notes: What was guessed.
    """

    label: str
    origin: Mapping[str, Any]
    standing: str
    values: Any
    basis: CellBasis
    kind: Kind
    prior: Prior
    notes: tuple[str, ...]

    @cached_property
    def dfn(self) -> DfnCell:
        """The set as a DFN whose PARAMETERS can be set."""
        return DfnCell(self.values, self.basis)


def fit_base(
    name: str,
    entry: Mapping[str, Any],
    folders: tuple[Path, ...],
    nominal_Ah: float,
    prior: Prior | None = None,
) -> FitBase:
    """The base set of a cell.

    Args:
        name: Of the cell.
        entry: What ``cells.yaml`` says of it.
        folders: Where a file that it names may lie.
        nominal_Ah: Capacity that C-rates refer to.
        prior: Of kinetics and balance, for a set of the cell itself.

    Raises:
        InputError: A half cell, or an electrode that no set has.
    """
    chemistry = entry.get("chemistry")
    if not isinstance(chemistry, Mapping) or not {"positive", "negative"} <= set(chemistry):
        raise InputError(f"{name}: chemistry needs a positive and a negative electrode")
    positive, negative = str(chemistry["positive"]), str(chemistry["negative"])
    if re.search(r"\b(Li|Na|lithium|sodium)( metal)?$", negative.strip()):
        raise InputError(f"{name}: a half cell against {negative}; the fit takes full cells")
    cathode_class, stand_in = _cathode(name, positive, entry)
    kind = Kind(name, _negative(name, negative, cathode_class), cathode_class)
    notes: list[str] = []
    label, origin, standing = _origin(entry, folders, stand_in, notes)
    if standing == GENERIC:
        # what models of measured cells lack was learnt with those cells' own sets
        kind = Kind(name, f"{kind.negative}, {STAND_IN}", f"{kind.cathode_class}, {STAND_IN}")
        notes.append(
            f"no parameter set of this cell is given: {label} stands in for {positive} against "
            f"{negative}, its electrodes scaled to {nominal_Ah:g} Ah"
        )
        origin = {**origin, "area": _area(origin, entry, nominal_Ah)}
    return remake(label, origin, standing, entry, kind, nominal_Ah, prior, tuple(notes))


def remake(
    label: str,
    origin: Mapping[str, Any],
    standing: str,
    entry: Mapping[str, Any],
    kind: Kind,
    nominal_Ah: float,
    prior: Prior | None = None,
    notes: tuple[str, ...] = (),
) -> FitBase:
    """A base set from its origin; see ``FitBase``."""
    values = _values(origin)
    area = float(origin.get("area", 1.0))
    values.update({"Electrode width [m]": float(values["Electrode width [m]"]) * area})
    tables = tabulate(values, kind.cell)
    lower = entry.get("lower_cutoff_V")
    if lower is None:
        lower = tables.scalars["Lower voltage cut-off [V]"]
        notes = (*notes, f"lower_cutoff_V is not stated: {lower:g}, that of {label}")
    capacity, loss, about = _heat(tables.scalars, standing, nominal_Ah)
    prior = prior or Prior()
    if standing == GENERIC:
        std = {k: v * GENERIC_WIDER.get(k, 1.5) for k, v in prior.std.items()}
        prior = Prior({}, std)
    basis = CellBasis(
        tables=tables,
        diffusivity_shapes=_shapes(values),
        nominal_Ah=nominal_Ah,
        lower_V=float(lower),
        heat_capacity_J_K=capacity,
        heat_loss_W_K=loss,
    )
    return FitBase(label, origin, standing, values, basis, kind, prior, (*notes, about))


def _cathode(name: str, formula: str, entry: Mapping[str, Any]) -> tuple[str, str]:
    """Class of a cathode and the set that stands in for it."""
    spelt = SHORT_NAMES.get(formula.strip().upper().replace("-", ""), formula)
    elements = set(re.findall(r"[A-Z][a-z]?", spelt))
    ion = str(entry.get("working_ion") or ("Na" if "Na" in elements else "Li"))
    known = [(kind, base) for kind, needed, base in CATHODE_CLASSES if needed <= elements]
    if not known:
        raise InputError(
            f"{name}: no parameter set for a cathode '{formula}'; known are those with "
            "Co, Ni, Mn, Fe-P and V-P, or give a BPX file as parameter_set"
        )
    cathode_class, base = known[0]
    if ion == "Na" and base != "Chayambuka2022":
        cathode_class, base = f"sodium {cathode_class}", "Chayambuka2022"
    if ion not in ("Li", "Na"):
        raise InputError(f"{name}: no parameter set of a cell with {ion}")
    nickel = re.search(r"Ni([0-9]+)/([0-9]+)|Ni([0-9.]+)", spelt)
    if base == "Chen2020" and nickel and "Mn" in elements:
        share = float(nickel[3]) if nickel[3] else float(nickel[1]) / float(nickel[2])
        if share < LITTLE_NICKEL:
            base = LITTLE_NICKEL_BASE
    return cathode_class, base


def _negative(name: str, text: str, cathode_class: str) -> str:
    """Material of the negative electrode in one word."""
    lower = text.lower()
    if "hard" in lower:
        return "hard carbon"
    if "graphite" in lower or lower in ("c", "carbon", "c6"):
        return "graphite"
    if any(word in lower for word in ("titanate", "lto", "li4ti5")):
        raise InputError(f"{name}: no parameter set for a negative electrode of {text}")
    return lower


def _origin(
    entry: Mapping[str, Any], folders: tuple[Path, ...], stand_in: str, notes: list[str]
) -> tuple[str, dict[str, Any], str]:
    """Label, origin and standing of the set that an entry names, else of the stand-in."""
    named = str(entry.get("parameter_set") or "")
    for file in re.findall(r"[\w.\-/]+\.json", named):
        for folder in folders:
            path = folder / file
            if path.is_file():
                document = _document(path)
                if document is not None:
                    version = str(document["Header"].get("BPX"))
                    if version.split(".")[0] == "0":
                        notes.append(f"{path.name}: BPX {version}, read by the bpx package's rules")
                    return path.name, {"bpx": document}, OWN
                notes.append(f"{path.name} is no BPX file")
                break
        else:
            notes.append(f"{file}, named as parameter_set, was not found")
    known = {**dict.fromkeys(import_pybamm().parameter_sets), **dict.fromkeys(BASE_CELLS)}
    words = re.findall(r"\w+", named)
    for word in words:
        if word in known:
            name = ENDED_CURVES.get(word, word)
            return name, {"set": name}, OWN
    if stand_in == "Chayambuka2022" and "chayambuka" in named.lower():
        notes.append("PyBaMM's Chayambuka2022, the same set, is used")
        return stand_in, {"set": stand_in}, OWN
    return stand_in, {"set": stand_in}, GENERIC


def _document(path: Path) -> dict[str, Any] | None:
    """A BPX document, None for another file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    is_bpx = isinstance(found, Mapping) and "Header" in found and "Parameterisation" in found
    return dict(found) if is_bpx else None


def _values(origin: Mapping[str, Any]) -> Any:
    """Fresh ``pybamm.ParameterValues`` of an origin."""
    if "bpx" in origin:
        return from_document(dict(origin["bpx"]), "parameter_set")
    name = str(origin["set"])
    if name in BASE_CELLS:
        return base_cell(name).values
    return import_pybamm().ParameterValues(name)


def _area(origin: Mapping[str, Any], entry: Mapping[str, Any], nominal_Ah: float) -> float:
    """Factor to a set's electrode area."""
    values = _values(origin)
    layers = float(values["Number of electrodes connected in parallel to make a cell"])
    own = float(values["Electrode height [m]"]) * float(values["Electrode width [m]"]) * layers
    area = entry.get("electrode_area_m2")
    pairs = entry.get("electrode_pairs_in_parallel", 1)
    thick = entry.get("positive_thickness_m")
    if isinstance(area, int | float) and isinstance(thick, int | float):
        ratio = float(thick) / float(values["Positive electrode thickness [m]"])
        return float(area) * float(pairs) * ratio / own
    return nominal_Ah / float(values["Nominal cell capacity [A.h]"])


def _shapes(values: Any) -> dict[str, Any]:
    """Logarithms of the particle diffusivities over those at half filling."""
    pybamm = import_pybamm()
    symbols = pybamm.LithiumIonParameters()
    filling = np.clip(np.linspace(0.0, 1.0, 401), 1e-3, 1.0 - 1e-3)
    kelvin = pybamm.Scalar(float(values["Reference temperature [K]"]))
    found = {}
    for domain, symbol in (("Negative", symbols.n.prim), ("Positive", symbols.p.prim)):
        diffusivity = values.process_symbol(
            symbol.D(pybamm.Vector(filling) * symbol.c_max, kelvin)
        ).evaluate()
        row = np.broadcast_to(np.ravel(np.asarray(diffusivity, dtype=float)), filling.shape)
        logs = np.log(np.maximum(row, 1e-30))
        found[domain] = logs - logs[len(logs) // 2]
    return found


def _heat(
    scalars: Mapping[str, float], standing: str, nominal_Ah: float
) -> tuple[float, float, str]:
    """Heat capacity in J/K, heat loss in W/K, and what they are taken from."""
    if nominal_Ah < ISOTHERMAL_BELOW_AH:
        return np.inf, 1.0, f"below {ISOTHERMAL_BELOW_AH:g} Ah the cell is taken as isothermal"
    volume = scalars.get("Cell volume [m3]") if standing == OWN else None
    surface = scalars.get("Cell cooling surface area [m2]") if standing == OWN else None
    about = "volume and surface of the parameter set"
    if not volume or not surface:
        volume = VOLUME_M3_PER_AH * nominal_Ah
        surface = 8.0 * volume ** (2.0 / 3.0)
        about = f"a volume of {VOLUME_M3_PER_AH * 1e6:g} cm3/Ah"
    transfer = scalars.get("Total heat transfer coefficient [W.m-2.K-1]") or LOSS_W_K_M2
    if standing == GENERIC:
        transfer = LOSS_W_K_M2
    return (
        HEAT_J_K_M3 * volume,
        transfer * surface,
        f"heat: {HEAT_J_K_M3:.3g} J/K/m3, {transfer:g} W/K/m2, {about}; the fit moves the loss "
        "where temperatures were measured",
    )
