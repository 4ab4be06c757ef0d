"""Images to serve: small files that look like kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ImageMaker = Callable[..., Path]


def kernel(arch: str, size: int = 4096) -> bytes:
    data = bytearray(size)
    if arch == "amd64":
        data[0x202:0x206] = b"HdrS"
    elif arch == "arm64":
        data[0x38:0x3C] = b"ARM\x64"
    return bytes(data)


@pytest.fixture
def make_image(tmp_path: Path) -> ImageMaker:
    def make(base: str = "docker", *, arch: str = "amd64", cmdline: str = "console=ttyS0",
             initrd: bytes = b"initrd") -> Path:
        path = tmp_path / base
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + "-kernel").write_bytes(kernel(arch))
        path.with_name(path.name + "-initrd.img").write_bytes(initrd)
        path.with_name(path.name + "-cmdline").write_text(cmdline + "\n")
        return path
    return make
