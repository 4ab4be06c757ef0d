"""Consoles: ports, capture, stages."""
