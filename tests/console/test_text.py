"""Lines out of bytes: chunk borders, escape sequences, bad UTF-8, lines without end."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from provisioner.console.text import LONGEST, Lines


def lines_of(*pieces: bytes) -> list[str]:
    lines = Lines()
    return [line for piece in pieces for line in lines.feed(piece)] + ([lines.partial] if lines.partial else [])


def test_ends_of_lines_in_every_spelling_give_no_empty_lines() -> None:
    assert lines_of(b"one\r\ntwo\r\r\nthree\rfour\n\n\nfive") == ["one", "two", "three", "four", "five"]


def test_colours_and_progress_noise_are_taken_out() -> None:
    assert lines_of(b"\x1b[0;1;32m[  OK  ]\x1b[0m Started \x1b[1mx\x1b[0m.\n") == ["[  OK  ] Started x."]
    assert lines_of(b"21%\b\b\b   45%\b\x07\x00 ok\n") == ["21%   45% ok"]


def test_a_new_place_on_the_screen_is_a_new_line() -> None:
    assert lines_of(b"o\x1bc\x1b[?7l\x1b[2J[    0.000000] Linux") == ["o", "[    0.000000] Linux"]
    assert lines_of(b"left\x1b[01;01Hright\n") == ["left", "right"]


def test_an_escape_sequence_cut_anywhere_is_still_one() -> None:
    whole = b"a\x1b[01;31mred\x1b[0m\x1b]0;title\x07b\x1b]52;c;aGk=\x1b\\c\n"
    for cut in range(len(whole)):
        assert lines_of(whole[:cut], whole[cut:]) == ["aredbc"]


def test_a_letter_cut_in_the_middle_is_still_one() -> None:
    text = "Grüße, 世界\n".encode()
    for cut in range(len(text)):
        assert lines_of(text[:cut], text[cut:]) == ["Grüße, 世界"]


def test_invalid_utf8_becomes_a_mark_and_loses_nothing_around_it() -> None:
    assert lines_of(b"a\xff\xfeb\n") == ["a��b"]


def test_an_unfinished_string_sequence_ends_with_the_line() -> None:
    assert lines_of(b"x\x1b]0;never ended\nnext\n") == ["x", "next"]


def test_an_endless_line_comes_in_pieces_and_memory_stays_bounded() -> None:
    lines = Lines()
    total = 0
    for _ in range(100):
        total += sum(map(len, lines.feed(b"x" * 10_000)))
        assert len(lines.partial) <= LONGEST
    assert total + len(lines.partial) == 1_000_000


def test_an_endless_escape_sequence_is_not_held() -> None:
    lines = Lines()
    for _ in range(100):
        lines.feed(b"\x1b[" + b"1;" * 1000)
        lines.feed(b"\x1b]" + b"a" * 10_000)
    assert len(lines.partial) + len(lines._held) <= LONGEST + 100


@given(st.lists(st.sampled_from([b"\x1b", b"[", b"]", b"0", b";", b"m", b"H", b"\x07", b"\\", b"\r", b"\n", b"text",
                                 b"\xc3", b"\xa4", b"\xff", b"(", b"B", b"P", b"\x9c"]), max_size=40),
       st.lists(st.integers(0, 120), max_size=6))
def test_where_the_stream_is_cut_never_matters(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    borders = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(borders)]
    assert "".join(lines_of(*pieces)) == "".join(lines_of(stream))
