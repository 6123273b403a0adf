import numba.core.caching
import pytest

from ionbridge.structures.compiled import compiled


def doubled(x: float) -> float:
    return 2.0 * x


@pytest.mark.parametrize("can_be_kept", [True, False])
def test_a_function_is_compiled_whether_or_not_it_can_be_kept(monkeypatch, can_be_kept):
    """A read-only installation without a home has no folder for machine code."""
    if not can_be_kept:
        places = numba.core.caching.CompileResultCacheImpl
        monkeypatch.setattr(places, "_locator_classes", [])
    function = compiled(doubled)
    assert function(1.5) == 3.0
    assert function.signatures == [(numba.float64,)]
