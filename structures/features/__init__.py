"""What models read of a crystal, a hop or a row of a table."""
