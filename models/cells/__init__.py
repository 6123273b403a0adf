"""Reduced-order models of cells, their ageing and their life."""
