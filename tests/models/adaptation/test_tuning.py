"""A search of settings: judged on what it has not seen, kept, and gone on with."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from ionbridge.models.adaptation.tuning import Settings, tune
from ionbridge.screening.campaign.starter import starter_hops

N = 60


def labelled() -> tuple[list, np.ndarray]:
    hops = starter_hops()[:N]
    return hops, np.linspace(0.2, 0.8, len(hops))


class Fits:
    """A learner whose error is known: it grows with the distance of a setting from the best."""

    def __init__(self, barrier_eV: np.ndarray, best_rate: float | None) -> None:
        self.barrier_eV, self.best_rate, self.calls = barrier_eV, best_rate, 0

    def __call__(self, settings: Settings, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        assert not set(train) & set(test)
        self.calls += 1
        off = 0.5
        if self.best_rate is not None and settings.strategy not in ("trees", "process"):
            off = abs(np.log(settings.learning_rate / self.best_rate))
        return self.barrier_eV[test] + off


def search(fits: Fits, hops: list, study: Path, n_trials: int = 12):
    return tune(
        hops,
        fits.barrier_eV,
        fits,
        ("process", "full"),
        lambda compared: min(compared, key=compared.__getitem__),
        n_trials=n_trials,
        study=study,
    )


def test_what_is_better_on_held_out_frameworks_is_taken(tmp_path: Path) -> None:
    hops, barrier_eV = labelled()
    found = search(Fits(barrier_eV, best_rate=1e-3), hops, tmp_path / "study", 25)
    assert found.report["taken"] == "tuned"
    held_out = found.report["held_out_mae_eV"]
    assert held_out["tuned"] < held_out["defaults"]
    assert found.report["gain_eV"][0] == pytest.approx(
        held_out["defaults"] - held_out["tuned"], abs=2e-4
    )
    assert abs(np.log(found.settings.learning_rate / 1e-3)) < abs(np.log(3.0))
    assert yaml.safe_load(yaml.safe_dump(found.report)) == found.report
    history = found.report["best_so_far_eV"]
    assert history == sorted(history, reverse=True)


def test_where_nothing_is_gained_the_defaults_stay(tmp_path: Path) -> None:
    hops, barrier_eV = labelled()
    found = search(Fits(barrier_eV, best_rate=None), hops, tmp_path / "study")
    assert found.settings == Settings("process")
    assert found.report["taken"] == "defaults"


def test_a_study_goes_on_and_belongs_to_its_labels(tmp_path: Path) -> None:
    hops, barrier_eV = labelled()
    path = tmp_path / "study"
    once = search(Fits(barrier_eV, 1e-3), hops, path)
    again = Fits(barrier_eV, 1e-3)
    assert search(again, hops, path).report == once.report
    assert again.calls == 2  # only the comparison on held-out frameworks
    with pytest.raises(ValueError, match="other labels"):
        search(Fits(barrier_eV + 0.1, 1e-3), hops, path)


def test_too_few_frameworks_or_trials_are_refused(tmp_path: Path) -> None:
    hops, barrier_eV = labelled()
    with pytest.raises(ValueError, match="host framework"):
        search(Fits(barrier_eV[:2], 1e-3), hops[:2], tmp_path / "study")
    with pytest.raises(ValueError, match="defaults"):
        search(Fits(barrier_eV, 1e-3), hops, tmp_path / "study", n_trials=2)
