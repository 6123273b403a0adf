"""Labels of several methods: what is shared is shared, what differs is found, none is special."""

import numpy as np
import pytest

from ionbridge.models.adaptation.method_process import MethodProcess
from ionbridge.models.transforms import LogShift

SCALE = LogShift(0.1)
NOISE = 0.03


def truth(x: np.ndarray) -> np.ndarray:
    """A smooth function of three descriptors, in the space of the target."""
    return np.sin(x[:, 0]) + 0.5 * x[:, 1] - 0.2 * x[:, 2]


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 3))
    return x, truth(x) + NOISE * rng.standard_normal(n)


X_FEW, Y_FEW = rows(8, 0)
X_MANY, Y_MANY = rows(80, 1)
X_NEW = rows(60, 2)[0]
X_BOTH = np.concatenate([X_FEW, X_MANY])
NAMES = ["dft_neb"] * 8 + ["mlip_neb"] * 80


def error(process: MethodProcess, method: str = "dft_neb") -> float:
    return float(np.abs(process.predict(X_NEW, method)[0] - truth(X_NEW)).mean())


@pytest.fixture(scope="module")
def half() -> MethodProcess:
    """The cheap method says half of every barrier."""
    barrier = SCALE.inverse(Y_MANY + 2.0)
    halved = SCALE.forward(0.5 * barrier) - 2.0
    return MethodProcess.fit(X_BOTH, np.concatenate([Y_FEW, halved]), NAMES)


def test_a_constant_factor_is_found(half):
    alone = MethodProcess.fit(X_FEW, Y_FEW, NAMES[:8])
    names = ["one"] * 88
    pooled = MethodProcess.fit(X_BOTH, half.target, names)
    assert error(half) < 0.5 * error(alone)
    assert error(half) < 0.3 * error(pooled, "one")
    gap = half.predict(X_NEW, "dft_neb")[0] - half.predict(X_NEW, "mlip_neb")[0]
    assert gap.mean() == pytest.approx(np.log(2.0), abs=0.1)


def test_translated_labels_are_those_of_the_other_method(half):
    moved = half.translated("dft_neb")
    np.testing.assert_array_equal(moved[:8], Y_FEW)
    assert np.abs(moved[8:] - truth(X_MANY)).mean() < 0.25 * np.log(2.0)


def test_methods_that_agree_are_as_good_as_pooled():
    flagged = MethodProcess.fit(X_BOTH, np.concatenate([Y_FEW, Y_MANY]), NAMES)
    pooled = MethodProcess.fit(X_BOTH, np.concatenate([Y_FEW, Y_MANY]), ["one"] * 88)
    gap = flagged.predict(X_NEW, "dft_neb")[0] - pooled.predict(X_NEW, "one")[0]
    assert np.abs(gap).mean() < 2 * NOISE
    assert error(flagged) < error(pooled, "one") + NOISE


def test_no_method_is_special(half):
    """Names changed, or rows shuffled: the same process."""
    swapped = ["mlip_neb" if name == "dft_neb" else "dft_neb" for name in NAMES]
    mirror = MethodProcess.fit(X_BOTH, half.target, swapped)
    order = np.random.default_rng(3).permutation(88)
    shuffled = MethodProcess.fit(
        X_BOTH[order], half.target[order], [NAMES[k] for k in order], half.theta
    )
    for name, other in (("dft_neb", "mlip_neb"), ("mlip_neb", "dft_neb")):
        mean, spread = half.predict(X_NEW, name)
        np.testing.assert_allclose(mirror.predict(X_NEW, other)[0], mean, atol=0.02)
        for one, two in zip(shuffled.predict(X_NEW, name), (mean, spread), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)


def test_one_method_with_known_hyperparameters_is_plain_regression():
    """The posterior of a Gaussian process, written out."""
    process = MethodProcess.fit(X_FEW, Y_FEW, NAMES[:8])
    length, smooth, linear, own, bend, offset, weight, noise = np.exp(process.theta)
    center, scale = X_FEW.mean(axis=0), X_FEW.std(axis=0) + 1e-6

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = (a - center) / scale, (b - center) / scale
        d = np.sqrt(3.0) * np.linalg.norm(a[:, None] - b[None], axis=-1) / length
        matern = (1 + d) * np.exp(-d)
        return weight**2 * (smooth * matern + linear * (1 + a @ b.T)) + bend * matern + offset

    own_noise = (weight**2 * own + noise) * np.eye(8)
    inside = X_FEW + 0.1
    y = (Y_FEW - Y_FEW.mean()) / Y_FEW.std()
    solved = np.linalg.solve(kernel(X_FEW, X_FEW) + own_noise, y)
    expected = Y_FEW.mean() + Y_FEW.std() * kernel(inside, X_FEW) @ solved
    np.testing.assert_allclose(process.predict(inside, "dft_neb")[0], expected, atol=1e-4)


def test_another_method_on_the_same_hop_says_more_than_on_others():
    """What descriptors do not tell, a second method's label of this very hop does."""
    rng = np.random.default_rng(4)
    x, _ = rows(120, 5)
    y = truth(x) + 0.5 * rng.standard_normal(120)  # a hop's own, the same for both methods
    dft, cheap = np.arange(60), np.arange(120)
    new = np.arange(90, 120)
    names = ["dft_neb"] * 60
    whole = MethodProcess.fit(
        np.concatenate([x[dft], x[cheap]]),
        np.concatenate([y[dft], y[cheap] + 0.3]),
        names + ["mlip_neb"] * 120,
    )
    seen = cheap[:90]
    without = MethodProcess.fit(
        np.concatenate([x[dft], x[seen]]),
        np.concatenate([y[dft], y[seen] + 0.3]),
        names + ["mlip_neb"] * 90,
    )
    (mean, spread), (blind, doubt) = (p.predict(x[new], "dft_neb") for p in (whole, without))
    assert np.abs(mean - y[new]).mean() < 0.3 * np.abs(blind - y[new]).mean()
    assert spread.mean() < 0.5 * doubt.mean()


def test_a_method_never_seen_is_refused(half):
    with pytest.raises(ValueError, match=r"no label of method 'experiment'.*dft_neb, mlip_neb"):
        half.predict(X_NEW, "experiment")
    with pytest.raises(ValueError, match="0 labels"):
        MethodProcess.fit(X_FEW[:0], Y_FEW[:0], [])
