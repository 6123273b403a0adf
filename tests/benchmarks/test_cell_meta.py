"""Meta-learnt weights are nearer to each chemistry's own than those learnt from all together."""

import numpy as np
import torch

from benchmarks.cell_meta import Reptile
from ionbridge.models.cells.cell_correction import Training
from ionbridge.models.cells.cell_rom import CellRom
from tests.models.cells.small_cells import cells, curves_with_resistance, tables

FLAT = tables("flat", positive=lambda x: 3.5 - 0.05 * x)


def test_no_way_to_go_leaves_the_weights_and_a_way_changes_them():
    records = [cells(8), cells(8, seed=2, base=FLAT)]
    labels = [curves_with_resistance(c) for c in records]
    source = CellRom(Training(steps=60), n_members=2, hidden=(8,)).fit(
        records, labels, calibrate=False
    )
    inner = Training(steps=5, batch=4, learning_rate=3e-3)
    still = Reptile(rounds=3, n_curves=4, step=0.0, inner=inner)(source, records, labels)
    moved = Reptile(rounds=3, n_curves=4, inner=inner)(source, records, labels)
    assert all(torch.equal(v, still.parameters_[k]) for k, v in source.parameters_.items())
    assert not torch.equal(moved.parameters_["w0"], source.parameters_["w0"])
    again = Reptile(rounds=3, n_curves=4, inner=inner)(source, records, labels)
    assert np.array_equal(again.parameters_["w0"], moved.parameters_["w0"])
