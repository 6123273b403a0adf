"""Hop signals: what is sampled, what the targets are, shards that survive a cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ionbridge.models.hop_networks.hop_signals import (
    GRAPH_FIELDS,
    Sampling,
    choose_crystals,
    framework_formula,
    make_signals,
    read_shard,
    signal_example,
    write_shard,
)
from ionbridge.models.hop_networks.training import Example, collate
from ionbridge.structures.features.graph import N_PROBES, migration_graph_data
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal, UnusableStructureError
from tests.small_crystals import LOW_SYMMETRY, ROCK_SALT
from tests.tolerances import INVARIANCE


def salt(cation: str, anion: str, id: str | None = None, edge_A: float = 5.13) -> Crystal:
    """A rock salt of any two elements."""
    return replace(
        ROCK_SALT,
        id=id or cation + anion,
        lattice=ROCK_SALT.lattice * edge_A / 5.13,
        species=({cation: 1.0}, {anion: 1.0}),
        working_ion=None,
    )


POOL = [salt(c, a) for c in ("Li", "Na", "K", "Mg") for a in ("F", "Cl", "Br")]
NOBODY: frozenset[str] = frozenset()


def same(one: Example, two: Example) -> bool:
    graphs = all(torch.equal(one.graph[n], two.graph[n]) for n in GRAPH_FIELDS)
    return graphs and all(torch.equal(one.targets[n], two.targets[n]) for n in one.targets)


def test_every_ion_has_its_share_and_the_choice_follows_from_the_seed():
    sampling = Sampling(working_ions=("Li", "Na"), n_crystals=4)
    chosen, _ = choose_crystals(POOL, sampling, NOBODY)
    assert sorted(c.working_ion for c in chosen) == ["Li", "Li", "Na", "Na"]
    again, _ = choose_crystals(POOL, sampling, NOBODY)
    assert [c.id for c in again] == [c.id for c in chosen]
    seeds = {
        tuple(c.id for c in choose_crystals(POOL, replace(sampling, seed=s), NOBODY)[0])
        for s in range(6)
    }
    assert len(seeds) > 1


def test_a_rare_ion_leaves_its_share_to_the_others():
    pool = [salt("Li", "Cl"), *(salt("Na", a) for a in ("F", "Cl", "Br", "I"))]
    chosen, _ = choose_crystals(pool, Sampling(("Li", "Na"), n_crystals=4), NOBODY)
    assert sorted(c.working_ion for c in chosen) == ["Li", "Na", "Na", "Na"]
    everything, _ = choose_crystals(pool, Sampling(("Li", "Na"), n_crystals=99), NOBODY)
    assert len(everything) == len({c.id for c in everything}) == 5


def test_formulas_of_evaluation_sets_are_held_out_with_and_without_the_ion():
    sampling = Sampling(("Li",), n_crystals=9)
    oxide = replace(LOW_SYMMETRY, id="oxide", species=({"Li": 1.0}, *LOW_SYMMETRY.species[1:]))
    chosen, n_out = choose_crystals(
        [*POOL, oxide], sampling, frozenset({"LiCl", framework_formula(oxide, "Li")})
    )
    assert {c.id for c in chosen} == {"LiF", "LiBr"}
    assert n_out == 2
    assert framework_formula(oxide, "Li") == "MnO2"


def test_large_cells_and_crystals_without_an_ion_are_left_out():
    pool = [salt("Li", "Cl"), salt("Sn", "Te"), LOW_SYMMETRY]
    chosen, _ = choose_crystals(pool, Sampling(("Li",), 9, max_atoms=4), NOBODY)
    assert [c.id for c in chosen] == ["LiCl"]


def test_a_crystal_of_the_ion_alone_has_no_framework():
    metal = replace(ROCK_SALT, species=({"Li": 1.0}, {"Li": 1.0}))
    assert framework_formula(metal, "Li") == ""
    assert framework_formula(salt("Li", "Cl"), "Li") == "Cl2"  # the reduced formula of chlorine


def test_targets_are_the_profile_and_its_barriers():
    example = signal_example(LOW_SYMMETRY, Sampling(max_hops=4))
    targets = {k: v.double().numpy() for k, v in example.targets.items()}
    profile = targets["profile_eV"]
    assert profile.shape == (4, N_PROBES)
    assert len(example.graph.scalars) == 4
    np.testing.assert_allclose(profile[:, 0] + profile[:, -1], 0.0, atol=INVARIANCE)
    difference = targets["forward_eV"] - targets["backward_eV"]
    np.testing.assert_allclose(difference, profile[:, -1] - profile[:, 0], atol=INVARIANCE)
    assert (targets["forward_eV"] >= -INVARIANCE).all()
    assert (profile.max(axis=1) - profile[:, 0] <= targets["forward_eV"] + INVARIANCE).all()


def test_targets_belong_to_the_hops_of_the_graph():
    """Each row of targets agrees with the bond-valence scalar of the same row of the graph."""
    example = signal_example(LOW_SYMMETRY, Sampling(max_hops=99))
    whole = migration_graph_data(find_hops(LOW_SYMMETRY))
    assert len(example.graph.scalars) == len(whole.scalars)
    kra = 0.5 * (example.targets["forward_eV"] + example.targets["backward_eV"])
    torch.testing.assert_close(example.graph.scalars[:, 0], kra, rtol=1e-4, atol=1e-4)


def test_a_chemistry_without_bond_valences_is_refused_by_name():
    with pytest.raises(UnusableStructureError, match="LiSn"):
        signal_example(salt("Li", "Sn", edge_A=6.4), Sampling())


def test_a_shard_is_read_as_it_was_written(tmp_path):
    examples = [signal_example(c, Sampling()) for c in (LOW_SYMMETRY, ROCK_SALT)]
    write_shard(tmp_path / "a.safetensors", examples)
    again = list(read_shard(tmp_path / "a.safetensors"))
    assert len(again) == 2
    assert all(same(one, two) for one, two in zip(again, examples, strict=True))
    one, two = (collate(e, torch.device("cpu"))[0] for e in (again, examples))
    assert torch.equal(one.probe_index, two.probe_index)
    assert torch.equal(one.batch, two.batch)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_an_empty_shard_is_a_shard(tmp_path):
    write_shard(tmp_path / "a.safetensors", [])
    assert list(read_shard(tmp_path / "a.safetensors")) == []


def test_a_run_that_was_cut_off_goes_on_with_any_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("ionbridge.models.hop_networks.hop_signals.SHARD_SIZE", 2)
    crystals = [salt("Li", "F"), salt("Li", "Sn", edge_A=6.4), salt("Na", "Cl"), salt("K", "Br")]
    crystals = [replace(c, working_ion=next(iter(c.species[0]))) for c in crystals]
    whole = make_signals(crystals, Sampling(), tmp_path / "work", workers=2)
    assert len(whole) == 3  # one has no bond valences
    first, second = sorted((tmp_path / "work").iterdir())
    second.unlink()
    stamp = first.stat().st_mtime_ns
    again = make_signals(crystals, Sampling(), tmp_path / "work", workers=1)
    assert all(same(one, two) for one, two in zip(again, whole, strict=True))
    assert first.stat().st_mtime_ns == stamp  # what was there was not made again
    assert second.is_file()
