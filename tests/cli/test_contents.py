"""What is gathered about image files: ours, other builders', and those that are none."""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from provisioner import spec
from provisioner.build import BuildOptions, build
from provisioner.cli import contents
from provisioner.errors import InputError, NotFoundError, ProvisionerError
from provisioner.model.platform import Platform
from provisioner.model.tree import Entry
from tests.fakes.cpio import newc
from tests.fakes.images import digest_of, tar_of
from tests.fakes.machine import VERSION, YAML, arm64_kernel, stock, x86_kernel

ARM64 = Platform("arm64")
CONFIG = {"process": {"args": ["/bin/sh"]}}
FOREIGN = {"init": b"#!/bin/sh\n", "/lib/modules/5.10.104-linuxkit/modules.dep": b"",
           "containers/services/getty/config.json": json.dumps(CONFIG).encode(),
           "containers/services/getty/lower/bin/sh": bytes(1000)}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes, "gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32)}


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, compress: str = "gzip") -> Path:
    """Build the machine for arm64 and return one of its files."""
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "cache"))
    stock(tmp_path / "cache")
    options = BuildOptions("m", tmp_path / "out", formats=("kernel+initrd", "tar"), platforms=(ARM64,),
                           compress=compress)
    build(spec.parse(YAML, file="m.yml"), options)
    return tmp_path / "out" / name


def file(tmp_path: Path, data: bytes, name: str = "file") -> Path:
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize("compress", ["gzip", "zstd", "xz", "none"])
def test_our_initrd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: str) -> None:
    path = made(tmp_path, monkeypatch, "m-initrd.img", compress)
    found = contents.inspect(path)
    assert (found.kind, found.method, found.size) == ("initrd", compress, path.stat().st_size)
    assert (found.platform, found.kernel, found.cmdline) == ("linux/arm64", VERSION, "console=ttyS0")
    assert list(found.groups) == ["kernel", "root", "onboot/000-first", "services/server"]
    first = found.groups["onboot/000-first"]
    assert (first.source, first.section, first.name) == ("docker.io/acme/tool:1", "onboot", "000-first")
    assert first.digest.startswith("sha256:")
    assert first.raw > 20_000
    assert first.config["process"]["args"] == ["/bin/tool", "--first"]
    assert found.groups["kernel"].source == "docker.io/acme/kernel:1"
    assert found.origins["init[0]"][0] == "docker.io/acme/init:1"
    assert sum(group.size for group in found.groups.values()) <= found.size
    assert sum(segment["size"] for segment in found.segments) == found.size
    assert sum(group.entries for group in found.groups.values()) == found.entries


def test_our_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, monkeypatch, "m.tar")
    found = contents.inspect(path)
    assert (found.kind, found.method, found.raw, found.segments) == ("tar", "none", path.stat().st_size, [])
    assert (found.platform, found.kernel, found.cmdline) == ("linux/arm64", VERSION, "console=ttyS0")
    server = found.groups["services/server"]
    assert (server.source, server.size) == ("docker.io/acme/server:1", 0)
    packed = contents.inspect(file(tmp_path, gzip.compress(path.read_bytes())))
    assert (packed.kind, packed.method, packed.groups) == ("tar", "gzip", found.groups)


def test_the_digest_is_the_manifest_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initrd = contents.inspect(made(tmp_path, monkeypatch, "m-initrd.img"))
    digest = initrd.origins["kernel"][1]
    manifest = (tmp_path / "cache/oci/blobs/sha256" / digest[7:]).read_bytes()
    assert digest_of(manifest) == digest
    assert contents.inspect(tmp_path / "out" / "m.tar").origins["kernel"] == initrd.origins["kernel"]


@pytest.mark.parametrize(("data", "platform"), [
    (x86_kernel(), "linux/amd64"), (arm64_kernel(), "linux/arm64"), (gzip.compress(arm64_kernel()), "linux/arm64")])
def test_kernels(tmp_path: Path, data: bytes, platform: str) -> None:
    found = contents.inspect(file(tmp_path, data))
    assert (found.kind, found.platform, found.kernel) == ("kernel", platform, VERSION)


def test_a_kernel_that_does_not_say_its_version(tmp_path: Path) -> None:
    found = contents.inspect(file(tmp_path, arm64_kernel().replace(b"Linux version", b"Linux Version")))
    assert (found.kind, found.platform, found.kernel) == ("kernel", "linux/arm64", "")


@pytest.mark.parametrize("method", COMPRESSIONS)
def test_another_builder_s_initrd(tmp_path: Path, method: str) -> None:
    seen: list[Entry] = []
    found = contents.inspect(file(tmp_path, COMPRESSIONS[method](newc(FOREIGN))), seen.append)
    assert (found.kind, found.method, found.entries, found.platform) == ("initrd", method, 4, "")
    assert [entry.path for entry in seen] == [name.lstrip("/") for name in FOREIGN]
    assert found.groups["services/getty"].config == CONFIG
    assert (found.groups["services/getty"].source, found.groups["services/getty"].raw) == (
        "", len(json.dumps(CONFIG)) + 1000)


def test_microcode_before_compressed_segments(tmp_path: Path) -> None:
    early = newc({"kernel/x86/microcode/GenuineIntel.bin": bytes(100)})
    found = contents.inspect(file(tmp_path, early + bytes(512) + gzip.compress(newc({"init": b"x"}))))
    assert found.method == "none, gzip"
    assert [segment["of"] for segment in found.segments] == ["kernel", "root"]


@pytest.mark.tool
@pytest.mark.parametrize("command", [["gzip", "-9"], ["xz", "--check=crc32"], ["zstd", "-19"], ["cat"]])
def test_what_gnu_cpio_wrote(tmp_path: Path, command: list[str]) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/sh").write_bytes(b"#!" + bytes(100))
    (root / "bin/ash").hardlink_to(root / "bin/sh")
    (root / "init").symlink_to("bin/sh")
    plain = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b".\nbin\nbin/ash\nbin/sh\ninit\n",
                           cwd=root, capture_output=True, check=True).stdout
    packed = subprocess.run(command, input=plain, capture_output=True, check=True).stdout
    seen: list[Entry] = []
    found = contents.inspect(file(tmp_path, packed), seen.append)
    assert found.method == {"cat": "none"}.get(command[0], command[0])
    # Of a file's several names GNU cpio gives the content with the last.
    assert [(entry.path, str(entry.kind), entry.size, entry.target) for entry in seen] == [
        ("bin", "dir", 0, ""), ("bin/ash", "file", 0, ""), ("bin/sh", "file", 102, ""),
        ("init", "symlink", 0, "bin/sh")]


@pytest.mark.parametrize("note", [
    b"{", b"[]", b'{"version":2,"parts":7}', b'{"version":1,"parts":[7,{"location":1}]}',
    b'{"version":1,"parts":{"a":1},"platform":null}', b"[" * 100_000, b"\xff\xfe"],
    ids=["open", "list", "newer", "numbers", "object", "deep", "bytes"])
def test_a_note_of_somebody_else_does_no_harm(tmp_path: Path, note: bytes) -> None:
    found = contents.inspect(file(tmp_path, newc({"init": b"x"}, note)))
    assert found.entries == 1


@pytest.mark.parametrize(("data", "said"), [
    (b"", "neither an initrd, a tar nor a Linux kernel"),
    (b"just some text\n" * 100, "neither an initrd, a tar nor a Linux kernel"),
    (gzip.compress(b"just some text\n" * 100), "no cpio header (newc) where one must be: b'just s'"),
    (gzip.compress(newc(FOREIGN))[:-20], "corrupt gzip data: it ends too early"),
    (b"\x1f\x8bgarbage" * 100, "corrupt gzip data"),
    (b"\xfd7zXZ\x00garbage" * 100, "corrupt xz data"),
    (b"\x28\xb5\x2f\xfdgarbage" * 100, "corrupt zstd data"),
    (newc(FOREIGN)[:300], "bytes too early"),
    (newc(FOREIGN) + b"and more", "neither a cpio archive nor compressed data at offset"),
    (b"070701" + b"x" * 200, "no hexadecimal number"),
    (tar_of({"a": bytes(2000)})[:1500], "ends 1060 bytes before its content does"),
    (newc({"../escape": b""}), "../escape"),
])
def test_what_is_no_image(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ProvisionerError) as error:
        contents.inspect(file(tmp_path, data, "mine.img"))
    assert said in error.value.message
    assert "mine.img" in error.value.message
    assert error.value.exit_code in (3, 9)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"cannot read .*absent: No such file"):
        contents.inspect(tmp_path / "absent")
    with pytest.raises(NotFoundError, match="Is a directory"):
        contents.inspect(tmp_path)


@pytest.mark.parametrize("name", ["onboot/000-first", "000-first", "first"])
def test_a_container_s_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = made(tmp_path, monkeypatch, "m-initrd.img")
    text = contents.config_text(path, name)
    assert json.loads(text)["process"]["args"] == ["/bin/tool", "--first"]
    assert "mounts" in json.loads(contents.config_text(path, name, "runtime.json"))


def test_no_such_container_or_several(tmp_path: Path) -> None:
    one = {f"containers/{section}/x/config.json": b"{}" for section in ("onboot", "services")}
    path = file(tmp_path, newc(one))
    with pytest.raises(NotFoundError, match="several containers x") as several:
        contents.config_text(path, "x")
    assert several.value.hint == "there are onboot/x, services/x"
    with pytest.raises(NotFoundError, match="no container y"):
        contents.config_text(path, "y")
    with pytest.raises(NotFoundError) as none:
        contents.config_text(file(tmp_path, newc({"init": b""})), "y")
    assert none.value.hint == "there are none"


def test_a_configuration_of_unlikely_size_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"file: containers/services/x/config\.json has"):
        contents.inspect(file(tmp_path, newc({"containers/services/x/config.json": bytes((1 << 20) + 1)})))
