"""Prototype crystals, substitution of their ions, and the names of frameworks."""
