"""What follows from a formula: ions, charges, radii, orderings, limits of stability."""
