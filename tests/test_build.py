"""The pipeline: all files or none, the same bytes for the same input, clear words when it cannot be."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner import spec
from provisioner.build import BuildOptions, build, default_name
from provisioner.errors import NotFoundError, ProvisionerError, UsageError
from provisioner.model.event import Event
from provisioner.model.platform import Platform
from tests.fakes import small

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "cache"))
    small.store(tmp_path / "cache")
    return tmp_path / "cache"


def made(folder: Path, *formats: str, platforms: tuple[Platform, ...] = (AMD64,), text: str = small.YAML,
         events: list[Event] | None = None) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    sink = (lambda _event: None) if events is None else events.append
    options = BuildOptions("m", folder, formats=formats or ("kernel+initrd",), platforms=platforms, sink=sink)
    return {one.path.name: one.digest for one in build(spec.parse(text, file="m.yml"), options)}


def test_the_files_are_what_they_are_said_to_be(cache: Path, tmp_path: Path) -> None:
    said = made(tmp_path / "out", "kernel+initrd", "tar")
    assert set(said) == {"m-kernel", "m-initrd.img", "m-cmdline", "m.tar"}
    for name, digest in said.items():
        assert digest == "sha256:" + hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()
    assert (tmp_path / "out/m-kernel").read_bytes() == b"a kernel"
    assert (tmp_path / "out/m-cmdline").read_text() == "console=ttyS0"


def test_several_architectures_are_part_of_the_names(cache: Path, tmp_path: Path) -> None:
    said = made(tmp_path / "out", platforms=(AMD64, ARM64))
    assert {name for name in said if "kernel" in name} == {"m-amd64-kernel", "m-arm64-kernel"}
    assert said["m-amd64-initrd.img"] != said["m-arm64-initrd.img"]


def test_a_second_build_touches_no_layer(cache: Path, tmp_path: Path) -> None:
    first = made(tmp_path / "one")
    layers = [blob for blob in (cache / "oci/blobs/sha256").iterdir() if blob.read_bytes().startswith(b"\x1f\x8b")]
    assert len(layers) == 3 * 2
    for layer in layers:
        layer.write_bytes(layer.read_bytes()[:-1] + b"?")
    events: list[Event] = []
    assert made(tmp_path / "two", events=events) == first
    changed = made(tmp_path / "three", text=small.YAML.replace("hello", "good bye"))
    assert changed["m-initrd.img"] != first["m-initrd.img"]
    assert {event.detail for event in events if event.name in {"kernel", "init[0]"}} >= {"unchanged"}


def test_a_damaged_segment_is_made_again(cache: Path, tmp_path: Path) -> None:
    first = made(tmp_path / "one")
    for segment in (cache / "segments").glob("*/segment"):
        body = bytearray(segment.read_bytes())
        body[len(body) // 2] ^= 1
        segment.write_bytes(bytes(body))
    assert made(tmp_path / "two") == first


def test_all_or_nothing(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    broken = small.YAML.replace("acme/tool:1\n    net", "oci:/nowhere:1\n    net").replace("hello", "changed")
    with pytest.raises(NotFoundError, match=r"m\.yml:12:12"):
        made(out, text=broken)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_wrong_format_names_the_near_one(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        made(tmp_path / "out", "kernel+initrt")
    assert "kernel+initrd" in caught.value.hint


def test_one_output_takes_one_file(cache: Path, tmp_path: Path) -> None:
    options = BuildOptions("m", output=tmp_path / "x", formats=("kernel+initrd",), platforms=(AMD64,))
    with pytest.raises(UsageError, match="one output file"):
        build(spec.parse(small.YAML, file="m.yml"), options)


def test_a_full_disk_is_named_and_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    big = small.YAML + "  - path: etc/big\n    source: big\n"
    (tmp_path / "big").write_bytes(os.urandom(1 << 20))
    (tmp_path / "m.yml").write_text(big)
    out = tmp_path / "out"
    out.mkdir()

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    argv = [sys.executable, "-m", "provisioner", "build", "--arch", "amd64", "--dir", str(out), "m.yml"]
    done = subprocess.run(argv, cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 8, done.stderr
    assert "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr
    assert list(out.iterdir()) == []
    assert not list((cache / "segments").glob(".new-*"))


def test_an_unwritable_folder_is_named(cache: Path, tmp_path: Path) -> None:
    options = BuildOptions("m", Path("/proc/nowhere"), platforms=(AMD64,))
    with pytest.raises(ProvisionerError) as caught:
        build(spec.parse(small.YAML, file="m.yml"), options)
    assert "/proc/nowhere" in str(caught.value)


@pytest.mark.parametrize(("sources", "name"), [
    (["a.yml", "dir/docker.yml"], "docker"), (["-"], "moby"), (["docker"], "docker"),
    (["https://example.org/x/web.yml?raw=1"], "web"),
])
def test_the_default_name_is_linuxkits(sources: list[str], name: str) -> None:
    assert default_name(sources) == name
