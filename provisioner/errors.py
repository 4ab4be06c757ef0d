"""The one exception tree. Every error carries a message, a hint and a stable exit code.

    ProvisionerError (1)
    ├── UsageError (2)      the command line is wrong
    ├── InputError (3)      a file the user wrote is wrong; carries every problem found, with its place
    ├── NotFoundError (4)   an image, file, platform, tool or machine that is not there
    │   └── ToolMissingError (4) a host program is missing; names the package
    ├── AuthError (5)       credentials are missing or refused
    ├── DigestError (6)     content is not what its digest or size says
    ├── NetworkError (7)    a remote side cannot be reached or answers nonsense
    ├── DeviceError (8)     a disk or device failed, is full, or cannot be written
    ├── RefusedError (9)    a thing we will not do for safety's sake
    └── PrivilegeError (10) the kernel says no; names the capability and a way to get it

Ctrl-C exits with 130. Only ``cli/main.py`` exits; low-level exceptions are translated where the call is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class ProvisionerError(Exception):
    """Base of every error a user may see: ``message`` says what is wrong, ``hint`` what to do."""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def to_json(self) -> dict[str, Any]:
        """Return the stable form that ``--json`` prints: ``{"error": kind, "message", "hint", "exit_code"}``."""
        return {"error": self.kind, "message": self.message, "hint": self.hint, "exit_code": self.exit_code}


class UsageError(ProvisionerError):
    """The command line is wrong."""

    exit_code = 2
    kind = "usage"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in a text file, at 1-based ``line`` and ``column``."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{place} ({self.hint})" if self.hint else place


class InputError(ProvisionerError):
    """A file is wrong; ``problems`` lists every fault found, in reading order."""

    exit_code = 3
    kind = "input"

    def __init__(self, message: str = "", *, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__(message or "\n".join(str(p) for p in self.problems), hint=hint)

    def to_json(self) -> dict[str, Any]:
        """Add ``problems`` as objects with file, line, column, message and hint."""
        rows = [{"file": p.file, "line": p.line, "column": p.column, "message": p.message, "hint": p.hint}
                for p in self.problems]
        return super().to_json() | {"problems": rows}


class NotFoundError(ProvisionerError):
    """Something named is not there."""

    exit_code = 4
    kind = "not-found"


class ToolMissingError(NotFoundError):
    """A host program is missing; the hint names the package that has it."""

    kind = "tool-missing"


class AuthError(ProvisionerError):
    """Credentials are missing or refused."""

    exit_code = 5
    kind = "auth"


class DigestError(ProvisionerError):
    """Content differs from the digest or size that was promised."""

    exit_code = 6
    kind = "digest"


class NetworkError(ProvisionerError):
    """The other side cannot be reached or answers what it must not."""

    exit_code = 7
    kind = "network"


class DeviceError(ProvisionerError):
    """A disk or device failed, is full, or cannot be written."""

    exit_code = 8
    kind = "device"


class RefusedError(ProvisionerError):
    """Refused for safety's sake."""

    exit_code = 9
    kind = "refused"


class PrivilegeError(ProvisionerError):
    """The kernel refuses; the hint names the capability and a way to get it."""

    exit_code = 10
    kind = "privilege"
