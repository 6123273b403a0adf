"""A first stage discards what its thresholds say, and changes nothing of what it lets go on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ionbridge.screening.campaign.candidates import Candidates
from ionbridge.screening.campaign.prescreen import Prescreen, formula_row
from ionbridge.screening.campaign.settings import (
    CandidateSettings,
    PrescreenSettings,
    PrototypeSettings,
)
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.crystals import CrystalPredictor
from ionbridge.screening.prediction.estimate import REFERENCE_SOURCE, measured_compositions
from ionbridge.structures.chemistry.composition import charge_imbalance
from ionbridge.structures.records import Crystal, FailedRecord
from tests.screening.tiny import layered, rocksalt
from tests.small_crystals import rewritten
from tests.tolerances import INVARIANCE


def conductivity_above(log10_S_cm: float) -> Prescreen:
    return Prescreen(PrescreenSettings(min_log10_conductivity_S_cm=log10_S_cm))


def electrolytes() -> list[Crystal]:
    made = Candidates(
        CandidateSettings(prototypes=PrototypeSettings(("garnet", "argyrodite", "halide"), 30)),
        ("Li", "Na"),
        0,
    )
    return [one for _, piece in made.pieces(30) for r in piece if (one := r.build()).role]  # type: ignore[union-attr]


def test_charge_that_oxidation_states_leave() -> None:
    """In closed form: Li2Cl has one positive charge too much for its one anion, LiCl2 lacks one
    of two (chlorine may be oxidised, fluorine is not)."""
    assert charge_imbalance({"Li": 1, "F": 1}) == 0.0
    assert charge_imbalance({"Li": 2, "F": 1}) == pytest.approx(1.0)
    assert charge_imbalance({"Li": 1, "F": 2}) == pytest.approx(-0.5)
    short = replace(rocksalt("short", anion="F"), species=({"Li": 0.9}, {"F": 1.0}))
    for most, is_refused in ((0.05, True), (0.11, False)):
        (reason,) = Prescreen(PrescreenSettings(max_charge_imbalance=most)).refusals([short])
        assert (reason is not None) == is_refused
        assert reason is None or "10 % of the anions' charge" in reason


def test_discarded_by_what_its_composition_promises_and_by_nothing_else() -> None:
    crystals = electrolytes()
    model = measured_compositions()
    own = [one for one in crystals if one.role == "electrolyte"]
    found = model.predict([formula_row(one) for one in own]).mean
    expected = dict(zip((one.id for one in own), found, strict=True))
    middle = float(np.median(found))
    reasons = conductivity_above(middle).refusals(crystals)
    assert 0 < sum(reason is not None for reason in reasons) < len(crystals)
    for crystal, reason in zip(crystals, reasons, strict=True):
        assert (reason is not None) == (expected.get(crystal.id, np.inf) < middle), crystal.id


def test_what_a_threshold_cannot_judge_goes_on() -> None:
    slow = replace(rocksalt("NaCl", "Na"), role="electrolyte", working_ion="Na")
    potassium = replace(rocksalt("KCl", "K"), role="electrolyte", working_ion="K")
    reference = replace(slow, source=REFERENCE_SOURCE)
    electrode = replace(layered(), role="electrode", working_ion="Li")
    high = conductivity_above(5.0)
    found = high.refusals([slow, potassium, reference, electrode])
    assert [reason is not None for reason in found] == [True, False, False, False]
    unknown = replace(rocksalt("?"), species=({"Li": 1.0}, {"Ne": 0.5, "Cl": 0.5}))
    balance = Prescreen(PrescreenSettings(max_charge_imbalance=0.01))
    assert balance.refusals([unknown]) == [None]


def test_one_crystal_however_it_is_written_down() -> None:
    crystal = replace(rocksalt("NaCl", "Na"), role="electrolyte", working_ion="Na")
    turned = rewritten(
        crystal, np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]]), np.array([0.7, -1.9, 3.1]), 0, 1e-7
    )
    high = conductivity_above(5.0)
    assert high.refusals([crystal]) == high.refusals([turned])


def test_what_goes_on_has_the_row_that_it_would_have_without(tiny_model: Path) -> None:
    given = [
        layered(),
        rocksalt(),
        FailedRecord("unread", "file is empty", "X"),
        rocksalt("NaI", "Na", "I", 6.47),
        replace(rocksalt("none"), species=({"Cs": 1.0}, {"Cl": 1.0})),
    ]
    plain = CrystalPredictor(str(tiny_model), Conditions(n_draws=8))
    model = measured_compositions()
    two = model.predict([formula_row(given[k]) for k in (1, 3)]).mean  # type: ignore[arg-type]
    screened = replace(plain, prescreen=conductivity_above(float(two.mean())))
    before, after = plain(given), screened(given)
    discarded = [row["status"] == "filtered" for row in after]
    slower = 1 if two[0] < two[1] else 3
    assert discarded == [k == slower for k in range(len(given))]
    assert after[slower]["log10_conductivity_S_cm"] is None
    for k in np.flatnonzero(np.logical_not(discarded)):
        for key, value in before[k].items():
            if isinstance(value, float):  # of another batch
                assert after[k][key] == pytest.approx(value, abs=100 * INVARIANCE), key
            else:
                assert after[k][key] == value, key


def test_a_crystal_that_spoils_the_batch_costs_its_own_row(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Prescreen.refusals

    def spoilt(self: Prescreen, crystals: list[Crystal]) -> list[str | None]:
        if any(one.id == "bad" for one in crystals):
            raise ArithmeticError("spoilt")
        return real(self, crystals)

    monkeypatch.setattr(Prescreen, "refusals", spoilt)
    predictor = CrystalPredictor(
        str(tiny_model), Conditions(n_draws=8), prescreen=conductivity_above(5.0)
    )
    rows = predictor([rocksalt("bad"), rocksalt("good"), layered()])
    assert [row["status"] for row in rows] == ["failed", "filtered", "ok"]
    assert rows[0]["reason"] == "ArithmeticError: spoilt"
