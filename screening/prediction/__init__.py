"""Rows of numbers for crystals, hops and tables, and their evaluation."""
