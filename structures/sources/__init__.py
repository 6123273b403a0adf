"""Public data sets: one module each, with where it comes from, its checksum and its converter."""
