"""Battery tasks in plain words over files, and how well something that calls the tools does them."""
