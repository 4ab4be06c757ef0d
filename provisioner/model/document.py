"""What was read from a text file and still knows where each of its values stands.

The loader in ``yamlfile`` notes the places; later rooms use them to point at a line when they find a fault that no
grammar can see (an unknown volume, a missing image).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, PrivateAttr

from provisioner.errors import Problem

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a text file; ``line`` and ``column`` count from 1, and 0 means not known."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document stands: the places of a whole file by path of keys, and the path of this document."""

    places: Mapping[Path, Place] = field(default_factory=dict)
    path: Path = ()


class Document(BaseModel):
    """Base of frozen models that remember their places. Two documents are equal when their values are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, serialize_by_alias=True)

    _origin: Origin = PrivateAttr(default_factory=Origin)

    def place(self, *keys: str | int) -> Place:
        """Return where the value below ``keys`` stands (keys as spelled in the file), or the nearest one above it."""
        path = self._origin.path + keys
        for length in range(len(path), -1, -1):
            if found := self._origin.places.get(path[:length]):
                return found
        return Place()

    def problem(self, message: str, *keys: str | int, hint: str = "") -> Problem:
        """Return a Problem that points at the value below ``keys``."""
        place = self.place(*keys)
        return Problem(place.file, place.line, place.column, message, hint)

    def set_origin(self, origin: Origin) -> None:
        """Note where this document was read; only loaders call this, before anyone else sees the document."""
        self._origin = origin

    def __eq__(self, other: object) -> bool:
        """Compare kinds and values, not places."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # values hold dicts: documents are not keys
