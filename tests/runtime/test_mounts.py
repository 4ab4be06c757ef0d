"""Mounts by destination: defaults, tmpfs, binds, mounts."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.model.spec import Mount
from provisioner.runtime.mounts import mounts, plain
from tests.runtime.made import choice


def made(text: str = "", label: Any = None, *, readonly: bool = False) -> dict[str, dict[str, Any]]:
    found = mounts(choice(text, label), readonly, {"data": "/v/data"})
    return {mount["destination"]: mount for mount in found}


def test_defaults_in_order() -> None:
    assert list(made()) == ["/dev", "/dev/pts", "/proc", "/sys", "/sys/fs/cgroup"]
    assert "ro" not in made()["/sys"]["options"]
    assert made(readonly=True)["/sys"]["options"][-1] == made(readonly=True)["/dev"]["options"][-1] == "ro"


def test_order_is_that_of_bytes() -> None:
    text = "tmpfs: [/é, /z, /Z]"
    assert list(made(text))[-2:] == ["/z", "/é"]


@pytest.mark.parametrize(("text", "expected"), [
    ("binds: [\"/a:/b\"]", {"destination": "/b", "type": "bind", "source": "/a",
                            "options": ["rw", "rbind", "rshared"]}),
    ("binds: [\"/a:/b:ro,nosuid\"]", {"destination": "/b", "type": "bind", "source": "/a",
                                      "options": ["ro", "nosuid", "rbind"]}),
    ("binds: [\"data:/b\"]", {"destination": "/b", "type": "bind", "source": "/v/data",
                              "options": ["rw", "rbind", "rshared"]}),
    ("tmpfs: [\"/b:size=1m,ro\"]", {"destination": "/b", "type": "tmpfs", "source": "tmpfs",
                                    "options": ["size=1m", "ro"]}),
    ("tmpfs: [/b]", {"destination": "/b", "type": "tmpfs", "source": "tmpfs"}),
    ("mounts: [{type: ext4, source: /dev/sda1, destination: /b, options: [ro]}]",
     {"destination": "/b", "type": "ext4", "source": "/dev/sda1", "options": ["ro"]}),
    ("mounts: [{type: ramfs, destination: /b}]", {"destination": "/b", "type": "ramfs", "source": "ramfs"}),
    ("tmpfs: [/b], binds: [\"/a:/b\"], mounts: [{type: proc, destination: /b}]",
     {"destination": "/b", "type": "proc", "source": "proc"}),
])
def test_each_kind(text: str, expected: dict[str, Any]) -> None:
    assert made(text)["/b"] == expected


def test_mounts_fill_in_what_follows() -> None:
    found = made("mounts: [{type: mqueue}, {source: cgroup, options: [ro]}, {source: x, destination: /dev}]")
    assert found["/dev/mqueue"] == {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}
    assert found["/sys/fs/cgroup"]["options"] == ["ro"]
    assert found["/dev"] == {"destination": "/dev", "type": "tmpfs", "source": "x"}


def test_volumes_of_mounts_are_found_too() -> None:
    text = "mounts: [{type: bind, source: data, destination: /b}]"
    assert made(text)["/b"]["source"] == "/v/data"
    label = {"mounts": [{"type": "bind", "source": "data", "destination": "/b"}]}
    assert made("", label)["/b"]["source"] == "data"


def test_a_mount_of_a_label_without_type_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a type"):
        made("", {"mounts": [{"destination": "/x"}]})


def test_id_mappings_of_mounts_are_kept() -> None:
    mount = Mount.model_validate({"destination": "/x", "uidmappings": ({"hostID": 5, "size": 1},)})
    assert plain(mount) == {"destination": "/x", "uidMappings": [{"containerID": 0, "hostID": 5, "size": 1}]}
    assert "gidMappings" in plain(Mount.model_validate({"gidmappings": ({},)}))
