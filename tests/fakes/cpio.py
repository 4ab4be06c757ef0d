"""A cpio archive by hand (Linux, ``Documentation/driver-api/early-userspace/buffer-format.rst``)."""

from __future__ import annotations

from collections.abc import Mapping


def newc(files: Mapping[str, bytes], note: bytes = b"") -> bytes:
    """Return an archive of files, absolute names and all; ``note`` is put into its trailer."""
    return b"".join(_member(number, name, 0o100644, data) for number, (name, data) in enumerate(files.items())) + \
        _member(0, "TRAILER!!!", 0, note)


def _member(number: int, name: str, mode: int, data: bytes) -> bytes:
    fields = (number + 700, mode, 0, 0, 1, 0, len(data), 8, 1, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
