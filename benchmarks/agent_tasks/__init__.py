"""Battery tasks in plain words over files, and how well one that calls the tools does them."""
