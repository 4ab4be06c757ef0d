"""Exact reading from streams that give less than asked."""

from __future__ import annotations

import io

import pytest

from provisioner.archive.stream import drain, read_exact
from provisioner.errors import InputError


class Dripping:
    """Gives at most three bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, 3))


def test_short_reads_are_joined() -> None:
    stream = Dripping(b"0123456789")
    assert read_exact(stream, 8, "x") == b"01234567"
    assert read_exact(stream, 0, "x") == b""


def test_an_early_end_says_how_much_is_missing() -> None:
    with pytest.raises(InputError, match="layer: ends 3 bytes too early"):
        read_exact(Dripping(b"01234"), 8, "layer")


def test_drain_reads_to_the_end() -> None:
    stream = Dripping(bytes(1000))
    drain(stream)
    assert stream.read(1) == b""
