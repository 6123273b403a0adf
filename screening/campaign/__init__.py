"""A campaign: candidates, filters, ranking, refinement, active learning."""
