"""YAML text into a small tree of nodes that know their place, and plain scalars into values.

The tokens come from libyaml through PyYAML (or from PyYAML's own scanner where libyaml is not built in); the tree is
built here, iteratively, so that no depth of nesting can exhaust the stack.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import events

from provisioner.errors import InputError, Problem

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_NODES = 100_000

_TAG = "tag:yaml.org,2002:"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | float | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": float("inf"), ".Inf": float("inf"), ".INF": float("inf"),
    "+.inf": float("inf"), "+.Inf": float("inf"), "+.INF": float("inf"),
    "-.inf": float("-inf"), "-.Inf": float("-inf"), "-.INF": float("-inf"),
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
}
_TAGGED: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
Value = str | int | float | bool | None


@dataclass(slots=True)
class Node:
    """Any node; ``line`` and ``column`` count from 1; ``tag`` is the explicit tag or empty."""

    line: int
    column: int
    tag: str = ""


@dataclass(slots=True)
class Scalar(Node):
    """A scalar: ``plain`` when it stands without quotes and not as a block."""

    text: str = ""
    plain: bool = False

    @property
    def is_merge(self) -> bool:
        """Whether this key asks to merge another mapping."""
        return self.plain and self.text == "<<" and self.tag in ("", _TAG + "merge")


@dataclass(slots=True)
class Sequence(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping(Node):
    """A mapping as written: duplicates and merge keys are still in it."""

    pairs: list[tuple[Node, Node]] = field(default_factory=list)


def parse_plain(text: str) -> Value:
    """Return what an unquoted scalar means: YAML 1.2 core, plus Go's ``0777`` octals and ``1_000``.

    Dates and times stay text. Integers beyond 64 bits are floats, as everywhere in Go's YAML.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if text[0] != "." and len(digits) < 80 and _INT.fullmatch(digits):
        number = _integer(digits)
        if -(1 << 63) <= number < (1 << 64):
            return number
    return float(digits) if _FLOAT.fullmatch(digits) else text


def _integer(digits: str) -> int:
    body = digits.lstrip("+-").lower()
    sign = -1 if digits[0] == "-" else 1
    if body[:2] in ("0x", "0b", "0o"):
        return sign * int(body, 0)
    return sign * int(body, 8 if body[0] == "0" else 10)


def tagged(node: Scalar) -> Value:
    """Return the value of a scalar with an explicit tag; raise ValueError if tag and text do not fit."""
    kind = node.tag.removeprefix(_TAG)
    if kind in ("!", "str", "timestamp"):
        return node.text
    if kind == "binary":
        try:
            return base64.b64decode("".join(node.text.split()), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError(f"!!binary is no base64 of UTF-8 text: {error}") from error
    value = parse_plain(node.text)
    if kind not in _TAGGED:
        raise ValueError(f"the tag {node.tag.replace(_TAG, '!!')} is not allowed here")
    if isinstance(value, _TAGGED[kind]) and (kind == "bool" or not isinstance(value, bool)):
        return float(value) if kind == "float" and isinstance(value, int) else value
    raise ValueError(f"!!{kind} does not fit {node.text!r}")


def value_of(node: Scalar) -> Value:
    """Return a scalar's value by tag, quotes and form."""
    if node.tag:
        return tagged(node)
    return parse_plain(node.text) if node.plain else node.text


def _mark(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


@dataclass(slots=True)
class _Composer:
    """Builds the tree of one document from parser events."""

    file: str
    anchors: dict[str, Node] = field(default_factory=dict)
    open: list[Node] = field(default_factory=list)
    keys: list[Node | None] = field(default_factory=list)
    root: Node | None = None
    count: int = 0

    def fail(self, event: Any, message: str, hint: str = "") -> InputError:
        line, column = _mark(event)
        return InputError(problems=[Problem(self.file, line, column, message, hint)])

    def feed(self, event: Any) -> None:
        """Take one event of the document's content."""
        if isinstance(event, events.SequenceEndEvent | events.MappingEndEvent):
            self.open.pop()
            self.keys.pop()
            return
        node = self.alias(event) if isinstance(event, events.AliasEvent) else self.start(event)
        self.count += 1
        if self.count > MAX_NODES:
            raise self.fail(event, f"more than {MAX_NODES} values", "split the file")
        self.attach(node)
        if isinstance(event, events.CollectionStartEvent):
            if len(self.open) >= MAX_DEPTH:
                raise self.fail(event, f"nested deeper than {MAX_DEPTH} levels")
            self.open.append(node)
            self.keys.append(None)

    def start(self, event: Any) -> Node:
        (line, column), tag = _mark(event), event.tag or ""
        node: Node
        if isinstance(event, events.ScalarEvent):
            node = Scalar(line, column, tag, event.value, event.style in (None, ""))
        else:
            node = (Sequence if isinstance(event, events.SequenceStartEvent) else Mapping)(line, column, tag)
            wanted = _TAG + ("seq" if isinstance(node, Sequence) else "map")
            if tag not in ("", "!", wanted):
                raise self.fail(event, f"the tag {tag.replace(_TAG, '!!')} is not allowed here")
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def alias(self, event: Any) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            raise self.fail(event, f"the alias *{event.anchor} names no anchor",
                            f"define it earlier in the file as &{event.anchor}")
        if any(node is parent for parent in self.open):
            raise self.fail(event, f"the anchor &{event.anchor} contains itself")
        return node

    def attach(self, node: Node) -> None:
        parent = self.open[-1] if self.open else None
        if parent is None:
            self.root = node
        elif isinstance(parent, Sequence):
            parent.items.append(node)
        elif isinstance(parent, Mapping):
            key, self.keys[-1] = self.keys[-1], node
            if key is not None:
                parent.pairs.append((key, node))
                self.keys[-1] = None


def compose(text: str, *, file: str) -> tuple[Node | None, Node | None]:
    """Return the first document's root and a node at the start of the second document, each None if there is none.

    What follows the start of a second document is not read. Raises InputError with one problem at a syntax error or
    a broken limit.
    """
    if len(text) > MAX_BYTES:
        raise InputError(problems=[Problem(file, 1, 1, f"larger than {MAX_BYTES >> 20} MiB", "split the file")])
    composer = _Composer(file)
    for event in _events(text, file):
        if isinstance(event, events.DocumentStartEvent) and composer.root is not None:
            return composer.root, Node(*_mark(event))
        if isinstance(event, events.NodeEvent | events.CollectionEndEvent):
            composer.feed(event)
    return composer.root, None


def _events(text: str, file: str) -> Iterator[Any]:
    started = False
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            yield event
            started = started or isinstance(event, events.DocumentEndEvent)
    except yaml.reader.ReaderError as error:
        raise InputError(problems=[_unreadable(error, text, file)]) from error
    except yaml.MarkedYAMLError as error:
        if started:
            return  # the first document is whole; nothing after it is read
        mark: Any = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise InputError(problems=[Problem(file, line, column, f"not YAML: {said}", _advice(text, line))]) from error


def _advice(text: str, line: int) -> str:
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    if here[:len(here) - len(here.lstrip())].count("\t"):
        return "indent with spaces, not tabs"
    if re.search(r"(^|[\s:\-\[,])[@`%]", here):
        return "a value that starts with @, ` or % needs quotes"
    return ""


def _unreadable(error: Any, text: str, file: str) -> Problem:
    if found := _FORBIDDEN.search(text):
        before = text[:found.start()]
        line, column = before.count("\n") + 1, found.start() - before.rfind("\n")
        return Problem(file, line, column, f"the character U+{ord(found[0]):04X} may not stand in YAML")
    return Problem(file, 1, 1, f"not YAML: {error.reason}")
