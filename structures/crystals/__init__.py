"""Cells, neighbours and symmetry of a crystal."""
