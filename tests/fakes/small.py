"""A whole small machine: a YAML and the images it names, in a store of its own."""

from __future__ import annotations

from pathlib import Path

from provisioner.oci.store import Store
from tests.fakes.images import Images, tar_of

YAML = """\
kernel:
  image: acme/kernel:1
  cmdline: console=ttyS0
init:
  - acme/init:1
onboot:
  - name: first
    image: acme/tool:1
    command: [/bin/tool, "-1"]
services:
  - name: web
    image: acme/tool:1
    net: host
    capabilities: [CAP_NET_BIND_SERVICE]
files:
  - path: etc/motd
    contents: hello
"""


def store(cache: Path, *, architectures: tuple[str, ...] = ("amd64", "arm64"), tool: bytes = b"tool") -> Store:
    """Fill the store of the cache directory ``cache`` with the images of YAML."""
    images = Images()
    kernel = {"kernel": b"a kernel", "kernel.tar": tar_of({"lib/modules/6.1.0/a.ko": b"module"})}
    contents = {"kernel": kernel, "init": {"sbin/init": b"init"}, "tool": {"bin/tool": tool}}
    for name, files in contents.items():
        made = [images.manifest(arch, [tar_of(files | {"arch": arch.encode()})], Entrypoint=["/bin/tool"])
                for arch in architectures]
        images.name(images.index(made), f"docker.io/acme/{name}:1")
    images.write(cache / "oci")
    return Store(cache / "oci")
