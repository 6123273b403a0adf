"""Barriers of hops by methods of several prices, and how well each predicts DFT barriers.

Beside a model of hops stand single energies of the ion on its bond-valence path, the host as it is;
a short relaxation; and the nudged elastic band.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.barriers.hop_barrier import SHORT, SHORT_BACKWARD
from ionbridge.models.barriers.hop_model import HopModel
from ionbridge.models.transforms import LogShift
from ionbridge.screening.campaign.refine_settings import RefineSettings
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.bands.checked_calculator import Watch
from ionbridge.screening.labelling.bands.frozen_host import frozen_host_barrier
from ionbridge.screening.labelling.bands.hop_cell import (
    HopCell,
    hop_cell_of_crystal,
    hop_cell_of_hop,
)
from ionbridge.screening.labelling.bands.neb import NebSettings
from ionbridge.screening.labelling.bands.neb_labels import NebLabeller, NebTask, shared_calculator
from ionbridge.screening.labelling.bands.short_relaxation import (
    NO_BARRIER_EV,
    short_relaxation,
)
from ionbridge.screening.table import Row, noted
from ionbridge.structures.records import Crystal, Hop

Floats = NDArray[np.float64]

Method = Literal["network", "energies", "short", "neb"]
METHODS: tuple[Method, ...] = ("network", "energies", "short", "neb")
"""From the cheapest to the best."""

FIDELITIES_FILE = "fidelities.json"
"""Measured by ``benchmarks/funnel.py``."""
WEIGHS_NOTHING = "short: the relaxation weighs nothing here, the model is surer"
"""Note of barriers that are those of the model alone, though a relaxation was computed."""


@dataclass(frozen=True)
class Fidelity:
    """How well a method, together with the network, predicts DFT barriers of unseen families.

    On the logarithmic scale of :class:`ionbridge.models.transforms.LogShift`,
    t = intercept + network_weight t_network + weight t_method, with a spread. A short relaxation
    and a model that does not read it are averaged in eV instead: fitted weights do no better on
    unseen families.

    Attributes:
        intercept: In t.
        network_weight: Of the network's t.
        weight: Of the method's t; 0 for the network itself.
        std: One sigma of what is left, in t.
        mae_eV: Mean absolute error, out of fold.
        n_hops: Hops that it was measured on.
        in_eV: The weighted sum is one of energies.
    """

    intercept: float
    network_weight: float
    weight: float
    std: float
    mae_eV: float
    n_hops: int
    in_eV: bool = False

    def joined(self, network_eV: Floats, method_eV: Floats, target: LogShift) -> Floats:
        """What both say together, in t.

        Args:
            network_eV: (n,) barriers.
            method_eV: (n,) barriers of the same hops.
            target: The scale.
        """
        if self.in_eV:
            weighted = self.network_weight * network_eV + self.weight * method_eV
            return np.asarray(target.forward(self.intercept + weighted))
        return np.asarray(
            self.intercept
            + self.network_weight * target.forward(network_eV)
            + self.weight * target.forward(method_eV)
        )


@dataclass(frozen=True)
class HopBarrier:
    """What a method says of one hop of the ion.

    Attributes:
        method: Which one.
        forward_eV: Saddle above the start.
        backward_eV: Saddle above the end.
        n_calls: Energies, most with forces, that it took.
        note: What is doubtful of it, empty if nothing is.
    """

    method: Method
    forward_eV: float
    backward_eV: float
    n_calls: int = 0
    note: str = ""


def is_read_by(model: HopModel, method: Method) -> bool:
    """Whether a model joins barriers of the method itself, as weights and spread of its own say."""
    return method == "short" and model.reads_energies


def with_relaxation(hop: Hop, found: HopBarrier) -> Hop:
    """The hop with the barriers of a short relaxation, for a model that reads them."""
    return replace(
        hop, extra={**hop.extra, SHORT: found.forward_eV, SHORT_BACKWARD: found.backward_eV}
    )


@lru_cache(maxsize=1)
def measured_fidelities() -> dict[str, Fidelity]:
    """The fidelity of each method, as measured on real DFT hops."""
    text = (resources.files("ionbridge.screening") / "data" / FIDELITIES_FILE).read_text(
        encoding="utf-8"
    )
    return {name: Fidelity(**entry) for name, entry in json.loads(text)["fidelities"].items()}


def choice_of(method: Method, settings: RefineSettings) -> CalculatorChoice:
    """The calculator of a method."""
    if method == "short":
        return CalculatorChoice(settings.short_calculator, settings.short_calculator_arguments)
    return CalculatorChoice(settings.calculator, settings.calculator_arguments)


def barrier_by(
    method: Method,
    hop: Hop,
    crystal: Crystal | None,
    settings: RefineSettings,
    until: float,
    labels: list[Row],
) -> HopBarrier:
    """The barrier of one hop by a method; by single energies where a band does not converge.

    A short relaxation that finds no barrier between two sites counts as a very low one, with a
    note: measured on published hops, it still says more than a rigid host.

    Args:
        method: Any but ``network``.
        hop: On its bond-valence path.
        crystal: The primitive crystal that it was found in, which is repeated as needed; None for
            a hop record, whose own cell is taken (for a band repeated, too).
        settings: Calculators and limits.
        until: Of ``time.time()``.
        labels: The label of a band is appended.

    Raises:
        BrokenCalculationError: The calculator failed, or time is up.
        UnusableStructureError: The path touches the host, or the cell is too large.
        InputError: The calculator cannot be made.
    """
    if method == "neb":
        minutes = max((until - time.time()) / 60, 0.1)
        limits = NebSettings(max_atoms=settings.max_atoms, time_limit_min=min(minutes, 60.0))
        (label,) = NebLabeller(choice_of(method, settings), limits)([NebTask(hop, crystal)])
        labels.append(label)
        if label["status"] == "ok":
            forward, backward = label["barrier_eV"], label["barrier_backward_eV"]
            calls, note = label["n_force_calls"], label.get("note", "")
            return HopBarrier("neb", forward, backward, calls, note)
    if method == "short" and SHORT in hop.extra and SHORT_BACKWARD in hop.extra:
        there, back = (max(float(hop.extra[k]), NO_BARRIER_EV) for k in (SHORT, SHORT_BACKWARD))
        return HopBarrier("short", there, back)
    cell, profile = _cell(hop, crystal, settings), hop.extra.get("bvse_profile_eV")
    calculator = shared_calculator(choice_of(method, settings))
    if method == "short":
        watch = Watch(time.monotonic() + until - time.time())
        relaxed = short_relaxation(cell, profile, calculator, watch=watch)
        forward = max(relaxed.barrier_eV(), NO_BARRIER_EV)
        backward = max(relaxed.barrier_backward_eV(), NO_BARRIER_EV)
        note = _said(relaxed.reason, cell.note)
        return HopBarrier("short", forward, backward, relaxed.n_calls, note)
    found = frozen_host_barrier(cell, profile, calculator)
    no_band = f"no band: {labels[-1]['reason']}" if method == "neb" else ""
    note = _said(no_band, cell.note)
    return HopBarrier("energies", found.barrier_eV, found.barrier_backward_eV, found.n_calls, note)


def _said(*notes: str) -> str:
    return noted([note for note in notes if note]) or ""


def _cell(hop: Hop, crystal: Crystal | None, settings: RefineSettings) -> HopCell:
    if crystal is None:
        return hop_cell_of_hop(hop, 0.0, settings.max_atoms)
    distance = NebSettings().min_distance_A
    return hop_cell_of_crystal(crystal, hop, distance, settings.max_atoms)
