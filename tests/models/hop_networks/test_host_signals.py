"""Signals of whole crystals: what they teach, and what is kept out of them."""

from dataclasses import replace

import numpy as np
import torch

from ionbridge.models.hop_networks.host_signals import (
    NOISE_A,
    PROPERTIES,
    HostLoss,
    HostNetwork,
    LabelledCrystal,
    host_examples,
    labelled_crystals,
)
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig
from ionbridge.models.hop_networks.training import TrainingConfig, fit_network
from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.features.graph import HOST_CUTOFF_A, HopData, crystal_graph
from ionbridge.structures.io.reading import crystal_to_json, write_json_lines
from ionbridge.structures.records import Crystal
from tests.small_crystals import ROCK_SALT

NETWORK = HopNetworkConfig(n_features=16, n_layers=1, n_basis=8)


def salts() -> list[LabelledCrystal]:
    """Rock salts whose first property is their edge."""
    found = []
    for k, edge_A in enumerate(np.linspace(4.0, 6.0, 24)):
        crystal = replace(ROCK_SALT, id=f"salt-{k}", lattice=ROCK_SALT.lattice * edge_A / 5.13)
        values = np.full(len(PROPERTIES), np.nan)
        values[0] = edge_A
        found.append(LabelledCrystal(crystal, values))
    return found


def test_the_true_lengths_are_those_of_the_crystal_and_the_seen_ones_of_the_displaced_one():
    shift = np.random.default_rng(0).normal(0, 0.05, (ROCK_SALT.n_sites, 3))
    graph, true = crystal_graph(ROCK_SALT, shift)
    _, _, _, length = periodic_edges(ROCK_SALT.lattice, ROCK_SALT.frac, HOST_CUTOFF_A)
    np.testing.assert_allclose(true, length, rtol=1e-6)
    moved = replace(ROCK_SALT, frac=ROCK_SALT.frac + shift @ np.linalg.inv(ROCK_SALT.lattice))
    again, same = crystal_graph(moved, np.zeros_like(shift))
    assert torch.equal(same, again.edge_length)
    # the displaced crystal has the same bonds but for those that cross the cutoff
    found = graph.edge_length[:, None] - again.edge_length[None]
    inside = graph.edge_length < HOST_CUTOFF_A
    assert float(found[inside].abs().min(dim=1).values.max()) < 1e-5


def test_properties_are_standardised_and_unknown_ones_stay_unknown():
    examples = host_examples(salts(), noisy=False, seed=0, workers=1)
    table = torch.cat([e.targets["properties"] for e in examples])
    np.testing.assert_allclose(table[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(table[:, 0].std(correction=0), 1, rtol=1e-5)
    assert torch.isnan(table[:, 1:]).all()
    assert all(torch.isnan(e.targets["length_change"]).all() for e in examples)


def test_noise_is_what_separates_seen_from_true_lengths():
    examples = host_examples(salts(), noisy=True, seed=0, workers=1)
    change = torch.cat([e.targets["length_change"] for e in examples])
    # two ends move: sqrt 2 along the bond, less where a bond joins an atom to its own image
    assert 0.9 < float(change.std()) < 1.6
    again = host_examples(salts(), noisy=True, seed=0, workers=1)
    assert torch.equal(change, torch.cat([e.targets["length_change"] for e in again]))
    assert NOISE_A > 0


def test_the_framework_layers_learn():
    examples = host_examples(salts(), noisy=False, seed=0, workers=1)
    torch.manual_seed(0)
    network = HopNetwork(NETWORK)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    config = TrainingConfig(epochs=40, batch_size=8, learning_rate=1e-2, device="cpu")
    history = fit_network(HostNetwork(network), examples, HostLoss(), config)
    assert history[-1]["train"] < 0.5 * history[0]["train"]
    after = network.state_dict()
    moved = {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}
    assert moved == {"embed_atom", "host_layers"}
    batch = HopData.batch_of([e.graph for e in examples])
    assert HostNetwork(network)(batch).properties.shape == (len(examples), len(PROPERTIES))


def test_held_out_formulas_are_not_seen_with_or_without_their_ion(tmp_path):
    def salt(ion: str, anion: str) -> Crystal:
        extra = {
            "formation_energy_per_atom_eV": -1.0,
            "band_gap_eV": 5.0,
            "total_magnetization_muB": 0.0,
        }
        species = ({ion: 1.0}, {anion: 1.0})
        return replace(ROCK_SALT, id=ion + anion, species=species, extra=extra, working_ion=None)

    (tmp_path / "materials_project").mkdir()
    rows = [crystal_to_json(salt(i, a)) for i in ("Li", "Rb") for a in ("F", "Br")]
    write_json_lines(tmp_path / "materials_project" / "bulk_36k.jsonl.gz", rows)
    found = labelled_crystals(tmp_path, frozenset({"Br", "RbF"}), 10, 10, 0)
    assert {entry.crystal.id for entry in found} == {"LiF", "RbBr"}
