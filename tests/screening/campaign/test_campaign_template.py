"""The file that `ionbridge init` writes is a campaign, and every key of it is explained."""

import dataclasses
import re

import yaml

from ionbridge.screening.campaign.campaign_template import campaign_template
from ionbridge.screening.campaign.settings import CampaignSettings
from ionbridge.screening.cli import main


def test_it_is_a_campaign_and_names_every_key(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    assert main(["init", str(path)]) == 0
    settings = CampaignSettings.from_yaml(path)
    assert settings.name == "my-campaign"
    assert settings.candidates.references
    text = path.read_text()
    for field in dataclasses.fields(CampaignSettings):
        assert re.search(rf"^(# )?{field.name}:", text, re.M), field.name
    assert main(["init", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == text


def test_every_default_that_is_shown_is_the_default():
    """With the marks of all top-level keys taken away nothing changes."""
    text = campaign_template()
    opened = re.sub(r"^# (\w+: .*)$", r"\1", text, flags=re.M)
    given = yaml.safe_load(opened)
    known = {field.name for field in dataclasses.fields(CampaignSettings)}
    defaults = CampaignSettings(name="x")
    for key in known & set(given) - {"name", "candidates", "rank_by"}:
        value = getattr(defaults, key)
        assert given[key] == (list(value) if isinstance(value, tuple) else value), key


def test_version_and_doctor(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("Python", "torch", "cell", "chgnet", "GPU"):
        assert word in out
