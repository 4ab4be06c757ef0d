"""Measurements: each file prints its figures; none asserts on wall-clock time."""
