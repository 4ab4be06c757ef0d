"""What is inside an image file, gathered in one pass: containers, sizes, origins, kernel version, command line.

Reads initrds (also those of other builders), tars and kernels. Where an image came from is known from the note in
our initrds' last trailer and from the PAX records that LinuxKit and we write into tars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from provisioner.archive import tar
from provisioner.archive.compress import Decompressed, detect
from provisioner.archive.cpio import MAGIC
from provisioner.archive.initrd import Pushback, segments
from provisioner.archive.stream import CHUNK, Readable
from provisioner.errors import InputError, NotFoundError
from provisioner.model.tree import Entry, Kind

_CONTAINER = re.compile(r"containers/(onboot|onshutdown|services)/([^/]+)")
_MODULES = re.compile(r"lib/modules/([^/]+)$")
_VERSION = re.compile(rb"Linux version (\S+)")
_TEXT_LIMIT = 1 << 20
_CAUGHT = ("boot/cmdline",)


@dataclass(slots=True)
class Group:
    """A container, ``kernel``, ``volumes`` or ``root``: ``raw`` bytes of its files, ``size`` compressed, if known."""

    section: str
    name: str
    source: str = ""
    digest: str = ""
    entries: int = 0
    raw: int = 0
    size: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where it lies: ``onboot/000-dhcpcd``."""
        return f"{self.section}/{self.name}" if self.name else self.section


@dataclass(slots=True)
class Contents:
    """All that is known about an image file. ``origins``: location (``init[0]``) to reference and digest."""

    path: Path
    kind: str
    size: int
    method: str = ""
    segments: list[dict[str, Any]] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    origins: dict[str, tuple[str, str]] = field(default_factory=dict)
    platform: str = ""
    cmdline: str = ""
    kernel: str = ""
    entries: int = 0
    raw: int = 0


Watch = Callable[[Entry], None]


def inspect(path: Path, watch: Watch = lambda _entry: None) -> Contents:
    """Read an image file; ``watch`` sees every entry. Raises NotFoundError, and InputError for what is no image."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
        except OSError as error:
            raise NotFoundError(f"cannot read {path}: {error.strerror}") from error
        contents = Contents(path, "", path.stat().st_size)
        _READERS[_kind(file, str(path))](file, contents, watch)
    return contents


def config_text(path: Path, name: str, file: str = "config.json") -> str:
    """Return the text of a container's ``config.json`` in an image; the name may leave out section and number."""
    found: dict[str, str] = {}

    def watch(entry: Entry) -> None:
        match = _CONTAINER.match(entry.path)
        if match and entry.path == f"{match[0]}/{file}":
            found[f"{match[1]}/{match[2]}"] = _text(entry, path)

    inspect(path, watch)
    fitting = [key for key in found if name in (key, key.partition("/")[2], re.sub(r"^[a-z]+/(\d{3}-)?", "", key))]
    if len(fitting) != 1:
        problem = "no container" if not fitting else "several containers"
        raise NotFoundError(f"{path}: {problem} {name}", hint=f"there are {', '.join(found) or 'none'}")
    return found[fitting[0]]


def _kind(file: BinaryIO, name: str) -> str:
    head = file.read(1 << 10)
    file.seek(0)
    if head[0x202:0x206] == b"HdrS" or head[56:60] == b"ARMd":
        return "kernel"
    if head[257:262] == b"ustar":
        return "tar"
    method = detect(head)
    if method == "none":
        return "initrd" if head[:6] in MAGIC else "unknown"
    inside = Decompressed(file, name).read(1 << 10)
    file.seek(0)
    if inside[56:60] == b"ARMd":
        return "kernel"
    return "tar" if inside[257:262] == b"ustar" else "initrd"


def _read_unknown(_file: BinaryIO, contents: Contents, _watch: Watch) -> None:
    raise InputError(f"{contents.path}: neither an initrd, a tar nor a Linux kernel")


def _read_kernel(file: BinaryIO, contents: Contents, _watch: Watch) -> None:
    contents.kind = "kernel"
    contents.platform, contents.kernel = _kernel_version(iter(lambda: file.read(CHUNK), b""))


def _read_initrd(file: BinaryIO, contents: Contents, watch: Watch) -> None:
    contents.kind = "initrd"
    for segment, entries in segments(file, str(contents.path)):
        seen: dict[str, int] = {}
        for entry in entries:
            group = _gather(contents, entry, watch)
            seen[group.path] = seen.get(group.path, 0) + entry.size
        main = max(seen, key=lambda path: seen[path], default="")
        if main:
            contents.groups[main].size += segment.size
        for note in segment.notes:
            _read_note(contents, note)
        contents.raw += segment.raw
        contents.segments.append({"offset": segment.offset, "method": segment.method, "size": segment.size,
                                  "raw": segment.raw, "of": main})
    methods = dict.fromkeys(one["method"] for one in contents.segments)
    contents.method = ", ".join(methods)
    _attach(contents)


def _read_tar(file: BinaryIO, contents: Contents, watch: Watch) -> None:
    contents.kind = "tar"
    stream = Decompressed(file, str(contents.path))
    contents.method = stream.method

    def observe(_path: str, records: Mapping[str, str]) -> None:
        if location := records.get("LINUXKIT.location"):
            origin = (records.get("LINUXKIT.source", ""), records.get("PROVISIONER.digest", ""))
            contents.origins.setdefault(location, origin)

    for entry in tar.read(stream, str(contents.path), observe=observe):
        _gather(contents, entry, watch)
    contents.raw = stream.count_out
    _attach(contents)


_READERS = {"unknown": _read_unknown, "kernel": _read_kernel, "initrd": _read_initrd, "tar": _read_tar}


def _gather(contents: Contents, entry: Entry, watch: Watch) -> Group:
    """Count an entry where it belongs, and read the few files that say something about the image."""
    match = _CONTAINER.match(entry.path)
    section, name = match.groups() if match else (_section(entry.path), "")
    group = contents.groups.setdefault(f"{section}/{name}" if name else section, Group(section, name))
    group.entries += 1
    group.raw += entry.size
    contents.entries += 1
    if modules := _MODULES.match(entry.path):
        contents.kernel = modules[1]
    if match and entry.path == f"{match[0]}/config.json":
        text = _text(entry, contents.path)
        entry = Entry(entry.path, Kind.FILE, entry.mode, size=entry.size, content=(text.encode(),))
        group.config = _json(text)
    elif entry.path == "boot/cmdline":
        contents.cmdline = _text(entry, contents.path)
    elif entry.path == "boot/kernel":
        contents.platform, contents.kernel = _kernel_version(iter(entry.content))
    watch(entry)
    return group


def _section(path: str) -> str:
    if path.startswith(("lib/modules/", "boot/", "kernel/")) or path in ("boot", "kernel"):
        return "kernel"
    return "volumes" if path.startswith("containers/volumes") else "root"


def _text(entry: Entry, where: Path) -> str:
    if entry.size > _TEXT_LIMIT:
        raise InputError(f"{where}: {entry.path} has {entry.size} bytes", hint=f"at most {_TEXT_LIMIT} were expected")
    return b"".join(entry.content).decode("utf-8", "replace")


def mapped(value: object) -> Mapping[str, Any]:
    """Return an object of foreign JSON, an empty one when it is something else."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """Return a list of foreign JSON, an empty one when it is something else."""
    return value if isinstance(value, list) else []


def _json(text: str) -> Mapping[str, Any]:
    try:
        return mapped(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _read_note(contents: Contents, note: bytes) -> None:
    facts = _json(note.decode("utf-8", "replace"))
    if facts.get("version") != 1:
        return
    contents.platform, contents.cmdline = str(facts.get("platform", "")), str(facts.get("cmdline", ""))
    for part in listed(facts.get("parts")):
        where, source, digest = (str(mapped(part).get(key, "")) for key in ("location", "source", "digest"))
        contents.origins.setdefault(where, (source, digest))


def _attach(contents: Contents) -> None:
    """Give containers their images: within a section they come in the order of the YAML."""
    counts: dict[str, int] = {}
    for group in contents.groups.values():
        if group.name:
            number = counts.get(group.section, 0)
            counts[group.section] = number + 1
            group.source, group.digest = contents.origins.get(f"{group.section}[{number}]", ("", ""))
    if "kernel" in contents.groups:
        kernel = contents.groups["kernel"]
        kernel.source, kernel.digest = contents.origins.get("kernel", ("", ""))


def _kernel_version(chunks: Iterator[bytes]) -> tuple[str, str]:
    """Return platform and release of a kernel image (x86 ``boot.rst``, arm64 ``booting.rst``), as far as known."""
    source = Pushback(_Chunks(chunks))
    head = source.peek(1 << 16)
    if head[0x202:0x206] == b"HdrS":
        at = int.from_bytes(head[0x20E:0x210], "little") + 0x200
        return "linux/amd64", head[at:at + 128].split(b"\0")[0].split(b" ")[0].decode("ascii", "replace")
    stream: Readable = Decompressed(source, "kernel") if detect(head) != "none" else source
    platform, kept = "", b""
    while chunk := stream.read(CHUNK):
        if not kept and chunk[56:60] == b"ARMd":
            platform = "linux/arm64"
        if found := _VERSION.search(kept + chunk):
            return platform, found[1].decode("ascii", "replace")
        kept = chunk[-256:]
    return platform, ""


class _Chunks:
    """A readable over chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _size: int, /) -> bytes:
        """Return the next chunk, whatever its size: only `Pushback` reads here, and keeps the rest."""
        return next(self._chunks, b"")
