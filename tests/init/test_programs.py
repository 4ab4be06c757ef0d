"""The awk programs and the scripts of the init component, run by busybox as in the machine; Python's json judges."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2] / "components"
LIBRARY = ROOT / "init/files/usr/lib/provisioner"
# Prints every scalar: its path, joined by awk's own separator, and its text, between two more control characters.
DUMP = r'END { if (broken) exit 2; for (p in VALUE) printf "%s\035%s\036", p, VALUE[p] }'
SEPARATOR = "\x1c"

pytestmark = pytest.mark.tool


def awk(*arguments: str | Path, text: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("busybox") or "busybox", "awk", "-f", str(LIBRARY / "json.awk"), *map(str, arguments)]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False, env={"LC_ALL": "C"})
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def flat(value: Any, path: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what the reader should find: path → text, as JSON writes numbers and words."""
    if isinstance(value, Mapping):
        return {key: text for name, child in value.items() for key, text in flat(child, (*path, name)).items()}
    if isinstance(value, list):
        return {key: text for i, child in enumerate(value) for key, text in flat(child, (*path, str(i))).items()}
    return {SEPARATOR.join(path): value if isinstance(value, str) else json.dumps(value)}


def plan(runtime: object, part: str = "filesystem") -> str:
    result = awk("-f", LIBRARY / "plan.awk", "-v", f"part={part}", text=json.dumps(runtime))
    assert result.returncode == 0, result.stderr
    return result.stdout


# NUL ends a string in C, 1c-1e are marks (DUMP): no path or option has them.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0\x1c\x1d\x1e", max_codepoint=0xffff), max_size=12)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words.filter(bool), inner, max_size=4), max_leaves=20)


@given(st.dictionaries(words.filter(bool), documents, min_size=1), st.booleans(), st.sampled_from([None, 4]))
@settings(max_examples=60, deadline=None)
def test_reads_whatever_json_writes(document: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    result = awk("-e", DUMP, text=json.dumps(document, ensure_ascii=ascii_only, indent=indent))
    assert result.returncode == 0, result.stderr
    assert dict(line.split("\x1d") for line in result.stdout.split("\x1e")[:-1]) == flat(document)


@pytest.mark.parametrize("text", [
    '{"a": 1', '{"a" 1}', '{"a": }', "[1, 2", "{,}", "[1] x", '{"a": "b}', "", "{a: 1}",
])
def test_names_the_place_where_it_is_not_json(text: str) -> None:
    result = awk("-e", DUMP, text=text)
    assert (result.returncode, result.stdout) == (2, "")
    assert "not JSON at byte" in result.stderr


RUNTIME = {
    "cgroups": ["systemreserved"],
    "mounts": [
        {"destination": "/c/tmp", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/c/tmp", "options": ["remount", "private"]},
        {"destination": "/c/rootfs", "type": "overlay", "source": "overlay",
         "options": ["lowerdir=/c/lower", "upperdir=/c/tmp/upper", "workdir=/c/tmp/work"]},
        {"destination": "var/x", "source": "/var/x", "options": ["rw", "rbind", "rshared"]},
    ],
    "mkdir": ["/var/lib/x"], "bindNS": {"net": "/run/netns/x", "pid": ""}, "namespace": "other",
    "interfaces": [{"name": "wg0", "add": "wireguard", "createInRoot": True},
                   {"name": "eth1", "createInRoot": False}],
}


def test_plans_the_file_system_in_linuxkits_order() -> None:
    assert plan(RUNTIME).splitlines() == [
        "namespace='other' process=yes",
        "mount_on 'tmpfs' 'tmpfs' '/c/tmp' ''  || return",
        "mount_on '' '' '/c/tmp' 'remount' private || return",
        "make_directory '/c/tmp/upper' || return",
        "make_directory '/c/tmp/work' || return",
        "mount_on 'overlay' 'overlay' '/c/rootfs' "
        "'lowerdir=/c/lower,upperdir=/c/tmp/upper,workdir=/c/tmp/work'  || return",
        "mount_on '' '/var/x' 'var/x' 'rw,rbind' rshared || return",
        "make_directory '/var/lib/x' || return",
        "make_cgroup 'systemreserved' || return",
    ]


def test_plans_interfaces_and_name_spaces() -> None:
    assert plan(RUNTIME, "process").splitlines() == [
        "interface 'wg0' 'wireguard' '' 'true' || return",
        "interface 'eth1' '' '' 'false' || return",
        "bind_namespace net '/run/netns/x' || return",
    ]


def test_an_empty_runtime_asks_for_nothing() -> None:
    empty = {"cgroups": [], "mounts": [], "mkdir": [], "interfaces": [], "bindNS": {"net": ""}, "namespace": ""}
    assert plan(empty) == "namespace='' process=\n"
    assert plan(empty, "process") == ""
    assert plan({}) == "namespace='' process=\n"


@pytest.mark.parametrize("hostile", ["'; touch pwned; '", "$(touch pwned)", "`touch pwned`", "a\nb\\'c", '" & <>'])
def test_no_value_becomes_a_command(hostile: str, tmp_path: Path) -> None:
    text = plan({"mkdir": [hostile], "mounts": [{"type": hostile, "source": hostile, "destination": hostile}]})
    script = """mount_on() { printf '%s\\0' "$1$2$3"; }; make_directory() { printf '%s\\0' "$1"; }
                apply() { eval "$1"; }; apply "$1" """
    result = subprocess.run(["busybox", "sh", "-c", script, "sh", text], capture_output=True, text=True, check=True,
                            cwd=tmp_path)
    assert result.stdout.split("\0") == [hostile * 3, hostile, ""]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("hook", ["", "/usr/lib/provisioner/prestart"])
def test_the_config_for_containerd_says_where_its_root_is(hook: str) -> None:
    config = {"ociVersion": "1.0", "annotations": {"path": "rootfs"}, "process": {"args": ["rootfs", "\u2603 <&>"]},
              "mounts": [{"path": "rootfs"}], "root": {"path": "rootfs", "readonly": True}, "linux": {}}
    for indent in (None, 4):
        result = awk("-f", LIBRARY / "bundle.awk", "-v", "bundle=/containers/services/x", "-v", f"hook={hook}",
                     text=json.dumps(config, indent=indent))
        assert result.returncode == 0, result.stderr
        made = json.loads(result.stdout)
        hooks = made.pop("hooks", None)
        assert made == {**config, "root": {"path": "/containers/services/x/rootfs", "readonly": True}}
        wanted = {"createRuntime": [{"path": hook, "args": [hook, "/containers/services/x"]}]}
        assert hooks == (wanted if hook else None)


def test_a_config_without_a_root_is_refused() -> None:
    assert awk("-f", LIBRARY / "bundle.awk", "-v", "bundle=/x", text="{}").returncode == 2


def test_every_script_parses() -> None:
    scripts = [path for folder in ("init", "getty") for path in sorted((ROOT / folder / "files").rglob("*"))
               if path.is_file() and path.read_bytes()[:2] == b"#!"]
    assert len(scripts) >= 8
    for path in scripts:
        subprocess.run(["busybox", "sh", "-n", str(path)], check=True)
