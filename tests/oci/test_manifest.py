"""Manifests that are what they say, and those that are not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import InputError
from provisioner.model.oci import (
    CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
)
from provisioner.model.platform import Platform
from provisioner.oci.manifest import (
    ManifestError,
    config_platform,
    descriptor_from_json,
    descriptor_to_json,
    index_json,
    manifest_json,
    media_type_of,
    parse_config,
    parse_index,
    parse_manifest,
    parse_parts,
)
from tests.fakes.images import Images, digest_of, layer

D = "sha256:" + "a" * 64
E = "sha256:" + "b" * 64
CONF = {"mediaType": CONFIG, "digest": D, "size": 2}
LAYER = {"mediaType": LAYER_GZIP, "digest": E, "size": 3}


def named(raw: object, media_type: str = MANIFEST) -> tuple[bytes, Descriptor]:
    data = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return data, Descriptor(media_type, digest_of(data), len(data))


def manifest(**changes: Any) -> dict[str, Any]:
    raw = {"schemaVersion": 2, "mediaType": MANIFEST, "config": CONF, "layers": [LAYER]} | changes
    return {key: value for key, value in raw.items() if value is not None}


def test_a_manifest_is_read() -> None:
    parsed = parse_manifest(*named(manifest()))
    assert (parsed.config, parsed.layers) == (Descriptor(CONFIG, D, 2), (Descriptor(LAYER_GZIP, E, 3),))
    assert parse_manifest(*named(manifest(mediaType=None))) == parsed, "the media type may be left out"


@pytest.mark.parametrize("docker", [False, True])
def test_manifests_of_others_are_read(docker: bool) -> None:
    images = Images()
    child = images.manifest("arm64", [layer("a")], docker=docker)
    top = images.index([child], docker=docker)
    where = descriptor_from_json(top, "top")
    assert where.media_type == (DOCKER_INDEX if docker else INDEX)
    found = parse_index(images.blobs[where.digest], where)
    assert found[0].platform == Platform("arm64")
    assert len(parse_manifest(images.blobs[found[0].digest], found[0]).layers) == 1


@pytest.mark.parametrize(("raw", "why"), [
    (manifest(manifests=[]), "two ways"),
    (manifest(mediaType=DOCKER_MANIFEST), "announced as"),
    (manifest(mediaType=INDEX), "announced as"),
    (manifest(schemaVersion=1), "schema version"),
    (manifest(layers=None), "layers"),
    (manifest(layers=[LAYER] * 1001), "layers"),
    (manifest(config=None), "no descriptor"),
    (manifest(config=CONF | {"mediaType": "application/vnd.example.chart"}), "no container image"),
    (manifest(layers=[LAYER | {"mediaType": "application/vnd.example"}]), "media type"),
    (manifest(layers=[LAYER | {"mediaType": LAYER_GZIP + "+encrypted"}]), "media type"),
    (manifest(layers=[LAYER | {"digest": "sha512:" + "a" * 128}]), "digest"),
    (manifest(layers=[LAYER | {"digest": D.upper()}]), "digest"),
    (manifest(layers=[LAYER | {"digest": D[:-1]}]), "digest"),
    (manifest(layers=[LAYER | {"digest": "sha256:../../../etc/passwd"}]), "digest"),
    (manifest(layers=[LAYER | {"size": -1}]), "size"),
    (manifest(layers=[LAYER | {"size": True}]), "size"),
    (manifest(layers=[LAYER | {"size": "3"}]), "size"),
    (manifest(layers=["x"]), "no descriptor"),
    ([], "no JSON object"),
    (b"{", "no JSON"),
    (b"\xff\xfe", "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b" " * (5 << 20), "larger than 4 MiB"),
])
def test_what_a_manifest_must_not_be(raw: object, why: str) -> None:
    with pytest.raises(ManifestError, match=why) as caught:
        parse_manifest(*named(raw))
    assert caught.value.exit_code == 3


def test_schema_1_says_what_to_do() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(*named({}, "application/vnd.docker.distribution.manifest.v1+prettyjws"))
    assert "push the image again" in caught.value.hint


@pytest.mark.parametrize(("raw", "why"), [
    ({"schemaVersion": 2, "manifests": [], "layers": []}, "two ways"),
    ({"schemaVersion": 2, "manifests": [], "config": {}}, "two ways"),
    ({"schemaVersion": 2}, "no list"),
    ({"schemaVersion": 2, "manifests": {}}, "no list"),
    ({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": D, "size": 1, "platform": "x"}]},
     "platform"),
    ({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": D, "size": 1, "annotations": {"a": 1}}]},
     "annotations"),
])
def test_what_an_index_must_not_be(raw: object, why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        parse_index(*named(raw, INDEX))


def test_attestations_are_no_images_but_parts() -> None:
    image = {"mediaType": MANIFEST, "digest": D, "size": 1, "platform": {"os": "linux", "architecture": "arm64"}}
    others = [{"mediaType": MANIFEST, "digest": E, "size": 1, "platform": {"os": "unknown",
                                                                           "architecture": "unknown"}},
              {"mediaType": MANIFEST, "digest": E, "size": 1,
               "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
              {"mediaType": "application/vnd.example", "digest": E, "size": 1}]
    data, top = named({"schemaVersion": 2, "manifests": [image, *others]}, INDEX)
    assert [child.digest for child in parse_index(data, top)] == [D]
    assert len(parse_parts(data, top)) == 4


def test_parts_of_a_manifest() -> None:
    assert [part.digest for part in parse_parts(*named(manifest()))] == [D, E]


def test_what_we_write_we_read_and_it_is_stable() -> None:
    layers = [Descriptor(LAYER_GZIP, E, 3)]
    data = manifest_json(Descriptor(CONFIG, D, 2), layers, {"b": "2", "a": "1"})
    assert list(parse_manifest(*named(data)).layers) == layers
    assert b'"annotations":{"a":"1","b":"2"}' in data
    child = Descriptor(MANIFEST, D, 9, Platform("arm", "linux", "v7"), (("k", "v"),))
    assert parse_index(*named(index_json([child]), INDEX)) == (child,)


@given(st.builds(Descriptor, st.sampled_from([MANIFEST, INDEX, "x/y"]), st.just(D), st.integers(0, 2**63),
                 st.none() | st.builds(Platform, st.text(), st.text(), st.text()),
                 st.dictionaries(st.text(), st.text()).map(lambda d: tuple(d.items()))))
def test_descriptors_survive_the_journey(descriptor: Descriptor) -> None:
    again = descriptor_from_json(json.loads(json.dumps(descriptor_to_json(descriptor))), "it")
    assert again == descriptor


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "digest",
                                         "size", "platform", "annotations"]), inner, max_size=5)))
def test_any_json_is_read_or_refused_by_name(raw: object) -> None:
    for media_type, parse in ((MANIFEST, parse_manifest), (INDEX, parse_index), (MANIFEST, parse_parts)):
        try:
            parse(*named(raw, media_type))
        except InputError as error:
            assert error.message


def test_configs() -> None:
    assert config_platform({"architecture": "arm", "os": "linux", "variant": "v7"}) == Platform("arm", "linux", "v7")
    assert config_platform({"architecture": "arm64"}) == Platform("arm64")
    assert config_platform({}) is None
    assert parse_config(b'{"config":null}', D) == {"config": None}
    with pytest.raises(ManifestError, match="no object"):
        parse_config(b'{"config":[]}', D)


def test_telling_manifest_from_index() -> None:
    assert media_type_of(json.dumps(manifest(mediaType=None)).encode(), "it") == MANIFEST
    assert media_type_of(b'{"manifests":[]}', "it") == INDEX
    assert media_type_of(json.dumps({"mediaType": DOCKER_INDEX, "manifests": []}).encode(), "it") == DOCKER_INDEX
    for doubtful in (b"{}", json.dumps(manifest(mediaType=None, manifests=[])).encode()):
        with pytest.raises(ManifestError, match="neither"):
            media_type_of(doubtful, "it")
