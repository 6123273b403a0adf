"""Barriers along paths, from potentials and bond valences."""
