"""What every shipped model that predicts a list of records promises, in the form it ships in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ionbridge
from ionbridge.models import library
from ionbridge.models.checkpoint import WEIGHTS, read_model
from ionbridge.models.estimator import Estimator
from ionbridge.screening.campaign.starter import starter_crystals, starter_neb_hops
from ionbridge.screening.planning.trained import LEARNT
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Hop
from tests.models.conductors.test_conductivity import row

SHIPPED = {
    path.parent.name: library.KINDS[json.loads(path.read_text())["kind"]]
    for path in sorted(library.LIBRARY.glob("*/config.json"))
}
"""Every shipped model and its class."""
ONE_A_KIND = {home.kind: name for name, home in SHIPPED.items()}


def one_a_kind(*inputs: str) -> list[str]:
    """A shipped model of each kind that predicts lists of these records."""
    return [name for name in ONE_A_KIND.values() if SHIPPED[name].inputs in inputs]


PARTS = ("mean", "aleatoric_std", "epistemic_std")
ROUNDING = 2e-5
"""Networks add in another order in another batch, in single precision; their energies are eV."""


def records_of(name: str) -> list[Any]:
    if SHIPPED[name].inputs == "hop":
        return [hop for hop in starter_neb_hops() if isinstance(hop, Hop)][:6]
    return [row(k, lattice=False) for k in range(6)]


def values(model: Any, records: list[Any]) -> np.ndarray:
    prediction = model.predict(records)
    return np.array([getattr(prediction, part) for part in PARTS])


@pytest.mark.parametrize("name", one_a_kind("hop", "composition"))
class TestEveryShippedModel:
    def test_neither_order_nor_company_changes_a_row(self, name: str) -> None:
        model, records = library.load(name), records_of(name)
        whole = values(model, records)
        order = np.array([4, 0, 5, 2, 1, 3])
        fresh = records_of(name)
        np.testing.assert_allclose(
            values(model, [fresh[k] for k in order]), whole[:, order], atol=ROUNDING
        )
        for k in (0, 3):
            alone = values(model, [records_of(name)[k]])
            np.testing.assert_allclose(alone[:, 0], whole[:, k], atol=ROUNDING)
        inside = model.in_domain(records)
        assert model.in_domain([records[k] for k in order]).tolist() == inside[order].tolist()

    def test_saved_and_loaded_it_predicts_the_same_to_the_last_bit(
        self, name: str, tmp_path: Path
    ) -> None:
        model, records = library.load(name), records_of(name)
        whole = values(model, records)
        model.save(tmp_path / "mine")
        again = library.load(tmp_path / "mine")
        np.testing.assert_array_equal(values(again, records_of(name)), whole)
        for mine, theirs in zip(
            again.interval(again.predict(records)),
            model.interval(model.predict(records)),
            strict=True,
        ):
            np.testing.assert_array_equal(mine, theirs)

    def test_the_interval_holds_the_mean_and_spreads_are_spreads(self, name: str) -> None:
        model, records = library.load(name), records_of(name)
        prediction = model.predict(records)
        lower, upper = model.interval(prediction)
        assert (lower < prediction.mean).all()
        assert (prediction.mean < upper).all()
        assert (values(model, records)[1:] >= 0.0).all()

    def test_nothing_in_nothing_out(self, name: str) -> None:
        model = library.load(name)
        assert len(model.predict([])) == len(model.in_domain([])) == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_written_again_as_it_lies_there(name: str, tmp_path: Path) -> None:
    """Loaded and saved, weights are the same bytes, settings and card the same values."""
    model = library.load(name)
    model.save(tmp_path / name)
    again = type(model).load(tmp_path / name)
    again.save(tmp_path / "again" / name)
    for folder in (tmp_path / name, tmp_path / "again" / name):
        assert (folder / WEIGHTS).read_bytes() == (library.find(name) / WEIGHTS).read_bytes()
        written, shipped = read_model(folder), read_model(library.find(name))
        assert written.config == shipped.config
        cards = ({**s.card, "checksums_sha256": None} for s in (written, shipped))
        assert next(cards) == next(cards)


@pytest.mark.parametrize("kind", library.KINDS)
def test_every_kind_is_an_estimator_under_its_name_and_writes_no_folder_itself(kind: str) -> None:
    home = library.KINDS[kind]
    assert issubclass(home, Estimator)
    assert home.kind == kind
    assert (home.save, home.load.__func__) == (Estimator.save, Estimator.load.__func__)


def test_the_catalogue_knows_what_models_of_a_kind_predict_without_importing_them() -> None:
    inputs = {kind: library.KINDS[kind].inputs for kind in library.KINDS}
    assert {kind: learnt.inputs for kind, learnt in LEARNT.items()} == {
        kind: inputs[kind] for kind in LEARNT
    }
    assert {kind for kind in inputs if inputs[kind] in ("hop", "composition")} <= LEARNT.keys()


def test_settings_of_a_model_folder_are_read_without_torch() -> None:
    script = (
        "import sys; from ionbridge.models import estimator, library; "
        "library.card('hop-barrier'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("name", one_a_kind("hop"))
def test_a_model_says_where_it_works_and_refuses_what_is_not_there(name: str) -> None:
    model = library.load(name)
    assert model.to("cpu").device == "cpu"
    with pytest.raises(ValueError, match="abacus"):
        model.to("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="CUDA"):
            model.to("cuda")


def stated_cover() -> Iterator[Any]:
    """Share of rows inside the 90 % interval, by model and protocol, where a card states one."""
    for name in library.names():
        validation = library.read_card(library.find(name)).get("validation", {})
        protocols = {"as a whole": validation, **validation}
        for protocol, scores in protocols.items():
            named = protocol == "as a whole" or "-out" in protocol
            if named and isinstance(scores, dict) and "interval_coverage_90" in scores:
                cover = scores["interval_coverage_90"]
                yield pytest.param(cover, id=f"{name} {protocol}")


@pytest.mark.parametrize("cover", list(stated_cover()))
def test_ninety_percent_means_ninety_percent(cover: Any) -> None:
    value = cover[0] if isinstance(cover, list) else cover
    assert 0.85 <= value <= 0.97


def test_a_hop_and_its_crystal_have_one_barrier() -> None:
    """Site energies close every loop, and the hop alone is the hop of its crystal."""
    model = library.load("hop-barrier")
    for crystal in [c for c in starter_crystals() if c.n_sites < 30][:3]:
        graph = find_hops(crystal)
        (whole,) = model.crystal_energies([graph])
        single = model.predict(graph.hops).mean
        np.testing.assert_allclose(whole.central_barrier_eV, single, atol=1e-4)


def test_workers_change_no_number() -> None:
    hops = records_of("hop-barrier")
    alone, shared = (ionbridge.predict(hops, workers=n) for n in (0, 2))
    assert alone["status"].tolist() == ["ok"] * len(hops)
    np.testing.assert_allclose(
        shared["migration_barrier_eV"], alone["migration_barrier_eV"], atol=ROUNDING
    )
    assert shared["in_domain"].tolist() == alone["in_domain"].tolist()
