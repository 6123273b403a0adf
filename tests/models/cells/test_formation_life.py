"""A line on formation signals: it finds a law again, stays sober with few labels, survives disk."""

from pathlib import Path

import numpy as np
import pytest

from ionbridge.models.cells.formation_life import FormationLife
from ionbridge.models.library import load
from ionbridge.structures.sources.formation import FILE, FormedCell, formed_cell, load_formation


def cells(n: int, seed: int = 0) -> list[FormedCell]:
    rng = np.random.default_rng(seed)
    return [FormedCell(f"c{k}", rng.uniform(0.15, 0.9), rng.uniform(0.34, 0.45)) for k in range(n)]


def law(records: list[FormedCell]) -> np.ndarray:
    return np.array([10 ** (2.6 - 0.06 * (r.first_cycle_efficiency - 0.5) / 0.34) for r in records])


def test_a_law_is_found_again() -> None:
    training, test = cells(40), cells(20, seed=1)
    found, lower, upper = FormationLife().fit(training, law(training)).lives(test)
    np.testing.assert_allclose(found, law(test), rtol=0.03)
    assert ((lower < law(test)) & (law(test) < upper)).all()


def test_labels_of_one_way_of_formation_give_their_mean() -> None:
    """Least squares on cells that are all alike runs away; the prior does not."""
    alike = [FormedCell(f"c{k}", 0.84 + 1e-4 * k, 0.37) for k in range(5)]
    lives = [300.0, 340.0, 310.0, 330.0, 320.0]
    other = FormedCell("other", 0.17, 0.43)
    found, _, upper = FormationLife().fit(alike, lives).lives([other])
    assert 0.7 < found[0] / 320.0 < 1.5
    assert upper[0] < 1000.0


def test_it_survives_the_disk(tmp_path: Path) -> None:
    training, test = cells(12), cells(5, seed=1)
    model = FormationLife().fit(training, law(training))
    model.save(tmp_path / "model")
    again = FormationLife.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(test).mean, model.predict(test).mean)
    assert again.far_features(test) == model.far_features(test)


def test_the_shipped_model_gives_fast_formation_the_longer_life() -> None:
    """As measured: 410 against 340 cycles to 80 % (10.7302/pa3f-4w30)."""
    fast, baseline = FormedCell("f", 0.18, 0.41), FormedCell("b", 0.84, 0.37)
    found, _, _ = load("formation-life").lives([fast, baseline])
    assert found[0] == pytest.approx(408.0, rel=0.05)
    assert found[1] == pytest.approx(336.0, rel=0.05)


def test_rows_are_read_and_bad_ones_counted(tmp_path: Path) -> None:
    row = {
        "cellid": "7",
        "group": "fast_room",
        "form_first_cycle_efficiency": "0.18",
        "form_c20_charge_right_peak_v_per_ah": "0.41",
        "cycles_to_80_pct": "410",
    }
    record = formed_cell(row)
    assert (record.cell, record.cycle_life, record.group) == ("7", 410.0, "fast_room")
    assert formed_cell({**row, "cycles_to_80_pct": ""}).cycle_life is None
    for changed, said in (
        ({"form_first_cycle_efficiency": "1.2"}, "a share between 0 and 1"),
        ({"form_c20_charge_right_peak_v_per_ah": "-1"}, "must be positive"),
        ({"form_first_cycle_efficiency": "x"}, "not a number"),
        ({"cycles_to_80_pct": "0"}, "must be positive"),
    ):
        with pytest.raises(ValueError, match=said):
            formed_cell({**row, **changed})
    (tmp_path / FILE).parent.mkdir()
    lines = [
        ",".join(row),
        ",".join(row.values()),
        ",".join({**row, "cycles_to_80_pct": ""}.values()),
    ]
    (tmp_path / FILE).write_text("\n".join(lines) + "\n")
    loaded = load_formation(tmp_path)
    assert len(loaded) == 1
    assert loaded.dropped == {"no life": 1}
