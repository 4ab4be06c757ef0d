"""The kernel inside a compressed kernel, for loaders that cannot decompress (``--decompress-kernel``).

    gzip, xz, zstd                   a compressed Image, as arm64 has it
    bzImage, boot protocol 2.08+     x86: setup code, then the payload (Documentation/arch/x86/boot.rst)
    EFI zboot                        ``MZ`` and ``zimg``: offset and size of the payload at 8 and 12 (linux pe.h)
"""

from __future__ import annotations

import dataclasses
import struct
import tempfile
from collections.abc import Iterator
from typing import IO

from provisioner.archive.compress import Decompressed, detect
from provisioner.archive.stream import CHUNK
from provisioner.errors import InputError
from provisioner.model.tree import Entry
from provisioner.tree.sources import Chunks

_LARGEST = 256 << 20


def decompressed(entry: Entry, name: str) -> Entry:
    """Return the kernel ``entry`` with the content that its content holds compressed; InputError if there is none."""
    if entry.size > _LARGEST:
        raise InputError(f"{name} has {entry.size} bytes, which is no kernel")
    payload = _payload(b"".join(entry.content))
    if detect(payload[:6]) == "none":
        raise InputError(f"{name} holds no kernel in gzip, xz or zstd", hint="do without --decompress-kernel")
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the content's reader
    source = Decompressed(Chunks((payload,)), name, single=True)
    size = 0
    while chunk := source.read(CHUNK):
        size += file.write(chunk)
    return dataclasses.replace(entry, size=size, content=_content(file))


def _payload(kernel: bytes) -> bytes:
    if len(kernel) > 0x250 and kernel[0x1FE:0x200] == b"\x55\xaa" and kernel[0x202:0x206] == b"HdrS":
        version, = struct.unpack_from("<H", kernel, 0x206)
        if version >= 0x208:
            offset, length = struct.unpack_from("<II", kernel, 0x248)
            start = offset + ((kernel[0x1F1] or 4) + 1) * 512
            return kernel[start:start + length]
    if kernel[:2] == b"MZ" and kernel[4:8] == b"zimg":
        offset, length = struct.unpack_from("<II", kernel, 8)
        return kernel[offset:offset + length]
    return kernel


def _content(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(CHUNK):
            yield chunk
