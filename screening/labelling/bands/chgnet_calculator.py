"""CHGNet for ASE that computes what is asked for and no more.

CHGNet: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023). Its own calculator always computes
stress and magnetic moments too, which doubles the time of a force.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

from ase import Atoms
from chgnet.model.dynamics import CHGNetCalculator
from chgnet.model.model import CHGNet


class ChgnetCalculator(CHGNetCalculator):
    """CHGNet with its shipped weights; runs offline.

    Args:
        model_name: Weights: ``0.3.0`` (PBE + U), ``r2scan`` or ``0.2.0``.
        device: ``cpu`` or ``cuda``; by default CUDA where there is one.
    """

    def __init__(self, model_name: str = "0.3.0", device: str | None = None) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            model = CHGNet.load(model_name=model_name, use_device=device, verbose=False)
            super().__init__(model=model, use_device=device, on_isolated_atoms="ignore")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] | None = None,
        task: Any = None,
    ) -> None:
        """Energy alone, with forces, or with forces and stress, as ASE asks for them."""
        wanted = set(properties or ())
        if task is None:
            task = "efs" if "stress" in wanted else "ef" if "forces" in wanted else "e"
            task = "efsm" if "magmoms" in wanted else task
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad")
            super().calculate(atoms, properties, system_changes, task=task)
