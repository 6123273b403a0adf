"""Base cells that can age, by the names that models of ageing and designs know them by.

Their simulation, with all that was added to the published sets, is in benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

LCO, LFP = "Ai2020_OKane2022_ageing", "Prada2013_OKane2022_ageing"


@dataclass(frozen=True)
class AgeingBase:
    """A cell that ages.

    Attributes:
        name: As in ``base_cell``.
        base: PyBaMM set that it starts from.
        cathode: ``LCO`` or ``LFP``.
    """

    name: str
    base: str
    cathode: str


BASES: dict[str, AgeingBase] = {
    LCO: AgeingBase(LCO, "Ai2020", "LCO"),
    LFP: AgeingBase(LFP, "Prada2013", "LFP"),
}
