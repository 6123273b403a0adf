"""The closed form against series, balances and PyBaMM's own single-particle models."""

import os

import numpy as np
import pytest

from ionbridge.models.cells.electrolyte_profile import (
    DEPLETED,
    REGIONS,
    WEIGHTS,
    PropertyRows,
    steady_profile,
)
from ionbridge.models.cells.single_particle import (
    EDGE,
    FLAT_V,
    OVERSHOOT,
    accumulated,
    diffusion_lag,
    discharge,
    end_of_discharge,
    equilibrium,
    lookup,
    make_cells,
    potential_slope,
    unevenness,
    voltage,
)
from tests.models.cells.small_cells import cells, tables

RESOLUTION = 2e-4
MILLIVOLT = 1e-3


def sphere_series(fourier, n_terms=4000):
    """Surface minus mean under constant flux, Carslaw and Jaeger: roots of tan l = l."""
    roots = (np.arange(1, n_terms + 1) + 0.5) * np.pi
    for _ in range(30):
        roots = np.arange(1, n_terms + 1) * np.pi + np.arctan(roots)
    return 1 / 15 - 2 / 3 * np.sum(np.exp(-(roots**2) * fourier) / roots**2)


class TestDiffusion:
    @pytest.mark.parametrize("fourier", [1e-5, 1e-3, 0.0199, 0.0201, 0.1, 1.0])
    def test_lag_is_the_series(self, fourier):
        assert diffusion_lag(fourier) == pytest.approx(sphere_series(fourier), rel=1e-3)

    def test_limits(self):
        assert diffusion_lag(50.0) == pytest.approx(1 / 15)
        assert diffusion_lag(0.0) == 0.0
        short = np.array([1e-9, 1e-8])
        assert diffusion_lag(short) == pytest.approx(2 / 3 * np.sqrt(short / np.pi), rel=0.01)


class TestElectrolyte:
    def profile(self, diffusivity, flux=1e-5):
        n = len(diffusivity.values)
        thickness = {k: np.full(n, 5e-5) for k in REGIONS}
        porosity = {k: np.full(n, p) for k, p in zip(REGIONS, (0.3, 0.5, 0.25), strict=True)}
        efficiency = {k: p**1.5 for k, p in porosity.items()}
        start = np.full(n, 1000.0)
        found = steady_profile(
            diffusivity, start, np.full(n, flux), thickness, porosity, efficiency
        )
        volume = np.stack([porosity[k] * thickness[k] for k in REGIONS])
        return found, volume

    @pytest.mark.parametrize("flux", [1e-6, 1e-5, 5e-5])
    def test_salt_is_conserved(self, flux):
        concentration = np.linspace(0.0, 4000.0, 81)
        rows = PropertyRows(4e-10 * np.exp(-concentration / 1500.0)[None], concentration[1])
        found, volume = self.profile(rows, flux)
        salt = (found.relative * WEIGHTS).sum(axis=2)
        assert (salt * volume).sum() / volume.sum() == pytest.approx(1.0, abs=2e-3)
        assert found.depth[0] == 1.0

    def test_constant_diffusivity_is_a_parabola(self):
        flux, diffusivity = 1e-5, 3e-10
        found, _ = self.profile(PropertyRows(np.array([[diffusivity]]), 1.0), flux)
        fall = flux * 5e-5 / (diffusivity * 0.3**1.5)
        means = (found.relative[:, 0] * WEIGHTS).sum(axis=1) * 1000.0
        at_separator = means[0] - fall / 3.0
        middle = means[1] + 0.5 * flux * 5e-5 / (diffusivity * 0.5**1.5)
        assert at_separator == pytest.approx(middle, rel=1e-6)

    def test_salt_that_runs_out_leaves_a_part_without(self):
        found, _ = self.profile(PropertyRows(np.array([[1e-10]]), 1.0), 4e-4)
        assert found.depth[0] < 1.0


class TestDischarge:
    def test_end_is_where_the_voltage_is_the_cut_off(self):
        own = cells(20)
        end = end_of_discharge(own)
        assert (end < own.duration).any()

        def excess(at):
            return voltage(own, discharge(own, at)) - own.lower_V

        assert (excess(end * (1.0 - RESOLUTION)) > 0.0).all()
        inside = end < own.duration
        assert (excess(end * (1.0 + RESOLUTION))[inside] < 0.0).all()

    def test_one_cell_is_the_batch(self):
        own = cells(7)
        time = end_of_discharge(own) * np.linspace(0.0, 1.0, 9)
        whole = voltage(own, discharge(own, time))
        one = own.take(np.array([3]))
        assert voltage(one, discharge(one, time[3:4])) == pytest.approx(whole[3:4], abs=1e-12)

    def test_no_current_is_equilibrium(self):
        own = make_cells(tables(), 1e-5, 298.15)
        time = own.duration * np.linspace(0.05, 0.9, 5)
        state = discharge(own, time)
        rest = equilibrium(own, (state.negative.mean, state.positive.mean))[0]
        assert voltage(own, state) == pytest.approx(rest, abs=MILLIVOLT / 10)

    def test_capacity_does_not_grow_with_current(self):
        rates = np.geomspace(0.05, 8.0, 60)
        own = make_cells(tables(), rates, 298.15)
        capacity = (own.current * end_of_discharge(own))[:, 0]
        assert (np.diff(capacity) <= 1e-6 * capacity[0]).all()

    def test_hotter_particles_are_arrhenius(self):
        base = tables()
        base.positive.log_diffusivity[:] = np.log(1e-14) - 3000.0 / base.temperatures
        own = make_cells(base, 1.0, np.array([280.0, 300.0]))
        ratio = own.positive.diffusion_time[0, 0] / own.positive.diffusion_time[1, 0]
        assert np.log(ratio) == pytest.approx(3000.0 * (1 / 280.0 - 1 / 300.0), rel=1e-9)


class TestUnevenness:
    def test_first_cosine_of_the_linear_electrode(self):
        """On a plateau R_ct + W/3 - gain is sqrt(R W) coth(sqrt(W/R)), of which it is one term."""
        own = make_cells(
            tables(positive=lambda x: 3.5 + 0.0 * x), 0.1, 298.15,
            {"Positive electrode conductivity [S.m-1]": 1e9,
             "Negative electrode conductivity [S.m-1]": 1e9},
        )  # fmt: skip
        time = np.array([[0.0, 1e-3]])
        state = discharge(own, time)
        transfer = float(state.positive.overpotential[0, 0])  # linear at this current
        drop = float(own.positive.ohmic[0, 0])
        exact = transfer + drop / 3 - np.sqrt(transfer * drop) / np.tanh(np.sqrt(drop / transfer))
        amplitude = float(unevenness(own, state, time).amplitude[1, 0, 0])
        assert drop / np.pi**2 * amplitude == pytest.approx(exact, rel=0.1)

    def test_a_sloped_curve_evens_the_reaction_out(self):
        own = make_cells(tables(), 1.0, 298.15)
        time = end_of_discharge(own) * np.linspace(0.0, 0.8, 50)
        amplitude = unevenness(own, discharge(own, time), time).amplitude[1, 0]
        assert abs(amplitude[-1]) < 0.2 * abs(amplitude[0])


@pytest.mark.parametrize(("name", "model"), [("Marquis2019", "SPMe"), ("Chen2020", "SPM")])
def test_agrees_with_pybamm(name, model):
    """Where the assumptions agree: SPMe at C/2, and SPM in an electrolyte without gradients."""
    pytest.importorskip("pybamm")
    os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"
    import pybamm

    from ionbridge.screening.cell.cell_tables import tabulate

    values = pybamm.ParameterValues(name)
    if model == "SPM":
        values["Cation transference number"] = 1.0
    values["Current function [A]"] = 0.5 * values["Nominal cell capacity [A.h]"]
    mesh = dict.fromkeys(("r_n", "r_p"), 150)
    simulation = pybamm.Simulation(
        getattr(pybamm.lithium_ion, model)(),
        parameter_values=values,
        solver=pybamm.IDAKLUSolver(rtol=1e-6, atol=1e-8),
        var_pts={"x_n": 20, "x_s": 20, "x_p": 20, **mesh},
    )
    solution = simulation.solve([0.0, 6000.0])
    time = np.linspace(30.0, 6000.0, 60)
    own = make_cells(tabulate(values, name), 0.5, float(values["Ambient temperature [K]"]))
    state = discharge(own, time[None])
    found = voltage(own, state)[0]
    if model == "SPM":
        found = found + state.drop[0]  # PyBaMM's SPM has no ohmic drops
    assert np.abs(found - solution["Voltage [V]"](time)).max() < MILLIVOLT


class TestCompiled:
    """The loops say what the formulas say, written as whole arrays."""

    OWN = cells(7, seed=4)
    TIME = np.linspace(0.0, 1.1, 23) * OWN.duration

    def test_the_closed_form(self):
        own, time = self.OWN, self.TIME
        found = discharge(own, time)
        settled = 1.0 - np.exp(-time / own.relaxation)
        crowded = time - own.relaxation * settled
        salts = []
        pairs = ((own.negative, found.negative), (own.positive, found.positive))
        for electrode, surface in pairs:
            salt = np.maximum(1.0 + settled * electrode.depletion, DEPLETED)
            mean = electrode.start + electrode.rate * (time + electrode.crowding * crowded)
            more = 1.0 + electrode.crowding * settled
            lag = diffusion_lag(time / electrode.diffusion_time)
            at = mean + electrode.rate * electrode.diffusion_time * more * lag
            at = np.clip(at, -OVERSHOOT, 1.0 + OVERSHOOT)
            exchange = lookup(electrode.tables.log_exchange, np.clip(at, EDGE, 1.0 - EDGE))
            drive = np.exp(-exchange - electrode.log_exchange_factor) * electrode.reaction * more
            lost = 2.0 * own.thermal * np.arcsinh(0.5 * drive / np.sqrt(salt))
            assert surface.mean == pytest.approx(mean, rel=SAME)
            assert surface.surface == pytest.approx(at, rel=SAME)
            assert surface.overpotential == pytest.approx(lost, rel=SAME)
            salts.append(salt)
        ohmic = own.negative.ohmic / 3 + own.separator + own.positive.ohmic / 3
        drop = (
            ohmic * (1.0 + settled * (own.ohmic_steady - 1.0))
            + (own.negative.solid + own.positive.solid) / 3
            + own.concentration * (np.log(salts[0] / salts[1]) + settled * own.curvature)
            + own.contact
        )
        assert found.drop == pytest.approx(drop, rel=SAME)

    def test_the_uneven_reaction(self):
        own, time = self.OWN, self.TIME
        state = discharge(own, time)
        found = unevenness(own, state, time)
        step = np.diff(time, axis=1, prepend=0.0)
        gain = 0.0
        pairs = ((own.negative, state.negative), (own.positive, state.positive))
        for i, (electrode, surface) in enumerate(pairs):
            ratio = np.sinh(0.5 * surface.overpotential / own.thermal)
            slope = potential_slope(electrode.tables, surface.surface)
            fill = np.abs(electrode.rate)
            ahead = fill * electrode.diffusion_time * diffusion_lag(time / electrode.diffusion_time)
            drops = electrode.ohmic + electrode.solid
            resistance = 2.0 * own.thermal * ratio / np.sqrt(1.0 + ratio**2) + drops / np.pi**2
            resistance = resistance + slope * ahead
            drive = 2.0 * (electrode.ohmic - electrode.solid) / np.pi**2
            filled = fill * step
            flat = slope * filled < 1e-3 * resistance
            decay = np.where(flat, 1.0, np.exp(-slope * filled / resistance))
            steep = drive / np.maximum(slope, FLAT_V) * (1.0 - decay)
            gained = np.where(flat, drive * filled / resistance, steep)
            gained[:, 0] = 0.0
            spread = accumulated(decay, gained)
            amplitude = (drive - slope * spread) / resistance
            gain = gain + 0.5 * drive * amplitude
            assert found.spread[i] == pytest.approx(spread, rel=SAME, abs=1e-15)
            assert found.amplitude[i] == pytest.approx(amplitude, rel=SAME, abs=1e-12)
        assert found.gain == pytest.approx(gain, rel=SAME, abs=1e-15)


SAME = 1e-9
