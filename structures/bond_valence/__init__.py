"""Bond-valence sums, energies and paths of the mobile ion."""
