"""Boot protocols as state machines: packets in, commands out; no sockets, no clock."""
