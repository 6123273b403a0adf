"""A calculator whose answers are looked at before anything is built on them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

EXPLODED_EV_A = 200.0
"""No force that means anything is larger."""


class BrokenCalculationError(ValueError):
    """A calculation that cannot go on; the message becomes the ``reason`` of a row."""


@dataclass
class Watch:
    """Counts calls and knows when time is up.

    Attributes:
        deadline: Of ``time.monotonic()``, in seconds.
        n_calls: Calls of the calculator so far.
    """

    deadline: float = np.inf
    n_calls: int = 0

    @property
    def is_over(self) -> bool:
        """True once the time limit has passed."""
        return time.monotonic() > self.deadline


class CheckedCalculator(Calculator):
    """One structure's share of a calculator: its last answer is kept, and refused if senseless.

    Args:
        shared: The calculator; many structures may share one.
        watch: Counts the calls.
        with_forces: Compute forces with every energy.
        with_stress: Compute stress with every energy.

    Raises:
        BrokenCalculationError: From ``calculate``: the calculator failed, gave what is no number,
            or a force above EXPLODED_EV_A.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  (as ASE declares it)

    def __init__(
        self,
        shared: Calculator,
        watch: Watch,
        with_forces: bool = True,
        with_stress: bool = False,
    ) -> None:
        super().__init__()
        self._shared = shared
        self._watch = watch
        # what costs most comes first: the rest is then not computed again
        self._asked = (["stress"] if with_stress else []) + (["forces"] if with_forces else [])

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Ask the shared calculator and look at the answer."""
        super().calculate(atoms, properties, system_changes)
        self._watch.n_calls += 1
        try:
            results = {
                name: np.array(self._shared.get_property(name, atoms), dtype=float)
                for name in (*self._asked, "energy")
            }
        except Exception as error:
            raise BrokenCalculationError(
                f"the calculator failed: {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
        if not all(np.all(np.isfinite(value)) for value in results.values()):
            raise BrokenCalculationError("the calculator gave an energy or force that is no number")
        if "forces" in results:
            largest = float(np.linalg.norm(results["forces"], axis=1).max())
            if largest > EXPLODED_EV_A:
                raise BrokenCalculationError(
                    f"exploded: a force of {largest:.3g} eV/angstrom; atoms touch each other"
                )
        self.results = {**results, "energy": float(results["energy"])}
