"""Regressors of arrays: means, trees, boosting, Gaussian processes."""
