"""What is claimed, measured: one script for each claim, its JSON in ``benchmarks/results``."""
