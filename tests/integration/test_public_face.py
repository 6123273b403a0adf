"""Three lines in a notebook: what people have at hand goes in, a DataFrame with units comes out."""

import subprocess
import sys

import pandas as pd
import pytest
from pymatgen.io.ase import AseAtomsAdaptor

import ionbridge as ib
from ionbridge.screening.campaign.ranked_table import RankedTable
from ionbridge.screening.errors import InputError
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.io.reading import write_cif, write_json_lines
from tests.screening.tiny import tiny_hops

COLUMNS = ["percolation_barrier_eV", "log10_conductivity_S_cm", "log10_diffusivity_cm2_s"]


@pytest.fixture(scope="module")
def structure():
    return PROTOTYPES["LiFePO4-olivine"].build().to_pymatgen()


def test_any_form_of_a_crystal_gives_the_same_row(tmp_path, structure):
    write_cif(PROTOTYPES["LiFePO4-olivine"].build(), tmp_path / "c.cif")
    forms = [
        structure,
        AseAtomsAdaptor.get_atoms(structure),
        tmp_path / "c.cif",
        str(tmp_path),
        [structure],
        pd.DataFrame({"id": ["mine"], "structure": [structure]}),
    ]
    first, *others = [ib.predict(form) for form in forms]
    assert first["status"].tolist() == ["ok"]
    assert first["formula"].tolist() == ["LiFePO4"]
    for other in others:
        for column in COLUMNS:
            assert other[column].iloc[0] == pytest.approx(first[column].iloc[0], rel=1e-4), column
    assert others[-1]["id"].tolist() == ["mine"]


def test_structures_and_files_in_one_list(tmp_path, structure):
    write_cif(PROTOTYPES["LiCoO2-layered"].build(), tmp_path / "c.cif")
    found = ib.predict([structure, tmp_path / "c.cif", str(tmp_path)])
    assert found["id"].tolist() == ["0", "c", "c"]
    assert found["formula"].tolist() == ["LiFePO4", "LiCoO2", "LiCoO2"]


def test_hops_and_their_labels(tmp_path):
    hops = tiny_hops()
    found = ib.predict(hops)
    assert found["migration_barrier_eV"].gt(0).all()
    write_json_lines(tmp_path / "hops.jsonl", hops)
    again = ib.predict(tmp_path / "hops.jsonl")
    pd.testing.assert_frame_equal(found, again)


def test_what_cannot_be_used_is_one_line(structure):
    with pytest.raises(InputError, match="give a pymatgen Structure"):
        ib.predict(3.0)
    with pytest.raises(InputError, match="nothing was given"):
        ib.predict([])
    with pytest.raises(InputError, match="of one kind"):
        ib.predict([structure, tiny_hops()[0]])
    with pytest.raises(InputError, match="needs a column structure"):
        ib.predict(pd.DataFrame({"a": [1]}))
    with pytest.raises(InputError, match="call run"):
        _ = ib.Campaign({"name": "x", "candidates": {"references": True}}).results
    with pytest.raises(InputError, match="known conditions"):
        ib.plan("conductivity", "chemistry:LFP", humidity=0.5)


@pytest.mark.parametrize("wrong", ["abc", None, [300.0], float("nan"), 0])
def test_a_temperature_that_is_none_is_one_line(structure, wrong):
    with pytest.raises(InputError, match="temperature"):
        ib.predict(structure, temperature_K=wrong)


def test_a_campaign_from_a_mapping(tmp_path, structure):
    write_cif(PROTOTYPES["LiFePO4-olivine"].build(), tmp_path / "c.cif")
    campaign = ib.Campaign(
        {"name": "mine", "candidates": {"files": [str(tmp_path / "c.cif")]}, "n_draws": 64}
    )
    table = campaign.run(tmp_path / "out", workers=0).results
    assert table["log10_conductivity_S_cm"].iloc[0] == pytest.approx(
        ib.predict(structure)["log10_conductivity_S_cm"].iloc[0], abs=0.01
    )


def test_importing_it_loads_nothing_heavy_and_says_what_there_is():
    code = (
        "import sys, ionbridge; "
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules; "
        "print(sorted(dir(ionbridge)), ionbridge.__version__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ib.__all__:
        assert name in found.stdout
        assert name in ib.__doc__ or name == "__version__"


def test_structures_are_found_in_any_column(structure):
    table = pd.DataFrame({"id": ["mine"], "final_cell": [structure], "e": [1.0]})
    assert ib.predict(table)["id"].tolist() == ["mine"]
    with pytest.raises(InputError, match="needs a column"):
        ib.predict(pd.DataFrame({"a": [structure], "b": [structure]}))


def test_everything_shows_itself_in_a_notebook(structure, tmp_path):
    campaign = ib.Campaign({"name": "<b>mine", "candidates": {"references": True}})
    html = campaign._repr_html_()
    assert "&lt;b&gt;mine" in html
    assert "Not run yet" in html
    campaign.table_ = RankedTable(tmp_path / "ranked.parquet")
    campaign.table_.write([{"status": "ok", "candidate_id": "<i>x"}])
    campaign.record_ = {"counts": {"ok": 1, "filtered": 0, "failed": 0}}
    assert "&lt;i&gt;x" in campaign._repr_html_()
    assert "1 ok" in campaign._repr_html_()
    prediction = ib.load_model("hop-barrier").predict(tiny_hops())
    assert f"{prediction.mean[0]:.4g}" in prediction._repr_html_()
    write_cif(PROTOTYPES["LiFePO4-olivine"].build(), tmp_path / "c.cif")
    plan = ib.plan("conductivity", str(tmp_path / "c.cif"))
    assert plan.chosen.words.replace(">", "&gt;") in plan._repr_html_()
    assert "S/cm" in plan._repr_html_()
    assert plan.chosen.words in repr(plan)
    assert len(repr(plan)) < 1000
