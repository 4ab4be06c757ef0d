"""What reaches the terminal of the one who watches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.console.safe import Filter


def shown(*pieces: bytes) -> bytes:
    safe = Filter()
    return b"".join(safe.feed(piece) for piece in pieces)


@pytest.mark.parametrize("harmless", [
    b"plain text\r\n", b"\x1b[1;31mred\x1b[0m", b"\x1b[2J\x1b[01;01H", b"\x1b[6n", b"\x1b[?25l\x1b[?1049h",
    "Grüße 世界 ©".encode(), b"\x1b(B\x1b)0", b"\xff\xfe\x00",
])
def test_what_draws_on_the_screen_passes_unchanged(harmless: bytes) -> None:
    assert shown(harmless) == harmless


@pytest.mark.parametrize("hostile", [
    b"\x1b]0;title\x07", b"\x1b]52;c;cm0gLXJmIH4=\x07", b"\x1b]52;c;cm0gLXJmIH4=\x1b\\", b"\x1bPq#0;2\x1b\\",
    b"\x1b_apc\x1b\\", b"\x1b^pm\x1b\\", b"\x1bXsos\x1b\\", b"\x1bc", b"\x1b[?7l", b"\x1b[8;10;10t",
    b"\xc2\x9d52;c;x\xc2\x9c", b"\xc2\x90q\xc2\x9c",
])
def test_what_reaches_beyond_the_screen_is_dropped_however_it_is_cut(hostile: bytes) -> None:
    for cut in range(len(hostile) + 1):
        assert shown(b"a" + hostile[:cut], hostile[cut:] + b"b") == b"ab"


def test_an_unfinished_string_does_not_swallow_the_rest_of_the_console() -> None:
    assert shown(b"a\x1b]0;oops\r\nnext line\r\n") == b"a\r\nnext line\r\n"


def test_a_held_sequence_is_bounded() -> None:
    safe = Filter()
    for _ in range(50):
        safe.feed(b"\x1b]" + b"x" * 100_000)
        safe.feed(b"\n\x1b[" + b"1" * 100_000)
    assert len(safe._held) < 100


@given(st.binary(max_size=200), st.integers(0, 200))
def test_where_the_stream_is_cut_never_matters(stream: bytes, cut: int) -> None:
    assert shown(stream[:cut], stream[cut:]).rstrip(b"\x1b\xc2") == shown(stream).rstrip(b"\x1b\xc2")
