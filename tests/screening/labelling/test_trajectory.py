"""The same motion written in every form is read back the same, whole or torn."""

import gzip

import numpy as np
import pytest
from ase import Atoms
from ase.io import write as ase_write
from ase.io.trajectory import Trajectory as AseTrajectory
from pymatgen.io.vasp.outputs import Xdatcar

from ionbridge.screening.errors import InputError
from ionbridge.screening.labelling.trajectory import read_trajectory

SYMBOLS = ("Li", "Li", "P", "S")
LATTICE = np.array([[5.0, 0.0, 0.0], [1.0, 6.0, 0.0], [0.0, -0.5, 7.0]])
EIGHT_DIGITS = 2e-7  # of fractional coordinates in a text file, times the cell
INTERVAL_FS = 20.0


def motion(n_frames=12, seed=0):
    """(n_frames, 4, 3) unwrapped fractional coordinates that leave the cell."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 1, (4, 3))
    return start + np.cumsum(rng.normal(0, 0.1, (n_frames, 4, 3)), axis=0)


def header(lattice=LATTICE, counts="2 1 1", names="Li P S", title="made by hand", scale="1.0"):
    rows = "\n".join(" ".join(f"{x:.10f}" for x in row) for row in lattice)
    return f"{title}\n{scale}\n{rows}\n{names}\n{counts}\n"


def block(k, frac):
    rows = "".join("  ".join(f"{x:.8f}" for x in row % 1.0) + "\n" for row in frac)
    return f"Direct configuration= {k:5d}\n{rows}"


def xdatcar(path, frames, every_header=False):
    parts = [header()] + [
        (header() if every_header and k else "") + block(k + 1, f) for k, f in enumerate(frames)
    ]
    text = "".join(parts)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def vasprun(path, frames):
    basis = "".join(f"<v>{' '.join(map(repr, map(float, row)))}</v>" for row in LATTICE)
    steps = "".join(
        "<calculation><scstep><energy><i name='e_0_energy'>1</i></energy></scstep><structure>"
        f"<crystal><varray name='basis'>{basis}</varray></crystal><varray name='positions'>"
        + "".join(f"<v>{' '.join(f'{x:.8f}' for x in row % 1.0)}</v>\n" for row in frame)
        + "</varray></structure></calculation>\n"
        for frame in frames
    )
    atoms = "".join(f"<rc><c>{s} </c><c>1</c></rc>" for s in SYMBOLS)
    text = (
        "<?xml version='1.0'?><modeling><atominfo><array name='atoms'><set>"
        f"{atoms}</set></array></atominfo><structure name='initialpos'/>{steps}</modeling>"
    )
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def images(frames):
    return [
        Atoms(SYMBOLS, cell=LATTICE, scaled_positions=frame % 1.0, pbc=True) for frame in frames
    ]


def written(path, frames):
    name = path.name
    if "XDATCAR" in name:
        xdatcar(path, frames, every_header="repeated" in name)
    elif "vasprun" in name:
        vasprun(path, frames)
    elif name.endswith(".traj"):
        with AseTrajectory(str(path), "w") as file:
            for atoms in images(frames):
                file.write(atoms)
    else:
        plain = path.with_name(name.removesuffix(".gz"))
        ase_write(plain, images(frames), format="extxyz")
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


FORMS = (
    "XDATCAR",
    "actual_XDATCAR.gz",
    "XDATCAR_repeated",
    "vasprun.xml",
    "vasprun.xml.gz",
    "run.extxyz",
    "run.xyz.gz",
    "run.traj",
)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_unwrapped_motion(tmp_path, name):
    frames = motion()
    found = read_trajectory(written(tmp_path / name, frames), INTERVAL_FS)
    assert found.symbols == SYMBOLS
    assert found.n_frames == 12
    assert found.duration_ps == pytest.approx(0.22)
    expected = (frames - frames[0]) @ LATTICE
    moved = found.positions_A - found.positions_A[0]
    np.testing.assert_allclose(moved, expected, atol=10 * EIGHT_DIGITS)
    np.testing.assert_allclose(found.last_A, found.positions_A[-1])
    assert found.notes == ()


def test_agrees_with_pymatgen(tmp_path):
    path = written(tmp_path / "XDATCAR", motion())
    other = Xdatcar(str(path)).structures
    found = read_trajectory(path, INTERVAL_FS)
    frac = found.positions_A @ np.linalg.inv(LATTICE)
    for ours, theirs in zip(frac, other, strict=True):
        difference = ours - theirs.frac_coords
        np.testing.assert_allclose(difference, np.rint(difference), atol=EIGHT_DIGITS)


def test_negative_scale_is_the_volume(tmp_path):
    volume = 2.0 * np.linalg.det(LATTICE)
    path = tmp_path / "XDATCAR"
    blocks = "".join(block(k, f) for k, f in enumerate(motion(2)))
    path.write_text(header(scale=f"{-volume:.8f}") + blocks)
    assert read_trajectory(path, INTERVAL_FS).volume_A3 == pytest.approx(volume)


@pytest.mark.parametrize("name", [n for n in FORMS if not n.endswith(".gz")])
def test_cut_anywhere_gives_the_whole_frames_or_one_clear_line(tmp_path, name):
    path = written(tmp_path / name, motion())
    whole = read_trajectory(path, INTERVAL_FS)
    data = path.read_bytes()
    refusals: list[str] = []
    for cut in np.linspace(10, len(data) - 2, 60).astype(int):
        path.write_bytes(data[:cut])
        try:
            found = read_trajectory(path, INTERVAL_FS)
        except InputError as error:
            refusals.append(str(error))
            continue
        kept = found.n_frames
        np.testing.assert_array_equal(found.positions_A, whole.positions_A[:kept])
        between_frames = b"\n" in data[cut - 1 : cut + 1]
        assert kept == 12 or between_frames or any("mid-frame" in note for note in found.notes)
    assert not any("\n" in line for line in refusals)


def test_a_gzip_stream_that_breaks_off_gives_what_is_whole(tmp_path):
    path = written(tmp_path / "XDATCAR.gz", motion(400))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = read_trajectory(path, INTERVAL_FS)
    assert 100 < found.n_frames < 300
    assert "mid-frame" in found.notes[0]


def test_memory_is_bounded_and_first_and_last_frame_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("ionbridge.screening.labelling.trajectory.MIN_STORED_FRAMES", 10)
    frames = motion(101)
    path = written(tmp_path / "XDATCAR", frames)
    full = read_trajectory(path, INTERVAL_FS)
    thin = read_trajectory(path, INTERVAL_FS, max_numbers=20 * 3 * len(SYMBOLS))
    assert len(thin.positions_A) <= 20
    assert thin.stride == 8
    np.testing.assert_array_equal(thin.positions_A, full.positions_A[::8])
    np.testing.assert_array_equal(thin.last_A, full.positions_A[-1])
    assert thin.n_frames == 101
    assert thin.stored_interval_ps == pytest.approx(0.16)


def test_the_start_may_be_skipped(tmp_path):
    path = written(tmp_path / "XDATCAR", motion())
    whole, later = (read_trajectory(path, INTERVAL_FS, skip) for skip in (0.0, 0.1))
    assert later.n_frames == 7
    moved = later.last_A - later.positions_A[0]
    np.testing.assert_allclose(moved, whole.last_A - whole.positions_A[5])


def test_steps_too_long_to_follow_are_noted(tmp_path):
    frames = np.repeat(motion(1), 4, axis=0)
    frames[2:, 0, 0] += 0.45
    path = written(tmp_path / "XDATCAR", frames)
    assert "more often" in read_trajectory(path, INTERVAL_FS).notes[0]


def changed_cell(frames):
    return header() + block(1, frames[0]) + header(1.01 * LATTICE) + block(2, frames[1])


def changed_count(frames):
    fewer = header(counts="1 1 1") + block(2, frames[1][:3])
    return header() + block(1, frames[0]) + fewer


def changed_order(frames):
    return header() + block(1, frames[0]) + header(names="P Li S") + block(2, frames[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda f: header() + block(1, f[0]), "1 whole frame"),
        (lambda f: header(), "0 whole frame"),
        (lambda f: "", "0 whole frame"),
        (changed_cell, "frame 2: the cell differs"),
        (changed_count, "frame 2 has 3 atoms, the first has 4"),
        (changed_order, "another order"),
        (lambda f: header() + block(1, f[0]) + block(2, f[1] * np.nan), "not finite"),
        (lambda f: header(names="") + block(1, f[0]), "no elements"),
        (lambda f: header(counts="2 1") + block(1, f[0]), "counts"),
        (lambda f: header() + "Direct\n" + "a b c\n" * 4, "not a number"),
        (lambda f: header(0 * LATTICE) + block(1, f[0]) + block(2, f[1]), "no cell"),
    ],
)
def test_what_cannot_be_used_is_answered_in_one_line(tmp_path, text, message):
    path = tmp_path / "XDATCAR"
    path.write_text(text(motion(2)))
    with pytest.raises(InputError, match=message) as caught:
        read_trajectory(path, INTERVAL_FS)
    assert str(path) in str(caught.value)


def test_unknown_and_missing_files_are_refused(tmp_path):
    (tmp_path / "run.dcd").write_bytes(b"x")
    (tmp_path / "run.traj").write_bytes(b"not a trajectory")
    (tmp_path / "run.xyz").write_text("2\nno cell\nLi 0 0 0\nLi 1 1 1\n")
    for name, message in (
        ("run.dcd", "unknown form"),
        ("none.traj", "no such"),
        ("run.traj", "readable"),
        ("run.xyz", "without Lattice"),
    ):
        with pytest.raises(InputError, match=message):
            read_trajectory(tmp_path / name, INTERVAL_FS)
