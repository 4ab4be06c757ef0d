"""config.json: defaults, precedence, and what LinuxKit accepts but drops."""

from __future__ import annotations

import json
from typing import Any

import pytest

from provisioner.errors import InputError
from provisioner.model.values import CAPABILITIES
from provisioner.runtime import id_number, to_json
from tests.runtime.made import bundled

ROOT_NAMESPACES = [{"type": "pid"}, {"type": "mount"}]


def test_the_text_of_a_plain_service_is_linuxkits() -> None:
    made = bundled(Entrypoint=["/bin/app"], Cmd=["serve"], Env=["PATH=/bin"], WorkingDir="/srv", User="1000")
    assert json.loads(to_json(made.config)) == made.config
    assert list(made.config) == ["ociVersion", "process", "root", "mounts", "linux"]
    assert to_json(made.config).startswith("""\
{
    "ociVersion": "1.2.1",
    "process": {
        "user": {
            "uid": 0,
            "gid": 0
        },
        "args": [
            "/bin/app",
            "serve"
        ],
        "env": [
            "PATH=/bin"
        ],
        "cwd": "/srv",
        "capabilities": {}
    },
    "root": {
        "path": "rootfs"
    },
    "mounts": [
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": [
                "nosuid",
                "strictatime",
                "mode=755",
                "size=65536k"
            ]
        },
""")
    assert made.config["linux"] == {"resources": {}, "namespaces": ROOT_NAMESPACES}
    assert made.readonly is False


def test_fields_go_where_the_specification_puts_them() -> None:
    made = bundled("readonly: true, hostname: h, noNewPrivileges: true, oomScoreAdj: 0, rootfsPropagation: shared, "
                   "cgroupsPath: /x, maskedPaths: [/a], readonlyPaths: [/b], sysctl: {b: '1', a: '2'}, "
                   "annotations: {z: x, y: w}, uid: app, gid: web, additionalGids: [5, root, web], "
                   "uidMappings: [{hostID: 1000, containerID: 1, size: 10}]")
    process, linux = made.config["process"], made.config["linux"]
    assert made.config["root"] == {"path": "rootfs", "readonly": True}
    assert made.config["hostname"] == "h"
    assert list(made.config["annotations"]) == ["y", "z"]
    assert process["user"] == {"uid": 100, "gid": 101, "additionalGids": [5, 0, 101]}
    assert (process["noNewPrivileges"], process["oomScoreAdj"]) == (True, 0)
    assert list(linux) == ["uidMappings", "sysctl", "resources", "cgroupsPath", "namespaces", "rootfsPropagation",
                           "maskedPaths", "readonlyPaths"]
    assert linux["uidMappings"] == [{"containerID": 1, "hostID": 1000, "size": 10}]
    assert list(linux["sysctl"]) == ["a", "b"]


@pytest.mark.parametrize(("text", "expected"), [
    ("", ROOT_NAMESPACES),
    ("net: new, ipc: new, uts: new, pid: new, userns: new", [
        {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "pid"}, {"type": "user"}, {"type": "mount"}]),
    ("net: none", [{"type": "network"}, *ROOT_NAMESPACES]),
    ("ipc: none", [{"type": "ipc", "path": "none"}, *ROOT_NAMESPACES]),
    ("net: host, pid: host", [{"type": "mount"}]),
    ("net: root, pid: root", [{"type": "mount"}]),
    ("net: /run/netns/x, pid: /p", [
        {"type": "network", "path": "/run/netns/x"}, {"type": "pid", "path": "/p"}, {"type": "mount"}]),
])
def test_namespaces(text: str, expected: Any) -> None:
    assert bundled(text).config["linux"]["namespaces"] == expected


def test_capabilities() -> None:
    made = bundled("capabilities: [CAP_SYS_TIME, CAP_CHOWN], ambient: [CAP_NET_ADMIN, CAP_CHOWN]")
    assert made.config["process"]["capabilities"] == {
        "bounding": ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_TIME"], "effective": ["CAP_SYS_TIME", "CAP_CHOWN"],
        "inheritable": ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_TIME"],
        "permitted": ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_TIME"], "ambient": ["CAP_NET_ADMIN", "CAP_CHOWN"]}
    assert bundled("capabilities: [ALL]").config["process"]["capabilities"]["effective"] == list(CAPABILITIES)
    assert bundled("capabilities: [none]", {"capabilities": ["all"]}).config["process"]["capabilities"] == {}


def test_add_to_a_label_that_has_all_is_all() -> None:
    made = bundled("capabilities.add: [CAP_CHOWN]", {"capabilities": ["all"]})
    assert made.config["process"]["capabilities"]["effective"] == list(CAPABILITIES)


@pytest.mark.parametrize("text", ["all, CAP_CHOWN", "all, all", "none, none", "CAP_CHOWN, all"])
def test_all_and_none_stand_alone_in_what_is_added(text: str) -> None:
    with pytest.raises(InputError, match="must stand alone in its list"):
        bundled(f"capabilities.add: [{text}]")


def test_added_capabilities_come_once() -> None:
    made = bundled("capabilities.add: [CAP_KILL, CAP_CHOWN]", {"capabilities": ["CAP_CHOWN"]})
    assert made.config["process"]["capabilities"]["effective"] == ["CAP_CHOWN", "CAP_KILL"]


def test_rlimits_and_devices() -> None:
    made = bundled("rlimits: [\"nofile, 100,Unlimited\"], devices: [{path: all, type: b}, "
                   "{path: /dev/x, type: c, major: 5, minor: 1, mode: \"0666\"}], "
                   "resources: {devices: [{allow: false, access: rwm}]}")
    assert made.config["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": (1 << 64) - 1, "soft": 100}]
    assert made.config["linux"]["devices"] == [
        {"path": "/dev/x", "type": "c", "major": 5, "minor": 1, "fileMode": 0o666}]
    assert made.config["linux"]["resources"]["devices"] == [
        {"allow": False, "access": "rwm"}, {"allow": True, "type": "b", "access": "rwm"},
        {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"}]


def test_a_label_in_yaml_and_an_empty_one() -> None:
    assert bundled("", "# text\nnet: new\n").config["linux"]["namespaces"][0] == {"type": "network"}
    assert bundled("", "").config == bundled().config


def test_who_decided() -> None:
    made = bundled("net: new", {"pid": "host", "runtime": {"mkdir": ["/x"]}}, Cmd=["/x"])
    wanted = {"net": "yaml", "pid": "label", "command": "image", "ipc": "default", "runtime.mkdir": "label"}
    assert {key: made.origins[key] for key in wanted} == wanted


@pytest.mark.parametrize(("label", "said"), [
    ("{", "<label org.mobyproject.config of acme/app:1>:2:1: not YAML"),
    ({"capabilities": "CAP_CHOWN"}, "capabilities must be a list"),
    ({"nonsense": 1}, "unknown key `nonsense`"),
    ({"name": "x"}, "unknown key `name`"),
    (["pid"], "must be a mapping"),
    ({"capabilities": ["CAP_NOSUCH"]}, "app: capabilities: no capability is called 'CAP_NOSUCH'"),
    ({"rlimits": ["x"]}, "app: rlimits: an rlimit is"),
    ({"binds": ["x"]}, "app: binds: a bind is"),
    ({"uid": "who"}, "app: uid: no container is named 'who'"),
    ({"devices": [{"path": "/dev/x"}]}, "app: devices: a mode is"),
])
def test_faults_of_labels_name_the_label(label: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        bundled("", label)
    assert "label org.mobyproject.config of acme/app:1" in str(caught.value)
    assert said in str(caught.value)


def test_a_faulty_label_value_that_the_yaml_replaces_does_not_matter() -> None:
    assert bundled("capabilities: []", {"capabilities": ["CAP_NOSUCH"]}).config["process"]["capabilities"] == {}


def test_what_only_the_whole_shows_points_at_the_yaml() -> None:
    with pytest.raises(InputError, match=r"^f.yml:1:52: app: capabilities.add: no capability is called 'CHOWN'"):
        bundled("capabilities.add: [CHOWN]")


def test_ids() -> None:
    assert [id_number(value, {"a": 7}) for value in (None, "", "root", "a", 5)] == [0, 0, 0, 7, 5]
    with pytest.raises(ValueError, match="no container is named '5'"):
        id_number("5", {})
