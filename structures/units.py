"""Physical constants and conversion factors; no other module writes one down.

Values: CODATA 2018 (exact SI definitions for k_B, e, N_A). The project uses angstrom, eV,
K, ps; diffusivities are in cm^2/s and conductivities in S/cm.
"""

BOLTZMANN_EV_PER_K = 8.617333262e-5
"""k_B in eV/K."""

ELEMENTARY_CHARGE_C = 1.602176634e-19
"""e in coulomb; also J per eV."""

COULOMB_EV_A = 14.399645
"""e^2 / (4 pi epsilon_0): energy of two unit charges one angstrom apart, eV angstrom."""

AVOGADRO_PER_MOL = 6.02214076e23
"""N_A in 1/mol."""

FARADAY_C_PER_MOL = ELEMENTARY_CHARGE_C * AVOGADRO_PER_MOL
"""F in C/mol; also J/mol per eV."""

CM_PER_A = 1e-8
CM2_PER_A2 = CM_PER_A**2
CM3_PER_A3 = CM_PER_A**3
HZ_PER_THZ = 1e12
CM2_S_PER_A2_PS = CM2_PER_A2 * HZ_PER_THZ
"""1 angstrom^2/ps = 1e-4 cm^2/s."""

M2_PER_CM2 = 1e-4
S_M_PER_S_CM = 100.0
MAH_PER_C = 1.0 / 3.6
"""mAh per coulomb."""
SECONDS_PER_HOUR = 3600.0
GAS_CONSTANT_J_MOL_K = BOLTZMANN_EV_PER_K * FARADAY_C_PER_MOL
"""R = k_B N_A."""
ROOM_TEMPERATURE_K = 298.15
