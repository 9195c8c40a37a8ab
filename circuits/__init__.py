"""Measurements of a transformer: pure functions from a model and graphs to numbers, which know no
threshold."""
