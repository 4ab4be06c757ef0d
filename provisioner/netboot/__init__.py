"""The boot server: decide, scripts, sockets and timers."""
