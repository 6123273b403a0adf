"""A user's few conductivities: transfer where it helps, none where it hurts, bounds as bounds."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.adaptation.adapt import adapt
from ionbridge.models.adaptation.few_shot_conductivities import (
    SCRATCH,
    TRANSFER,
    FewLabelConductivity,
)
from ionbridge.models.conductors.conductivity import ConductivityTrees
from ionbridge.models.cross_validation import choose
from ionbridge.models.library import load
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Label
from tests.models.conductors.test_conductivity import FEW, label, law, row


@pytest.fixture(scope="module")
def known() -> ConductivityTrees:
    rows = [row(k, lattice=False) for k in range(60)]
    return ConductivityTrees(FEW).fit(rows, [label(law(r)) for r in rows])


def labelled(numbers: range, labels: list[Label]) -> list[ConductivityRow]:
    """Rows of compositions with these labels."""
    pairs = zip(numbers, labels, strict=True)
    return [replace(row(k, lattice=False), label=one) for k, one in pairs]


def test_labels_that_follow_the_source_but_for_an_offset_take_the_source(
    known: ConductivityTrees, tmp_path
) -> None:
    rows = [row(k, lattice=False) for k in range(100, 110)]
    rows = [replace(r, label=label(law(r) - 1.5)) for r in rows]
    model, card = adapt(rows, known)
    assert card["strategy"] in TRANSFER
    assert card["compared_mae"][card["strategy"]] < min(card["compared_mae"][s] for s in SCRATCH)
    new = [row(k, lattice=False) for k in range(200, 230)]
    error = np.abs(model.predict(new).mean - [law(r) - 1.5 for r in new])
    assert error.mean() < 1.0
    model.save(tmp_path / "mine", card)
    again = load(tmp_path / "mine")
    assert isinstance(again, FewLabelConductivity)
    np.testing.assert_allclose(again.predict(new).mean, model.predict(new).mean, rtol=1e-9)
    lower, upper = again.interval(again.predict(new))
    assert (lower < again.predict(new).mean).all()
    assert (again.predict(new).mean < upper).all()
    np.testing.assert_array_equal(again.in_domain(new), model.in_domain(new))


def test_transfer_that_does_not_help_is_refused(known: ConductivityTrees) -> None:
    """Labels that are all alike: their mean is right, whatever the source says."""
    _, card = adapt(labelled(range(100, 108), [label(-2.0)] * 8), known)
    assert card["strategy"] in SCRATCH
    assert card["base"] is None
    assert choose({"mean": 1.0, "residual": 0.99}, SCRATCH) == "mean"
    assert choose({"mean": 1.0, "residual": 0.9}, SCRATCH) == "residual"


def test_a_bound_that_is_kept_is_no_error(known: ConductivityTrees) -> None:
    labels = [label(-6.0)] * 7 + [label(-3.0, "<")]
    _, card = adapt(labelled(range(100, 108), labels), known, ["mean"])
    assert card["validation"]["mae"] == pytest.approx(0.0, abs=1e-6)
    rows = labelled(range(100, 108), [*labels[:7], label(-9.0, "<")])
    _, card = adapt(rows, known, ["mean"])
    assert card["validation"]["mae"] == pytest.approx(3.0 / 8, abs=1e-4)


def test_what_cannot_be_learnt_from_is_said(known: ConductivityTrees) -> None:
    rows = labelled(range(5), [label(-3.0)] * 5)
    with pytest.raises(ValueError, match="unknown strategy 'lora'"):
        adapt(rows, known, ["lora"])
    with pytest.raises(ValueError, match="3 labels; at least 4"):
        adapt(rows[:3], known)
    strange = replace(rows[0], composition=row(0, "K").composition)
    model, _ = adapt(rows, known, ["mean"])
    assert not model.in_domain([strange])[0]
