"""Nothing in, nothing out: models of lists of records answer an empty list with empty arrays."""

import numpy as np
import pytest

from ionbridge.models import library

VERBS = ("predict", "in_domain", "distance", "energies", "points")
MODELS = ("hop-barrier", "conductivity-trees", "voltage", "cycle-life")


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_list_is_no_error(name: str) -> None:
    model = library.load(name)
    for verb in VERBS:
        if hasattr(model, verb):
            found = getattr(model, verb)([])
            if verb == "predict":
                found = found.mean
            if isinstance(found, np.ndarray):
                assert len(found) == 0, verb
