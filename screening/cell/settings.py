"""The ``cell:`` part of a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge

from ionbridge.screening.cell.base_cells import half_of
from ionbridge.screening.cell.electrode_design import ElectrodeDesign
from ionbridge.structures.configuration import ConfigurationError


@dataclass(frozen=True)
class Duty:
    """How the cell is used day by day.

    Attributes:
        charge_c_rate: Charging current over nominal capacity, 1/h.
        discharge_c_rate: Discharging current over nominal capacity, 1/h.
        depth_of_discharge: Charge taken out in a cycle over nominal capacity.
        cycles_per_day: The rest of the day is spent charged.
    """

    charge_c_rate: float = 0.5
    discharge_c_rate: float = 0.5
    depth_of_discharge: float = 0.8
    cycles_per_day: float = 1.0


@dataclass(frozen=True)
class CellSettings:
    """The ``cell`` part of a campaign.

    Attributes:
        base_cell: Cell that candidates are put into.
        protocol: What the best candidates do beside being discharged; simulated with PyBaMM.
        top_n: Number of best candidates whose curves are shown, and that run the protocol.
        temperature_K: Of the cell.
        positive: Design of the electrode that holds the candidate; None for the base cell's.
        negative: Of the other electrode.
        model: What discharges the cells: DFN, SPMe, SPM (PyBaMM), the name of a reduced-order
            model, or None for the shipped one.
        absolute: Take predicted diffusivities as absolute values for hosts that separate into
            phases, too.
        own_voltage: Count energy and power at the candidate cathode's own average voltage: that of
            a column ``average_voltage_V``, else of the shipped model; its capacity is that of its
            formula.
        duty: How the cell is used, for its ageing.
    """

    base_cell: str = "Ai2020_extended"
    protocol: Literal["discharge", "charge", "cycle", "pulse", "drive_cycle"] = "discharge"
    top_n: Annotated[int, Ge(0)] = 10
    temperature_K: float = 298.15
    positive: ElectrodeDesign | None = None
    negative: ElectrodeDesign | None = None
    model: str | None = None
    absolute: bool = False
    own_voltage: bool = False
    duty: Duty = field(default_factory=Duty)

    def __post_init__(self) -> None:
        """Refuse half a cell, which no figure per kilogram says anything of."""
        if half_of(self.base_cell)[0]:
            raise ConfigurationError(
                f"cell.base_cell: '{self.base_cell}' has no energy per kilogram; name a full cell"
            )

    @property
    def parameters(self) -> dict[str, float]:
        """The electrode design by PyBaMM's names.

        Raises:
            InputError: A value that no electrode has.
        """
        given: dict[str, float] = {}
        for domain, design in (("Positive", self.positive), ("Negative", self.negative)):
            if design is not None:
                given.update(design.parameters(self.base_cell, domain))
        return given
