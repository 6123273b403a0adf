"""Fine-tuning on labels of two methods: one is asked for, the other helps and never mixes in."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ionbridge.models.adaptation import barriers as adaptation
from ionbridge.models.adaptation.adapt import adapt
from ionbridge.models.adaptation.barriers import Base
from ionbridge.models.adaptation.multi_fidelity import SCALE, Footing, asked_method
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig
from ionbridge.models.regressors.gaussian_process import (
    GaussianProcessBaseline,
    PathProcess,
    path_scalars,
)
from ionbridge.structures.records import Hop
from tests.small_crystals import skew_hop

SIZES = HopNetworkConfig(n_features=6, n_layers=1, n_basis=5)
METALS = ("Fe", "Co", "Mn", "Ni", "V")
FACTOR = 4.0


def hop(seed: int, method: str | None) -> Hop:
    """A small hop whose framework is one of five."""
    found = skew_hop(seed)
    species = ({METALS[seed % 5]: 1.0}, *found.host_species[1:])
    return replace(found, id=f"{method}-{seed}", host_species=species, method=method)


def barrier(hops: list[Hop]) -> np.ndarray:
    """What the asked method says: it follows the length of the path."""
    return np.array([0.2 * h.distance_A for h in hops])


DFT = [hop(k, "dft_neb") for k in range(10)]
CHEAP = [hop(k, "mlip_neb") for k in range(10, 40)]
LABELS = np.concatenate([barrier(DFT), FACTOR * barrier(CHEAP)])
EVERY, NONE = np.arange(len(DFT)), np.arange(0)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (["mlip_neb", "mlip_neb", "dft_neb"], "dft_neb"),
        (["dft_neb", "experiment"], "experiment"),
        (["bvse", "unstated"], "unstated"),
        (["bvse", "my-own-code"], "my-own-code"),
    ],
)
def test_the_most_trusted_method_is_asked_for(methods, expected):
    assert asked_method(methods) == expected
    assert asked_method(methods, methods[0]) == methods[0]


def test_a_method_without_labels_is_refused():
    with pytest.raises(ValueError, match=r"no label is of method 'bvse'.*dft_neb \(1\)"):
        asked_method(["dft_neb"], "bvse")


def test_labels_of_one_method_leave_the_base_as_it_is():
    known = PathProcess(path_scalars(CHEAP), SCALE.forward(barrier(CHEAP)))
    for method in ("dft_neb", None):
        same = [replace(h, method=method) for h in DFT]
        footing = Footing.of(same, barrier(same), known, "dft_neb")
        assert footing.known(EVERY, NONE) is known
        assert footing.counts == {}
    assert Footing.of(DFT, barrier(DFT), None, None).known(EVERY, NONE) is None


def test_other_labels_come_onto_the_asked_footing():
    footing = Footing.of([*CHEAP, *DFT], np.roll(LABELS, len(CHEAP)), None, None)
    assert [h.id for h in footing.hops] == [h.id for h in DFT]
    assert footing.counts == {"mlip_neb": 30}
    known = footing.known(EVERY, NONE)
    blind = np.abs(np.log(FACTOR))
    assert np.abs(known.target - SCALE.forward(barrier(CHEAP))).mean() < 0.35 * blind


def test_labels_of_a_base_of_another_method_are_moved_too():
    base = PathProcess(path_scalars(CHEAP), SCALE.forward(FACTOR * barrier(CHEAP)))
    moved = Footing.of(DFT, barrier(DFT), base, "mlip_neb").known(EVERY, NONE)
    pooled = GaussianProcessBaseline(SCALE.shift_eV, base).fit(DFT, barrier(DFT))
    flagged = GaussianProcessBaseline(SCALE.shift_eV, moved).fit(DFT, barrier(DFT))
    new = [hop(k, None) for k in range(60, 80)]
    error, blind = (np.abs(m.predict(new).mean - barrier(new)).mean() for m in (flagged, pooled))
    assert error < 0.5 * blind


def test_held_out_frameworks_hide_their_other_labels():
    footing = Footing.of([*DFT, *CHEAP], LABELS, None, None)
    test = np.array([i for i, h in enumerate(DFT) if "Fe" in h.framework])
    known = footing.known(np.setdiff1d(EVERY, test), test)
    assert len(known.target) == sum("Fe" not in h.framework for h in CHEAP) < len(CHEAP)


def test_adapting_fits_and_scores_one_method(monkeypatch):
    monkeypatch.setattr(adaptation, "FROZEN_HOST", adaptation.Effort(2, (1, 1)))
    torch.manual_seed(3)
    weights = HopNetwork(replace(SIZES, use_scalars=False)).state_dict()
    base = Base("tiny", replace(SIZES, use_scalars=False), [weights])
    labelled = [
        replace(h, barrier_eV=float(b)) for h, b in zip([*DFT, *CHEAP], LABELS, strict=True)
    ]
    _, card = adapt(labelled, base, ["frozen"], n_members=1, n_folds=2, device="cpu")
    trained = card["trained_on"]
    assert trained["n_hops"] == card["validation"]["n"] == 10
    assert trained["methods"] == ["dft_neb"]
    assert trained["n_hops_of_other_methods"] == {"mlip_neb": 30}
    with pytest.raises(ValueError, match=r"1 labelled hop.*of method dft_neb"):
        adapt(labelled[9:], base)
