"""Labels by simulation."""
