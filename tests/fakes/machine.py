"""A whole machine made by hand: a kernel, an init and two containers for two architectures, in a store.

Made with the standard library alone; `YAML` puts them together. What the files hold is small but of the right kind.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fakes.images import Images
from tests.tree.made import member, tar

ARCHES = ("amd64", "arm64")
VERSION = "6.1.0-hand"
YAML = """\
kernel:
  image: acme/kernel:1
  cmdline: console=ttyS0
init:
  - acme/init:1
onboot:
  - name: first
    image: acme/tool:1
    command: [/bin/tool, --first]
services:
  - name: server
    image: acme/server:1
    net: host
    binds: [/etc/resolv.conf:/etc/resolv.conf]
files:
  - path: etc/motd
    contents: hello
"""


def x86_kernel(version: str = VERSION) -> bytes:
    """Return what looks like a bzImage (Linux, ``Documentation/arch/x86/boot.rst``)."""
    image = bytearray(0x800)
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = (0x400).to_bytes(2, "little")
    text = f"{version} (root@hand) #1\0".encode()
    image[0x600:0x600 + len(text)] = text
    return bytes(image)


def arm64_kernel(version: str = VERSION) -> bytes:
    """Return what looks like an arm64 ``Image`` (``Documentation/arch/arm64/booting.rst``)."""
    image = bytearray(300_000)
    image[56:60] = b"ARMd"
    text = f"Linux version {version} (root@hand) #1 SMP\n".encode()
    image[262_130:262_130 + len(text)] = text
    return bytes(image)


def body(seed: str, size: int) -> bytes:
    """Return bytes that do not compress, always the same."""
    return b"".join(hashlib.sha256(f"{seed}{i}".encode()).digest() for i in range(size // 32 + 1))[:size]


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    """Return a directory of a layer."""
    return member(name, mode=0o755)


def layers(arch: str, size: int = 20_000) -> dict[str, list[bytes]]:
    """Return the layers of each image for an architecture."""
    modules = tar(folder("lib/"), folder("lib/modules/"), folder(f"lib/modules/{VERSION}/"),
                  member(f"lib/modules/{VERSION}/disk.ko", body(f"ko{arch}", 5000)))
    kernel = x86_kernel() if arch == "amd64" else arm64_kernel()
    return {
        "kernel": [tar(member("kernel", kernel), member("kernel.tar", modules))],
        "init": [tar(folder("bin/"), folder("etc/"), member("bin/init", f"init {arch}".encode(), 0o755),
                     folder("sbin/"), member("sbin/init", link="../bin/init"))],
        "tool": [tar(folder("bin/"), member("bin/old", b"old"), member("bin/tool", body(arch, size), 0o755)),
                 tar(member("bin/.wh.old"), member("bin/new", b"new"))],
        "server": [tar(folder("srv/"), member("srv/server", body(f"server{arch}", size), 0o755, uid=100))],
    }


def images(arches: Mapping[str, Sequence[str]] | None = None, size: int = 20_000) -> Images:
    """Return the machine's images; ``arches`` says for which architectures, for those that have not both."""
    label = {"org.mobyproject.config": json.dumps({"capabilities": ["CAP_NET_ADMIN"]})}
    inner: dict[str, dict[str, Any]] = {"server": {"Entrypoint": ["/srv/server"], "Labels": label}}
    made = Images()
    for name in ("kernel", "init", "tool", "server"):
        manifests = [made.manifest(arch, layers(arch, size)[name], **inner.get(name, {}))
                     for arch in (arches or {}).get(name, ARCHES)]
        made.name(made.index(manifests), f"docker.io/acme/{name}:1")
    return made


def stock(cache: Path, arches: Mapping[str, Sequence[str]] | None = None, size: int = 20_000) -> Images:
    """Put the machine's images into the store of a cache."""
    made = images(arches, size)
    made.write(cache / "oci")
    return made
