"""What several folders of tests share: one tiny model, one thread, and no models of the user's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two small networks, fitted for a moment."""
    from tests.screening.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Networks of tests are too small to share out, and sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def no_models_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What lies in the library of whoever runs the tests is no part of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IONBRIDGE_LIBRARY", os.fspath(tmp_path_factory.mktemp("library")))
        yield
