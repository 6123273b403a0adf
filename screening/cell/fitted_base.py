"""A fitted cell as a base cell: candidates go into the cell that was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.screening.cell.base_cells import (
    BASE_CELLS,
    FIT_FILE,
    BaseCell,
    base_cell,
    import_pybamm,
)
from ionbridge.screening.cell.fitted import Fit, read_fit

CATHODES = {"olivine": "LiFePO4", "layered": "LiNi0.33Mn0.33Co0.33O2", "polyanion": "Na3V2(PO4)2F3"}
"""Class of a cathode that was given as a BPX file -> the material that its masses are taken of."""
MANY_TIMES = 10.0
"""Factor by which a diffusivity changes with filling, beyond which no reduced-order model of one
diffusivity follows."""


@dataclass(frozen=True)
class FittedBase(BaseCell):
    """A base cell that ``ionbridge cell fit`` made.

    Attributes:
        fit: What was fitted.
    """

    fit: Fit | None = field(default=None, compare=False, repr=False)

    @property
    def values(self) -> Any:
        """``pybamm.ParameterValues``: the fit to all curves, its cut-offs those of the cell."""
        assert self.fit is not None
        basis, cell = self.fit.base.basis, self.fit.cell
        values = self.fit.base.dfn.fitted_values(cell)
        upper = _at_full(values)
        values.update(
            {
                "Nominal cell capacity [A.h]": basis.nominal_Ah,
                "Lower voltage cut-off [V]": basis.lower_V,
                "Open-circuit voltage at 0% SOC [V]": basis.lower_V,
                "Upper voltage cut-off [V]": upper,
                "Open-circuit voltage at 100% SOC [V]": upper,
            },
            check_already_exists=False,
        )
        return values

    @property
    def shipped(self) -> Any:
        """``pybamm.ParameterValues`` of what the fit started from."""
        assert self.fit is not None
        start = str(self.fit.base.origin.get("set", ""))
        return base_cell(start).shipped if start in BASE_CELLS else self.fit.base.values


def fitted_base(folder: str) -> FittedBase:
    """The base cell of a folder that ``ionbridge cell fit`` wrote.

    Raises:
        InputError: It holds no fit, or one of a cathode that no masses are known of.
    """
    return _read(folder, (Path(folder) / FIT_FILE).stat().st_mtime_ns)


@cache
def _read(folder: str, changed_ns: int) -> FittedBase:
    fit = read_fit(Path(folder))
    start = BASE_CELLS.get(str(fit.base.origin.get("set", "")))
    kind = fit.base.kind.cathode_class.split(",")[0].removeprefix("sodium ")
    shapes = fit.base.basis.diffusivity_shapes.values()
    return FittedBase(
        name=folder,
        pybamm_set="",
        cathode=start.cathode if start else CATHODES.get(kind, kind),
        anode=start.anode if start else fit.base.kind.negative.split(",")[0],
        phase_separating=start.phase_separating if start else kind == "olivine",
        temperature_dependent=start.temperature_dependent if start else True,
        working_ion=start.working_ion if start else ("Na" if kind == "polyanion" else "Li"),
        filling_matters=any(np.ptp(logs) > np.log(MANY_TIMES) for logs in shapes),
        changes=f"fitted to measured discharges of {fit.base.kind.cell}, from {fit.base.label}",
        fit=fit,
    )


def _at_full(values: Any) -> float:
    """Voltage at rest of the fitted cell's full state, V: what its initial concentrations are."""
    pybamm = import_pybamm()
    symbols = pybamm.LithiumIonParameters()
    kelvin = pybamm.Scalar(float(values["Reference temperature [K]"]))
    volts = []
    for domain, electrode in (("negative", symbols.n), ("positive", symbols.p)):
        name = f"concentration in {domain} electrode [mol.m-3]"
        share = float(values[f"Initial {name}"]) / float(values[f"Maximum {name}"])
        symbol = electrode.prim.U(pybamm.Scalar(share), kelvin)
        volts.append(float(np.ravel(values.process_symbol(symbol).evaluate())[0]))
    return volts[1] - volts[0]
