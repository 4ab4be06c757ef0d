"""An image as an OCI layout in a volume, whole or for some platforms."""

from __future__ import annotations

import json

import pytest

from provisioner.errors import InputError, NotFoundError
from provisioner.model.oci import CONFIG, LAYER_GZIP, MANIFEST, Descriptor
from provisioner.model.platform import Platform
from provisioner.tree.volumes import volumes
from tests.tree.made import Shelf, content, entries

LOWER = "containers/volumes/v/lower"


def manifest(shelf: Shelf, platform: Platform) -> Descriptor:
    config = shelf.put(f"config {platform}".encode(), CONFIG)
    layer = shelf.put(f"layer {platform}".encode(), LAYER_GZIP)
    body = {"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config.digest, "size": config.size},
            "layers": [{"mediaType": LAYER_GZIP, "digest": layer.digest, "size": layer.size}]}
    return shelf.put(json.dumps(body).encode(), MANIFEST, platform)


def two() -> tuple[Shelf, list[Descriptor]]:
    shelf = Shelf()
    found = [manifest(shelf, Platform(name)) for name in ("amd64", "arm64")]
    shelf.index("img:1", found)
    return shelf, found


def blobs(shelf: Shelf, text: str = "") -> dict[str, bytes]:
    sources = shelf.sources(f"volumes: [{{name: v, image: \"img:1\", format: oci{text}}}]")
    found = entries(*volumes(sources))
    folder = f"{LOWER}/blobs/sha256/"
    assert content(found, f"{LOWER}/oci-layout") == b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}'
    index = json.loads(content(found, f"{LOWER}/index.json"))
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "docker.io/library/img:1"}
    assert index["manifests"][0]["digest"] == shelf.roots["img:1"].digest
    return {e.path.removeprefix(folder): b"".join(e.content) for e in found if e.path.startswith(folder)}


def test_all_platforms() -> None:
    shelf, _ = two()
    assert {f"sha256:{name}": data for name, data in blobs(shelf).items()} == shelf.blobs


def test_one_platform_with_the_index_as_it_is() -> None:
    shelf, (amd64, arm64) = two()
    found = blobs(shelf, ", platforms: [linux/arm64]")
    assert len(found) == 4
    assert arm64.hex in found
    assert amd64.hex not in found


def test_a_single_manifest() -> None:
    shelf = Shelf()
    shelf.roots["img:1"] = manifest(shelf, Platform("amd64"))
    assert len(blobs(shelf)) == 3


def test_attestations_come_along_when_they_are_there() -> None:
    shelf = Shelf()
    image, note = (manifest(shelf, platform) for platform in (Platform("amd64"), Platform("unknown", "unknown")))
    shelf.index("img:1", [image, note])
    assert note.hex in blobs(shelf)
    del shelf.blobs[note.digest]
    assert note.hex not in blobs(shelf)
    del shelf.blobs[image.digest]
    with pytest.raises(NotFoundError):
        blobs(shelf)


def test_a_platform_that_is_not_there_is_named_with_those_that_are() -> None:
    shelf, _ = two()
    with pytest.raises(InputError, match=r"img:1 has no image for linux/riscv64 \(it has linux/amd64, linux/arm64\)"):
        blobs(shelf, ", platforms: [linux/amd64, linux/riscv64]")


@pytest.mark.parametrize("text", ["amd64", "linux/arm/v7/x", "linux/"])
def test_what_is_no_platform(text: str) -> None:
    shelf, _ = two()
    with pytest.raises(InputError, match=r"0.yml:1:62: .* is no platform \(write linux/amd64\)"):
        blobs(shelf, f", platforms: [{text}]")
