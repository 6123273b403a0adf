"""``models check`` finds a card with a lie in it."""

import shutil

import numpy as np
import pytest
import yaml

from ionbridge.models import library
from ionbridge.models.checkpoint import CARD
from ionbridge.models.regressors.baselines import GlobalMean
from ionbridge.models.validation import (
    GROUPED,
    STARTER,
    label_of,
    read_validation,
    validation_row,
    write_validation,
)
from ionbridge.screening.cli import main
from ionbridge.screening.commands.command import UNUSABLE, USABLE
from ionbridge.screening.planning.checking import check
from tests.screening.tiny import tiny_hops


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model of the user's own, with an honest card."""
    monkeypatch.setenv(library.LIBRARY_VARIABLE, str(tmp_path))
    folder = tmp_path / "mine"
    hops = tiny_hops()
    labels = [hop.barrier_eV for hop in hops]
    fitted = GlobalMean().fit(hops, labels)
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


def test_a_name_that_ships_does_not_stop_the_list(model, capsys):
    shutil.copytree(model, model.parent / "hop-barrier")
    assert main(["models", "list"]) == USABLE
    assert "reached by its path" in capsys.readouterr().err


LIES = {
    "mae": {"mae": 0.01},
    "nan": {"mae_eV": float("nan")},
    "text": {"mae_eV": "small"},
    "rmse": {"rmse_eV": 0.01},
    "spearman": {"spearman": 0.99},
    "r2": {"r2": 0.99},
    "n of text": {"n": "many"},
    "another protocol": {"leave-family-out": {"mae_eV": [0.01, 0.0, 0.02]}},
    "nan elsewhere": {"leave-family-out": {"mae_eV": [float("nan")]}},
    "another n": {"leave-family-out": {"n": 400}},
    "no table": {"leave-family-out": 0.01},
    "an ion": {"Li": {"shipped": {"mae": [0.01]}}},
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_under_any_key_is_found(model, name):
    write_validation(model, "leave-family-out", read_validation(model)[GROUPED])
    assert not check("mine").faults
    edited(model, **LIES[name])
    assert len(check("mine").faults) == 1


def altered_rows(model, **values):
    first, *others = read_validation(model)[GROUPED]
    write_validation(model, GROUPED, [first._replace(**values), *others])


def test_rows_made_better_are_found_without_the_data(model):
    altered_rows(model, absolute_error=0.0)
    mean = np.mean([row.absolute_error for row in read_validation(model)[GROUPED]])
    edited(model, mae_eV=float(mean))
    (fault,) = check("mine").faults
    assert "does not belong to the label of their checksum" in fault


def test_rows_that_stand_twice_are_found(model):
    rows = read_validation(model)[GROUPED]
    write_validation(model, GROUPED, [*rows, rows[0]])
    assert "more than once" in " ".join(check("mine").faults)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
def test_rows_that_are_no_numbers_are_refused(model, value, capsys):
    altered_rows(model, absolute_error=value)
    assert main(["models", "check", "mine"]) == UNUSABLE
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("label", [0.4, 0.0123456, -5.12345678, 3.0, 41.2345, -0.99999])
@pytest.mark.parametrize("gap", [0.0, 0.31234567, -2.7])
def test_labels_are_found_again(label, gap):
    row = validation_row("x", None, "Li", label + gap, label)
    assert label_of(row) == pytest.approx(label, rel=1e-5)
    with pytest.raises(ValueError, match="do not lead"):
        label_of(row._replace(absolute_error=row.absolute_error + 0.05))


def test_rows_of_the_shipped_model_lead_to_their_labels():
    for protocol, rows in read_validation(library.LIBRARY / "hop-barrier").items():
        if protocol != STARTER:
            assert all(label_of(row) is not None for row in rows)


def test_formulas_have_a_card_too(capsys):
    assert main(["models", "show", "nernst-einstein"]) == USABLE
    assert "conductivity" in capsys.readouterr().out


def test_a_potential_is_checked_by_its_stored_bands(capsys):
    assert main(["models", "check", "chgnet-neb"]) == USABLE
    assert "23 bands against published ones, mean absolute error 0.289" in capsys.readouterr().out
