"""runtime.json: sub-field by sub-field, and the mounts that make the root."""

from __future__ import annotations

from provisioner.runtime import to_json
from provisioner.runtime.start import runtime, with_root
from tests.runtime.made import choice

EMPTY = {"cgroups": [], "mounts": [], "mkdir": [], "interfaces": [],
         "bindNS": {"cgroup": "", "ipc": "", "mnt": "", "net": "", "pid": "", "user": "", "uts": ""}, "namespace": ""}


def test_nothing_said() -> None:
    assert runtime(choice()) == EMPTY
    assert list(runtime(choice())) == list(EMPTY)


def test_each_sub_field_is_the_yamls_or_the_labels() -> None:
    label = {"runtime": {"mkdir": ["/l"], "cgroups": ["l"], "bindNS": {"net": "/l/net", "ipc": "/l/ipc"},
                         "interfaces": [{"name": "eth0", "add": "veth", "peer": "v1"}], "namespace": "l",
                         "mounts": [{"type": "bind", "source": "/a", "destination": "/b", "options": ["rw"]}]}}
    made = runtime(choice("runtime: {mkdir: [], bindNS: {net: /y/net, pid: \"\"}, namespace: \"\"}", label))
    assert made == EMPTY | {
        "cgroups": ["l"], "bindNS": EMPTY["bindNS"] | {"net": "/y/net", "ipc": "/l/ipc"},  # type: ignore[operator]
        "interfaces": [{"name": "eth0", "add": "veth", "peer": "v1", "createInRoot": False}],
        "mounts": [{"destination": "/b", "type": "bind", "source": "/a", "options": ["rw"]}]}


def test_the_root_of_a_writable_container_is_an_overlay() -> None:
    made = with_root(EMPTY | {"mounts": [{"destination": "/x"}]}, "containers/services/a",
                     "containers/onboot/000-b/lower", readonly=False)
    assert made["mounts"] == [
        {"destination": "/containers/services/a/tmp", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/containers/services/a/tmp", "options": ["remount", "private"]},
        {"destination": "/containers/services/a/rootfs", "type": "overlay", "source": "overlay", "options": [
            "lowerdir=/containers/onboot/000-b/lower", "upperdir=/containers/services/a/tmp/upper",
            "workdir=/containers/services/a/tmp/work"]},
        {"destination": "/x"}]


def test_the_root_of_a_read_only_container_is_bound() -> None:
    made = with_root(EMPTY, "containers/services/a", "containers/services/a/rootfs", readonly=True)
    assert made["mounts"] == [{"destination": "/containers/services/a/rootfs",
                               "source": "/containers/services/a/rootfs", "options": ["bind"]}]
    assert to_json(made).startswith('{\n    "cgroups": [],\n    "mounts": [\n        {\n            "destination"')
