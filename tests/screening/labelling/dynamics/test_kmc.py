"""Labels of many ions at once: closed forms of an ideal lattice, what is assumed, going on."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.labelling.dynamics.kmc_labels import (
    KmcLabeller,
    KmcSettings,
    kmc_labels,
    run_label,
    simulated,
)
from ionbridge.screening.prediction.crystals import hops_and_energies
from ionbridge.structures.features.diffusivity_labels import read_diffusivities
from ionbridge.structures.io.reading import write_cif
from ionbridge.structures.records import Crystal, FailedRecord
from ionbridge.structures.transport.closed_forms import (
    VACANCY_CORRELATION_FACTORS,
    carrier_density,
    nernst_einstein,
    random_walk_diffusivity,
)
from ionbridge.structures.transport.kinetic_monte_carlo import GasTransport
from ionbridge.structures.units import BOLTZMANN_EV_PER_K
from tests.screening.tiny import rocksalt

T = (500.0, 700.0)
FEW = 1 / 64


def partly_filled(share=0.5, id="half"):
    return replace(rocksalt(id), species=({"Li": share}, {"Cl": 1.0}))


@pytest.fixture(scope="module")
def settings(tiny_model):
    return KmcSettings(temperatures_K=T, model=str(tiny_model), jumps_per_ion=300)


@pytest.fixture(scope="module")
def barrier_eV(settings):
    graph, energies = hops_and_energies(rocksalt(), settings.model)
    assert len(graph.hops) == 1
    return float(energies.central_kra_eV[0])


@pytest.fixture(scope="module")
def few_vacancies(settings):
    return simulated(rocksalt(), replace(settings, vacancy_fraction=FEW, jumps_per_ion=1000))


class TestIdealLattice:
    """The cations of rock salt are a face-centred lattice with jumps to the twelve neighbours."""

    def test_a_few_vacancies_conduct_as_many_walks(self, few_vacancies, barrier_eV):
        crystal = rocksalt()
        jump_A = 5.13 / math.sqrt(2)
        n_sites = few_vacancies["n_sites_simulated"]
        n_vacant = n_sites - few_vacancies["n_ions_simulated"]
        assert n_vacant / n_sites == pytest.approx(FEW, rel=0.05)
        ions_beside = (n_sites - n_vacant) / (n_sites - 1)
        for run in few_vacancies["runs"]:
            kelvin = run["temperature_K"]
            rate = 10.0 * math.exp(-barrier_eV / (BOLTZMANN_EV_PER_K * kelvin)) * ions_beside
            D = random_walk_diffusivity(rate, jump_A, 12)
            density = carrier_density(n_vacant / n_sites, crystal.volume_A3)
            exact = float(nernst_einstein(D, density, kelvin))
            assert run["conductivity_S_cm"] == pytest.approx(exact, rel=0.02)

    def test_factors_are_those_of_the_lattice(self, few_vacancies):
        f = VACANCY_CORRELATION_FACTORS["face-centred cubic"]
        for run in few_vacancies["runs"]:
            assert run["collective_correlation_factor"] == pytest.approx(1.0, abs=1e-6)
            assert run["tracer_correlation_factor"] == pytest.approx(f, rel=0.03)
            assert run["haven_ratio"] == pytest.approx(run["tracer_correlation_factor"], rel=1e-6)

    def test_all_slopes_are_the_barrier(self, few_vacancies, barrier_eV):
        fit = few_vacancies["arrhenius"]
        for name in ("activation_energy_eV", "conductivity_activation_energy_eV"):
            assert fit[name] == pytest.approx(barrier_eV, abs=0.01)
        assert few_vacancies["percolation_barrier_eV"] == pytest.approx(barrier_eV, abs=1e-9)

    def test_half_filled_it_is_blocked_by_half(self, settings, barrier_eV):
        label = simulated(partly_filled(), settings)
        jump_A = 5.13 / math.sqrt(2)
        for run in label["runs"]:
            rate = 10.0 * math.exp(-barrier_eV / (BOLTZMANN_EV_PER_K * run["temperature_K"]))
            free = float(random_walk_diffusivity(rate, jump_A, 12))
            assert run["jump_diffusivity_cm2_s"] == pytest.approx(0.5 * free, rel=0.02)
            assert run["tracer_correlation_factor"] < 1
        assert label["carriers"].startswith("as refined: 0.5 Li on 1 sites")


class TestFrozen:
    """Three events are the upper end, at 95 %, of a number of which none was seen."""

    def run(self, f=(0.5, 0.01), f_I=(0.6, 0.01), n_jumps=300_000):
        found = GasTransport(*f, *f_I, 1e-12, 1e-14, 1e-3, n_jumps, np.ones(1))
        return run_label(found, "Li", 300.0, 1e22)

    def test_what_carries_nothing_is_refused_whatever_its_standard_errors(self):
        run = self.run((6e-4, 1e-4), (4e-35, 9e-36))
        assert run["status"] == "refused"
        for name in ("tracer_diffusivity_cm2_s", "jump_diffusivity_cm2_s", "haven_ratio"):
            assert run[name] is None
        assert run["conductivity_S_cm"] is None
        assert "went nowhere in 300000 jumps" in run["reason"]

    def test_the_bound_is_three_net_jumps_of_those_counted(self):
        run = self.run(f_I=(0.0, 0.0))
        assert run["jump_diffusivity_cm2_s_upper"] == pytest.approx(3 / 300_000 * 1e-12)
        per_diffusivity = float(nernst_einstein(1.0, 1e22, 300.0))
        bound = run["jump_diffusivity_cm2_s_upper"] * per_diffusivity
        assert run["conductivity_S_cm_upper"] == pytest.approx(bound)

    def test_a_charge_lost_in_noise_leaves_the_tracer(self):
        run = self.run(f_I=(0.01, 0.02))
        assert run["status"] == "ok"
        assert run["tracer_diffusivity_cm2_s"] == pytest.approx(5e-13)
        assert run["conductivity_S_cm"] is run["haven_ratio"] is None

    def test_what_moves_is_quoted(self):
        assert self.run()["haven_ratio"] == pytest.approx(0.5 / 0.6)


class TestWhatIsAssumed:
    def test_full_sites_need_their_vacancies_stated(self, settings):
        (label,) = KmcLabeller(settings)([rocksalt()])
        assert label["status"] == "failed"
        assert "--vacancy-fraction" in label["reason"]
        stated = simulated(rocksalt(), replace(settings, vacancy_fraction=0.25))
        assert stated["carriers"] == "0.25 of the Li ions taken out of full sites, as stated"

    def test_sites_shared_with_others_count_as_held(self, settings):
        shared = replace(rocksalt(), species=({"Li": 0.5, "Mg": 0.25}, {"Cl": 1.0}))
        label = simulated(shared, settings)
        assert "0.25 of them held at random by atoms that do not move" in label["carriers"]
        full = replace(rocksalt(), species=({"Li": 0.75, "Mg": 0.25}, {"Cl": 1.0}))
        (refused,) = KmcLabeller(settings)([full])
        assert "--vacancy-fraction" in refused["reason"]

    def test_stated_vacancies_are_not_for_partly_filled_ones(self, settings):
        plain = simulated(partly_filled(), settings)
        stated = simulated(partly_filled(), replace(settings, vacancy_fraction=0.25))
        assert stated["runs"] == plain["runs"]
        assert "not used" in stated["carriers"]
        assert "not used" not in plain["carriers"]

    def test_a_cell_grows_for_few_ions(self, settings, barrier_eV):
        """Alone on a lattice of equal sites an ion walks without memory."""
        hot = replace(settings, temperatures_K=(500.0,), vacancy_fraction=0.99)
        label = simulated(rocksalt(), hot)
        assert label["n_ions_simulated"] >= 10
        rate = 10.0 * math.exp(-barrier_eV / (BOLTZMANN_EV_PER_K * 500.0))
        free = float(random_walk_diffusivity(rate, 5.13 / math.sqrt(2), 12))
        (run,) = label["runs"]
        assert run["jump_diffusivity_cm2_s"] == pytest.approx(0.99 * free, rel=0.02)

    def test_what_is_no_mobile_ion_is_told_in_words(self, settings):
        (label,) = KmcLabeller(settings)([replace(rocksalt(), working_ion="Cl")])
        assert label["reason"].startswith("Cl is no mobile ion known here; expected one of Li, ")

    def test_charges_that_repel_slow_each_other(self, settings):
        plain, charged = (
            simulated(partly_filled(), replace(settings, dielectric_constant=e)) for e in (None, 5)
        )
        assert "dielectric constant 5" in charged["repulsion"]
        assert "no repulsion beyond" in plain["repulsion"]
        f_I = [x["runs"][0]["collective_correlation_factor"] for x in (plain, charged)]
        assert f_I[1] < f_I[0] - 0.05

    def test_what_no_solid_shows_is_flagged(self, settings):
        cold = simulated(partly_filled(), replace(settings, temperatures_K=(100.0,)))["runs"][0]
        fast = replace(settings, temperatures_K=(4000.0,), attempt_frequency_THz=1e5)
        hot = simulated(partly_filled(), fast)["runs"][0]
        assert not cold["flags"]
        assert hot["tracer_diffusivity_cm2_s"] > 1e-4
        assert "predicted too low" in hot["flags"][0]

    def test_channels_are_flagged(self, settings):
        """One site 2.9 angstrom from the next along one axis, 7 angstrom across."""
        channel = Crystal(
            "channel",
            np.diag([2.9, 7.0, 7.0]),
            ({"Li": 0.5}, {"Cl": 0.5}),
            np.array([[0, 0, 0], [0.5, 0.5, 0.5]]),
        )
        label = simulated(channel, settings)
        assert all("cannot pass each other" in run["flags"][-1] for run in label["runs"])
        assert label["runs"][0]["collective_correlation_factor"] == pytest.approx(1.0, abs=1e-6)
        assert not simulated(partly_filled(), settings)["runs"][0]["flags"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"vacancy_fraction": 0.0},
            {"vacancy_fraction": 0.9995},
            {"temperatures_K": (300.0, 500.0, 300.0)},
            {"temperatures_K": (300.0, 1e300)},
            {"dielectric_constant": 0.5},
            {"jumps_per_ion": 10},
            {"seed": -1},
        ],
    )
    def test_settings_that_cannot_be_are_refused(self, wrong):
        with pytest.raises(InputError):
            KmcSettings(**wrong)


class TestFile:
    def labels(self, out, settings, records):
        *_, last = kmc_labels(records, settings, out, ThisProcess())
        assert json.loads(out.read_text())["labels"] == last
        return last

    def test_it_goes_on_where_it_was_and_believes_nothing(self, tmp_path, settings, capsys):
        out = tmp_path / "kmc.json"
        records = [partly_filled(), FailedRecord("bad", "no crystal"), partly_filled(0.3, "third")]
        steps = kmc_labels(records, settings, out, ThisProcess())
        next(steps)
        next(steps)
        steps.close()  # the first is there, the second was not to be had, the third is missing
        first, bad, rest = json.loads(out.read_text())["labels"]
        assert (first["status"], bad["reason"], rest["reason"]) == ("ok", "no crystal", "not run")
        whole = self.labels(out, settings, records)
        assert whole[0] == first
        assert [label["status"] for label in whole] == ["ok", "failed", "ok"]
        forged = json.loads(out.read_text())
        forged["labels"][0]["runs"][0]["jump_diffusivity_cm2_s"] = 1.0
        out.write_text(json.dumps(forged))
        again = self.labels(out, settings, records)
        assert again[0]["runs"] == first["runs"]
        assert "checksum differs" in capsys.readouterr().err

    def test_other_settings_are_refused(self, tmp_path, settings):
        out = tmp_path / "kmc.json"
        self.labels(out, settings, [partly_filled()])
        with pytest.raises(InputError, match="made with seed 0, not 3"):
            self.labels(out, replace(settings, seed=3), [partly_filled()])

    def test_other_files_are_left_alone(self, tmp_path, settings):
        out = tmp_path / "mine.json"
        out.write_text("{}")
        with pytest.raises(InputError, match="no labels of `label kmc`"):
            self.labels(out, settings, [partly_filled()])
        assert out.read_text() == "{}"

    def test_models_of_diffusivities_read_it(self, tmp_path, settings):
        out = tmp_path / "kmc.json"
        (label,) = self.labels(out, settings, [partly_filled()])
        read = read_diffusivities(out)
        assert not read.failed
        for row, run in zip(read.rows, label["runs"], strict=True):
            assert row.label.method == "kmc"
            assert row.label.temperature_K == run["temperature_K"]
            assert 10**row.label.value == pytest.approx(run["tracer_diffusivity_cm2_s"])


class TestCommand:
    def test_crystals_to_labels(self, tmp_path, tiny_model, capsys):
        write_cif(partly_filled(), tmp_path / "half.cif")
        options = ["--model", str(tiny_model), "--temperatures-K", "500", "--workers", "0"]
        command = ["label", "kmc", str(tmp_path / "half.cif"), *options]
        out = tmp_path / "kmc.json"
        assert main([*command, "--jumps-per-ion", "200", "--out", str(out)]) == 0
        (label,) = json.loads(out.read_text())["labels"]
        assert label["status"] == "ok"
        assert label["settings"]["jumps_per_ion"] == 200
        told = capsys.readouterr().err
        assert "Haven ratio" in told
        assert "1 ok" in told

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--temperatures-K", "-3"),
            ("--temperatures-K", "300,300"),
            ("--temperatures-K", "1e6"),
            ("--working-ion", "O"),
            ("--working-ion", "Xx"),
            ("--workers", "-3"),
            ("--vacancy-fraction", "2"),
            ("--dielectric-constant", "0"),
            ("--jumps-per-ion", "1"),
            ("--model", "no-such-model"),
        ],
    )
    def test_bad_values_end_in_one_line(self, tmp_path, capsys, option, value):
        write_cif(partly_filled(), tmp_path / "half.cif")
        out = ["--out", str(tmp_path / "kmc.json")]
        assert main(["label", "kmc", str(tmp_path / "half.cif"), f"{option}={value}", *out]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
