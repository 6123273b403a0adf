"""Scripts that make what ships: label sets and counts."""
