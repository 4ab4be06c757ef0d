"""Small helpers for byte streams: what can be read, how it is read exactly, and the limits on foreign input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from provisioner.errors import InputError

CHUNK = 1 << 18


class Readable(Protocol):
    """Anything with ``read(n)`` that returns 1 to n bytes, or none at the end."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; ``b""`` at the end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What foreign archives may ask of us; beyond it they are refused rather than read.

    ``entries`` bounds the index in memory; ``path`` and ``name`` are Linux's PATH_MAX and NAME_MAX in bytes;
    ``extended`` bounds one PAX or GNU long-name header; ``ratio`` is how many bytes a compressed byte may become
    once ``free`` bytes came out; ``window`` is the zstd window in bytes.
    """

    entries: int = 300_000
    path: int = 4095
    name: int = 255
    extended: int = 1 << 20
    ratio: int = 200
    free: int = 256 << 20
    window: int = 128 << 20


LIMITS = Limits()


def read_exact(stream: Readable, size: int, name: str) -> bytes:
    """Return exactly ``size`` bytes; raise InputError when the stream ends before."""
    data = stream.read(size)
    if len(data) == size:
        return data
    parts = [data]
    left = size - len(data)
    while left and parts[-1]:
        parts.append(stream.read(left))
        left -= len(parts[-1])
    if left:
        raise InputError(f"{name}: ends {left} bytes too early", hint="the archive is cut off; fetch it again")
    return b"".join(parts)


def drain(stream: Readable) -> None:
    """Read to the end, so that a verifying source can check its digest."""
    while stream.read(CHUNK):
        pass
