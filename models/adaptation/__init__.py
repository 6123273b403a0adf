"""A model carried to a chemistry with few labels."""
