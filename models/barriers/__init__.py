"""Models of migration barriers that read networks and potentials."""
