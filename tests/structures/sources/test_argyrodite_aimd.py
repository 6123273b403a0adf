"""The runs of the argyrodite set are described by the names and step lists beside them."""

import gzip

import pytest

from ionbridge.structures.sources.argyrodite_aimd import FOLDER, FRAME_NUMBERS, TRAJECTORY, load


def run(folder, name, steps):
    (folder / FOLDER / name).mkdir(parents=True)
    (folder / FOLDER / name / TRAJECTORY).touch()
    with gzip.open(folder / FOLDER / name / FRAME_NUMBERS, "wt") as stream:
        stream.writelines(f"{step:04d}\n" for step in steps)


def test_names_and_steps_say_what_was_run(tmp_path):
    run(tmp_path, "Li6PS5I_100p_run1", [0, 50, 100])
    loaded = load(tmp_path)
    (found,) = loaded.records
    assert (found.formula, found.disorder, found.interval_fs) == ("Li6PS5I", 1.0, 100.0)
    assert loaded.dropped == {"no trajectory": 3}


def test_uneven_frames_are_refused(tmp_path):
    run(tmp_path, "Li6PS5Cl_0p_run1", [0, 50, 150])
    with pytest.raises(ValueError, match="expected one spacing"):
        load(tmp_path)
