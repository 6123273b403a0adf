"""Lives of real cells: what is read, what is smoothed, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from ionbridge.structures.sources import cell_ageing
from ionbridge.structures.sources.cell_ageing import CapacitySeries, early_cycles

ROW = {
    "cell": "a",
    "cycle_life": "700",
    "qmax_cycle2_Ah": "1.06",
    "qmax_cycle100_Ah": "1.05",
    "log10_var_dQ_100_10": "-3.5",
    "min_dQ_100_10": "-0.05",
    "mean_dQ_100_10": "-0.02",
}


def series(capacity: np.ndarray) -> CapacitySeries:
    return CapacitySeries("a", "LCO", np.arange(1.0, len(capacity) + 1), capacity)


def test_life_ends_where_a_straight_line_crosses() -> None:
    capacity = 1.0 - 0.001 * np.arange(400)
    capacity[[50, 120, 300]] = 0.0  # interrupted cycles are no deaths
    assert series(capacity).cycle_life() == pytest.approx(202, abs=3)
    assert series(capacity).relative_loss(101.0) == pytest.approx(0.1, abs=0.005)
    assert series(capacity[:100]).cycle_life() is None


def test_early_cycles_read_a_row() -> None:
    record = early_cycles(ROW)
    assert (record.cell, record.cycle_life, record.log10_var_dQ_100_10) == ("a", 700.0, -3.5)
    unlabelled = early_cycles({k: v for k, v in ROW.items() if k != "cycle_life"})
    assert unlabelled.cycle_life is None
    assert early_cycles(ROW | {"qmax_cycle2_Ah": ""}).qmax_cycle2_Ah is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"log10_var_dQ_100_10": ""}, "log10_var_dQ_100_10 is not a number"),
        ({"min_dQ_100_10": "nan"}, "min_dQ_100_10 is not finite"),
        ({"cycle_life": "-3"}, "positive"),
    ],
)
def test_bad_rows_are_named(changed: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        early_cycles(ROW | changed)


def test_files_are_read_and_bad_rows_counted(tmp_path: Path) -> None:
    (tmp_path / cell_ageing.FOLDER).mkdir()
    header = ",".join(ROW)
    good, bad = ",".join(ROW.values()), ",".join((ROW | {"min_dQ_100_10": "x"}).values())
    (tmp_path / cell_ageing.SEVERSON_FILE).write_text(f"{header}\n{good}\n{bad}\n")
    loaded = cell_ageing.load_severson(tmp_path)
    assert len(loaded) == 1
    assert loaded.dropped == {"min_dQ_100_10 is not a number: 'x'": 1}
    for name in cell_ageing.CALCE_FILES:
        lines = "cycle,capacity,resistance\n2,1.0,0.1\n1,1.1,0.1\n3,0.0,0.1\n"
        (tmp_path / name).write_text(lines)
    calce = cell_ageing.load_calce(tmp_path)
    assert [list(r.cycle) for r in calce.records] == [[1.0, 2.0]] * 4
    assert calce.records[0].cell == "CS2_35"
    for name in cell_ageing.NASA_FILES:
        (tmp_path / name).write_text("0,1\n1,1.9\n2,1.8\n")
    assert list(cell_ageing.load_nasa(tmp_path).records[0].capacity_Ah) == [1.9, 1.8]
