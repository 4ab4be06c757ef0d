"""What needs the whole: doubled names, volumes, ids; and notices of what has no effect."""

from __future__ import annotations

import pytest

from provisioner.spec import check, notices, parse
from provisioner.spec.check import volume_of


def checked(text: str) -> list[str]:
    return [str(problem) for problem in check(parse(text, file="f"))]


@pytest.mark.parametrize(("text", "said"), [
    ("services: [{name: a, image: x}, {name: a, image: y}]",
     "f:1:40: two services are named `a` (the first is at f:1:19)"),
    ("services:\n- &s {name: a, image: x}\n- *s", "two services are named `a`"),
    ("volumes: [{name: v}, {name: v}]", "two volumes are named `v`"),
    ("services: [{name: a, image: x, binds: [\"dat:/x\"]}]\nvolumes: [{name: data}]",
     "f:1:40: a: no volume is named `dat` (did you mean data?)"),
    ("services: [{name: a, image: x, binds.add: [\"no:/x\"]}]", "f:1:44: a: no volume is named `no`"),
    ("onboot: [{name: a, image: x, mounts: [{type: bind, source: no, destination: /x}]}]", "no volume is named `no`"),
    ("services: [{name: a, image: x, binds: [\"v:/x\"]}]\nvolumes: [{name: v, readonly: true}]",
     "a: the volume v is read-only (bind it as v:/path:ro)"),
    ("services: [{name: a, image: x, binds: [\"v:/x:ro,noexec\"]}]\nvolumes: [{name: v, readonly: true}]",
     "the volume v is read-only"),
    ("services: [{name: a, image: x, mounts: [{type: bind, source: v, destination: /x, options: [rbind]}]}]\n"
     "volumes: [{name: v, readonly: true}]", "the volume v is read-only"),
    ("services: [{name: web, image: x, uid: wep}]", "f:1:39: no container is named `wep` (did you mean web?)"),
    ("services: [{name: a, image: x, additionalGids: [a, b]}]", "no container is named `b`"),
    ("files: [{path: x, contents: y, gid: \"5\"}]", "no container is named `5`"),
    ("services: [{name: ../a, image: x}]", "cannot name a directory"),
    ("services: [{name: '', image: x}]", "cannot name a directory"),
    ("files: [{path: a/../../b, contents: x}]", "leads out of the root"),
])
def test_problems(text: str, said: str) -> None:
    found = checked(text)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize("text", [
    "onboot: [{name: a, image: x}, {name: a, image: x}]\nservices: [{name: a, image: x, uid: a, gid: root}]",
    "volumes: [{name: v, readonly: true}]\nservices: [{name: a, image: x, binds: [\"v:/x:ro\", \"/a:/b\"]}]",
    "volumes: [{name: v, readonly: true}]\nservices: [{name: a, image: x, mounts: "
    "[{type: bind, source: v, destination: /x, options: [rbind, ro]}]}]",
    "onboot: [{name: '', image: x}]",
    "services: [{name: a, image: x, mounts: [{type: proc}, {type: tmpfs, source: v, destination: /x}]}]",
])
def test_no_problems(text: str) -> None:
    assert checked(text) == []


@pytest.mark.parametrize(("text", "said"), [
    ("kernel: {cmdline: x}", "f:1:19: kernel.cmdline has no effect without kernel.image"),
    ("services: [{name: a, image: x, binds: [], binds.add: [\"/a:/b\"]}]", "binds.add has no effect beside binds"),
    ("services: [{name: a/b, image: x}]", "init starts no container whose name has a slash"),
    ("files: [{path: x, directory: true, symlink: y}]", "symlink has no effect beside directory"),
    ("files: [{path: x, contents: z, symlink: y}]", "contents has no effect beside symlink"),
    ("files: [{path: /, directory: true}]", "the root directory itself is not written"),
    ("volumes: [{name: v, image: x, platforms: [linux/amd64]}]", "platforms has no effect without format: oci"),
    ("volumes: [{name: v, format: oci}]", "format has no effect without an image"),
])
def test_nothing_is_ignored_silently(text: str, said: str) -> None:
    found = [str(problem) for problem in notices(parse(text, file="f"))]
    assert len(found) == 1
    assert said in found[0]


def test_a_path_is_no_volume() -> None:
    spec = parse("volumes: [{name: v}]", file="f")
    assert volume_of("/v", spec) is None
    assert volume_of("v", spec) == spec.volumes[0]
