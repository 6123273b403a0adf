"""What every splitter promises; a new one joins ``SPLITTERS`` and inherits these tests."""

import numpy as np
import pytest

from benchmarks.protocols import (
    SPLITTERS,
    FewShotSplit,
    LeaveFamilyAndIonOut,
    LeaveFamilyOut,
    LeaveIonOut,
    leak_report,
)
from ionbridge.structures.features.splits import GroupedKFold, RandomKFold, framework
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Hop

ANIONS = ("O", "S", "Se")
METALS = ("Fe", "Mn", "Co", "Ni", "Ti", "V")
FAMILIES = ("SPINEL", "SPINELS", "LAYERED", "OLIVINE")
IONS = ("Li", "Na", "Mg")


def hop(id, metal, anion, ion, family):
    frac = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
    species = ({metal: 1.0}, {anion: 1.0}, {ion: 1.0})
    return Hop(
        id, ion, 4 * np.eye(3), species, frac, np.array([[0, 0.5, 0], [0, 0.5, 0.5]]), family=family
    )


def hops(n=160, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        family = FAMILIES[rng.integers(4)]
        # families share some frameworks, as real data do
        metals = METALS[:5] if family == "LAYERED" else METALS[1:]
        metal, anion = metals[rng.integers(len(metals))], ANIONS[rng.integers(3)]
        # some frameworks take every ion, most take one
        ion = IONS[rng.integers(3) if metal == "Mn" else METALS.index(metal) % 3]
        rows.append(hop(f"hop-{k}", metal, anion, ion, family))
    return rows


CASES = {
    "random": RandomKFold(5),
    "grouped": GroupedKFold(5),
    "leave-family-out": LeaveFamilyOut(),
    "leave-ion-out": LeaveIonOut(),
    "leave-family-and-ion-out": LeaveFamilyAndIonOut(),
    "few-shot": FewShotSplit(2, min_test=1),
}


def test_every_splitter_is_tested():
    assert set(CASES) == set(SPLITTERS)
    assert all(type(CASES[name]) is SPLITTERS[name] for name in CASES)


@pytest.mark.parametrize("name", CASES)
class TestEverySplitter:
    def test_parts_are_disjoint_and_complete(self, name):
        records = hops()
        for split in CASES[name].split(records):
            parts = np.concatenate([split.train, split.test, split.dropped])
            assert sorted(parts) == list(range(len(records)))
            assert len(split.train)
            assert len(split.test)

    def test_same_records_same_split_whatever_their_order(self, name):
        records = hops()
        order = np.random.default_rng(1).permutation(len(records))
        shuffled = [records[k] for k in order]
        for a, b in zip(CASES[name].split(records), CASES[name].split(shuffled), strict=True):
            assert a.name == b.name
            for part in ("train", "test", "dropped"):
                first = {records[k].id for k in getattr(a, part)}
                assert first == {shuffled[k].id for k in getattr(b, part)}

    def test_no_framework_on_both_sides_but_in_random_folds(self, name):
        records = hops()
        reports = [
            leak_report([records[k] for k in split.train], [records[k] for k in split.test])
            for split in CASES[name].split(records)
        ]
        assert all(report.is_clean for report in reports) == (name != "random"), reports


def test_folds_cover_every_record_once_and_are_even():
    records = hops()
    for splitter in (RandomKFold(5), GroupedKFold(5)):
        tests = [split.test for split in splitter.split(records)]
        assert sorted(np.concatenate(tests)) == list(range(len(records)))
        sizes = [len(t) for t in tests]
        largest_group = max(
            sum(framework(r) == f for r in records) for f in set(map(framework, records))
        )
        assert max(sizes) - min(sizes) <= (largest_group if splitter.n_folds else 0)


def test_seeds_deal_groups_differently():
    records = hops()
    one, two = ([s.test.tolist() for s in RandomKFold(5, seed).split(records)] for seed in (0, 1))
    assert one != two


def test_family_aliases_are_one_family():
    names = [split.name for split in LeaveFamilyOut().split(hops())]
    assert names == ["layered", "olivine", "spinel"]
    aliases = {
        "spinel": ("SPINEL", "Spinels", " spinel "),
        "orthosilicate": ("SILICATES", "ORTHOSILICATE"),
        "post-spinel": ("POST-SPINELS", "POST-SPINEL(CF)", "POST-SPINEL(MAROKITE- CM)"),
        "argyrodite": ("argyrodites", "argyrodite"),
        "NASICON": ("NASICON", "nasicon"),
        "unknown": (None, "", "  "),
    }
    for name, written in aliases.items():
        assert {canonical_family(w) for w in written} == {name}
    assert canonical_family(canonical_family("LGPS")) == "LGPS"


def test_small_families_are_held_out_together():
    records = [
        *hops(),
        hop("rare-1", "W", "Te", "Li", "RARE"),
        hop("rare-2", "W", "Br", "Li", "ODD"),
    ]
    splits = list(LeaveFamilyOut(min_size=5).split(records))
    assert splits[-1].name == "others"
    assert {records[k].id for k in splits[-1].test} == {"rare-1", "rare-2"}


def test_leave_ion_out_may_share_frameworks():
    records = hops()
    for split in LeaveIonOut(share_frameworks=True).split(records):
        assert len(split.dropped) == 0
        assert {records[k].working_ion for k in split.test} == {split.name}
        assert split.name not in {records[k].working_ion for k in split.train}


def test_leave_family_and_ion_out_shares_neither():
    records = hops()
    tested = []
    for split in LeaveFamilyAndIonOut().split(records):
        held = [records[k] for k in split.test]
        ((family, ion),) = {(canonical_family(r.family), r.working_ion) for r in held}
        kept = [records[k] for k in split.train]
        assert family not in {canonical_family(r.family) for r in kept}
        assert ion not in {r.working_ion for r in kept}
        assert not {framework(r) for r in held} & {framework(r) for r in kept}
        tested += split.test.tolist()
    assert sorted(tested) == list(range(len(records)))


def test_few_shot_gives_as_many_frameworks_of_the_family_with_all_their_hops():
    records = hops()
    families = []
    for split in FewShotSplit(2, min_test=1).split(records):
        families.append(split.name)
        own = [k for k, r in enumerate(records) if canonical_family(r.family) == split.name]
        shots = set(own) & set(split.train.tolist())
        drawn = {framework(records[k]) for k in shots}
        assert len(drawn) == 2
        assert shots == {k for k in own if framework(records[k]) in drawn}
        assert set(split.test.tolist()) == set(own) - shots
    assert families


def test_few_shot_passes_over_families_that_would_keep_too_little():
    records = [
        hop(f"{m}-{k}", m, "O", "Li", "GARNET") for m in ("Fe", "Co", "Ni") for k in range(3)
    ]
    records += [hop(f"other-{k}", "Ti", "S", "Li", "LAYERED") for k in range(9)]
    assert [len(s.test) for s in FewShotSplit(1, min_test=6).split(records)] == [6]
    assert [len(s.test) for s in FewShotSplit(2, min_test=3).split(records)] == [3]
    assert not list(FewShotSplit(2, min_test=4).split(records))
    assert not list(FewShotSplit(3, min_test=1).split(records))


def test_leak_report_counts_by_reduced_formula():
    a, b = hop("a", "Fe", "O", "Li", None), hop("b", "Fe", "O", "Na", None)
    c = hop("c", "Mn", "O", "Na", None)
    report = leak_report([a, c], [b, b])
    assert (report.formulas, report.n_train, report.n_test) == (("FeO",), 1, 2)
    assert leak_report([a], [c]).is_clean


def test_too_many_folds_are_refused():
    with pytest.raises(ValueError, match="folds"):
        list(GroupedKFold(40).split(hops()))
