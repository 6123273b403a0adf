"""Cells as BPX files (Battery Parameter eXchange, version 1), which other battery software reads.

`export` writes a design; `read` gives PyBaMM's parameters of a file. Both check values, for the
``bpx`` package accepts a porosity of 1.4 or a diffusivity that is no number. What BPX cannot say is
returned as notes and stands in the file's description.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.screening.cell.base_cells import (
    base_cell,
    electrode_area_m2,
    half_of,
    import_pybamm,
    scalars,
)
from ionbridge.screening.cell.cell_model import solvable
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.full_charge import NoFullChargeError, full_charge, open_circuit
from ionbridge.screening.cell.inputs import (
    CONDUCTIVITY,
    CURVE_CHANGES,
    ELECTRODES,
    ELECTROLYTE_DIFFUSIVITY,
    FACTORS,
    REGIONS,
    STEP_WIDTH,
    TRANSFERENCE,
    out_of_range,
)
from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.units import FARADAY_C_PER_MOL, GAS_CONSTANT_J_MOL_K

Floats = NDArray[np.float64]

VERSION = "1.0.0"
"""Of the format that is written."""

NOT_QUITE_1 = 1.0 - 1e-9
"""A separator that is all electrolyte: PyBaMM divides by the logarithm of its porosity."""

SAME_FORM = 0.02
"""Largest relative difference at which an exchange current density counts as BPX's form."""

_STOICHIOMETRY = np.concatenate(
    [
        np.geomspace(1e-4, 0.02, 40),
        np.linspace(0.02, 0.98, 300)[1:-1],
        1.0 - np.geomspace(0.02, 1e-4, 40),
    ]
)
_CONCENTRATION = np.linspace(10.0, 3500.0, 60)
"""mol/m3."""


def export(design: Design, path: Path) -> tuple[str, ...]:
    """Write a design's cell as a BPX file.

    Args:
        design: Base cell, temperature (the file's reference) and parameters; its rate is not part
            of a cell.
        path: ``.json`` file.

    Returns:
        Notes: what the file cannot say, or says approximately.

    Raises:
        InputError: The design cannot be used, or BPX cannot hold it.
        MissingExtraError: ``bpx`` or PyBaMM is not installed.
    """
    if design.trouble:
        raise InputError(f"{design.design_id}: {design.trouble}")
    if half_of(design.base_cell)[0]:
        raise InputError(
            f"{design.design_id}: BPX describes full cells, {design.base_cell} is half"
        )
    whole, notes = to_bpx(design)
    write_document(whole, path)
    return notes


def write_document(whole: dict[str, Any], path: Path) -> None:
    """Write a BPX document once it is checked.

    Raises:
        InputError: Values that no cell has.
    """
    _parse(whole, str(path))
    write_json(path, whole)


def to_bpx(design: Design) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A design as a BPX document, and the notes."""
    values = _values(design)
    numbers = {**scalars(design.base_cell), **design.parameters}
    notes: list[str] = []
    kelvin = design.temperature_K
    try:
        start = full_charge(design.base_cell, design.parameters)
        empty = _empty(design, start.usable_Ah)
    except NoFullChargeError as error:
        raise InputError(f"{design.design_id}: {error}") from error
    negative, positive = start.stoichiometries(np.array(empty))
    windows = {
        "Negative": (float(negative), start.negative),
        "Positive": (start.positive, float(positive)),
    }
    cell = base_cell(design.base_cell)
    title = f"{design.design_id} on {design.base_cell}"
    references = f"PyBaMM's parameter set {cell.pybamm_set}; {cell.changes}"
    return document(title, references, values, numbers, design.parameters, kelvin, windows, notes)


def document(
    title: str,
    references: str,
    values: Any,
    numbers: Mapping[str, float],
    given: Mapping[str, float],
    kelvin: float,
    windows: Mapping[str, tuple[float, float]],
    notes: list[str],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A BPX document of PyBaMM's parameters, and the notes.

    Args:
        title: Of the file.
        references: Where the parameters are from.
        values: ``pybamm.ParameterValues``.
        numbers: Those that are plain numbers.
        given: Factors and changes of curves that are not part of the values.
        kelvin: Reference temperature of the file.
        windows: ``Negative`` and ``Positive`` -> least and greatest stoichiometry.
        notes: What is known already that the file cannot say.
    """
    electrodes = {
        f"{domain} electrode": _electrode(
            values, numbers, given, kelvin, domain, windows[domain], notes
        )
        for domain in ELECTRODES
    }
    electrolyte = _electrolyte(values, numbers, given, kelvin, notes)
    layers = numbers["Number of electrodes connected in parallel to make a cell"]
    area = electrode_area_m2(numbers) / layers
    depth = sum(numbers[f"{region} thickness [m]"] for region in REGIONS)
    if numbers.get("Contact resistance [Ohm]", 0.0) > 0.0:
        notes.append("the contact resistance is left out: BPX has no place for it")
    notes.append("density, heat capacity and outer surface are left out: the file is isothermal")
    whole = {
        "Header": {
            "BPX": VERSION,
            "Title": title,
            "Description": "; ".join(dict.fromkeys(notes)),
            "References": references,
            "Model": "DFN",
        },
        "Parameterisation": {
            "Cell": {
                "Electrode area [m2]": area,
                "External surface area [m2]": 2.0 * area,
                "Volume [m3]": area * depth * layers,
                "Number of electrode pairs connected in parallel to make a cell": round(layers),
                "Lower voltage cut-off [V]": numbers["Lower voltage cut-off [V]"],
                "Upper voltage cut-off [V]": numbers["Upper voltage cut-off [V]"],
                "Nominal cell capacity [A.h]": numbers["Nominal cell capacity [A.h]"],
                "Reference temperature [K]": kelvin,
            },
            "Electrolyte": electrolyte,
            **electrodes,
            "Separator": {
                "Thickness [m]": numbers["Separator thickness [m]"],
                "Porosity": min(numbers["Separator porosity"], NOT_QUITE_1),
                "Transport efficiency": min(_efficiency(numbers, "Separator"), NOT_QUITE_1),
            },
        },
        "State": {
            "Initial conditions": {
                "Initial temperature [K]": kelvin,
                "Initial electrolyte concentration [mol.m-3]": numbers[
                    "Initial concentration in electrolyte [mol.m-3]"
                ],
            },
            "Thermal environment": {"Ambient temperature [K]": kelvin},
        },
    }
    return whole, tuple(dict.fromkeys(notes))


def read(path: Path) -> Any:
    """PyBaMM's parameters of a BPX file, at full charge.

    Raises:
        InputError: No such file, another version, or values that no cell has.
        MissingExtraError: ``bpx`` or PyBaMM is not installed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error
    return _parameters(document, str(path))


def from_document(document: dict[str, Any], where: str) -> Any:
    """PyBaMM's parameters of a BPX document of any version, at full charge.

    Args:
        document: As in a file; older than 1.0 it is converted by the ``bpx`` package.
        where: What messages call it.

    Raises:
        InputError: Values that no cell has.
        MissingExtraError: ``bpx`` or PyBaMM is not installed.
    """
    try:
        from bpx import convert_v0_to_v1, is_legacy_bpx
    except ImportError as error:
        raise MissingExtraError("cell", "BPX files") from error
    try:
        whole = convert_v0_to_v1(document) if is_legacy_bpx(document) else document
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: not valid BPX ({error})") from error
    return _parameters(whole, where)


def _parameters(document: Any, where: str) -> Any:
    """``pybamm.ParameterValues`` of a checked document."""
    parsed = _parse(document, where)
    pybamm = import_pybamm()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about defaults that we state ourselves
        values = pybamm.ParameterValues.create_from_bpx_obj(
            json.loads(parsed.model_dump_json(by_alias=True, exclude_none=True))
        )
    values.update({"Contact resistance [Ohm]": 0.0}, check_already_exists=False)
    return values


def _parse(document: Any, where: str) -> Any:
    """A checked document as the ``bpx`` package's object."""
    try:
        from bpx import parse_bpx_obj
    except ImportError as error:
        raise MissingExtraError("cell", "BPX files") from error
    if not isinstance(document, Mapping) or "Header" not in document:
        raise InputError(f"{where}: not a BPX file, it has no 'Header'")
    version = str((document["Header"] or {}).get("BPX"))
    if version.split(".")[0] != VERSION.split(".")[0]:
        raise InputError(
            f"{where}: BPX version {version}, expected 1.x; the 'bpx' package converts older files"
        )
    trouble = _trouble(document.get("Parameterisation"), "")
    if trouble:
        raise InputError(f"{where}: {trouble}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return parse_bpx_obj(dict(document), v_tol=0.01)
        except ValueError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise InputError(f"{where}: not valid BPX: {' '.join(lines[1:3])}") from error


def _trouble(part: Any, name: str) -> str | None:
    """The first value of a document that no cell has, in words."""
    if isinstance(part, Mapping):
        if {"x", "y"} <= set(part):
            numbers = [*part["x"], *part["y"]]
            if not all(isinstance(v, int | float) and math.isfinite(v) for v in numbers):
                return f"the table of '{name}' holds what is no number"
            low, high = min(part["y"]), max(part["y"])
            return out_of_range(name, low) or out_of_range(name, high)
        for key, value in part.items():
            found = _trouble(value, _long_name(name, str(key)))
            if found:
                return found
        fraction = part.get("Porosity")
        if isinstance(fraction, int | float) and "Surface area per unit volume [m-1]" in part:
            solid = part["Surface area per unit volume [m-1]"] * part["Particle radius [m]"] / 3.0
            if fraction + solid > 1.0 + 1e-6:
                return f"{name}: porosity and active fraction add up to {fraction + solid:.3g}"
        return None
    if isinstance(part, int | float) and not isinstance(part, bool):
        if not math.isfinite(part):
            return f"'{name}' is {part}, not a number"
        return out_of_range(name, float(part))
    return None


def _long_name(where: str, key: str) -> str:
    """BPX's name of a value as PyBaMM would call it, so that the same ranges hold."""
    known = {
        "Diffusivity [m2.s-1]": "Electrolyte diffusivity [m2.s-1]"
        if where == "Electrolyte"
        else f"{where} particle diffusivity [m2.s-1]",
        "Conductivity [S.m-1]": "Electrolyte conductivity [S.m-1]"
        if where == "Electrolyte"
        else f"{where} conductivity [S.m-1]",
        "Particle radius [m]": f"{where} particle radius [m]",
        "Thickness [m]": f"{where} thickness [m]",
        "Porosity": f"{where} porosity",
        "Transport efficiency": f"{where} transport efficiency",
        "Maximum concentration [mol.m-3]": f"Maximum concentration in {where} [mol.m-3]",
    }
    return known.get(key, key)


def _values(design: Design) -> Any:
    """The design's ``pybamm.ParameterValues``."""
    values = base_cell(design.base_cell).values
    values.update(
        {
            name: value
            for name, value in solvable(design.parameters).items()
            if name not in FACTORS and name not in CURVE_CHANGES and "tortuosity" not in name
        }
    )
    return values


def _electrode(
    values: Any,
    numbers: Mapping[str, float],
    given: Mapping[str, float],
    kelvin: float,
    domain: str,
    window: tuple[float, float],
    notes: list[str],
) -> dict[str, Any]:
    """One electrode of the document."""
    import pybamm

    symbols = pybamm.LithiumIonParameters()
    particle = (symbols.n if domain == "Negative" else symbols.p).prim
    region = f"{domain} electrode"
    most = numbers[f"Maximum concentration in {domain.lower()} electrode [mol.m-3]"]
    salt = numbers["Initial concentration in electrolyte [mol.m-3]"]
    x = _STOICHIOMETRY

    def evaluate(symbol: Any) -> Floats:
        found = np.asarray(values.process_symbol(symbol).evaluate(), dtype=float).ravel()
        return np.array(np.broadcast_to(found, x.shape))

    def exchange(at: float) -> Floats:
        level = pybamm.Vector(np.full(x.shape, salt))
        factor = given.get(f"{region} exchange-current density factor", 1.0)
        return factor * evaluate(particle.j0(level, pybamm.Vector(x * most), pybamm.Scalar(at)))

    def diffusivity(at: float) -> Floats:
        factor = given.get(f"{domain} particle diffusivity factor", 1.0)
        return factor * evaluate(particle.D(pybamm.Vector(x * most), pybamm.Scalar(at)))

    potential = evaluate(particle.U(pybamm.Vector(x), pybamm.Scalar(kelvin)))
    if domain == "Positive":
        tilt, step, where = (given.get(n, d) for n, d in CURVE_CHANGES.items())
        potential = potential + tilt * (0.5 - x) - step * np.tanh((x - where) / STEP_WIDTH)
    entropic = evaluate(particle.U(pybamm.Vector(x), pybamm.Scalar(kelvin + 1.0)))
    entropic = entropic - evaluate(particle.U(pybamm.Vector(x), pybamm.Scalar(kelvin)))
    form = exchange(kelvin) / (FARADAY_C_PER_MOL * np.sqrt(x * (1.0 - x)))
    inner = (x > 0.05) & (x < 0.95)
    rate = float(np.median(form[inner]))
    if np.abs(form[inner] / rate - 1.0).max() > SAME_FORM:
        notes.append(
            f"{region}: the exchange current density follows another law than BPX's, "
            "F k sqrt(c x (1 - x)); k is right in the middle"
        )
    fast = diffusivity(kelvin)
    constant = np.ptp(fast) <= 1e-9 * fast.max()
    active = numbers[f"{region} active material volume fraction"]
    radius = numbers[f"{domain} particle radius [m]"]
    solid = numbers[f"{region} conductivity [S.m-1]"] * (
        1.0 - numbers[f"{region} porosity"]
    ) ** numbers.get(f"{region} Bruggeman coefficient (electrode)", 0.0)
    return {
        "Particle radius [m]": radius,
        "Thickness [m]": numbers[f"{region} thickness [m]"],
        "Diffusivity [m2.s-1]": float(fast[0]) if constant else _table(x, fast),
        "Diffusivity activation energy [J.mol-1]": _activation(diffusivity, kelvin),
        "OCP [V]": _table(x, potential),
        "Entropic change coefficient [V.K-1]": _table(x, entropic),
        "Conductivity [S.m-1]": solid,
        "Surface area per unit volume [m-1]": 3.0 * active / radius,
        "Porosity": numbers[f"{region} porosity"],
        "Transport efficiency": _efficiency(numbers, region),
        "Reaction rate constant [mol.m-2.s-1]": rate,
        "Reaction rate constant activation energy [J.mol-1]": _activation(exchange, kelvin),
        "Minimum stoichiometry": window[0],
        "Maximum stoichiometry": window[1],
        "Maximum concentration [mol.m-3]": most,
    }


def _electrolyte(
    values: Any,
    numbers: Mapping[str, float],
    given: Mapping[str, float],
    kelvin: float,
    notes: list[str],
) -> dict[str, Any]:
    """The electrolyte of the document."""
    import pybamm

    symbols = pybamm.LithiumIonParameters()
    c = _CONCENTRATION

    def function(name: str, symbol: Any) -> Any:
        factor = given.get(f"{name.split(' [')[0]} factor", 1.0)

        def at(temperature: float) -> Floats:
            found = values.process_symbol(symbol(pybamm.Vector(c), pybamm.Scalar(temperature)))
            value = np.asarray(found.evaluate(), dtype=float).ravel()
            return np.array(np.broadcast_to(value, c.shape)) * factor

        here = at(kelvin)
        if np.ptp(here) <= 1e-9 * here.max():
            return float(here[0]), _activation(at, kelvin)
        usable = here > 0.0
        if not usable.all():
            notes.append(f"{name}: the fit turns negative at high salt and is cut off there")
        return _table(c[usable], here[usable]), _activation(at, kelvin)

    chi = np.asarray(
        values.process_symbol(
            symbols.thermodynamic_factor(pybamm.Vector(c), pybamm.Scalar(kelvin))
        ).evaluate(),
        dtype=float,
    )
    if np.abs(chi - 1.0).max() > 1e-6:
        notes.append("the electrolyte's thermodynamic factor is left out: BPX takes it as 1")
    diffusivity = function(ELECTROLYTE_DIFFUSIVITY, symbols.D_e)
    conductivity = function(CONDUCTIVITY, symbols.kappa_e)
    return {
        "Cation transference number": numbers[TRANSFERENCE],
        "Diffusivity [m2.s-1]": diffusivity[0],
        "Diffusivity activation energy [J.mol-1]": diffusivity[1],
        "Conductivity [S.m-1]": conductivity[0],
        "Conductivity activation energy [J.mol-1]": conductivity[1],
    }


def _efficiency(numbers: Mapping[str, float], region: str) -> float:
    """Effective over bulk transport in the pores."""
    porosity = numbers[f"{region} porosity"]
    tortuosity = numbers.get(f"{region} tortuosity factor (electrolyte)")
    if tortuosity is not None:
        return porosity / tortuosity
    return float(porosity ** numbers[f"{region} Bruggeman coefficient (electrolyte)"])


def _activation(function: Any, kelvin: float) -> float:
    """Activation energy in J/mol at a temperature, from ten kelvin more."""
    low, high = (float(np.median(function(t))) for t in (kelvin, kelvin + 10.0))
    if low <= 0.0 or high <= 0.0:
        return 0.0
    found = GAS_CONSTANT_J_MOL_K * math.log(high / low) / (1.0 / kelvin - 1.0 / (kelvin + 10.0))
    return round(found, 3) + 0.0


def _table(x: Floats, y: Floats) -> dict[str, list[float]]:
    """BPX's interpolated table."""
    return {"x": [float(v) for v in x], "y": [float(v) for v in y]}


def _empty(design: Design, usable_Ah: float) -> float:
    """Charge at which the resting cell is at its lower cut-off, or has no lithium left."""
    lower = {**scalars(design.base_cell), **design.parameters}["Lower voltage cut-off [V]"]
    start = full_charge(design.base_cell, design.parameters)
    charge = usable_Ah * (1.0 - np.geomspace(1.0, 1e-4, 4001))
    negative, positive = start.stoichiometries(charge)
    rest = open_circuit(
        design.base_cell, design.parameters, negative, positive, design.temperature_K
    )
    below = np.flatnonzero(rest < lower)
    return float(charge[below[0]] if len(below) else charge[-1])
