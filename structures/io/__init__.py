"""Files as people have them, read as records; a bad one is a record with a reason."""
