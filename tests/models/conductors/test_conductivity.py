"""Trees for conductivity tables: they learn, survive the disk, and know what they do not know."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Composition

from ionbridge.models.checkpoint import IncompatibleModelError
from ionbridge.models.conductors.conductivity import ConductivityTrees, source_group, weighted
from ionbridge.models.library import KINDS, load
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.committee import CommitteeSettings
from ionbridge.structures.io.tables import QUANTITY, ConductivityRow
from ionbridge.structures.records import Label, UnusableStructureError

METALS = ("Ti", "Zr", "Ge", "Sn", "Hf")
ANIONS = ("O", "S", "Se")
FEW = CommitteeSettings(n_trees=12, n_rounds=30)


def row(k: int, ion: str = "Li", lattice: bool = True) -> ConductivityRow:
    rng = np.random.default_rng(k)
    metal, anion = METALS[k % 5], ANIONS[k % 3]
    amount = round(1 + 3 * rng.random(), 2)
    formula = f"{ion}{amount}{metal}1P1{anion}5"
    composition = Composition(formula)
    side = (composition.num_atoms * (12 + 10 * rng.random())) ** (1 / 3)
    return ConductivityRow(
        id=f"row-{k}",
        formula=formula,
        composition=composition,
        cell=(side, side, side, 90.0, 90.0, 90.0) if lattice else None,
        space_group=int(rng.integers(1, 231)) if lattice else None,
        doi=f"10.1/{k // 2}",
    )


def law(r: ConductivityRow) -> float:
    """Softer anions and larger cells are faster."""
    softness = {"O": 0.0, "S": 3.0, "Se": 4.0}
    anion = next(a for a in ANIONS if r.composition[a] > 0)
    volume = (r.cell[0] ** 3 if r.cell else 0.0) / r.composition.num_atoms
    return -11.0 + softness[anion] + 0.25 * (volume - 12)


def label(value: float, bound: str = "=") -> Label:
    return Label(QUANTITY, value, bound)  # type: ignore[arg-type]


def data(n: int = 40) -> tuple[list[ConductivityRow], list[Label]]:
    rows = [row(k) for k in range(n)]
    return rows, [label(law(r)) for r in rows]


@pytest.fixture(scope="module")
def model() -> ConductivityTrees:
    return ConductivityTrees(FEW).fit(*data())


def assert_same(a: Prediction, b: Prediction) -> None:
    for name in ("mean", "aleatoric_std", "epistemic_std"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-10)


def test_a_law_of_anion_and_volume_is_learnt() -> None:
    rows, labels = data(120)
    fitted = ConductivityTrees(FEW).fit(rows[:90], labels[:90])
    prediction = fitted.predict(rows[90:])
    true = np.array([law(r) for r in rows[90:]])
    error = np.abs(prediction.mean - true)
    assert error.mean() < 0.35 * np.abs(true - np.mean([law(r) for r in rows[:90]])).mean()
    lower, upper = fitted.interval(prediction)
    assert np.mean((true >= lower) & (true <= upper)) >= 0.8
    assert (lower <= prediction.mean).all()
    assert (prediction.mean <= upper).all()


def test_save_and_load(model: ConductivityTrees, tmp_path) -> None:
    rows = [row(k, lattice=k % 2 == 0) for k in range(60, 70)] + [row(71, "Mg")]
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert isinstance(again, ConductivityTrees)
    prediction = model.predict(rows)
    assert_same(again.predict(rows), prediction)
    for a, b in zip(again.interval(prediction), model.interval(prediction), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.in_domain(rows), model.in_domain(rows))
    names = {p.name for p in (tmp_path / "m").iterdir()}
    assert names == {"model.safetensors", "config.json", "card.yaml"}


def test_an_altered_file_is_refused(model: ConductivityTrees, tmp_path) -> None:
    model.save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"Li"', '"Na"'))
    with pytest.raises(IncompatibleModelError):
        KINDS["conductivity_trees"].load(tmp_path)


def test_neither_order_nor_batch_matters(model: ConductivityTrees) -> None:
    rows, labels = data()
    turned = ConductivityTrees(FEW).fit(rows[::-1], labels[::-1])
    asked = [row(k, lattice=k % 2 == 0) for k in range(60, 70)]
    whole = model.predict(asked)
    assert_same(turned.predict(asked), whole)
    for k in (0, 5):
        assert_same(model.predict([asked[k]]), whole[k : k + 1])


def test_the_same_composition_in_other_words_is_the_same(model: ConductivityTrees) -> None:
    asked = row(60, lattice=False)
    written = "".join(f"{e}{n}" for e, n in reversed(asked.composition.get_el_amt_dict().items()))
    other = replace(asked, composition=Composition(written), formula=written)
    np.testing.assert_allclose(model.predict([other]).mean, model.predict([asked]).mean)


def test_labels_of_the_rows_are_never_looked_at(model: ConductivityTrees) -> None:
    rows = [row(k) for k in range(60, 66)]
    labelled = [replace(r, label=label(3.0)) for r in rows]
    assert_same(model.predict(labelled), model.predict(rows))


def test_bounds_are_learnt_from_as_bounds() -> None:
    """Where all that is known of oxides is an upper bound, they are predicted at or below it."""
    rows = [row(k, lattice=False) for k in range(40)]
    oxides = np.array([r.composition["O"] > 0 for r in rows])

    def oxide_mean(bound: str) -> float:
        given = [
            label(-10.0, bound) if o else label(law(r)) for o, r in zip(oxides, rows, strict=True)
        ]
        return float(ConductivityTrees(FEW).fit(rows, given).predict(rows).mean[oxides].mean())

    assert oxide_mean("<") < oxide_mean("=") - 0.1 < oxide_mean(">") - 0.2


def test_a_bound_does_not_widen_the_intervals() -> None:
    """Far bounds are learnt from but no error is measured on them."""
    rows = [row(k, lattice=False) for k in range(48)]
    far = [k % 6 == 0 for k in range(48)]
    widths = []
    for bound in ("<", "="):
        labels = [
            label(-19.0, bound) if f else label(law(r)) for f, r in zip(far, rows, strict=True)
        ]
        fitted = ConductivityTrees(FEW).fit(rows, labels)
        lower, upper = fitted.interval(fitted.predict(rows))
        widths.append(np.median(upper - lower))
    assert widths[0] < widths[1]


@pytest.mark.parametrize("known", [set(), {"space_group"}, {"cell"}, {"space_group", "cell"}])
def test_whatever_is_known_of_the_lattice_is_used(model: ConductivityTrees, known: set) -> None:
    asked = row(61)
    asked = replace(
        asked,
        cell=asked.cell if "cell" in known else None,
        space_group=asked.space_group if "space_group" in known else None,
    )
    branches = model._branches_of(asked)
    assert set(branches[-1].blocks) == known  # the one that sees most
    assert all(set(branch.blocks) <= known for branch in branches)
    assert len(branches) == 2 ** len(known)
    assert np.isfinite(model.predict([asked]).mean).all()


def test_a_cell_that_cannot_hold_the_composition_is_not_used(model: ConductivityTrees) -> None:
    asked = row(62)
    for cell in ((50.0, 50.0, 50.0, 90.0, 90.0, 90.0), (5.0, 5.0, 5.0, 10.0, 100.0, 20.0)):
        without = replace(asked, cell=None)
        assert_same(model.predict([replace(asked, cell=cell)]), model.predict([without]))


def test_a_model_without_lattices_predicts_rows_that_have_one() -> None:
    rows = [row(k, lattice=False) for k in range(30)]
    fitted = ConductivityTrees(FEW).fit(rows, [label(law(r)) for r in rows])
    assert [b.blocks for b in fitted.branches_] == [()]
    assert_same(fitted.predict([row(40)]), fitted.predict([row(40, lattice=False)]))


def test_ions_do_not_mix() -> None:
    li = [row(k, lattice=False) for k in range(30)]
    na = [replace(row(k, "Na", lattice=False), id=f"na-{k}") for k in range(30)]
    labels = [label(law(r)) for r in li]
    both = ConductivityTrees(FEW).fit([*li, *na], [*labels, *[label(-3.0)] * 30])
    np.testing.assert_allclose(both.predict(na).mean, -3.0, atol=1e-5)
    assert both.predict(li).mean.min() < -8


def test_what_was_never_seen_is_outside_the_domain(model: ConductivityTrees) -> None:
    rows, labels = data()
    strange = replace(row(3), composition=Composition("Li1Zr1P1O5U1"))
    magnesium, lithium = row(3, "Mg"), replace(row(3), composition=Composition("Li40P1O1"))
    assert model.in_domain(rows).mean() > 0.8
    assert not model.in_domain([strange, magnesium, lithium]).any()
    value = np.array([x.value for x in labels])
    prediction = model.predict([magnesium])
    assert prediction.mean[0] == pytest.approx(value.mean())
    assert prediction.std[0] >= value.std()


def test_what_cannot_be_used_is_said(model: ConductivityTrees) -> None:
    rows, labels = data(12)
    with pytest.raises(UnusableStructureError, match="row-1: no working ion"):
        model.predict([replace(row(1), composition=Composition("Fe2O3"))])
    with pytest.raises(ValueError, match="12 rows and 11 labels"):
        ConductivityTrees().fit(rows, labels[:-1])
    with pytest.raises(ValueError, match="finite"):
        ConductivityTrees().fit(rows, [label(np.nan)] * 12)
    with pytest.raises(ValueError, match="not fitted"):
        ConductivityTrees().predict(rows)
    assert len(model.predict([])) == 0


def test_rows_of_one_paper_are_one_group_however_it_is_written() -> None:
    a, b = replace(row(1), doi="10.1/ABC "), replace(row(2), doi="10.1/abc")
    assert source_group(a) == source_group(b)
    assert source_group(replace(a, doi=None)) != source_group(replace(b, doi=None))


def test_committees_weigh_by_inverse_variance_and_disagreement_widens() -> None:
    two = np.array([[[1.0, 1.0], [0.1, 0.1]], [[1.0, 3.0], [0.2, 0.1]]])
    mean, spread = weighted(two)
    assert mean == pytest.approx([1.0, 2.0])
    assert spread[0] == pytest.approx(np.sqrt((0.8 * 0.01) + (0.2 * 0.04)))
    assert spread[1] == pytest.approx(np.hypot(0.1, 1.0))
    one = two.copy()
    one[1, :, 0] = np.nan
    assert weighted(one)[:, 0] == pytest.approx([1.0, 0.1])


def test_out_of_fold_predictions_saw_neither_paper_nor_composition(
    model: ConductivityTrees,
) -> None:
    """Labels that follow the id alone cannot be foretold, but are by a model that saw the row."""
    rows = [row(k) for k in range(60)]
    noise = np.random.default_rng(3).normal(-5, 2, len(rows))
    labels = [Label("log10_conductivity_S_cm", float(v)) for v in noise]
    fitted = ConductivityTrees(FEW).fit(rows, labels)
    mean, spread = fitted.out_of_fold(rows[::-1], labels[::-1])
    assert abs(np.corrcoef(mean, noise[::-1])[0, 1]) < 0.5
    assert (spread > 0).all()
    with pytest.raises(ValueError, match="not the rows"):
        fitted.out_of_fold(rows[1:], labels[1:])


def test_further_forms_of_a_composition_are_out_of_its_fold() -> None:
    """A computed cell with a label of its own paper tells nothing of the same composition."""
    rows, labels = data()
    asked = rows[0]
    rounded = asked.composition + Composition({"Li": 0.1})
    wrong = law(asked) - 10.0

    def held_out(measured: Composition | None) -> float:
        forms = [
            replace(
                asked,
                id=f"form-{k}",
                doi=f"10.2/{k}",
                composition=rounded,
                measured_composition=measured,
            )
            for k in range(6)
        ]
        every, all_labels = [*rows, *forms], [*labels, *[label(wrong)] * 6]
        mean, _ = ConductivityTrees(FEW).fit(every, all_labels).out_of_fold(every, all_labels)
        return float(mean[0])

    assert held_out(None) < held_out(asked.composition) - 2.0
