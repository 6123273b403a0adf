"""Typed entries, and the chains that answer a goal."""
