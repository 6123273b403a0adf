"""Named tolerances: the loosest level that still catches what a test is about."""

EXACT = 1e-12  # identities in float64
TIGHT = 1e-6  # float64 numerics
INVARIANCE = 1e-5  # float32 networks under a symmetry
STANDARD_ERRORS = 3.0  # statistical tests at a fixed seed
