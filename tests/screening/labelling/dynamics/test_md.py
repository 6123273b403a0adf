"""Dynamics that keep their temperature, survive a kill and say why they stop; the command."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io.trajectory import Trajectory

from benchmarks.random_walks import brownian
from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.execution.folder_lock import locked_folder
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.dynamics.md import (
    Dynamics,
    DynamicsError,
    keep_whole_frames,
    run_dynamics,
    simulation_cell,
    sums_file,
)
from ionbridge.screening.labelling.dynamics.md_labels import MdSettings, md_labels
from ionbridge.structures.io.reading import write_cif
from ionbridge.structures.records import Crystal, FailedRecord

STIFFNESS_EV_A2 = 1.0
LABEL_MD = ["label", "md"]


class Springs(Calculator):
    """Every atom on a spring to where it was first seen: its energy and heat are known."""

    implemented_properties = ("energy", "forces")

    def __init__(self, fail_after=None, value=np.nan, push=0.0):
        super().__init__()
        self.home, self.calls = None, 0
        self.fail_after, self.value, self.push = fail_after, value, push

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.home is None:
            self.home = atoms.positions.copy()
        self.calls += 1
        gap = atoms.positions - self.home
        energy = 0.5 * STIFFNESS_EV_A2 * (gap**2).sum()
        forces = -STIFFNESS_EV_A2 * gap + self.push * self.calls
        if self.fail_after is not None and self.calls > self.fail_after:
            if self.value is None:
                raise RuntimeError("out of memory")
            energy = self.value
        self.results = {"energy": energy, "forces": forces}


def salt(id="LiCl", occupancy=1.0):
    """Rock-salt LiCl in its primitive cell."""
    a = 5.13
    return Crystal(
        id=id,
        lattice=a / 2 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]),
        species=({"Li": occupancy}, {"Cl": 1.0}),
        frac=np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
        working_ion="Li",
    )


def cell(width=8.0):
    return simulation_cell(salt(), width, 0).crystal


class TestDynamics:
    def test_kinetic_and_potential_energy_are_those_of_the_temperature(self, tmp_path):
        """Equipartition of harmonic atoms: <E_kin> = <E_pot> = 3 N kT / 2."""
        crystal, T = cell(), 600.0
        path = tmp_path / "run.traj"
        run_dynamics(crystal, Springs(), T, Dynamics(n_steps=3000, seed=1), path)
        frames = list(Trajectory(str(path)))[50:]
        half = 1.5 * len(crystal.species) * 8.617333e-5 * T
        assert np.mean([a.get_kinetic_energy() for a in frames]) == pytest.approx(half, rel=0.15)
        assert np.mean([a.get_potential_energy() for a in frames]) == pytest.approx(half, rel=0.15)

    def test_a_longer_run_goes_on_where_it_was(self, tmp_path):
        crystal, path = cell(), tmp_path / "run.traj"
        run_dynamics(crystal, Springs(), 600.0, Dynamics(n_steps=50), path)
        first = [a.positions for a in Trajectory(str(path))]
        seen = []
        run_dynamics(crystal, Springs(), 600.0, Dynamics(n_steps=120), path, seen.append)
        frames = list(Trajectory(str(path)))
        assert len(frames) == 13
        assert seen[0] == 50
        np.testing.assert_array_equal(first, [a.positions for a in frames[:6]])
        step = np.abs(frames[6].positions - frames[5].positions).max()
        assert 0 < step < 1.0

    def test_a_run_killed_at_any_moment_goes_on(self, tmp_path):
        crystal, path = cell(), tmp_path / "run.traj"
        settings = Dynamics(n_steps=10**6)
        fork = multiprocessing.get_context("fork")
        for n_enough in (3, 8):
            process = fork.Process(
                target=run_dynamics, args=(crystal, Springs(), 600.0, settings, path)
            )
            process.start()
            while process.is_alive() and not (
                path.exists() and path.stat().st_size > n_enough * 6000
            ):
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert process.exitcode == -signal.SIGKILL
        n_frames = len(keep_whole_frames(path))
        assert n_frames > 5
        longer = Dynamics(n_steps=(n_frames + 4) * 10)
        run_dynamics(crystal, Springs(), 600.0, longer, path)
        frames = list(Trajectory(str(path)))
        assert len(frames) == n_frames + 5
        assert all(a.get_momenta().any() for a in frames)

    def test_a_torn_last_frame_is_cut_off(self, tmp_path):
        path = tmp_path / "run.traj"
        run_dynamics(cell(), Springs(), 600.0, Dynamics(n_steps=50), path)
        data = path.read_bytes()
        for cut in np.linspace(0, len(data) - 1, 25).astype(int):
            path.write_bytes(data[:cut])
            n_whole = len(keep_whole_frames(path))
            assert n_whole < 6
            assert path.exists() == bool(n_whole)
            if n_whole:
                assert len([a.get_momenta() for a in Trajectory(str(path))]) == n_whole

    def test_an_altered_frame_and_all_after_it_are_computed_again_and_named(self, tmp_path, capsys):
        path = tmp_path / "run.traj"
        settings = Dynamics(n_steps=80)
        run_dynamics(cell(), Springs(), 600.0, settings, path, made_by="a")
        frames = [a.positions for a in Trajectory(str(path))]
        data = bytearray(path.read_bytes())
        at = data.find(frames[4].tobytes())
        data[at + 6] ^= 1  # one bit of one coordinate
        path.write_bytes(data)
        run_dynamics(cell(), Springs(), 600.0, settings, path, made_by="a")
        assert "its frames from 4 on do not hold; computed again" in capsys.readouterr().err
        again = [a.positions for a in Trajectory(str(path))]
        assert len(again) == len(frames)
        np.testing.assert_array_equal(again[:4], frames[:4])
        assert len(keep_whole_frames(path, "a")) == len(frames)
        assert not capsys.readouterr().err
        assert keep_whole_frames(path, "b") == []  # of another run
        assert not path.exists()

    @pytest.mark.parametrize(
        ("calculator", "message"),
        [
            (Springs(fail_after=60, value=None), "out of memory"),
            (Springs(fail_after=60, value=np.nan), "not finite"),
            (Springs(push=2.0), "fly apart"),
        ],
    )
    def test_a_failing_calculator_ends_the_run_and_leaves_what_was(
        self, tmp_path, calculator, message
    ):
        path = tmp_path / "run.traj"
        settings = Dynamics(n_steps=1000, fmax_eV_A=1e3)
        with pytest.raises(DynamicsError, match=message):
            run_dynamics(cell(), calculator, 600.0, settings, path)
        frames = list(Trajectory(str(path)))
        assert frames
        assert all(np.isfinite(a.positions).all() for a in frames)


class TestLabels:
    def settings(self, calculator="tests.screening.labelling.dynamics.test_md:Springs", **changes):
        return MdSettings(
            temperatures_K=(300.0, 500.0),
            calculator=CalculatorChoice(calculator),
            dynamics=Dynamics(n_steps=200),
            skip_ps=0.1,
            **changes,
        )

    def test_bound_ions_are_refused_with_all_that_was_seen(self, tmp_path):
        *_, labels = md_labels([salt()], self.settings(), tmp_path, ThisProcess())
        (label,) = labels
        assert label["status"] == "refused"
        assert [run["temperature_K"] for run in label["runs"]] == [300.0, 500.0]
        assert all(run["n_jumps"] == 0 and run["msd_A2"] > 0 for run in label["runs"])
        assert label["arrhenius"]["status"] == "refused"
        assert label["n_atoms"] == len(cell().species)

    def test_what_is_there_is_not_believed(self, tmp_path, capsys):
        def run():
            return list(md_labels([salt()], self.settings(), tmp_path, ThisProcess()))[-1]

        whole = run()
        assert run() == whole
        assert not capsys.readouterr().err
        cold, hot = (tmp_path / f"LiCl_{T}K.traj" for T in (300, 500))
        hot.write_bytes(cold.read_bytes())  # the run of another temperature, checksums and all
        sums_file(hot).write_bytes(sums_file(cold).read_bytes())
        assert run() == whole
        assert f"{hot}: its frames from 0 on do not hold" in capsys.readouterr().err
        with locked_folder(tmp_path), pytest.raises(InputError, match="another process works"):
            run()
        claim = cold.with_suffix(".json")
        text = claim.read_text()
        for broken in ("", "{", "[1]", '"x"', "\0", "[" * 100_000):
            claim.write_text(broken)
            with pytest.raises(InputError, match=r"LiCl_300K\.json: cannot be read"):
                run()
        claim.write_text(text)
        sums_file(cold).unlink()
        with pytest.raises(InputError, match="no checksums lie beside it"):
            run()

    def test_what_fails_keeps_its_row(self, tmp_path):
        sodium = replace(salt("d"), working_ion="Na")
        records = [FailedRecord("a", "no such thing"), salt("b"), salt("c"), sodium]
        settings = self.settings("tests.screening.labelling.dynamics.test_md:failing")
        *_, labels = md_labels(records, settings, tmp_path, ThisProcess())
        assert [(row["id"], row["status"]) for row in labels] == [
            ("a", "failed"),
            ("b", "failed"),
            ("c", "failed"),
            ("d", "failed"),
        ]
        assert labels[0]["reason"] == "no such thing"
        assert "out of memory" in labels[1]["reason"]
        assert labels[3]["reason"] == "no working ion 'Na' in LiCl"

    def test_partly_occupied_sites_are_ordered_and_it_is_said(self, tmp_path):
        *_, labels = md_labels([salt(occupancy=0.75)], self.settings(), tmp_path, ThisProcess())
        assert "ordered by annealed swaps" in labels[0]["cell_made"]
        assert labels[0]["runs"][0]["n_ions"] < labels[0]["n_atoms"] / 2


def failing():
    return Springs(fail_after=10, value=None)


def xyz(path, walk, still):
    lattice = " ".join(str(x) for x in (10.0 * np.eye(3)).ravel())
    atoms = Atoms("Li" * walk.shape[1] + "Mg" * len(still))
    with path.open("w") as file:
        for ions in walk:
            file.write(f'{len(atoms)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3\n')
            for symbol, row in zip(atoms.symbols, np.vstack([ions, still]), strict=True):
                file.write(f"{symbol} {row[0]:.8f} {row[1]:.8f} {row[2]:.8f}\n")
    return path


class TestCommand:
    @pytest.fixture
    def runs(self, tmp_path):
        rng = np.random.default_rng(0)
        still = rng.uniform(0, 10, (4, 3))
        return [
            xyz(tmp_path / f"{k}.extxyz", brownian(rng, 150, 12, D_A2_ps=D), still)
            for k, D in enumerate((0.5, 1.0))
        ]

    def options(self, paths, out, temperature="600"):
        return [
            *LABEL_MD,
            "--trajectory",
            *map(str, paths),
            *("--interval-fs", "100", "--working-ion", "Li"),
            *("--temperature-K", temperature, "--out", str(out)),
        ]

    def test_one_trajectory_gives_the_documented_keys_and_a_plot(self, tmp_path, runs):
        out = tmp_path / "li.json"
        assert main(self.options(runs[:1], out)) == 0
        label = json.loads(out.read_text())
        for key in ("n_frames", "duration_ps", "msd_A2", "n_jumps", "status", "reason"):
            assert key in label
        D = [label[f"tracer_diffusivity_cm2_s{end}"] for end in ("_lower", "", "_upper")]
        lower, value, upper = D
        assert lower < value < upper
        assert label["jump_diffusivity_cm2_s"] * label["haven_ratio"] == pytest.approx(value)
        assert label["conductivity_S_cm"] > 0
        assert (tmp_path / "li.png").read_bytes()[:4] == b"\x89PNG"

    def test_two_temperatures_give_an_arrhenius_line(self, tmp_path, runs):
        out = tmp_path / "li.json"
        assert main(self.options(runs, out, "600,800")) == 0
        document = json.loads(out.read_text())
        expected = np.log(2) / (1 / 600 - 1 / 800) * 8.617333e-5
        fit = document["arrhenius"]
        assert fit["activation_energy_eV_lower"] < expected < fit["activation_energy_eV_upper"]
        assert fit["extrapolated"] is True
        assert len(document["runs"]) == 2

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("--interval-fs", "100", "--interval-fs", "0"), "--interval-fs"),
            (("--temperature-K", "600", "--temperature-K", "hot"), "--temperature-K"),
            (("--temperature-K", "600", "--temperature-K", "600,800"), "2 temperature"),
            (("--working-ion", "Li", "--working-ion", "Na"), "no working ion 'Na'"),
            (("--skip-ps", "1e6"), "0 whole frame"),
            (("--skip-ps", "-1"), "--skip-ps"),
        ],
    )
    def test_bad_input_is_one_line_and_status_2(self, tmp_path, runs, capsys, change, message):
        assert main([*self.options(runs[:1], tmp_path / "x.json"), *change]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
        assert not (tmp_path / "x.json").exists()

    def test_trajectory_or_crystals_but_not_neither(self, tmp_path, capsys):
        assert main([*LABEL_MD, "--out", str(tmp_path / "x.json")]) == 2
        assert "--trajectory" in capsys.readouterr().err

    def test_a_crystal_is_simulated_and_goes_on_when_run_again(self, tmp_path, capsys):
        write_cif(salt(), tmp_path / "LiCl.cif")
        out = tmp_path / "md.json"
        base = [*LABEL_MD, str(tmp_path / "LiCl.cif"), "--out", str(out), "--skip-ps", "0.05"]
        base += ["--calculator", "tests.screening.labelling.dynamics.test_md:Springs"]
        base += ["--temperatures-K", "300,400", "--workers", "0", "--steps"]
        assert main([*base, "50"]) == 0
        assert main([*base, "100"]) == 0
        label = json.loads(out.read_text())["labels"][0]
        assert [run["n_frames"] for run in label["runs"]] == [9, 9]
        assert (tmp_path / "md.png").exists()
        capsys.readouterr()
        assert main([*base, "100", "--timestep-fs", "1"]) == 2
        assert "timestep_fs" in capsys.readouterr().err

    def test_crystals_of_one_formula_have_a_plot_each(self, tmp_path):
        for folder, size in (("a", 1.0), ("b", 1.05)):
            write_cif(replace(salt(), lattice=size * salt().lattice), tmp_path / folder / "x.cif")
        given = [*LABEL_MD, str(tmp_path), "--out", str(tmp_path / "out" / "md.json")]
        given += ["--calculator", "tests.screening.labelling.dynamics.test_md:Springs"]
        given += ["--workers", "0", "--steps", "20", "--skip-ps=0", "--temperatures-K", "300"]
        assert main(given) == 0
        plots = sorted((tmp_path / "out").glob("md_*.png"))
        runs = sorted((tmp_path / "out" / "md_runs").glob("*.traj"))
        assert [f"{p.stem.removeprefix('md_')}_300K" for p in plots] == [r.stem for r in runs]
        assert len(plots) == 2

    def test_a_run_of_another_crystal_is_said_in_words(self, tmp_path, capsys):
        given = [*LABEL_MD, str(tmp_path / "x.cif"), "--out", str(tmp_path / "md.json")]
        given += ["--calculator", "tests.screening.labelling.dynamics.test_md:Springs"]
        given += ["--workers", "0", "--steps", "20", "--skip-ps=0", "--temperatures-K", "300"]
        write_cif(salt(), tmp_path / "x.cif")
        assert main(given) == 0
        write_cif(replace(salt(), lattice=1.05 * salt().lattice), tmp_path / "x.cif")
        capsys.readouterr()
        assert main(given) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"{tmp_path / 'md_runs' / 'x_300K.traj'}: this run was of another crystal" in said
        assert "another --out" in said
        assert "sha256" not in said
        assert main([*given, "--seed", "1"]) == 2
        assert "made with seed 0, not 1" in capsys.readouterr().err

    def test_one_run_is_counted_as_one_and_what_cannot_run_as_none(self, tmp_path, capsys):
        (tmp_path / "in").mkdir()
        write_cif(salt(), tmp_path / "in" / "LiCl.cif")
        (tmp_path / "in" / "cut.cif").write_text("data_cut\n")
        given = [*LABEL_MD, str(tmp_path / "in"), "--out", str(tmp_path / "md.json"), "--skip-ps=0"]
        given += ["--calculator", "tests.screening.labelling.dynamics.test_md:Springs"]
        given += ["--workers", "0", "--steps", "20", "--temperatures-K"]
        assert main([*given, "300"]) == 0
        assert "\n1 run of 20 steps; " in capsys.readouterr().err
        assert main([*given, "300,400"]) == 0
        assert "\n2 runs of 20 steps; " in capsys.readouterr().err

    def test_an_unknown_calculator_is_one_line(self, tmp_path, capsys):
        write_cif(salt(), tmp_path / "LiCl.cif")
        options = [*LABEL_MD, str(tmp_path / "LiCl.cif"), "--out", str(tmp_path / "x.json")]
        assert main([*options, "--calculator", "chgnot"]) == 2
        assert "unknown calculator 'chgnot'" in capsys.readouterr().err
