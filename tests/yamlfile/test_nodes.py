"""Scalars as YAML 1.2 and Go read them, and the limits on hostile text."""

from __future__ import annotations

import math

import pytest

from provisioner.errors import InputError
from provisioner.yamlfile.nodes import MAX_BYTES, Mapping, Scalar, Sequence, compose, parse_plain, value_of


@pytest.mark.parametrize(("text", "value"), [
    ("", None), ("~", None), ("null", None), ("true", True), ("FALSE", False),
    ("yes", "yes"), ("no", "no"), ("on", "on"), ("y", "y"), ("tRue", "tRue"),
    ("0", 0), ("42", 42), ("-7", -7), ("+5", 5), ("1_000", 1000),
    ("0144", 100), ("0o17", 15), ("0x1F", 31), ("-0b11", -3), ("08", 8.0),
    ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.", 1.0), ("-.inf", -math.inf), ("1.2.3", "1.2.3"),
    ("12:34:56", "12:34:56"), ("2026-01-01", "2026-01-01"), ("0x", "0x"), (".", "."), ("-", "-"), ("+", "+"),
    ("18446744073709551615", 18446744073709551615), ("18446744073709551616", 18446744073709551616.0),
    ("9" * 500, math.inf),
])
def test_plain_scalars(text: str, value: object) -> None:
    got = parse_plain(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(("text", "value"), [
    ("'0144'", "0144"), ('"true"', "true"), ("! 12", "12"), ("!!str 12", "12"), ("!!int '12'", 12),
    ("!!float 3", 3.0), ("!!bool true", True), ("!!binary aGVsbG8=", "hello"), ("|\n  true", "true"),
    ("!!timestamp 2026-01-01", "2026-01-01"), ("!!null ''", None),
])
def test_tags_and_quotes(text: str, value: object) -> None:
    root, _ = compose(text, file="f")
    assert isinstance(root, Scalar)
    assert value_of(root) == value


@pytest.mark.parametrize("text", ["!!int x", "!!binary '*'", "!!bool 1", "!custom x", "!!python/name:os.system x"])
def test_tags_that_do_not_fit(text: str) -> None:
    root, _ = compose(text, file="f")
    assert isinstance(root, Scalar)
    with pytest.raises(ValueError, match=r"fit|base64|not allowed"):
        value_of(root)


def test_nodes_know_their_place() -> None:
    root, second = compose("a:\n  - é: x\n---\nb", file="f")
    assert isinstance(root, Mapping)
    (_, items), = root.pairs
    assert isinstance(items, Sequence)
    inner = items.items[0]
    assert isinstance(inner, Mapping)
    assert [(node.line, node.column) for node in (items, inner, inner.pairs[0][1])] == [(2, 3), (2, 5), (2, 8)]
    assert second is not None
    assert second.line == 3


@pytest.mark.parametrize(("text", "place", "said"), [
    ("a: [", "f:2:1", "not YAML"),
    ("a: 1\n b: 2", "f:2:3", "not YAML"),
    ("\ta: 1", "f:1:1", "spaces, not tabs"),
    ("a: @b", "f:1:4", "needs quotes"),
    ("a: *b", "f:1:4", "no anchor"),
    ("a: &a [*a]", "f:1:8", "contains itself"),
    ("a: é\x00", "f:1:5", "U+0000"),
    ("ok: 1\nx: \x07", "f:2:4", "U+0007"),
    ("!!python/object/apply:os.system [id]", "f:1:1", "not allowed"),
    ("[" * 10_000, "f:1:65", "nested deeper"),
    ("- " * 10_000, "f:1:129", "nested deeper"),
    ("a: [" + "1," * 150_000 + "]", "f:1:", "more than"),
    ("x" * (MAX_BYTES + 1), "f:1:1", "larger than 4 MiB"),
])
def test_bad_text_has_a_place(text: str, place: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        compose(text, file="f")
    assert str(caught.value).startswith(place)
    assert said in str(caught.value)


def test_what_follows_the_first_document_is_not_read() -> None:
    root, second = compose("a: 1\n---\nb: [", file="f")
    assert isinstance(root, Mapping)
    assert second is not None


def test_an_empty_text_has_no_root() -> None:
    assert compose("# nothing\n", file="f") == (None, None)
