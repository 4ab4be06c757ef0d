"""References become pinned images; what is missing is named at its place in the YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner import components, spec
from provisioner.errors import NotFoundError, ProvisionerError
from provisioner.model.event import Event
from provisioner.model.oci import Descriptor
from provisioner.model.platform import Platform
from provisioner.resolve import Sources, resolve
from tests.fakes import small

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


def test_every_reference_is_pinned_once(tmp_path: Path) -> None:
    events: list[Event] = []
    sources = Sources(small.store(tmp_path / "cache"), sink=events.append)
    found = resolve(spec.parse(small.YAML, file="m.yml"), ARM64, sources).images
    assert set(found) == {"acme/kernel:1", "acme/init:1", "acme/tool:1"}
    assert {str(image.platform) for image in found.values()} == {"linux/arm64"}
    assert sorted(event.name for event in events if event.stage == "image") == sorted(found)


def test_an_image_without_the_architecture_says_which_it_has(tmp_path: Path) -> None:
    sources = Sources(small.store(tmp_path / "cache", architectures=("amd64",)))
    with pytest.raises(ProvisionerError) as caught:
        resolve(spec.parse(small.YAML, file="m.yml"), ARM64, sources)
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith("m.yml:2:10: ")
    assert "linux/arm64" in str(caught.value)
    assert "linux/amd64" in str(caught.value)


def test_a_component_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = small.store(tmp_path / "cache")
    wanted = store.lookup("docker.io/acme/init:1")
    assert wanted is not None
    asked: list[tuple[str, str, bool]] = []

    def build(name: str, platform: Platform, _store: object, *, locked: bool, sink: object) -> Descriptor:
        asked.append((name, str(platform), locked))
        return store.select(wanted, platform, name)

    monkeypatch.setattr(components, "exists", lambda name: name == "init")
    monkeypatch.setattr(components, "build", build)
    parsed = spec.parse("init:\n  - provisioner/init\n", file="m.yml")
    assert resolve(parsed, AMD64, Sources(store, locked=True)).images["provisioner/init"].platform == AMD64
    assert asked == [("init", "linux/amd64", True)]


def test_a_missing_archive_is_named_with_its_place(tmp_path: Path) -> None:
    parsed = spec.parse(f"init:\n  - oci:{tmp_path}/none:1\n", file="m.yml")
    with pytest.raises(NotFoundError, match=r"^m\.yml:2:5: "):
        resolve(parsed, AMD64, Sources(small.store(tmp_path / "cache")))
