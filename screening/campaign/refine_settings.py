"""The ``refine:`` part of a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Gt


@dataclass(frozen=True)
class RefineSettings:
    """Better methods for the best rows of a screen.

    Attributes:
        calculator: ``chgnet``, ``sevennet``, or an ASE calculator, ``package.module:Class``.
        calculator_arguments: Its keyword arguments.
        n_energies: Best candidates whose hops get single energies.
        n_short: Best candidates after that whose hops get a short relaxation.
        n_neb: Best candidates after that whose hops get the nudged elastic band.
        time_budget_min: Wall time for all of it; what does not fit keeps its cheaper result.
        max_hops: Most hops of one candidate.
        max_atoms: Largest supercell.
        short_calculator: Of the short relaxation, whose weight was measured with SevenNet.
        short_calculator_arguments: Its keyword arguments.
    """

    calculator: str = "chgnet"
    calculator_arguments: dict[str, Any] = field(default_factory=dict)
    n_energies: Annotated[int, Ge(0)] = 200
    n_short: Annotated[int, Ge(0)] = 0
    n_neb: Annotated[int, Ge(0)] = 20
    time_budget_min: Annotated[float, Gt(0)] = 120.0
    max_hops: Annotated[int, Gt(0)] = 6
    max_atoms: Annotated[int, Gt(0)] = 200
    short_calculator: str = "sevennet"
    short_calculator_arguments: dict[str, Any] = field(default_factory=dict)
