"""Campaign files: what is right gives the same object again, what is wrong gives one clear line."""

from pathlib import Path

import pytest

from ionbridge.screening.campaign.settings import EMBEDDED_CAMPAIGN, CampaignSettings, Objective
from ionbridge.structures.configuration import ConfigurationError


def read(tmp_path: Path, text: str) -> CampaignSettings:
    path = tmp_path / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return CampaignSettings.from_yaml(path)


def test_defaults_and_types(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        "name: try\nworking_ions: [Na]\ntemperature_K: 400\n"
        "candidates: {files: [a.cif, sub]}\nfilters: {max_atoms: 50, role: electrolyte}\n",
    )
    assert settings.temperature_K == 400.0
    assert isinstance(settings.temperature_K, float)
    assert settings.working_ions == ("Na",)
    assert settings.candidates.files == (str(tmp_path / "a.cif"), str(tmp_path / "sub"))
    assert settings.filters.max_atoms == 50
    assert settings.n_draws == CampaignSettings("x").n_draws


def test_the_default_objective_follows_the_role(tmp_path: Path) -> None:
    electrolyte = read(tmp_path, "name: a\nfilters: {role: electrolyte}\n")
    assert electrolyte.ranking_objectives() == (Objective("log10_conductivity_S_cm"),)
    any_role = read(tmp_path, "name: a\n")
    assert any_role.ranking_objectives() == (Objective("log10_diffusivity_cm2_s"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nfliters: {}\n", "unknown key 'fliters'; did you mean 'filters'"),
        ("name: a\nfilters: {max_atom: 3}\n", "unknown key 'max_atom'; did you mean 'max_atoms'"),
        ("name: a\nfilters: {max_atoms: many}\n", "max_atoms: expected an integer, got 'many'"),
        ("name: a\nworking_ions: Li\n", "working_ions: expected a list, got 'Li'"),
        (
            "name: a\nworking_ions: [Lithium]\n",
            r"working_ions\[0\]: expected Li \| Na .*, got 'Lithium'",
        ),
        ("name: a\nworking_ions: []\n", "expected at least 1, got"),
        ("name: a\nn_paths: -1\n", "n_paths: expected 0 or more, got -1"),
        ("name: a\ncell: {top_n: -1}\n", "cell: top_n: expected 0 or more, got -1"),
        (
            "name: a\ncandidates: {prototypes: {max_count: -5}}\n",
            "candidates: prototypes: max_count: expected 0 or more, got -5",
        ),
        (
            "name: a\ncandidates: {max_file_MB: 0}\n",
            "candidates: max_file_MB: expected more than 0, got 0",
        ),
        (
            "name: a\nprescreen: {max_charge_imbalance: 0}\n",
            "prescreen: max_charge_imbalance: expected more than 0, got 0",
        ),
        ("name: a\nrank_by: best\n", r"expected mean \| lcb \| probability, got 'best'"),
        ("name: a\nrank_by: probability\n", "needs objectives with a target"),
        (
            "name: a\nrank_by: probability\nobjectives: [{column: log10_diffusivity_cm2_s}]\n",
            "needs a target",
        ),
        ("name: a\nobjectives: [{goal: max}]\n", "key 'column' is missing"),
        ("name: a\ntemperature_K: -3\n", "temperature_K: expected 50 or more, got -3"),
        ("name: a\ntemperature_K: true\n", "temperature_K: expected a number, got True"),
        ("temperature_K: 300\n", "key 'name' is missing"),
        ("name: a\nstability: {}\n", "stability: key 'references' is missing"),
        ("name: a\nstability: {references: []}\n", "stability: references: expected at least 1"),
        ("name: a\nrefine: {n_neb: -1}\n", "refine: n_neb: expected 0 or more, got -1"),
        ("name: a\ncell: {duty: {cycles: 2}}\n", "cell: duty: unknown key 'cycles'; did you mean"),
        ("name: a\nobjectives: [{column: b, gaol: max}]\n", r"objectives\[0\]: unknown key 'gaol'"),
        ("- a\n- b\n", "expected a mapping"),
        ("name: [unclosed\n", "not a YAML file"),
        ("", "empty campaign file"),
    ],
)
def test_one_line_for_every_mistake(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        read(tmp_path, text)
    assert "campaign.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        CampaignSettings.from_yaml(tmp_path / "none.yaml")


def test_the_embedded_campaign_is_valid() -> None:
    settings = CampaignSettings.from_yaml(EMBEDDED_CAMPAIGN)
    assert settings.candidates.references
    assert settings.candidates.prototypes is not None
    assert settings.candidates.prototypes.max_count >= 2000
    assert set(settings.working_ions) == {"Li", "Na"}


def test_settings_as_run_are_a_campaign_file(tmp_path: Path) -> None:
    given = {
        "name": "all",
        "seed": 3,
        "working_ions": ["Na"],
        "candidates": {"files": ["own.cif"], "prototypes": {"families": ["garnet"]}},
        "filters": {"role": "electrolyte", "known_compounds": "known.txt", "max_atoms": 80},
        "objectives": [{"column": "log10_conductivity_S_cm", "target": -4}],
        "rank_by": "probability",
        "cell": {"base_cell": "Ai2020_extended", "duty": {"cycles_per_day": 2}},
        "active": {"calculator_arguments": {"a": 1}},
        "refine": {},
    }
    settings = CampaignSettings.from_mapping(given, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "campaign.yaml"
    again.write_text(settings.to_yaml(), encoding="utf-8")
    assert CampaignSettings.from_yaml(again) == settings
