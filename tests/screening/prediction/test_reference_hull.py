"""Energies above the hull of named references: closed forms, a second route, and real CHGNet."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

pytest.importorskip("ase")

from ionbridge.screening.campaign.campaign import Campaign
from ionbridge.screening.campaign.settings import StabilitySettings
from ionbridge.screening.errors import InputError
from ionbridge.screening.prediction.reference_hull import Entry, ReferenceHull, reference_entries
from ionbridge.screening.prediction.stability import with_stability
from ionbridge.structures.configuration import ConfigurationError
from ionbridge.structures.crystals.symmetry import primitive_cell
from ionbridge.structures.io.reading import write_json_lines
from ionbridge.structures.records import Crystal, UnusableStructureError
from tests.screening.tiny import rocksalt
from tests.small_crystals import supercell

PAIR = StabilitySettings(
    ("given.jsonl",),
    "ase.calculators.lj:LennardJones",
    {"sigma": 2.3, "epsilon": 0.1, "rc": 6.0, "smooth": True},
    max_atoms=8,
)
"""A potential for which every element is alike."""


def hull(**eV_atom: float) -> ReferenceHull:
    return ReferenceHull(PAIR, tuple(Entry(name, name, e) for name, e in eV_atom.items()))


def test_the_hull_of_a_binary_by_hand() -> None:
    found = hull(Li=0.0, Cl2=0.0, LiCl=-1.0, Li3Cl=-0.2)
    assert found.hull_eV_atom(Composition("LiCl")) == pytest.approx(-1.0)
    assert found.hull_eV_atom(Composition("Li3Cl")) == pytest.approx(-0.5)  # Li3Cl is above it
    assert found.hull_eV_atom(Composition("Li")) == pytest.approx(0.0)


def test_the_hull_of_a_ternary_equals_that_of_pymatgen() -> None:
    formulas = ["Li", "O", "P", "Li2O", "P2O5", "Li3PO4", "LiPO3", "Li3P", "Li2O2", "Li4P2O7"]
    rng = np.random.default_rng(0)
    for _ in range(5):
        energies = rng.normal(-1.5, 1.0, len(formulas))
        entries = [
            PDEntry(Composition(f), e * Composition(f).num_atoms)
            for f, e in zip(formulas, energies, strict=True)
        ]
        ours = hull(**dict(zip(formulas, energies, strict=True)))
        theirs = PhaseDiagram(entries)
        for formula in ("Li3PO4", "Li5PO5", "LiP7", "Li7P3O11"):
            own = Composition(formula)
            expected = theirs.get_hull_energy_per_atom(own)
            assert ours.hull_eV_atom(own) == pytest.approx(expected, abs=1e-9)


def test_what_the_references_do_not_span_is_refused_in_a_line() -> None:
    with pytest.raises(UnusableStructureError, match=r"2 stability references .* LiBr"):
        hull(Li=0.0, LiCl=-1.0).hull_eV_atom(Composition("LiBr"))


def test_a_crystal_that_is_its_own_reference_lies_on_the_hull_in_any_cell() -> None:
    own = reference_entries([rocksalt()], PAIR)
    assert own[0].energy_eV_atom < -0.1
    found = ReferenceHull(PAIR, tuple(own))
    for cell in (rocksalt(), rocksalt(a=5.3), supercell(rocksalt(), (1, 2, 1))):
        assert found.energy_above_eV_atom(cell) == pytest.approx(0.0, abs=1e-3)


def test_the_source_says_which_of_the_three_it_was() -> None:
    found = ReferenceHull(PAIR, tuple(reference_entries([rocksalt()], PAIR)))
    judged = with_stability(replace(rocksalt(), working_ion="Li"), found)
    assert judged.extra["energy_above_hull_eV_atom"] == pytest.approx(0.0, abs=1e-3)
    assert judged.extra["energy_above_hull_source"].endswith("against 1 references")
    own = replace(rocksalt(), working_ion="Li", extra={"energy_above_hull_eV_atom": 0.3})
    assert with_stability(own, found).extra["energy_above_hull_source"] == "record"
    half = replace(rocksalt(), working_ion="Li", species=({"Li": 0.5}, {"Cl": 1.0}))
    large = supercell(replace(rocksalt(), working_ion="Li"), (1, 1, 5))
    for crystal, why in ((half, "no mixture"), (large, "max_atoms is 8")):
        given = with_stability(crystal, found)
        assert given.extra["energy_above_hull_source"] == "model energy-above-hull"
        assert "energy above hull by the shipped model" in given.notes[-1]
        assert why in given.notes[-1]


def campaign(folder: Path, **stability: object) -> dict[str, object]:
    write_json_lines(folder / "mine.jsonl", [rocksalt(), rocksalt("LiBr", anion="Br", a=5.5)])
    return {
        "name": "stable",
        "working_ions": ["Li"],
        "candidates": {"files": [str(folder / "mine.jsonl")]},
        "filters": {"max_energy_above_hull_eV_atom": 0.5},
        "stability": {
            "calculator": PAIR.calculator,
            "calculator_arguments": PAIR.calculator_arguments,
            **stability,
        },
    }


def test_a_campaign_relaxes_its_references_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json_lines(tmp_path / "given.jsonl", [rocksalt("salt")])
    given = campaign(tmp_path, references=[str(tmp_path / "given.jsonl")])
    Campaign(given).run(tmp_path / "out", workers=0)
    assert "relaxing 1 references" in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "out" / "ranked.csv").set_index("formula")
    assert table.energy_above_hull_eV_atom["LiCl"] == pytest.approx(0.0, abs=1e-3)
    assert "against 1 references" in table.energy_above_hull_source["LiCl"]
    assert table.energy_above_hull_source["LiBr"] == "model energy-above-hull"
    assert "no mixture" in table.note["LiBr"]
    (tmp_path / "out" / "shards" / "000000.jsonl").unlink()
    Campaign(given).run(tmp_path / "out", resume=True, workers=0)
    assert "relaxing" not in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "campaign.json").read_text())
    assert len(record["data"]["references_sha256"]) == 64
    write_json_lines(tmp_path / "given.jsonl", [rocksalt("salt", a=5.2)])
    with pytest.raises(InputError, match="changed since: data"):
        Campaign(given).run(tmp_path / "out", resume=True, workers=0)


def test_references_that_cannot_be_used_end_the_campaign_in_a_line(tmp_path: Path) -> None:
    half = replace(rocksalt("half"), species=({"Li": 0.5}, {"Cl": 1.0}))
    write_json_lines(tmp_path / "given.jsonl", [half])
    given = campaign(tmp_path, references=[str(tmp_path / "given.jsonl")])
    with pytest.raises(InputError, match="stability: reference half: disordered"):
        Campaign(given).run(tmp_path / "out", workers=0)
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        Campaign(campaign(tmp_path, references=["nowhere.jsonl"])).run(tmp_path / "b", workers=0)
    with pytest.raises(ConfigurationError, match="stability: key 'references' is missing"):
        Campaign(campaign(tmp_path))


def crystal(id: str, a: float, species: list[str], frac: list[list[float]]) -> Crystal:
    own = tuple({s: 1.0} for s in species)
    return primitive_cell(Crystal(id=id, lattice=a * np.eye(3), species=own, frac=np.array(frac)))


@pytest.mark.slow
def test_lithium_oxide_and_chloride_by_chgnet() -> None:
    pytest.importorskip("chgnet")
    settings = StabilitySettings(("given",), "chgnet", {"device": "cpu"})
    face: list[list[float]] = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    inner = [[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)]
    lithium = crystal("Li", 3.43, ["Li"] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])
    oxygen = crystal("O2", 8.0, ["O"] * 2, [[0, 0, 0], [0.154, 0, 0]])
    oxide = crystal("Li2O", 4.62, ["O"] * 4 + ["Li"] * 8, face + inner)
    elements = ReferenceHull(settings, tuple(reference_entries([lithium, oxygen], settings)))
    (formed,) = reference_entries([oxide], settings)
    heat_eV_atom = formed.energy_eV_atom - elements.hull_eV_atom(oxide.composition)
    assert heat_eV_atom == pytest.approx(-2.07, abs=0.15)  # -598 kJ/mol, NIST-JANAF
    assert elements.energy_above_eV_atom(oxide) == 0.0
    salt = ReferenceHull(settings, tuple(reference_entries([rocksalt()], settings)))
    caesium_form = crystal("B2", 3.1, ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert 0.02 < salt.energy_above_eV_atom(caesium_form) < 0.3
