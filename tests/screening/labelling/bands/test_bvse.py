"""Bond-valence labels are those of the relaxed path, and nothing is lost on the way."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.regressors.baselines import bond_valence_barriers
from ionbridge.screening.labelling.bands.bvse import bvse_label, bvse_labels
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import hop_from_json
from ionbridge.structures.records import FailedRecord
from tests.screening.tiny import layered, rocksalt
from tests.tolerances import TIGHT


def test_barrier_and_method() -> None:
    hop = find_hops(rocksalt()).hops[0]
    label = bvse_label(hop)
    assert label.method == "bvse"
    assert label.barrier_eV == pytest.approx(bond_valence_barriers([hop])[0], abs=TIGHT)
    assert label.barrier_backward_eV == pytest.approx(label.barrier_eV, abs=1e-3)  # by symmetry


def test_records_in_records_out() -> None:
    hop = find_hops(layered()).hops[0]
    metal = replace(hop, id="metal", host_species=({"Co": 1.0},) * len(hop.host_species), extra={})
    given = [rocksalt(), FailedRecord("bad", "empty file"), hop, metal]
    labels = list(bvse_labels(given))
    assert [x["id"] for x in labels] == ["LiCl#hop0", "bad", hop.id, "metal"]
    assert [x["status"] for x in labels] == ["ok", "failed", "ok", "failed"]
    assert labels[1]["reason"] == "empty file"
    assert hop_from_json(labels[0]).barrier_eV == pytest.approx(labels[0]["barrier_eV"])


def test_a_hop_without_a_barrier_is_no_label() -> None:
    """Half of a hop ends on its saddle: nothing to climb on the way back."""
    hop = find_hops(rocksalt()).hops[0]
    saddle = int(np.argmax(hop.extra["bvse_profile_eV"]))
    half = replace(
        hop,
        id="half",
        path_frac=hop.path_frac[: saddle + 1],
        extra={**hop.extra, "bvse_profile_eV": hop.extra["bvse_profile_eV"][: saddle + 1]},
    )
    (label,) = bvse_labels([half])
    assert label["status"] == "failed"
    assert "final image is the highest point" in label["reason"]
    assert "barrier_eV" not in label
    assert hop_from_json(label).barrier_eV is None
