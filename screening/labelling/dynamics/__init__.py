"""Trajectories, run or read, and the diffusivities in them."""
