"""``models check`` finds a card with a lie in it."""

import shutil

import pytest
import yaml

from ionbridge.models import library
from ionbridge.models.checkpoint import CARD
from ionbridge.models.few_label_model import FewLabelModel
from ionbridge.models.validation import GROUPED, read_validation, validation_row, write_validation
from ionbridge.screening.cli import main
from ionbridge.screening.commands.command import UNUSABLE, USABLE
from ionbridge.screening.orchestrator.checking import check
from tests.screening.tiny import tiny_hops


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model of the user's own, with an honest card."""
    monkeypatch.setenv(library.LIBRARY_VARIABLE, str(tmp_path))
    folder = tmp_path / "mine"
    hops = tiny_hops()
    labels = [hop.barrier_eV for hop in hops]
    fitted = FewLabelModel("mean").from_source(library.load("hop-descriptors"))
    fitted.fit(hops, labels)
    rows = [
        validation_row(h.id, h.family, h.working_ion, 0.4, b)
        for h, b in zip(hops, labels, strict=True)
    ]
    stated = sum(row.absolute_error for row in rows) / len(rows)
    card = {"quantity": "migration_barrier", "validation": {"mae_eV": stated, "n": len(rows)}}
    fitted.save(folder, card)
    write_validation(folder, GROUPED, rows)
    return folder


def edited(folder, **validation):
    card = yaml.safe_load((folder / CARD).read_text())
    card["validation"] |= validation
    (folder / CARD).write_text(yaml.safe_dump(card))


def test_an_honest_card_holds(model):
    report = check("mine")
    assert not report.faults
    assert main(["models", "check", "mine"]) == USABLE


@pytest.mark.parametrize("lie", [{"mae_eV": 0.01}, {"n": 500}])
def test_a_lie_about_the_error_is_found(model, lie, capsys):
    edited(model, **lie)
    assert main(["models", "check", "mine"]) == UNUSABLE
    message = capsys.readouterr().err
    assert "the card states" in message
    assert message.count("\n") == 1


def test_altered_weights_are_found(model, capsys):
    other = model.parent / "other"
    shutil.copytree(model, other)
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert main(["models", "check", "other"]) == UNUSABLE
    assert "altered" in capsys.readouterr().err


def test_rows_come_back_as_they_were_written(model):
    rows = read_validation(model)[GROUPED]
    assert [row.id for row in rows] == [hop.id for hop in tiny_hops()]


def test_an_adapted_model_stands_in_the_catalogue(model, capsys):
    assert main(["models", "list", "--gives", "migration_barrier"]) == USABLE
    assert "mine" in capsys.readouterr().out


def test_names_that_clash_are_loud(model, capsys):
    shutil.copytree(model, model.parent / "hop-barrier")
    assert main(["models", "list"]) == UNUSABLE
    assert "hop-barrier" in capsys.readouterr().err


def test_formulas_have_a_card_too(capsys):
    assert main(["models", "show", "nernst-einstein"]) == USABLE
    assert "conductivity" in capsys.readouterr().out


def test_a_potential_is_checked_by_its_stored_bands(capsys):
    assert main(["models", "check", "chgnet-neb"]) == USABLE
    assert "23 bands against published ones, mean absolute error 0.289" in capsys.readouterr().out
