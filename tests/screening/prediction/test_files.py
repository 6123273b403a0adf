"""One verb for every kind of input."""

import gzip
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ionbridge.models.barriers.hop_barrier import SHORT, SHORT_BACKWARD
from ionbridge.models.regressors.baselines import GlobalMean
from ionbridge.models.transforms import LogShift
from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.prediction import files as predictions
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.conductivities import SOURCE_COLUMNS, why_not_learnable
from ionbridge.screening.prediction.evaluation import evaluate
from ionbridge.screening.prediction.fidelity import measured_fidelities
from ionbridge.screening.prediction.files import (
    CONDUCTIVITY_COLUMNS,
    CRYSTAL_COLUMNS,
    InputStream,
    Predictions,
    Quantity,
    known_by_number,
    predict,
    read_input,
    stream_input,
)
from ionbridge.screening.prediction.hops import HOP_COLUMNS, POTENTIAL_COLUMNS
from ionbridge.structures.io.reading import iter_records, write_cif, write_json_lines
from ionbridge.structures.records import Hop
from tests.screening.tiny import METALS, layered, rocksalt, save_table_model, tiny_hops
from tests.tolerances import INVARIANCE

FEW = Conditions(n_draws=4)


def predicted(path: Path, model: Path, quantity: Quantity | None = None, **kwargs) -> Predictions:
    data = read_input([path], **kwargs)
    return predict(data, quantity, str(model), FEW, ThisProcess())


def test_hops_and_a_broken_one(tmp_path: Path, tiny_model: Path) -> None:
    hops = tiny_hops()
    write_json_lines(tmp_path / "hops.jsonl", hops)
    with (tmp_path / "hops.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "broken", "host_species": ["O"], "path_frac": [[0, 0]]}\n')
    result = predicted(tmp_path / "hops.jsonl", tiny_model)
    assert result.columns == HOP_COLUMNS
    assert [r["id"] for r in result.rows] == [*[h.id for h in hops], "broken"]
    for row in result.rows[:-1]:
        lower, upper = row["migration_barrier_lower_eV"], row["migration_barrier_upper_eV"]
        assert lower <= row["migration_barrier_eV"] <= upper
        assert row["migration_barrier_std_eV"] > 0
    assert result.rows[-1]["status"] == "failed"
    assert result.n_ok == len(hops)


def test_a_table_is_predicted_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a table in parts are those of the whole; never more than a part is in memory."""
    model = save_table_model(tmp_path / "model")
    formulas = [f"Li{1 + k / 40:.3f}{METALS[k % 5]}O3" for k in range(40)]
    lines = [f"{k},{formula}\n" for k, formula in enumerate(formulas)]
    (tmp_path / "t.csv").write_text("ID,Formula\n" + "".join(lines) + "41,no formula\n7,Li2O\n")
    whole = predicted(tmp_path / "t.csv", model)
    monkeypatch.setattr(predictions, "AT_A_TIME", 4)
    n_read = 0

    def counted(*arguments: object) -> Iterator[object]:
        nonlocal n_read
        for record in iter_records(*arguments):  # type: ignore[arg-type]
            n_read += 1
            yield record

    monkeypatch.setattr(predictions, "iter_records", counted)
    data = known_by_number(stream_input([tmp_path / "t.csv"]))
    assert isinstance(data, InputStream)
    n_read = 0
    columns, rows, _ = predictions.predicted(data, None, str(model), FEW, ThisProcess())
    found = [next(rows)]
    assert n_read == 4
    found += rows
    assert columns == whole.columns
    assert found == whole.rows
    assert [row["status"] for row in found[-2:]] == ["failed", "failed"]


def test_crystals_are_predicted_as_they_are_read(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "SHARD_SIZE", 2)
    write_json_lines(tmp_path / "c.jsonl", [layered(f"c{k}", "Ni") for k in range(5)])
    whole = predicted(tmp_path / "c.jsonl", tiny_model)
    data = stream_input([tmp_path / "c.jsonl"])
    _, rows, _ = predictions.predicted(data, None, str(tiny_model), FEW, ThisProcess())
    assert list(rows) == whole.rows


def test_the_way_back_is_that_of_the_reversed_hop(tmp_path: Path, tiny_model: Path) -> None:
    hops = tiny_hops()
    keys = "migration_barrier_eV", "migration_barrier_backward_eV"
    both = []
    for name, given in (("there", hops), ("back", [hop.reversed() for hop in hops])):
        write_json_lines(tmp_path / f"{name}.jsonl", given)
        both.append(predicted(tmp_path / f"{name}.jsonl", tiny_model).rows)
    for there, back in zip(*both, strict=True):
        assert there[keys[1]] == pytest.approx(back[keys[0]], abs=1e-6)
        assert back[keys[1]] == pytest.approx(there[keys[0]], abs=1e-6)


def small_hop() -> Hop:
    """A vacancy hop in eight sites of rock salt."""
    lithium = [[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
    chlorine = [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.5, 0.5, 0.5]]
    path = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    species = (*[{"Li": 1.0}] * 2, *[{"Cl": 1.0}] * 4)
    frac = np.array([*lithium, *chlorine])
    return Hop("LiCl", "Li", 5.14 * np.eye(3), species, frac, path, family="rock salt")


def test_a_short_relaxation_beside_the_model(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("sevenn")
    hop = small_hop()
    disordered = replace(
        hop, id="mixed", host_species=({"Li": 0.6, "Na": 0.4}, *hop.host_species[1:])
    )
    write_json_lines(tmp_path / "hops.jsonl", [hop, disordered])
    data = read_input([tmp_path / "hops.jsonl"])
    alone, joined = (
        predict(data, None, str(tiny_model), FEW, ThisProcess(), potential=potential)
        for potential in ("none", "short")
    )
    assert alone.columns == HOP_COLUMNS
    assert joined.columns == POTENTIAL_COLUMNS
    row, own = joined.rows[0], alone.rows[0]
    assert row["barrier_fidelity"] == "short"
    assert 2 < row["potential_calls"] <= 60
    together = measured_fidelities()["short"].joined(
        np.array([own["migration_barrier_eV"]]), np.array([row["potential_barrier_eV"]]), LogShift()
    )
    assert row["migration_barrier_eV"] == pytest.approx(LogShift().inverse(together)[0], abs=1e-3)
    back = 0.5 * (own["migration_barrier_backward_eV"] + row["potential_barrier_backward_eV"])
    assert row["migration_barrier_backward_eV"] == pytest.approx(back, abs=1e-3)
    assert row["migration_barrier_lower_eV"] < row["migration_barrier_eV"]
    assert row["migration_barrier_eV"] < row["migration_barrier_upper_eV"]
    keys = {SHORT: "potential_barrier_eV", SHORT_BACKWARD: "potential_barrier_backward_eV"}
    brought = replace(hop, extra={**hop.extra, **{key: row[name] for key, name in keys.items()}})
    write_json_lines(tmp_path / "brought.jsonl", [brought])
    data = read_input([tmp_path / "brought.jsonl"])
    again = predict(data, None, str(tiny_model), FEW, ThisProcess(), potential="short").rows[0]
    assert again["potential_calls"] == 0  # a hop that brings its barriers keeps them
    assert again["migration_barrier_eV"] == pytest.approx(row["migration_barrier_eV"], abs=1e-3)
    other = joined.rows[1]
    assert other["barrier_fidelity"] == "network"  # the model's own, and why
    assert "disordered" in other["note"]
    assert "the model alone" in other["note"]
    assert other["migration_barrier_eV"] == alone.rows[1]["migration_barrier_eV"]


def test_a_potential_that_is_not_installed_is_one_line(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "ionbridge.screening.labelling.bands.sevennet_calculator", None
    )
    write_json_lines(tmp_path / "hops.jsonl", tiny_hops())
    data = read_input([tmp_path / "hops.jsonl"])
    with pytest.raises(MissingExtraError, match=r"pip install 'ionbridge\[sevennet\]'"):
        predict(data, None, str(tiny_model), FEW, ThisProcess(), potential="short")


def test_labels_of_the_input_are_not_used(tmp_path: Path, tiny_model: Path) -> None:
    hops = tiny_hops()
    write_json_lines(tmp_path / "a.jsonl", hops)
    write_json_lines(tmp_path / "b.jsonl", [replace(h, barrier_eV=9.9) for h in hops])
    a = predicted(tmp_path / "a.jsonl", tiny_model)
    b = predicted(tmp_path / "b.jsonl", tiny_model)
    assert a.rows == b.rows


def test_crystals_by_crystal_and_by_hop(tmp_path: Path, tiny_model: Path) -> None:
    write_json_lines(tmp_path / "c.jsonl.gz", [layered(), rocksalt()])
    rows = predicted(tmp_path / "c.jsonl.gz", tiny_model)
    assert rows.columns == CRYSTAL_COLUMNS
    assert [r["id"] for r in rows.rows] == ["LiCoO2", "LiCl"]
    assert all(r["rank"] is None and r["status"] == "ok" for r in rows.rows)
    hops = predicted(tmp_path / "c.jsonl.gz", tiny_model, "migration_barrier")
    assert [r["id"] for r in hops.rows] == ["LiCoO2#hop0", "LiCoO2#hop1", "LiCl#hop0"]
    # one kind of hop between equal sites: its barrier is that of the crystal
    barriers = [hops.rows[2]["migration_barrier_eV"], rows.rows[1]["percolation_barrier_eV"]]
    assert barriers[0] == pytest.approx(barriers[1], abs=100 * INVARIANCE)


def test_a_table_with_some_cifs_by_a_hop_model(tmp_path: Path, tiny_model: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        "ID,Reduced Composition,Ionic conductivity (S cm-1)\nx1,LiCl,1e-7\nx2,LiBr,<1E-10\n",
        encoding="utf-8",
    )
    (tmp_path / "cifs").mkdir()
    write_cif(rocksalt(), tmp_path / "cifs" / "x1.cif")
    result = predicted(table, tiny_model, cifs=tmp_path / "cifs")
    assert result.columns == CONDUCTIVITY_COLUMNS
    assert [(r["id"], r["status"]) for r in result.rows] == [("x1", "ok"), ("x2", "failed")]
    assert "--cifs" in result.rows[1]["reason"]
    assert result.rows[0]["log10_conductivity_S_cm"] is not None


def test_a_table_by_the_trees(tmp_path: Path) -> None:
    model = save_table_model(tmp_path / "trees")
    table = tmp_path / "table.csv"
    table.write_text(
        "ID,Reduced Composition,True Composition,Space group #,a,b,c,alpha,beta,gamma,"
        "Ionic conductivity (S cm-1)\n"
        "whole,Li2ZrO3,Li4Zr2O6,63,5.1,5.2,5.3,90,100,90,1e-7\n"
        "bound,Li2TiO3,Li2TiO3,,,,,,,,<1E-10\n"
        "odd,LiXx2O4,,,,,,,,,1e-5\n"
        "iron,Fe2O3,,,,,,,,,\n"
        "zinc,ZnZrO3,,,,,,,,,\n"
        "whole,Li2ZrO3,,,,,,,,,1e-7\n",
        encoding="utf-8",
    )
    result = predicted(table, model)
    assert result.columns == CONDUCTIVITY_COLUMNS
    rows = {r["id"]: r for r in result.rows[:-1]}
    assert [r["id"] for r in result.rows] == ["whole", "bound", "odd", "iron", "zinc", "whole"]
    assert [r["formula"] for r in result.rows[:4]] == ["Li2ZrO3", "Li2TiO3", "LiXx2O4", "Fe2O3"]
    for name in ("whole", "bound", "zinc"):
        row = rows[name]
        assert row["status"] == "ok"
        low, high = row["log10_conductivity_lower"], row["log10_conductivity_upper"]
        assert low <= row["log10_conductivity_S_cm"] <= high
        assert row["log10_conductivity_std"] > 0
    assert rows["whole"]["in_domain"]
    assert not rows["zinc"]["in_domain"]
    assert rows["zinc"]["note"] == "no conductor of Zn was learnt from"
    assert rows["zinc"]["reason"] == "no conductor of Zn was measured"
    assert rows["whole"]["reason"] is None
    assert rows["whole"]["note"] is None
    assert "unknown element 'Xx" in rows["odd"]["reason"]
    assert rows["iron"]["reason"].startswith("no working ion")
    assert result.rows[-1]["reason"] == "duplicate id"


def test_evaluate_a_table_beside_trees_of_its_own(tmp_path: Path) -> None:
    model = save_table_model(tmp_path / "trees")
    table = tmp_path / "table.csv"
    lines = [f"r{k},Li{1 + k / 10:.1f}{m}O3,1e-{4 + k % 5}" for k, m in enumerate(METALS * 4)]
    text = "\n".join(["ID,Reduced Composition,Ionic conductivity (S cm-1)", *lines])
    table.write_text(text + "\nlow,Li4SiO4,<1E-10\n", encoding="utf-8")
    data = read_input([table])
    scores = evaluate(data, predict(data, None, str(model), FEW, ThisProcess()))
    assert scores["coverage"] == 1
    assert (scores["n"], scores["n_bounds"]) == (len(lines) + 1, 1)
    assert set(scores["baselines"]) == {"global_mean", "family_mean", "trees"}
    assert scores["baselines"]["trees"]["mae"]["value"] > 0


def test_the_trees_say_what_they_cannot_do(tmp_path: Path) -> None:
    model = save_table_model(tmp_path / "trees")
    table = tmp_path / "table.csv"
    table.write_text("Formula\nLi2ZrO3\n", encoding="utf-8")
    with pytest.raises(InputError, match="room temperature only"):
        predict(read_input([table]), None, str(model), Conditions(500.0), ThisProcess())
    with pytest.raises(InputError, match="a conductivity table gives conductivity"):
        predicted(table, model, "diffusivity")
    write_json_lines(tmp_path / "hops.jsonl", tiny_hops())
    with pytest.raises(InputError, match="not barriers of hops"):
        predicted(tmp_path / "hops.jsonl", model)
    write_json_lines(tmp_path / "c.jsonl", [rocksalt()])
    with pytest.raises(InputError, match="no barriers of hops"):
        predicted(tmp_path / "c.jsonl", model)


def test_what_cannot_be_had_is_one_line(tmp_path: Path, tiny_model: Path) -> None:
    write_json_lines(tmp_path / "hops.jsonl", tiny_hops())
    with pytest.raises(InputError, match="hops give migration_barrier, not conductivity"):
        predicted(tmp_path / "hops.jsonl", tiny_model, "conductivity")
    with pytest.raises(InputError, match="no such folder"):
        read_input([tmp_path / "hops.jsonl"], cifs=tmp_path / "none")
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.txt"):
        read_input([tmp_path / "notes.txt"])


def test_a_gz_that_ends_early_keeps_what_came_before(tmp_path: Path, tiny_model: Path) -> None:
    whole = tmp_path / "whole.jsonl.gz"
    write_json_lines(whole, [layered(f"c{k}") for k in range(200)])
    text = gzip.decompress(whole.read_bytes())
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(text)[:-40])
    data = read_input([cut])
    assert data.records
    assert "cut" in data.records[-1].id or "ends" in getattr(data.records[-1], "reason", "")


def test_a_model_of_barriers_alone_predicts_crystals(tmp_path: Path) -> None:
    """What `auto` ends in may be no network; crystals are screened with it all the same."""
    model = GlobalMean()
    model.fit(tiny_hops(), [0.4, 0.4, 0.4]).save(tmp_path / "mine")
    write_json_lines(tmp_path / "c.jsonl", [rocksalt(), layered()])
    rows = predicted(tmp_path / "c.jsonl", tmp_path / "mine").rows
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert rows[0]["percolation_barrier_eV"] == pytest.approx(0.4, abs=0.01)


def test_a_row_with_a_cif_gets_what_its_crystal_gets(tmp_path: Path) -> None:
    """And a row without is carried by its composition."""
    cifs = tmp_path / "cifs"
    cifs.mkdir()
    write_cif(rocksalt(), cifs / "a.cif")
    formula = rocksalt().formula
    table = tmp_path / "t.csv"
    table.write_text(f"ID,Reduced Composition\na,{formula}\nb,Li3PS4\n", encoding="utf-8")
    data = read_input([table], cifs=cifs)
    first, second = predict(data, None, None, FEW, ThisProcess()).rows
    crystal = predict(read_input([cifs / "a.cif"]), None, None, FEW, ThisProcess()).rows[0]
    for name in ("log10_conductivity_S_cm", "log10_conductivity_std", *SOURCE_COLUMNS):
        assert first[name] == crystal[name], name
    assert first["log10_conductivity_lower"] == crystal["log10_conductivity_q05"]
    assert second["status"] == "ok"
    assert second["conductivity_source"] == "composition"
    assert second["log10_conductivity_composition_S_cm"] == second["log10_conductivity_S_cm"]


def test_cells_that_are_not_used_are_noted(tmp_path: Path) -> None:
    cells = {
        "used": "5.13,5.13,5.13,90,90,90",
        "large": "699,5.13,5.13,90,90,90",
        "negative": "-6,5.13,5.13,90,90,90",
        "wide": "5.13,5.13,5.13,90,90,200",
        "half": "5.13,,,,,",
        "none": ",,,,,",
    }
    table = tmp_path / "t.csv"
    lines = [f"{id},Li4Cl4,{cell}" for id, cell in cells.items()]
    table.write_text("\n".join(["ID,Formula,a,b,c,alpha,beta,gamma", *lines]) + "\n")
    found = predict(read_input([table]), None, None, FEW, ThisProcess())
    rows = {row["id"]: row for row in found.rows}
    notes = {id: row["note"] for id, row in rows.items()}
    assert notes["used"] is notes["none"] is None
    assert "2.3e+03 A3 an atom, not 6 to 60: not used" in notes["large"]
    assert notes["negative"] == "cell: a = '-6' is no length: not used"
    assert notes["wide"] == "cell: gamma = '200' is no angle: not used"
    assert notes["half"] == "cell: b, c, alpha, beta, gamma missing: not used"
    for id in ("large", "negative", "wide", "half"):
        without = pytest.approx(rows["none"]["log10_conductivity_S_cm"], abs=INVARIANCE)
        assert rows[id]["log10_conductivity_S_cm"] == without


def test_rows_with_a_cif_have_any_temperature_and_the_refusal_says_how(
    tmp_path: Path, tiny_model: Path
) -> None:
    write_cif(rocksalt(), tmp_path / "cifs" / "a.cif")
    table = tmp_path / "t.csv"
    table.write_text(f"ID,Formula\na,{rocksalt().formula}\nb,Li3PS4\n", encoding="utf-8")
    hot = replace(FEW, temperature_K=600.0)
    data = read_input([table], cifs=tmp_path / "cifs")
    with pytest.raises(InputError, match=r"rows with a CIF .* any temperature with --model hop"):
        predict(data, None, None, hot, ThisProcess())
    known, other = predict(data, None, str(tiny_model), hot, ThisProcess()).rows
    assert (known["status"], other["status"]) == ("ok", "failed")
    assert "no b.cif in the folder of --cifs" in other["reason"]
    cold = predict(data, None, str(tiny_model), FEW, ThisProcess()).rows[0]
    assert known["log10_conductivity_S_cm"] > cold["log10_conductivity_S_cm"]


def test_conductivities_of_another_temperature_are_not_learnt_from(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        "ID,Formula,Ionic conductivity (S/cm),temperature_K\n"
        "a,Li3PO4,1e-7,298\nb,Li3PO4,1e-4,600\nc,Li2O,<1e-8,\nd,Fe2O3,1e-9,\ne,Li2S,,\n",
        encoding="utf-8",
    )
    found = {r.id: why_not_learnable(r) for r in read_input([table]).records}
    assert [id for id, why in found.items() if not why] == ["a", "c"]
    assert found["b"] == "not measured at room temperature, 288 to 308 K"
    assert found["d"] == "no working ion"
