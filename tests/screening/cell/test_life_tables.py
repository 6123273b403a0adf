"""As many rows out as in, and a bad one says why; the commands write what the functions say."""

import csv
from pathlib import Path

import pytest

from ionbridge.models import library
from ionbridge.screening.cell.life_tables import CYCLING_COLUMNS, ageing_rows, life_rows
from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError

FEATURES = """cell,qmax_cycle2_Ah,log10_var_dQ_100_10,min_dQ_100_10,mean_dQ_100_10
good,1.06,-4.0,-0.03,-0.012
unknown capacity,,-4.0,-0.03,-0.012
bad,1.06,nan,-0.03,-0.012
"""
HEADER = ",".join(("id", "base_cell", *CYCLING_COLUMNS, "cycles_per_day"))
CYCLINGS = f"""{HEADER}
a,LFP,0.5,0.5,298.15,0.7,1
b,Prada2013_OKane2022_ageing,0.5,0.5,298.15,0.7,
c,LCO,0.5,0.5,25,0.7,1
d,LCO,0.5,x,298.15,0.7,1
e,NMC,0.5,0.5,298.15,0.7,1
"""


def test_lives_by_command(tmp_path: Path) -> None:
    given, out = tmp_path / "features.csv", tmp_path / "lives.csv"
    given.write_text(FEATURES)
    assert main(["cell", "life", str(given), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["cell"] for row in rows] == ["good", "unknown capacity", "bad"]
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]
    assert "log10_var_dQ_100_10" in rows[2]["reason"]
    direct = life_rows(given, library.load("cycle-life"))
    assert float(rows[0]["cycle_life"]) == pytest.approx(direct[0]["cycle_life"], rel=1e-4)
    low, life, high = (
        float(rows[0][name]) for name in ("cycle_life_lower", "cycle_life", "cycle_life_upper")
    )
    assert low < life < high


HEADER_OF_FEATURES = FEATURES.splitlines()[0]


@pytest.mark.parametrize(
    ("row", "status", "said"),
    [
        ("good,1.06,-4.0,-0.03,-0.012", "failed", "duplicate id"),
        ("rises,1.06,-4.0,-0.012,-0.03", "failed", "not below mean_dQ"),
        ("level,1.06,-4.0,-0.012,-0.012", "failed", "not below mean_dQ"),
        ("empty,0,-4.0,-0.03,-0.012", "failed", "qmax_cycle2_Ah must be positive"),
        ("more than all,1.06,-4.0,-1.5,-0.012", "failed", "more than the whole capacity"),
        ("dead,0.8,-4.0,-0.03,-0.012", "failed", "at which a life ends"),
        ("far,1.06,-9.0,-0.03,-0.012", "ok", "log10_var_dQ is -9"),
        ("big,5.0,-4.0,-0.03,-0.012", "ok", "log10_reserve is 0.615"),
    ],
)
def test_what_no_cell_has_and_what_no_training_cell_had(
    tmp_path: Path, row: str, status: str, said: str
) -> None:
    given = tmp_path / "features.csv"
    given.write_text(f"{HEADER_OF_FEATURES}\ngood,1.06,-4.0,-0.03,-0.012\n{row}\n")
    first, second = life_rows(given, library.load("cycle-life"))
    assert (first["status"], first["in_domain"], first["reason"]) == ("ok", True, "")
    assert second["status"] == status
    assert said in second["reason"]
    assert second["in_domain"] in ("", False)


FORMED = """cellid,form_first_cycle_efficiency,form_c20_charge_right_peak_v_per_ah
baseline,0.84,0.37
fast,0.18,0.42
fast,0.18,0.42
bad,1.4,0.42
odd,0.84,0.9
"""


def test_lives_from_formation_by_command(tmp_path: Path) -> None:
    given, out = tmp_path / "formed.csv", tmp_path / "lives.csv"
    given.write_text(FORMED)
    assert main(["cell", "life", str(given), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [r["cell"] for r in rows] == ["baseline", "fast", "fast", "bad", "odd"]
    assert [r["status"] for r in rows] == ["ok", "ok", "failed", "failed", "ok"]
    assert float(rows[1]["cycle_life"]) > float(rows[0]["cycle_life"]) > 200.0
    assert rows[2]["reason"] == "duplicate id"
    assert "a share between 0 and 1" in rows[3]["reason"]
    assert rows[4]["in_domain"] == "false"
    assert "c20_right_peak" in rows[4]["reason"]


def test_ways_of_cycling_far_from_the_runs_say_so(tmp_path: Path) -> None:
    given = tmp_path / "cyclings.csv"
    given.write_text(f"{HEADER}\na,LFP,0.5,0.5,298.15,0.7,\na,LFP,0.5,0.5,298.15,0.7,\n")
    assert [row["reason"] for row in ageing_rows(given)][1] == "duplicate id"
    given.write_text(f"{HEADER}\nfast,LFP,0.5,30,298.15,0.7,\n")
    (row,) = ageing_rows(given)
    assert (row["status"], row["in_domain"]) == ("ok", False)
    assert "discharge_c_rate is 30, the training runs' " in row["reason"]


def test_ageing_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, out = tmp_path / "cyclings.csv", tmp_path / "ageing.csv"
    given.write_text(CYCLINGS)
    assert main(["cell", "age", str(given), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "failed", "failed"]
    assert float(rows[0]["years_of_service"]) > 0
    assert rows[1]["years_of_service"] == ""
    assert float(rows[0]["capacity_fade_percent"]) > float(rows[1]["capacity_fade_percent"])
    for row, said in zip(rows[2:], ("kelvin", "discharge_c_rate", "NMC"), strict=True):
        assert said in row["reason"]
    given.write_text("id,base_cell\na,LFP\n")
    assert main(["cell", "age", str(given), "--out", str(out)]) == 2
    assert "charge_c_rate" in capsys.readouterr().err


def test_unreadable_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        ageing_rows(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text(HEADER + "\n")
    with pytest.raises(InputError, match="no rows"):
        ageing_rows(tmp_path / "empty.csv")
