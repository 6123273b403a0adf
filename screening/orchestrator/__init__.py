"""A library of models that are chosen, chained and adapted to the user's goal."""
