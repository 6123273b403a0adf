"""A small lithium-ion cell in closed form, made without PyBaMM."""

import numpy as np

from ionbridge.models.cells.cell_correction import NODES, Curves
from ionbridge.models.cells.single_particle import (
    CellTables,
    ElectrodeTables,
    discharge,
    make_cells,
    voltage,
)

STOICHIOMETRIES = np.linspace(0.0, 1.0, 2001)


def electrode(potential, exchange_A_m2=2.0, diffusivity_m2_s=1e-14):
    """Tables of an electrode whose exchange current goes with sqrt(x (1 - x))."""
    inside = np.clip(STOICHIOMETRIES, 1e-6, 1.0 - 1e-6)
    return ElectrodeTables(
        potential=potential(inside) + 1e-6 * (1.0 / inside - 1.0 / (1.0 - inside)),
        entropic=np.zeros_like(inside),
        log_exchange=np.log(exchange_A_m2 * 2.0 * np.sqrt(inside * (1.0 - inside))),
        log_exchange_factor=np.zeros(2),
        log_diffusivity=np.full(2, np.log(diffusivity_m2_s)),
    )


def tables(name="small", positive=lambda x: 4.2 - 0.8 * x):
    """A base cell of 1 mAh/cm2 or so; the electrolyte's properties are constants."""
    geometry = {}
    for region, length in (
        ("Negative electrode", 6e-5),
        ("Separator", 2e-5),
        ("Positive electrode", 6e-5),
    ):
        geometry |= {
            f"{region} thickness [m]": length,
            f"{region} porosity": 0.3,
            f"{region} Bruggeman coefficient (electrolyte)": 1.5,
        }
    for side, most, first in (("Negative", 30000.0, 24000.0), ("Positive", 50000.0, 15000.0)):
        geometry |= {
            f"{side} electrode active material volume fraction": 0.6,
            f"{side} electrode conductivity [S.m-1]": 100.0,
            f"{side} electrode Bruggeman coefficient (electrode)": 1.5,
            f"{side} particle radius [m]": 5e-6,
            f"Maximum concentration in {side.lower()} electrode [mol.m-3]": most,
            f"Initial concentration in {side.lower()} electrode [mol.m-3]": first,
        }
    return CellTables(
        name=name,
        temperatures=np.array([273.15, 323.15]),
        concentrations=np.linspace(0.0, 4000.0, 41),
        negative=electrode(lambda x: 0.1 + 0.4 * np.exp(-20.0 * x) - 0.05 * x),
        positive=electrode(positive),
        conductivity=np.full((2, 41), 1.0),
        diffusivity=np.full((2, 41), 3e-10),
        thermodynamic_factor=np.ones((2, 41)),
        scalars={
            **geometry,
            "Nominal cell capacity [A.h]": 0.03,
            "Electrode height [m]": 0.1,
            "Electrode width [m]": 0.1,
            "Number of electrodes connected in parallel to make a cell": 1.0,
            "Initial concentration in electrolyte [mol.m-3]": 1000.0,
            "Cation transference number": 0.3,
            "Lower voltage cut-off [V]": 3.0,
            "Contact resistance [Ohm]": 0.0,
            "Reference temperature [K]": 298.15,
        },
    )


def cells(n, seed=0, base=None):
    """n cells of random C-rates, diffusivities and coatings."""
    rng = np.random.default_rng(seed)
    return make_cells(
        base or tables(),
        10.0 ** rng.uniform(-0.7, 0.5, n),
        298.15,
        {
            "Positive particle diffusivity [m2.s-1]": 10.0 ** rng.uniform(-14.5, -13.0, n),
            "Positive electrode thickness [m]": 6e-5 * rng.uniform(0.8, 1.2, n),
        },
    )


def curves_with_resistance(of, ohm_m2=1e-3):
    """Labels: the closed form with a resistance in the electrolyte that it does not know."""
    drop = ohm_m2 * of.current / 0.01
    end = np.array(
        [[_end(of.take(np.array([i])), drop[i, 0])] for i in range(len(of))], dtype=float
    )
    time = NODES * end
    volts = voltage(of, discharge(of, time)) - drop
    volts[:, -1] = of.lower_V[:, 0]
    return Curves((end * of.current / 3600.0)[:, 0], volts)


def _end(one, drop):
    low, high = 0.0, float(one.duration[0, 0])
    for _ in range(50):
        middle = 0.5 * (low + high)
        above = voltage(one, discharge(one, np.array([[middle]])))[0, 0] - drop > one.lower_V[0, 0]
        low, high = (middle, high) if above else (low, middle)
    return low
