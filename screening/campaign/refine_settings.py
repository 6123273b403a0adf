"""The ``refine:`` part of a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ionbridge.structures.configuration import ConfigurationError


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
    n_energies: int = 200
    n_short: int = 0
    n_neb: int = 20
    time_budget_min: float = 120.0
    max_hops: int = 6
    max_atoms: int = 200
    short_calculator: str = "sevennet"
    short_calculator_arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that no run could use.

        Raises:
            ConfigurationError: Which one, and what was expected.
        """
        for name in ("n_energies", "n_short", "n_neb"):
            if getattr(self, name) < 0:
                raise ConfigurationError(
                    f"refine: {name}: expected 0 or more, got {getattr(self, name)}"
                )
        for name in ("time_budget_min", "max_hops", "max_atoms"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"refine: {name}: expected more than 0, got {getattr(self, name)}"
                )
