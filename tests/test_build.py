"""The pipeline as a whole: names of files, choices that do not fit, all outputs or none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from provisioner import spec
from provisioner.build import BuildOptions, build, chosen_formats, default_name
from provisioner.errors import DeviceError, InputError, NotFoundError, ProvisionerError, UsageError
from provisioner.model.event import Event
from provisioner.model.platform import Platform
from provisioner.oci.store import PlatformError
from tests.fakes.machine import YAML, stock

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the machine's images, for this test alone."""
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    stock(tmp_path / "cache")
    return tmp_path / "cache"


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(("sources", "name"), [
    (("docker.yml",), "docker"), (("a.yml", "dir/b.yaml"), "b"), (("plain",), "plain"), ((".yml",), ".yml"),
    (("v1.2.yml",), "v1.2"), (("-",), "moby"), (("https://example.com/x/y.yml?raw=1",), "y"),
    (("https://example.com/x/",), "x")])
def test_the_name_without_a_name(sources: tuple[str, ...], name: str) -> None:
    assert default_name(sources) == name


def test_the_architecture_is_in_the_name_only_of_several() -> None:
    assert BuildOptions("m", Path("d"), platforms=(ARM64,)).target(ARM64) == Path("d/m")
    assert BuildOptions("m", Path("d"), platforms=(AMD64, ARM64)).target(ARM64) == Path("d/m-arm64")


def test_formats_in_their_order_each_once() -> None:
    modules = chosen_formats(BuildOptions("m", formats=("tar", "kernel+initrd", "tar")))
    assert [module.NAME for module in modules] == ["tar", "kernel+initrd"]


@pytest.mark.parametrize(("formats", "platforms", "hint"), [
    (("kernel+initrd",), (AMD64,), "kernel+initrd is more than one file"),
    (("tar", "kernel+initrd"), (AMD64,), "kernel+initrd is more than one file"),
    (("tar",), (AMD64, ARM64), "use --dir and --name")])
def test_one_output_file_is_one_file(formats: tuple[str, ...], platforms: tuple[Platform, ...], hint: str) -> None:
    options = BuildOptions("m", output=Path("x"), formats=formats, platforms=platforms)
    with pytest.raises(UsageError) as error:
        chosen_formats(options)
    assert hint in error.value.hint


def test_every_format_for_every_platform(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    events: list[Event] = []
    options = BuildOptions("m", out, formats=("kernel+initrd", "tar"), platforms=(AMD64, ARM64), sink=events.append)
    made = build(spec.parse(YAML, file="m.yml"), options)
    assert written(out) == sorted(f"m-{arch}{end}" for arch in ("amd64", "arm64")
                                  for end in ("-kernel", "-initrd.img", "-cmdline", ".tar"))
    assert [(one.path.name, one.role, str(one.platform)) for one in made[:4]] == [
        ("m-amd64-kernel", "kernel", "linux/amd64"), ("m-amd64-initrd.img", "initrd", "linux/amd64"),
        ("m-amd64-cmdline", "cmdline", "linux/amd64"), ("m-amd64.tar", "tar", "linux/amd64")]
    for one in made:
        data = one.path.read_bytes()
        assert (one.size, one.digest) == (len(data), "sha256:" + hashlib.sha256(data).hexdigest())
    assert {"image", "segment", "part"} <= {event.stage for event in events}
    assert (cache / "segments").is_dir()


def test_the_second_platform_s_failure_takes_the_first_s_files_away(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "cache"))
    stock(tmp_path / "cache", {"server": ["amd64"]})
    out = tmp_path / "made" / "out"
    with pytest.raises(PlatformError):
        build(spec.parse(YAML, file="m.yml"), BuildOptions("m", out, platforms=(AMD64, ARM64)))
    assert not out.parent.exists()


@pytest.mark.usefixtures("cache")
def test_a_failure_keeps_what_an_earlier_build_made(tmp_path: Path) -> None:
    options = BuildOptions("m", tmp_path / "out", formats=("kernel+initrd", "tar"), platforms=(AMD64,))
    made = build(spec.parse(YAML, file="m.yml"), options)
    before = {one.path: one.path.read_bytes() for one in made}
    missing = YAML.replace("acme/kernel:1", "acme/kernel:1\n  binary: absent")
    with pytest.raises(InputError, match=r"m\.yml:3:.*absent"):
        build(spec.parse(missing, file="m.yml"), options)
    assert {path: path.read_bytes() for path in sorted((tmp_path / "out").iterdir())} == dict(sorted(before.items()))


@pytest.mark.usefixtures("cache")
def test_formats_that_collide_or_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "m.tar").mkdir()
    with pytest.raises(UsageError, match=r"m\.tar is a directory"):
        build(spec.parse(YAML, file="m.yml"), BuildOptions("m", tmp_path, formats=("kernel+initrd", "tar")))
    assert "m-kernel" not in written(tmp_path)
    with pytest.raises(NotFoundError, match="no format floppy"):
        build(spec.parse(YAML, file="m.yml"), BuildOptions("m", tmp_path, formats=("floppy",)))


@pytest.mark.usefixtures("cache")
def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeviceError, match="file is no folder"):
        build(spec.parse(YAML, file="m.yml"), BuildOptions("m", tmp_path / "file" / "out", platforms=(AMD64,)))


@pytest.mark.usefixtures("cache")
def test_a_warm_build_differs_only_in_what_changed(tmp_path: Path) -> None:
    events: list[Event] = []
    options = BuildOptions("m", tmp_path / "out", platforms=(AMD64,), sink=events.append)
    first = build(spec.parse(YAML, file="m.yml"), options)
    events.clear()
    second = build(spec.parse(YAML.replace("hello", "other"), file="m.yml"), options)
    segments = [(event.name, event.detail) for event in events if event.stage == "segment"]
    assert sorted(name for name, detail in segments if detail == "unchanged") == [
        "init[0]", "kernel", "onboot[0]", "services[0]"]
    assert {detail for name, detail in segments if "files[0]" in name} == {"compressed"}
    assert [one.digest for one in first][::2] == [one.digest for one in second][::2]
    assert first[1].digest != second[1].digest


def test_a_second_build_reads_no_layer(cache: Path, tmp_path: Path) -> None:
    options = BuildOptions("m", tmp_path / "out", platforms=(AMD64,))
    first = build(spec.parse(YAML, file="m.yml"), options)
    layers = [blob for blob in (cache / "oci/blobs/sha256").iterdir() if blob.read_bytes().startswith(b"\x1f\x8b")]
    assert len(layers) == 5 * 2 - 1  # one is the same for both
    for layer in layers:
        layer.write_bytes(layer.read_bytes()[:-1] + b"?")
    assert build(spec.parse(YAML, file="m.yml"), options) == first


def test_a_damaged_segment_is_made_again(cache: Path, tmp_path: Path) -> None:
    options = BuildOptions("m", tmp_path / "out", platforms=(AMD64,))
    first = build(spec.parse(YAML, file="m.yml"), options)
    for segment in (cache / "segments").glob("*/segment"):
        body = bytearray(segment.read_bytes())
        body[len(body) // 2] ^= 1
        segment.write_bytes(bytes(body))
    assert build(spec.parse(YAML, file="m.yml"), options) == first


@pytest.mark.usefixtures("cache")
def test_an_unwritable_folder_is_named() -> None:
    with pytest.raises(ProvisionerError, match="/proc/nowhere"):
        build(spec.parse(YAML, file="m.yml"), BuildOptions("m", Path("/proc/nowhere"), platforms=(AMD64,)))
