"""Something that happened, on its way up to whoever watches: terminal, ``--json``, log, inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One happening.

    ``time`` is seconds since 1970, ``monotonic`` seconds of CLOCK_MONOTONIC (durations come from this one).
    ``source`` is the room: build, dhcp, tftp, http, console, qemu. ``machine`` is a name or MAC, ``""`` if unknown.
    ``stage`` is firmware, dhcp, tftp, ipxe, http, kernel, init, onboot, service, login, healthy, panic, … or a
    build step. ``name`` is the thing within the stage (a container, a file); ``detail`` is for people; ``data``
    holds figures.
    """

    source: str
    stage: str
    name: str = ""
    machine: str = ""
    detail: str = ""
    time: float = 0.0
    monotonic: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)


Sink = Callable[[Event], None]


def discard(_event: Event) -> None:
    """Be the sink of those who do not watch."""
