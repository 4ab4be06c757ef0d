"""Every reference becomes a digest, each once; errors name the place in the YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner import components, resolve
from provisioner.errors import NotFoundError
from provisioner.model.event import Event
from provisioner.model.oci import Descriptor
from provisioner.model.platform import Platform
from provisioner.oci import sources
from provisioner.oci.store import PlatformError, Store
from provisioner.spec import parse
from tests.fakes.faults import Answer, serving
from tests.fakes.images import Images, layer
from tests.fakes.machine import YAML, stock

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def test_images_of_the_platform_with_pinned_digests(tmp_path: Path) -> None:
    stock(tmp_path)
    store = Store(tmp_path / "oci")
    events: list[Event] = []
    spec = parse(YAML, file="m.yml")
    for platform in (AMD64, ARM64):
        found = resolve.resolve(spec, platform, resolve.Sources(store, sink=events.append))
        assert list(found.images) == ["acme/kernel:1", "acme/init:1", "acme/tool:1", "acme/server:1"]
        assert {image.platform for image in found.images.values()} == {platform}
        assert found.roots == {}
    assert len({event.detail for event in events}) == 8
    assert {event.stage for event in events} == {"image"}
    assert events[0].data == {"platform": "linux/amd64"}


def test_a_reference_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock(tmp_path)
    asked: list[str] = []
    real = sources.fetch

    def fetch(reference: str, *args: object, **more: object) -> Descriptor:
        asked.append(reference)
        return real(reference, *args, **more)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(resolve, "fetch", fetch)
    spec = parse("onboot:\n- {name: a, image: acme/tool:1}\n- {name: b, image: acme/tool:1}\n", file="m.yml")
    resolve.resolve(spec, AMD64, resolve.Sources(Store(tmp_path / "oci")))
    assert asked == ["acme/tool:1"]


def test_a_platform_that_is_not_there_names_place_and_those_that_are(tmp_path: Path) -> None:
    stock(tmp_path, {"server": ["amd64"]})
    with pytest.raises(PlatformError, match=r"^m\.yml:12:\d+: .*acme/server:1.*linux/arm64.*linux/amd64"):
        resolve.resolve(parse(YAML, file="m.yml"), ARM64, resolve.Sources(Store(tmp_path / "oci")))


def test_an_image_that_is_nowhere_names_the_place(tmp_path: Path) -> None:
    spec = parse("init:\n  - oci-archive:/nowhere/image.tar\n", file="m.yml")
    with pytest.raises(NotFoundError, match=r"^m\.yml:2:5: no file /nowhere/image\.tar"):
        resolve.resolve(spec, AMD64, resolve.Sources(Store(tmp_path / "oci")))
    with serving(lambda _asked: Answer(404)) as server:
        unknown = parse(f"init:\n  - {server.host}/image:1\n", file="m.yml")
        with pytest.raises(NotFoundError, match=rf"^m\.yml:2:5: {server.host} has no image image with tag 1"):
            resolve.resolve(unknown, AMD64, resolve.Sources(Store(tmp_path / "oci")))


@pytest.mark.parametrize(("reference", "built"), [
    ("provisioner/thing", "thing"), ("provisioner/thing:latest", "thing"), ("docker.io/provisioner/thing", "thing"),
    ("provisioner/thing:1", ""), ("provisioner/other", ""), ("acme/thing", ""), ("provisioner/thing/deep", ""),
    ("provisioner/thing@sha256:" + "0" * 64, "")])
def test_our_components_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str,
                                  built: str) -> None:
    calls: list[tuple[str, bool]] = []
    result = Descriptor("x", "sha256:" + "1" * 64, 1)

    def build(name: str, _platform: Platform, _store: Store, *, locked: bool, sink: object) -> Descriptor:
        calls.append((name, locked))
        return result

    def fetch(reference: str, *_args: object, **_more: object) -> Descriptor:
        calls.append(("", False))
        return result

    monkeypatch.setattr(components, "exists", lambda name: name == "thing")
    monkeypatch.setattr(components, "build", build)
    monkeypatch.setattr(resolve, "fetch", fetch)
    where = resolve.Sources(Store(tmp_path / "oci"), locked=True)
    assert where.get(reference, AMD64) is result
    assert calls == [(built, bool(built))]


def both(*arches: str) -> Images:
    made = Images()
    made.name(made.index([made.manifest(arch, [layer(arch)]) for arch in arches]), "docker.io/acme/data:1")
    return made


@pytest.mark.parametrize(("platforms", "wanted"), [
    ("", ["amd64", "arm64", "s390x"]), ("platforms: [linux/arm64]", ["arm64"]),
    ("platforms: [linux/arm64, linux/amd64]", ["amd64", "arm64"])])
def test_a_volume_s_layout_has_the_platforms_it_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       platforms: str, wanted: list[str]) -> None:
    both("amd64", "arm64", "s390x").write(tmp_path / "oci")
    asked: set[str] = set()
    real = sources.fetch

    def fetch(reference: str, platform: Platform, *args: object, **more: object) -> Descriptor:
        asked.add(platform.architecture)
        return real(reference, platform, *args, **more)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(resolve, "fetch", fetch)
    text = f"volumes:\n- name: v\n  image: acme/data:1\n  format: oci\n  {platforms}\n"
    found = resolve.resolve(parse(text, file="m.yml"), AMD64, resolve.Sources(Store(tmp_path / "oci")))
    assert found.images == {}
    assert list(found.roots) == ["acme/data:1"]
    assert sorted(asked) == wanted


def test_a_volume_of_files_is_an_image(tmp_path: Path) -> None:
    both("amd64").write(tmp_path / "oci")
    spec = parse("volumes:\n- {name: v, image: acme/data:1}\n- {name: blank}\n", file="m.yml")
    found = resolve.resolve(spec, AMD64, resolve.Sources(Store(tmp_path / "oci")))
    assert list(found.images) == ["acme/data:1"]
