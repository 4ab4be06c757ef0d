"""Packages read into the pool: compressions, paths of a merged /usr, links, and packages that are none."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from provisioner.components.apt import Package
from provisioner.components.pool import Pool, join, members, merged
from provisioner.errors import InputError, ProvisionerError
from provisioner.model.tree import Kind
from tests.fakes.debian import Content, Hard, Link, deb, elf

FILES: dict[str, Content] = {
    "lib": None, "lib/one.so": b"one", "usr/bin/tool": elf(), "usr/bin/twin": Hard("usr/bin/tool"),
    "usr/bin/alias": Link("tool"), "usr/share/long/" + "n" * 200: b"long name", "empty": b"",
    "usr/share/doc/other": Link("tool"), "usr/lib/loop": Link("loop"), "etc/far": Link("/usr/share/../bin/alias"),
}


def package(name: str = "tool") -> Package:
    return Package(name, "1.0", f"debian/pool/{name}.deb", 1, "0" * 64)


def pooled(tmp_path: Path, data: bytes) -> Pool:
    path = tmp_path / "tool.deb"
    path.write_bytes(data)
    pool = Pool(tmp_path / "scratch")
    with ExitStack() as stack:
        stack.push(pool)
        pool.add(package(), path)
        stack.pop_all()
    return pool


@pytest.mark.parametrize("packer", ["xz", "zst", "gz", ""])
def test_reads_every_compression(tmp_path: Path, packer: str) -> None:
    with pooled(tmp_path, deb("tool", FILES, packer=packer)) as pool:
        assert pool.read(pool.files["usr/lib/one.so"]) == b"one"
        assert pool.read(pool.files["usr/bin/tool"]) == elf()
        assert pool.read(pool.files["usr/share/long/" + "n" * 200]) == b"long name"
        assert pool.read(pool.files["empty"]) == b""
        assert pool.files["usr/bin/tool"].package == "tool"
        assert "Package: tool" in pool.control["tool"]
        assert "lib" not in pool.files
        assert pool.files["usr/lib"].kind is Kind.DIR


def test_drops_set_id_bits_and_follows_hard_links(tmp_path: Path) -> None:
    with pooled(tmp_path, deb("tool", FILES)) as pool:
        assert pool.files["usr/bin/tool"].mode == 0o755
        assert pool.read(pool.files["usr/bin/twin"]) == elf()


def test_traces_links_to_what_they_name(tmp_path: Path) -> None:
    with pooled(tmp_path, deb("tool", FILES)) as pool:
        assert [file.path for file in pool.trace("etc/far")] == ["etc/far", "usr/bin/alias", "usr/bin/tool"]
        licence = pool.trace("usr/share/doc/other/copyright")
        assert [file.path for file in licence] == ["usr/share/doc/other", "usr/share/doc/tool/copyright"]
        assert pool.trace("usr/bin/nothing") == []
        with pytest.raises(InputError, match="too many symbolic links"):
            pool.trace("usr/lib/loop")


def test_opens_seekable_windows(tmp_path: Path) -> None:
    with pooled(tmp_path, deb("tool", FILES)) as pool, pool.open(pool.files["usr/lib/one.so"]) as stream:
        assert stream.read(2) == b"on"
        assert stream.seek(-1, io.SEEK_END) == 2
        assert stream.read() == b"e"
        assert stream.read() == b""


def test_appends_beside_reading(tmp_path: Path) -> None:
    with pooled(tmp_path, deb("tool", FILES)) as pool:
        chunks = pool.chunks(pool.files["usr/lib/one.so"])
        made = pool.append("new", "tool", chunks)
        assert pool.read(made) == b"one"
        assert "new" not in pool.files


@pytest.mark.parametrize(("data", "words"), [
    (b"no archive at all", "no ar archive"),
    (b"!<arch>\n" + b"x" * 60, "broken ar header"),
    (b"!<arch>\n", "no control file"),
    (deb("tool", FILES)[:-200], "tool.deb"),
])
def test_names_what_is_no_package(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ProvisionerError, match=words):
        pooled(tmp_path, data)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    path = tmp_path / "tool.deb"
    path.write_bytes(deb("tool", {"usr/share/big": bytes(3_000_000)}))
    code = f"""
import pathlib, resource
from provisioner.components.apt import Package
from provisioner.components.pool import Pool
from provisioner.errors import DeviceError
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    with Pool(pathlib.Path({str(tmp_path / "scratch")!r})) as pool:
        pool.add(Package("tool", "1", "debian/tool.deb", 1, ""), pathlib.Path({str(path)!r}))
except DeviceError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("no space left to write"), done.stderr


def test_members_are_those_of_ar(tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(deb("tool", {}))
    with path.open("rb") as stream:
        found = [(name, member.read(4)) for name, member in members(stream, "a.deb")]
    assert [name for name, _ in found] == ["debian-binary", "control.tar.xz", "data.tar.xz"]
    assert found[0][1] == b"2.0\n"


@pytest.mark.parametrize(("path", "want"), [
    ("/lib64/ld.so", "usr/lib64/ld.so"), ("./bin/sh", "usr/bin/sh"), ("usr/bin/sh", "usr/bin/sh"),
    ("library/x", "library/x"), ("sbin", "usr/sbin"), ("", ""), ("./", ""),
])
def test_paths_are_those_of_a_merged_usr(path: str, want: str) -> None:
    assert merged(path) == want


@pytest.mark.parametrize(("link", "target", "want"), [
    ("usr/bin/a", "b", "usr/bin/b"), ("usr/bin/a", "../sbin/b", "usr/sbin/b"), ("usr/bin/a", "/etc/b", "etc/b"),
    ("a", "../../b", "b"), ("usr/bin/a", "./b/.", "usr/bin/b"),
])
def test_links_are_joined_without_leaving_the_root(link: str, target: str, want: str) -> None:
    assert join(link, target) == want
