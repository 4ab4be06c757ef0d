"""Nodes into plain data for a given pydantic model, with the place of every value.

The model decides only one thing here: whether an unquoted scalar such as ``1.20`` or ``no`` is wanted as text or as a
number. Everything else about the model is pydantic's work; see ``reader``.
"""

from __future__ import annotations

import types
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel

from provisioner.errors import InputError, Problem
from provisioner.model.document import Path, Place
from provisioner.yamlfile.nodes import MAX_NODES, Mapping, Node, Scalar, Sequence, parse_plain, value_of

_NUMBERS = (bool, int, float)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Flatten unions, ``Annotated``, aliases and root models into the types a value may have, without None."""
    if hasattr(hint, "__value__"):
        return alternatives(hint.__value__)
    origin = get_origin(hint)
    if origin is Annotated:
        return alternatives(get_args(hint)[0])
    if origin is Union or origin is types.UnionType:
        return tuple(found for arg in get_args(hint) if arg is not type(None) for found in alternatives(arg))
    if isinstance(hint, type) and issubclass(hint, RootModel):
        return alternatives(hint.model_fields["root"].annotation)
    return (hint,)


def fields(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's keys as spelled in files, with their type hints."""
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def models(hints: tuple[Any, ...]) -> list[type[BaseModel]]:
    """Return the models among some alternatives."""
    return [hint for hint in hints if isinstance(hint, type) and issubclass(hint, BaseModel)]


def _child_hints(hints: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    found: list[Any] = []
    for hint in hints:
        origin = get_origin(hint)
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            known = fields(hint)
            found += alternatives(known[key]) if key in known else ()
        elif isinstance(origin, type) and issubclass(origin, MappingType):
            found += alternatives(get_args(hint)[1])
    return tuple(found) or (Any,)


def _item_hints(hints: tuple[Any, ...], index: int) -> tuple[Any, ...]:
    found: list[Any] = []
    for hint in hints:
        args = [arg for arg in get_args(hint) if arg is not Ellipsis]
        origin = get_origin(hint)
        if not args or not isinstance(origin, type) or issubclass(origin, MappingType):
            continue
        found += alternatives(args[min(index, len(args) - 1)] if origin is tuple else args[0])
    return tuple(found) or (Any,)


def _wants_text(hints: tuple[Any, ...]) -> bool:
    return not any(hint in _NUMBERS or hint in (Any, object) or (get_origin(hint) and get_args(hint) and any(
        isinstance(arg, _NUMBERS) for arg in get_args(hint))) for hint in hints)


@dataclass(slots=True)
class Shape:
    """The data of one document while it is gathered.

    ``keys`` and ``places`` hold where each key and value stands; ``hints`` the types a value at a path may have;
    ``found`` the value as written, for messages. With ``exact_text`` an unquoted number or boolean is never text.
    """

    file: str
    exact_text: bool = False
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    hints: dict[Path, tuple[Any, ...]] = field(default_factory=dict)
    found: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    faulty: set[Path] = field(default_factory=set)
    count: int = 0

    def place(self, node: Node) -> Place:
        """Return a node's place."""
        return Place(self.file, node.line, node.column)

    def problem(self, node: Node, path: Path, message: str, hint: str = "") -> None:
        """Note a fault at a node, unless the same fault is known (an alias is walked once per use)."""
        problem = Problem(self.file, node.line, node.column, message, hint)
        self.faulty.add(path)
        if problem not in self.problems:
            self.problems.append(problem)

    def walk(self, node: Node, hints: tuple[Any, ...], path: Path = ()) -> Any:
        """Return the node's data; recursion is bounded by the depth that ``nodes`` allows."""
        self.count += 1
        if self.count > MAX_NODES:
            message = f"more than {MAX_NODES} values once aliases are expanded"
            raise InputError(problems=[Problem(self.file, node.line, node.column, message)])
        self.places[path] = self.place(node)
        self.hints[path] = hints
        if isinstance(node, Scalar):
            return self.scalar(node, hints, path)
        if isinstance(node, Sequence):
            self.found[path] = "a list"
            return [self.walk(item, _item_hints(hints, index), (*path, index))
                    for index, item in enumerate(node.items)]
        assert isinstance(node, Mapping)
        self.found[path] = "a mapping"
        return self.mapping(node, hints, path)

    def scalar(self, node: Scalar, hints: tuple[Any, ...], path: Path) -> Any:
        """Return a scalar's value, as text if that is what is wanted."""
        if any("\ud800" <= char <= "\udfff" for char in node.text):
            self.problem(node, path, f"{spell(path)}: an escape for half a character", "write the character itself")
            return None
        try:
            value = value_of(node)
        except ValueError as error:
            self.problem(node, path, f"{spell(path)}: {error}")
            return None
        if value is None:
            self.found[path] = "nothing"
            if self.exact_text and not path:
                return {}  # to LinuxKit a file that says null is a file that says nothing
            if not any(hint in (Any, object) for hint in hints):
                self.problem(node, path, f"{spell(path)} has no value", "give one, or leave the key out")
            return None
        if not isinstance(value, str) and not node.tag and not self.exact_text and _wants_text(hints):
            value = node.text
        self.found[path] = _describe(value, node)
        if isinstance(value, float) and value.is_integer() and hints == (int,):
            return int(value)
        return value

    def mapping(self, node: Mapping, hints: tuple[Any, ...], path: Path) -> dict[str, Any]:
        """Return a mapping's data with merge keys applied; what stands in the mapping itself wins."""
        data: dict[str, Any] = {}
        seen: dict[str, Node] = {}
        for key, value in node.pairs:
            name = self.key(key, path)
            if name is None:
                continue
            if name in seen:
                first = seen[name]
                self.problem(key, (*path, name, "<again>"), f"the key `{name}` stands twice in {spell(path)}",
                             f"the first is at line {first.line}")
                continue
            seen[name] = key
            if isinstance(key, Scalar) and key.is_merge:
                continue
            self.keys[(*path, name)] = self.place(key)
            data[name] = self.walk(value, _child_hints(hints, name), (*path, name))
        for key, value in node.pairs:
            if isinstance(key, Scalar) and key.is_merge:
                self.merge(value, hints, path, data)
        return data

    def key(self, node: Node, path: Path) -> str | None:
        """Return a key's text, or None after noting why it can be none."""
        if not isinstance(node, Scalar):
            self.problem(node, path, f"a key of {spell(path)} is no text", "keys are plain words")
            return None
        value = parse_plain(node.text) if node.plain and not node.tag and not node.is_merge else node.text
        if self.exact_text and (isinstance(value, bool | float) or value is None):
            self.problem(node, path, f"the key {node.text or 'null'} of {spell(path)} is no text", "put it in quotes")
            return None
        return node.text

    def merge(self, node: Node, hints: tuple[Any, ...], path: Path, data: dict[str, Any]) -> None:
        """Add what ``<<`` names, a mapping or a list of mappings, where the key is not there yet."""
        sources = node.items if isinstance(node, Sequence) else [node]
        for source in sources:
            if not isinstance(source, Mapping):
                self.problem(source, path, f"<< of {spell(path)} must name a mapping or a list of mappings")
                continue
            for name in [key for key in self.mapping_names(source, path) if key not in data]:
                key, value = self.lookup(source, name)
                self.keys[(*path, name)] = self.place(key)
                data[name] = self.walk(value, _child_hints(hints, name), (*path, name))

    def mapping_names(self, node: Mapping, path: Path) -> list[str]:
        """Return the keys of a mapping to be merged, its own merges included."""
        names: list[str] = []
        for key, value in node.pairs:
            self.count += 1
            if isinstance(key, Scalar) and key.is_merge:
                for source in value.items if isinstance(value, Sequence) else [value]:
                    names += self.mapping_names(source, path) if isinstance(source, Mapping) else []
            elif (name := self.key(key, path)) is not None:
                names.append(name)
        return list(dict.fromkeys(names))

    def lookup(self, node: Mapping, name: str) -> tuple[Node, Node]:
        """Return key and value of ``name`` in a mapping or in what it merges."""
        for key, value in node.pairs:
            if isinstance(key, Scalar) and not key.is_merge and key.text == name:
                return key, value
        for key, value in node.pairs:
            if isinstance(key, Scalar) and key.is_merge:
                for source in value.items if isinstance(value, Sequence) else [value]:
                    if isinstance(source, Mapping) and name in self.mapping_names(source, ()):
                        return self.lookup(source, name)
        raise KeyError(name)


def spell(path: Path) -> str:
    """Spell a path of keys as people write it: ``services[0].binds[1]``; the root is «the file»."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text or "the file"


def _describe(value: Any, node: Scalar) -> str:
    shown = node.text if len(node.text) <= 40 else node.text[:37] + "..."
    if isinstance(value, bool):
        return f"the boolean {shown}"
    return f"the number {shown}" if isinstance(value, int | float) else f"the text {shown!r}"
