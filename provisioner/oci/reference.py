"""Image references as Docker, containerd and LinuxKit read them.

    name[:tag][@sha256:hex]        ubuntu, acme/tool:1, reg.example.com:5000/team/app@sha256:…

One part means ``docker.io/library/name``; a first part without ``.`` or ``:`` that is not ``localhost`` belongs to
Docker Hub. Without tag and digest the tag is ``latest``. With a digest the digest alone decides.
Grammar: distribution/reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from provisioner.errors import InputError

DOCKER_HUB = "docker.io"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 255


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A parsed reference; ``tag`` is empty when a digest stands alone. ``str()`` is the full form."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{'@' + self.digest if self.digest else ''}"

    @property
    def name(self) -> str:
        """Registry and repository: ``docker.io/library/ubuntu``."""
        return f"{self.registry}/{self.repository}"

    @property
    def key(self) -> str:
        """The name under which the store keeps it: a tag beside a digest does not count."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def familiar(self) -> str:
        """The short form that people write: ``ubuntu:latest``."""
        short = str(self).removeprefix(f"{DOCKER_HUB}/")
        return short.removeprefix("library/") if short.count("/") == 1 else short

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; raise InputError saying which part is wrong."""
        rest, at, digest = text.partition("@")
        if at and not is_digest(digest):
            raise _bad(text, f"{digest!r} is no digest", "a digest is sha256: and 64 lower-case hexadecimal digits")
        name, tag = _split_tag(rest)
        if tag is not None and not _TAG.fullmatch(tag):
            raise _bad(text, f"{tag!r} is no tag", "a tag has up to 128 letters, digits, and _ . -")
        registry, repository = _split_registry(name)
        if not _DOMAIN.fullmatch(registry):
            raise _bad(text, f"{registry!r} is no registry", "a registry is a host name with an optional :port")
        if not _REPOSITORY.fullmatch(repository):
            raise _bad(text, f"{repository!r} is no image name", _why_no_name(repository))
        if len(registry) + 1 + len(repository) > _LONGEST:
            raise _bad(text, "the name is too long", f"up to {_LONGEST} characters are allowed")
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)


def is_digest(text: object) -> bool:
    """Whether ``text`` is a digest that we accept: sha256 and 64 lower-case hexadecimal digits."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _split_tag(text: str) -> tuple[str, str | None]:
    head, colon, tail = text.rpartition(":")
    return (head, tail) if colon and "/" not in tail and head else (text, None)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_host = slash and (any(c in first for c in ".:") or first == "localhost" or first != first.lower())
    registry, repository = (first, rest) if is_host else (DOCKER_HUB, name)
    if registry == "index.docker.io":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _why_no_name(repository: str) -> str:
    if repository != repository.lower():
        return "names are lower-case"
    return "names are lower-case letters and digits with single . _ - between them, in parts joined by /"


def _bad(text: str, problem: str, hint: str) -> InputError:
    return InputError(f"{text!r} is no image reference: {problem}", hint=hint)
