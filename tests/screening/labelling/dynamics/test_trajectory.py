"""The same motion written in every form is read back the same, whole or torn."""

import gzip
import json
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.io import write as ase_write
from ase.io.trajectory import Trajectory as AseTrajectory
from pymatgen.io.vasp.outputs import Xdatcar

from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.labelling.dynamics.trajectory import read_trajectory
from ionbridge.screening.labelling.dynamics.trajectory_files import Form

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


def lammps(path, frames, columns="id type xs ys zs", steps=None, seed=0, numbers=(1, 1, 2, 3)):
    """A dump in shuffled order; the box is LATTICE turned so that its first vector lies on x."""
    turned = np.linalg.qr(LATTICE.T)[1].T
    turned = turned * np.sign(np.diag(turned))
    (xx, _, _), (xy, yy, _), (xz, yz, zz) = turned
    edge = {"x": (0.0, xy, xz, xy + xz), "y": (0.0, yz)}
    bounds = (
        f"{min(edge['x']):.12f} {xx + max(edge['x']):.12f} {xy:.12f}\n"
        f"{min(edge['y']):.12f} {yy + max(edge['y']):.12f} {xz:.12f}\n"
        f"0.0 {zz:.12f} {yz:.12f}\n"
    )
    rng = np.random.default_rng(seed)
    text = []
    for k, frac in enumerate(frames):
        values = {"id": np.arange(1, 5), "type": np.array(numbers), "element": np.array(SYMBOLS)}
        wrapped, images = frac % 1.0, np.floor(frac).astype(int)
        for kind, f in (("", wrapped), ("u", frac)):
            x = f @ turned
            for axis, name in enumerate("xyz"):
                values[f"{name}{kind}"], values[f"{name}s{kind}"] = x[:, axis], f[:, axis]
                values[f"i{name}"] = images[:, axis]
        step = k if steps is None else steps[k]
        text.append(
            f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n4\n"
            f"ITEM: BOX BOUNDS xy xz yz pp pp pp\n{bounds}ITEM: ATOMS {columns}\n"
        )
        for atom in rng.permutation(4):
            words = [values[c][atom] for c in columns.split()]
            text.append(" ".join(f"{w:.9f}" if isinstance(w, float) else f"{w}" for w in words))
            text.append("\n")
    path.write_text("".join(text))


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
    elif "lammps" in name or name.startswith("dump"):
        lammps(path, frames)
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
    "run.lammpstrj",
    "dump.0",
)
FORM = Form(elements=("Li", "P", "S"))


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_unwrapped_motion(tmp_path, name):
    frames = motion()
    found = read_trajectory(written(tmp_path / name, frames), INTERVAL_FS, form=FORM)
    assert found.symbols == SYMBOLS
    assert found.n_frames == 12
    assert found.duration_ps == pytest.approx(0.22)
    assert found.volume_A3 == pytest.approx(np.linalg.det(LATTICE))
    expected = (frames - frames[0]) @ LATTICE
    moved = (found.positions_A - found.positions_A[0]) @ np.linalg.inv(found.lattice) @ LATTICE
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
    whole = read_trajectory(path, INTERVAL_FS, form=FORM)
    data = path.read_bytes()
    refusals: list[str] = []
    for cut in np.linspace(10, len(data) - 2, 60).astype(int):
        path.write_bytes(data[:cut])
        try:
            found = read_trajectory(path, INTERVAL_FS, form=FORM)
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
    monkeypatch.setattr("ionbridge.screening.labelling.dynamics.trajectory.MIN_STORED_FRAMES", 10)
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
    frames = motion(1) + 0.01 * np.arange(4)[:, None, None]
    frames[2:, 0, 0] += 0.43
    path = written(tmp_path / "XDATCAR", frames)
    assert "more often" in read_trajectory(path, INTERVAL_FS).notes[0]


def changed_cell(frames):
    return header() + block(1, frames[0]) + header(1.3 * LATTICE) + block(2, frames[1])


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
        (lambda f: header(counts="2 1 " + 12 * "9") + block(1, f[0]), "counts"),
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.xyz", 5000 * "9" + "\n"),
        ("run.lammpstrj", "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n" + 5000 * "9" + "\n"),
    ],
)
def test_a_count_without_end_is_answered_in_one_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="999"):
        read_trajectory(tmp_path / name, INTERVAL_FS)


def test_unknown_and_missing_files_are_refused(tmp_path):
    (tmp_path / "run.unknown").write_bytes(b"x")
    (tmp_path / "run.traj").write_bytes(b"not a trajectory")
    (tmp_path / "run.xyz").write_text("2\nno cell\nLi 0 0 0\nLi 1 1 1\n")
    for name, message in (
        ("run.unknown", "unknown form"),
        ("none.traj", "no such"),
        ("run.traj", "readable"),
        ("run.xyz", "without Lattice"),
    ):
        with pytest.raises(InputError, match=message):
            read_trajectory(tmp_path / name, INTERVAL_FS)


STEPS = 0.02  # of the cell, a frame: few atoms come near half of it, even over some frames
N_LONG = 60


def slow(n_frames=N_LONG, seed=1):
    """Unwrapped fractional coordinates of four atoms that move little between frames."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 1, (4, 3))
    return start + np.cumsum(rng.normal(0, STEPS, (n_frames, 4, 3)), axis=0)


def with_numbers(path, frames, numbers):
    path.write_text(header() + "".join(map(block, numbers, frames)))
    return path


def moved(found):
    """(n, 4, 3) displacements in fractions of LATTICE."""
    return (found.positions_A - found.positions_A[0]) @ np.linalg.inv(LATTICE)


def expect(found, frames, atol=1e-7):
    np.testing.assert_allclose(moved(found), frames - frames[0], atol=atol)


class TestTimeAxis:
    def test_step_numbers_that_rise_evenly_change_nothing(self, tmp_path):
        frames = slow()
        numbers = 50 * np.arange(1, N_LONG + 1)
        found = read_trajectory(with_numbers(tmp_path / "XDATCAR", frames, numbers), INTERVAL_FS)
        assert (found.n_frames, found.interval_fs, found.notes) == (N_LONG, INTERVAL_FS, ())
        expect(found, frames)

    @pytest.mark.parametrize("every", [2, 5])
    def test_frames_written_more_rarely_from_some_step_on(self, tmp_path, every):
        """True times: all frames a multiple of the longer spacing apart, in the given interval."""
        at = np.concatenate([np.arange(0, 60), np.arange(60, 60 + every * 40, every)])
        frames = slow(at[-1] + 1)
        path = with_numbers(tmp_path / "XDATCAR", frames[at], 10 * (at + 1))
        found = read_trajectory(path, INTERVAL_FS)
        assert found.interval_fs == every * INTERVAL_FS
        assert found.duration_ps == pytest.approx((at[-1] - at[-1] % every) * INTERVAL_FS * 1e-3)
        expect(found, frames[::every])
        assert "spacing" in found.notes[0]

    def test_frames_written_more_often_from_some_step_on(self, tmp_path):
        """--interval-fs is that of the first frames."""
        at = np.concatenate([np.arange(0, 100, 5), np.arange(100, 120)])
        frames = slow(120)
        found = read_trajectory(
            with_numbers(tmp_path / "XDATCAR", frames[at], at + 1), 5 * INTERVAL_FS
        )
        assert found.interval_fs == 5 * INTERVAL_FS
        expect(found, frames[::5])

    def test_which_of_two_spacings_the_interval_means_is_not_guessed(self, tmp_path):
        at = np.concatenate([np.arange(0, 20), np.arange(20, 320, 5)])
        path = with_numbers(tmp_path / "XDATCAR", slow(len(at)), at)
        with pytest.raises(InputError, match="spacing of the frames changes"):
            read_trajectory(path, INTERVAL_FS)

    def test_a_single_missing_frame_is_filled_in(self, tmp_path):
        frames = slow()
        at = np.delete(np.arange(N_LONG), 30)
        found = read_trajectory(with_numbers(tmp_path / "XDATCAR", frames[at], at), INTERVAL_FS)
        assert found.n_frames == N_LONG
        filled = frames.copy()
        filled[30] = (frames[29] + frames[31]) / 2
        expect(found, filled)
        assert "1 of 60 frames are missing" in found.notes[0]

    def test_a_hole_too_long_to_follow_ends_what_is_used(self, tmp_path):
        frames = slow(1000)
        at = np.concatenate([np.arange(40), np.arange(950, 1000)])
        found = read_trajectory(with_numbers(tmp_path / "XDATCAR", frames[at], at), INTERVAL_FS)
        assert found.n_frames == 50
        expect(found, frames[950:])
        text = " ".join(found.notes)
        assert "frame 41 comes 911 spacings after" in text
        assert "frames 41 to 90 are used" in text

    def test_unwrapped_coordinates_are_followed_over_any_hole(self, tmp_path):
        at = np.concatenate([np.arange(0, 100), np.arange(100, 9000, 100)])
        frames = slow(9000)
        path = tmp_path / "dump"
        lammps(path, frames[at], "id element xsu ysu zsu", steps=at)
        found = read_trajectory(path, INTERVAL_FS)
        assert found.interval_fs == 100 * INTERVAL_FS
        assert found.duration_ps == pytest.approx(8900 * INTERVAL_FS * 1e-3)
        last = (found.last_A - found.positions_A[0]) @ np.linalg.inv(found.lattice)
        np.testing.assert_allclose(last, frames[8900] - frames[0], atol=1e-7)

    @pytest.mark.parametrize("renumbered", [True, False])
    def test_the_frame_at_a_seam_counts_once(self, tmp_path, renumbered):
        frames = slow()
        at = np.concatenate([np.arange(30), np.arange(29, N_LONG)])
        numbers = np.concatenate([np.arange(1, 31), np.arange(1, 32)]) if renumbered else at
        path = with_numbers(tmp_path / "XDATCAR", frames[at], numbers)
        found = read_trajectory(path, INTERVAL_FS)
        assert found.n_frames == N_LONG
        expect(found, frames)
        assert "frame 31 repeats" in " ".join(found.notes)

    def test_a_restart_that_overlaps_is_taken_once(self, tmp_path):
        frames = slow()
        at = np.concatenate([np.arange(1, 31), np.arange(21, N_LONG)])
        found = read_trajectory(with_numbers(tmp_path / "XDATCAR", frames[at], at), INTERVAL_FS)
        assert found.n_frames == N_LONG - 1
        expect(found, frames[1:])
        assert "frame 31: it goes back to 21 after 30" in found.notes[0]

    def test_a_last_frame_off_the_rhythm_does_no_harm(self, tmp_path):
        frames = slow()
        numbers = [*range(100, 100 * N_LONG, 100), 100 * N_LONG - 63]
        found = read_trajectory(with_numbers(tmp_path / "XDATCAR", frames, numbers), INTERVAL_FS)
        assert found.n_frames == N_LONG - 1
        expect(found, frames[:-1])
        assert "frame 60" in found.notes[0]

    def test_thinning_keeps_even_times_where_the_spacing_changes(self, tmp_path, monkeypatch):
        monkeypatch.setattr(
            "ionbridge.screening.labelling.dynamics.trajectory.MIN_STORED_FRAMES", 30
        )
        at = np.concatenate([np.arange(0, 200), np.arange(200, 700, 5)])
        frames = slow(700)
        path = with_numbers(tmp_path / "XDATCAR", frames[at], 10 * at)
        found = read_trajectory(path, INTERVAL_FS, max_numbers=30 * 12)
        assert len(found.positions_A) <= 30
        every = round(found.stored_interval_ps * 1e3 / INTERVAL_FS)
        expect(found, frames[::every][: len(found.positions_A)])

    @pytest.mark.parametrize(("key", "unit"), [("Time", 1.0), ("time_ps", 1e-3), ("Time", 1e-3)])
    def test_times_of_extended_xyz_are_the_time_axis(self, tmp_path, key, unit):
        at = np.delete(np.arange(N_LONG), [20, 40])
        frames = slow()
        timed = images(frames[at])
        for atoms, k in zip(timed, at, strict=True):
            atoms.info[key] = float(f"{INTERVAL_FS * unit * k:.6g}")
        path = tmp_path / "run.extxyz"
        ase_write(path, timed, format="extxyz")
        found = read_trajectory(path, INTERVAL_FS)
        assert (found.n_frames, found.interval_fs) == (N_LONG, pytest.approx(INTERVAL_FS))
        with pytest.raises(InputError, match="contradicts the file"):
            read_trajectory(path, 1.7 * INTERVAL_FS)
        if (key, unit) != ("Time", 1e-3):
            assert read_trajectory(path).interval_fs == pytest.approx(INTERVAL_FS)

    def test_the_time_step_of_vasp_is_the_interval(self, tmp_path):
        path = tmp_path / "vasprun.xml"
        vasprun(path, slow())
        step = "<incar><i name='IBRION'>0</i><i name='POTIM'> 2.5</i></incar><atominfo>"
        path.write_text(path.read_text().replace("<atominfo>", step))
        assert read_trajectory(path).interval_fs == 2.5
        with pytest.raises(InputError, match=r"2.5 fs apart by its POTIM"):
            read_trajectory(path, 20.0)
        path.write_text(path.read_text().replace(">0</i>", ">2</i>"))
        with pytest.raises(InputError, match="not molecular dynamics"):
            read_trajectory(path)

    def test_without_any_interval_the_option_is_asked_for(self, tmp_path):
        for name in ("XDATCAR", "run.extxyz", "run.traj"):
            with pytest.raises(InputError, match="--interval-fs is missing"):
                read_trajectory(written(tmp_path / name, slow()))


class TestDamage:
    @pytest.mark.parametrize("name", ["XDATCAR", "run.extxyz", "run.lammpstrj", "vasprun.xml"])
    @pytest.mark.parametrize("harm", ["glued", "torn", "missing", "twice", "stars"])
    def test_one_bad_line_costs_one_frame_which_is_named(self, tmp_path, name, harm):
        frames = slow()
        path = written(tmp_path / name, frames)
        lines = path.read_text().split("\n")
        starts = [k for k, line in enumerate(lines) if FRAME_START[name] in line]
        k = starts[30] + FIRST_ATOM[name] + 1
        line = lines[k]
        after = lines[k + 1]
        lines[k : k + 2] = {
            "glued": [line.replace("</v>", "") + after.replace("<v>", "")],
            "torn": [line[: line.rindex(".")].rsplit(maxsplit=1)[0], after],
            "missing": [after],
            "twice": [line, line, after],
            "stars": [line.replace(line.split(".")[1][:6], "******"), after],
        }[harm]
        path.write_text("\n".join(lines))
        found = read_trajectory(path, INTERVAL_FS, form=FORM)
        filled = frames.copy()
        filled[30] = (frames[29] + frames[31]) / 2
        assert found.n_frames == N_LONG
        np.testing.assert_allclose(
            (found.positions_A - found.positions_A[0]) @ np.linalg.inv(found.lattice),
            filled - filled[0],
            atol=1e-6,
        )
        assert "frame 31 is left out" in found.notes[0]

    def test_runs_joined_with_a_blank_title(self, tmp_path):
        frames = slow()
        halves = [
            header(title=" ") + "".join(map(block, range(1, 31), part))
            for part in (frames[:30], frames[30:])
        ]
        path = tmp_path / "XDATCAR"
        path.write_text("".join(halves))
        found = read_trajectory(path, INTERVAL_FS)
        expect(found, frames)
        assert "frame 31: its step numbers begin anew" in found.notes[0]

    def test_two_vaspruns_in_one_file(self, tmp_path):
        frames = slow()
        for name, part in (("a.xml", frames[:30]), ("b.xml", frames[30:])):
            vasprun(tmp_path / name, part)
        path = tmp_path / "vasprun.xml"
        path.write_bytes((tmp_path / "a.xml").read_bytes() + (tmp_path / "b.xml").read_bytes())
        expect(read_trajectory(path, INTERVAL_FS), frames)

    def test_frames_of_a_machine_learnt_force_field_are_read(self, tmp_path):
        """Only some steps are ab initio; the others hold their structure outside a calculation."""
        frames = slow()
        path = tmp_path / "vasprun.xml"
        vasprun(path, frames)
        steps = path.read_text().split("<calculation>")
        for k in range(2, len(steps)):
            if k % 10:
                steps[k] = "<structure>" + steps[k].partition("<structure>")[2]
                steps[k] = "<!-- -->" + steps[k].replace("</calculation>", "")
            else:
                steps[k] = "<calculation>" + steps[k]
        steps[1] = "<calculation>" + steps[1]
        final = "<structure name='finalpos'>" + steps[-1].partition("<structure>")[2]
        path.write_text("".join(steps).replace("</modeling>", final))
        expect(read_trajectory(path, INTERVAL_FS), frames)


FRAME_START = {
    "XDATCAR": "Direct",
    "run.extxyz": "Lattice",
    "run.lammpstrj": "TIMESTEP",
    "vasprun.xml": "<calculation>",
}
FIRST_ATOM = {"XDATCAR": 1, "run.extxyz": 1, "run.lammpstrj": 9, "vasprun.xml": 0}


class TestOrder:
    def test_atoms_with_numbers_are_put_in_their_order(self, tmp_path):
        rng = np.random.default_rng(0)
        frames = slow()
        path = tmp_path / "run.extxyz"
        with path.open("w") as file:
            for frac in frames:
                rows = [
                    f"{k + 1} {SYMBOLS[k]} " + " ".join(f"{x:.9f}" for x in frac[k] % 1.0 @ LATTICE)
                    for k in rng.permutation(4)
                ]
                cell = " ".join(map(str, LATTICE.ravel()))
                head = f'Lattice="{cell}" Properties=id:I:1:species:S:1:pos:R:3'
                file.write("\n".join(["4", head, *rows]) + "\n")
        expect(read_trajectory(path, INTERVAL_FS), frames)

    def test_shuffled_atoms_without_numbers_are_not_taken_for_motion(self, tmp_path):
        rng = np.random.default_rng(1)
        start = rng.uniform(0, 1, (24, 3))
        frames = [start[rng.permutation(24)] for _ in range(20)]
        timed = [Atoms("Li24", cell=LATTICE, scaled_positions=frac, pbc=True) for frac in frames]
        path = tmp_path / "run.extxyz"
        ase_write(path, timed, format="extxyz")
        with pytest.raises(InputError, match="their order changes"):
            read_trajectory(path, INTERVAL_FS)


class TestLammps:
    @pytest.mark.parametrize(
        "columns",
        [
            "id type x y z",
            "id type xs ys zs",
            "type id xu yu zu",
            "id element xsu ysu zsu vx",
            "id type x y z ix iy iz",
            "element zs ys xs id",
        ],
    )
    def test_columns_of_every_kind_give_the_same_motion(self, tmp_path, columns):
        frames = motion()
        path = tmp_path / "dump.lammpstrj"
        lammps(path, frames, columns.replace(" vx", " ix"))
        found = read_trajectory(path, INTERVAL_FS, form=FORM)
        assert found.symbols == SYMBOLS
        np.testing.assert_allclose(
            (found.positions_A - found.positions_A[0]) @ np.linalg.inv(found.lattice),
            frames - frames[0],
            atol=1e-7,
        )

    def test_types_without_elements_are_asked_for(self, tmp_path):
        path = tmp_path / "dump.lammpstrj"
        lammps(path, motion())
        with pytest.raises(InputError, match="--elements"):
            read_trajectory(path, INTERVAL_FS)
        with pytest.raises(InputError, match="atoms of type 3, but --elements names 2"):
            read_trajectory(path, INTERVAL_FS, form=Form(("Li", "P")))


def test_a_cell_that_breathes_is_used_with_a_note(tmp_path):
    frames = slow()
    scale = 1 + 0.005 * np.sin(np.arange(N_LONG))
    path = tmp_path / "XDATCAR"
    path.write_text(
        "".join(
            header(s * LATTICE) + block(k, f)
            for k, (s, f) in enumerate(zip(scale, frames, strict=True))
        )
    )
    found = read_trajectory(path, INTERVAL_FS)
    np.testing.assert_allclose(found.lattice, scale.mean() * LATTICE, rtol=1e-6)
    np.testing.assert_allclose(
        (found.positions_A - found.positions_A[0]) @ np.linalg.inv(found.lattice),
        frames - frames[0],
        atol=1e-7,
    )
    assert "the cell varies" in found.notes[0]


@pytest.mark.filterwarnings("ignore:::MDAnalysis")
class TestMdAnalysis:
    @pytest.mark.parametrize("suffix", ["xtc", "trr", "dcd"])
    def test_the_same_motion_with_its_own_times(self, tmp_path, suffix):
        import MDAnalysis

        universe = MDAnalysis.Universe.empty(4, trajectory=True)
        universe.add_TopologyAttr("names", ["LI", "LI", "P", "S"])
        universe.add_TopologyAttr("elements", list(SYMBOLS))
        frames, cell = slow(), np.diag([5.0, 6.0, 7.0])
        universe.dimensions = [5, 6, 7, 90, 90, 90]
        path, topology = tmp_path / f"run.{suffix}", tmp_path / "run.pdb"
        with MDAnalysis.Writer(str(path), 4, dt=0.02) as writer:
            for k, frac in enumerate(frames):
                universe.atoms.positions = (frac % 1.0) @ cell
                universe.trajectory.ts.time = 0.02 * k
                universe.trajectory.ts.frame = k
                writer.write(universe.atoms)
        universe.atoms.write(str(topology))
        found = read_trajectory(path, form=Form(topology=topology))
        assert found.symbols == SYMBOLS
        assert found.interval_fs == pytest.approx(20.0, rel=1e-4)
        np.testing.assert_allclose(
            (found.positions_A - found.positions_A[0]) @ np.linalg.inv(cell),
            frames - frames[0],
            atol=1e-2 if suffix == "xtc" else 1e-5,
        )
        with pytest.raises(InputError, match="contradicts"):
            read_trajectory(path, 100.0, form=Form(topology=topology))

    def test_a_topology_is_asked_for(self, tmp_path):
        (tmp_path / "run.xtc").write_bytes(b"x" * 100)
        with pytest.raises(InputError, match="--topology"):
            read_trajectory(tmp_path / "run.xtc")

    def test_without_the_package_one_line_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "MDAnalysis", None)
        (tmp_path / "run.xtc").write_bytes(b"x" * 100)
        with pytest.raises(InputError, match=r"pip install 'ionbridge\[trajectories\]'"):
            read_trajectory(tmp_path / "run.xtc")


def test_of_several_trajectories_one_that_cannot_be_read_is_a_failed_row(tmp_path):
    xdatcar(tmp_path / "XDATCAR", slow())
    (tmp_path / "bad.xyz").write_text("2\nno cell\nLi 0 0 0\nLi 1 1 1\n")
    files = [str(tmp_path / name) for name in ("XDATCAR", "bad.xyz", "none.traj")]
    out = tmp_path / "labels.json"
    options = ["--working-ion", "Li", "--interval-fs", "20", "--temperature-K", "600,700,800"]
    assert main(["label", "md", "--trajectory", *files, *options, "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["runs"]
    assert [row["status"] for row in rows] == ["refused", "failed", "failed"]
    assert "without Lattice" in rows[1]["reason"]
    assert (
        main(
            ["label", "md", "--trajectory", *files[1:], *options[:-1], "700,800", "--out", str(out)]
        )
        == 2
    )
