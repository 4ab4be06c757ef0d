"""Text to model, and pydantic's findings to problems that a person can act on."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from provisioner.errors import InputError, NotFoundError, Problem
from provisioner.model.document import Document, Origin, Path, Place
from provisioner.yamlfile.nodes import MAX_BYTES, compose
from provisioner.yamlfile.shape import Shape, alternatives, fields, models, spell

M = TypeVar("M", bound=BaseModel)

_WANTED = {
    "string_type": "text", "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "list_type": "a list", "tuple_type": "a list", "set_type": "a list",
    "frozen_set_type": "a list", "dict_type": "a mapping", "model_type": "a mapping",
    "path_type": "a path", "mapping_type": "a mapping", "int_parsing_size": "a whole number of at most 64 bits",
}
_BOUNDS = {"greater_than_equal": ("at least", "ge"), "greater_than": ("more than", "gt"),
           "less_than_equal": ("at most", "le"), "less_than": ("less than", "lt")}


def load_file(path: FilePath, model: type[M], *, exact_text: bool = False) -> M:
    """Read ``path`` as UTF-8 and ``load`` it; raise NotFoundError if it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(4 * MAX_BYTES + 1)
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from error
    return load(decode(raw, str(path)), model, file=str(path), exact_text=exact_text)


def decode(raw: bytes, file: str) -> str:
    """Return UTF-8 text; raise InputError at the first byte that is none."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"not UTF-8: byte 0x{raw[error.start]:02X}"
        raise InputError(problems=[Problem(file, line, column, message)]) from error


def load(text: str, model: type[M], *, file: str, exact_text: bool = False,
         notices: list[Problem] | None = None, named: Mapping[str, str] | None = None) -> M:
    """Return ``model`` filled from the YAML ``text``; raise InputError with every problem found.

    ``exact_text`` refuses unquoted numbers and booleans where text is wanted (LinuxKit's grammar); otherwise such a
    scalar is taken as the text it is. A second document in the file is an error, or, where the caller passes
    ``notices``, a notice, and is not read. ``named`` maps a key whose list has names that may stand once to what an
    item is called; a doubled name is looked for only beside other faults, as a sound file is the caller's to check.
    Models that are ``Document``s remember their places.
    """
    root, second = compose(text, file=file)
    shape = Shape(file, exact_text)
    if root is None:
        raise InputError(problems=[Problem(file, 1, 1, "the file is empty", _known_keys([model]))])
    data = shape.walk(root, alternatives(model))
    if second is not None:
        problem = Problem(file, second.line, second.column, "a second document in one file is not read")
        (shape.problems if notices is None else notices).append(problem)
    value = _validate(data, model, shape)
    if shape.problems or value is None:
        raise InputError(problems=[*shape.problems, *_doubles(data, shape, named or {})])
    _remember(value, shape.places, ())
    return value


def _validate(data: Any, model: type[M], shape: Shape) -> M | None:
    try:
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        shape.problems += _problems(error, shape)
        return None


def _doubles(data: Any, shape: Shape, named: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the names that stand twice in a list of ``named``; what is no list or has no name is passed over."""
    for key, kind in named.items() if isinstance(data, dict) else ():
        seen: dict[str, Place] = {}
        for index, item in enumerate(items if isinstance(items := data.get(key), list) else ()):
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(name, str):
                continue
            place = shape.places[(key, index, "name")]
            if name in seen:
                yield Problem(place.file, place.line, place.column, f"two {kind}s are named `{name}`",
                              f"the first is at {seen[name]}")
            seen.setdefault(name, place)


def _remember(value: Any, places: dict[Path, Place], path: Path) -> None:
    if isinstance(value, Document):
        value.set_origin(Origin(places, path))
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            step = () if name == "root" else (info.alias or name,)
            _remember(getattr(value, name), places, path + step)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _remember(item, places, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            _remember(item, places, (*path, key))


def _problems(error: ValidationError, shape: Shape) -> list[Problem]:
    """Turn pydantic's errors into problems: one per place, union branches joined, known faults left out."""
    groups: dict[tuple[Path, str], list[Any]] = {}
    for item in error.errors(include_url=False):
        path, rest = _resolve(item["loc"], shape)
        groups.setdefault((path, rest if item["type"] == "missing" else ""), []).append(item)
    problems = []
    for (path, rest), items in groups.items():
        deeper = any(other[:len(path)] == path and len(other) > len(path) for other, _ in groups)
        if path in shape.faulty or (deeper and all(item["type"] in _WANTED for item in items)):
            continue
        problems.append(_problem(path, rest, items, shape))
    return problems


def _resolve(loc: tuple[int | str, ...], shape: Shape) -> tuple[Path, str]:
    """Return the longest path of the file that ``loc`` names (union tags stand between), and its last step."""
    path: Path = ()
    for step in loc:
        if (*path, step) in shape.places:
            path = (*path, step)
    return path, str(loc[-1]) if loc else ""


def _problem(path: Path, missing: str, items: list[Any], shape: Shape) -> Problem:
    item = items[0]
    kind = item["type"]
    place = shape.places[path]
    if kind == "missing":
        return Problem(place.file, place.line, place.column, f"`{missing}` is missing in {spell(path)}")
    if kind == "extra_forbidden":
        return _unknown_key(path, shape)
    wanted = [_WANTED[i["type"]] for i in items if i["type"] in _WANTED]
    if wanted and len(wanted) == len(items):
        message = f"{spell(path)} must be {' or '.join(dict.fromkeys(wanted))}, not {shape.found[path]}"
        return Problem(place.file, place.line, place.column, message, _quoting(wanted, path, shape))
    told = next(i for i in items if i["type"] not in _WANTED)
    message, hint = _told(told)
    return Problem(place.file, place.line, place.column, f"{spell(path)}: {message}", hint)


def _told(item: Any) -> tuple[str, str]:
    context = item.get("ctx", {})
    if item["type"] == "value_error":
        message, _, hint = str(context["error"]).partition("\n")
        return message, hint
    if item["type"] in ("literal_error", "enum"):
        words = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(str(item["input"]), words, 1)
        return f"must be {context['expected']}, not {item['input']!r}", f"did you mean {near[0]}?" if near else ""
    if bound := _BOUNDS.get(item["type"]):
        return f"must be {bound[0]} {context[bound[1]]}, not {item['input']}", ""
    return item["msg"][:1].lower() + item["msg"][1:], ""


def _quoting(wanted: list[str], path: Path, shape: Shape) -> str:
    found = shape.found[path]
    if "text" in wanted and "a whole number" not in wanted and found.startswith(("the number", "the boolean")):
        return "put it in quotes"
    if "true or false" in wanted and found.startswith("the text"):
        return "write true or false without quotes"
    if "a list" in wanted and found.startswith("the text"):
        return "write a list: [a, b]"
    number = "a whole number" in wanted and re.fullmatch(r"the text '[-+0-9]+'", found)
    return "leave the quotes out" if number else ""


def _unknown_key(path: Path, shape: Shape) -> Problem:
    name = str(path[-1])
    place = shape.keys.get(path, shape.places[path])
    owners = models(shape.hints[path[:-1]])
    known = [key for owner in owners for key in fields(owner)]
    folded = {key.lower(): key for key in known}
    near = [folded[match] for match in difflib.get_close_matches(name.lower(), list(folded), 1, 0.6)]
    hint = f"did you mean `{near[0]}`?" if near else _known_keys(owners)
    return Problem(place.file, place.line, place.column, f"unknown key `{name}` in {spell(path[:-1])}", hint)


def _known_keys(owners: list[type[BaseModel]]) -> str:
    known = list(dict.fromkeys(key for owner in owners for key in fields(owner)))
    return f"known keys: {', '.join(known)}" if known else ""
