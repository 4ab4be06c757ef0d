"""Frozen data that moves between rooms; no I/O and no policy."""
