"""Stand-ins for the outside world: small, honest, and breakable on purpose."""
