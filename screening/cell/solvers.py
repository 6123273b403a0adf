"""Who discharges the cells of a campaign: the shipped reduced-order model, or PyBaMM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ionbridge.models.cells.cell_rom import CellRom
from ionbridge.models.library import find, names
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.discharge import failed
from ionbridge.screening.cell.rom import predict_designs, unfit
from ionbridge.screening.cell.shipped import rom_for
from ionbridge.screening.cell.simulation import Discharges
from ionbridge.screening.execution.executor import Executor
from ionbridge.screening.table import Row

Solve = Callable[[Sequence[Design]], list[Row]]

PHYSICS = ("DFN", "SPMe", "SPM")
SHARD_SIZE = 8


def simulated(executor: Executor, model: str = "DFN") -> Solve:
    """Solve designs with PyBaMM.

    Args:
        executor: Where; see `ionbridge.screening.cell.simulation.processes`.
        model: One of PHYSICS.
    """

    def solve(designs: Sequence[Design]) -> list[Row]:
        shards = {
            i: list(designs[first : first + SHARD_SIZE])
            for i, first in enumerate(range(0, len(designs), SHARD_SIZE))
        }
        found = dict(executor.map_shards(Discharges(model), shards.items(), failed))
        return [row for index in sorted(found) for row in found[index]]

    return solve


def predicted(model: CellRom) -> Solve:
    """Ask a reduced-order model, with its uncertainty."""
    return lambda designs: predict_designs(designs, model)


def solver(model: str | None, base: str, executor: Executor) -> tuple[str, Solve]:
    """Name and function of what discharges cells.

    Args:
        model: One of PHYSICS, the name or folder of a reduced-order model, or None for the shipped
            one of the base cell's chemistry (DFN where none is shipped, or none can be had).
        base: Base cell.
        executor: Where PyBaMM runs.

    Raises:
        IncompatibleModelError: Unknown or broken model, or one of another kind.
    """
    shipped = rom_for(base) if rom_for(base) in names() and not unfit(base) else PHYSICS[0]
    name = model or shipped
    if name in PHYSICS:
        return name, simulated(executor, name)
    return name, predicted(CellRom.load(find(name)))
