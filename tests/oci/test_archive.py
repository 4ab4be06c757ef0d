"""Archives of images: from docker save, skopeo, containerd and by hand; sound and unsound."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import DigestError, InputError, NotFoundError, ProvisionerError
from provisioner.model.oci import INDEX, LAYER_GZIP, LAYER_TAR, Descriptor
from provisioner.model.platform import Platform
from provisioner.oci.archive import ingest
from provisioner.oci.layout import full_name
from provisioner.oci.sources import fetch
from provisioner.oci.store import PlatformError, Store
from tests.fakes.images import Images, digest_of, docker_save, layer, tar_of

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


def take(data: bytes, store: Store) -> tuple[Descriptor, ...]:
    return ingest(io.BytesIO(data), store, "it.tar")


def layout() -> Images:
    made = Images()
    made.name(made.index([made.manifest(arch, [layer(arch)], Cmd=[arch]) for arch in ("amd64", "arm64")]),
              "docker.io/acme/both:1")
    made.name(made.manifest("amd64", [layer("solo")], compress=False), "docker.io/acme/solo:1")
    return made


def test_a_layout_with_several_images_and_platforms(store: Store) -> None:
    both, solo = take(tar_of(layout().files()), store)
    assert (full_name(both), full_name(solo)) == ("docker.io/acme/both:1", "docker.io/acme/solo:1")
    assert store.image(both, ARM64).process["Cmd"] == ["arm64"]
    assert store.image(both, AMD64).layers[0].media_type == LAYER_GZIP
    assert store.image(solo, AMD64).layers[0].media_type == LAYER_TAR


@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)])
def test_the_order_in_the_archive_does_not_matter(store: Store, order: Callable[..., list[str]]) -> None:
    files = layout().files()
    assert len(take(tar_of({name: files[name] for name in order(files)}), store)) == 2


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_compressed_archive(store: Store, pack: Callable[[bytes], bytes]) -> None:
    assert len(take(pack(tar_of(layout().files())), store)) == 2


def test_a_platform_may_be_left_out_but_not_half_of_one(store: Store) -> None:
    made = layout()
    top = json.loads(made.blobs[made.tops[0]["digest"]])
    left_out = top["manifests"][1]["digest"]
    files = made.files()
    manifest = json.loads(files.pop(f"blobs/sha256/{left_out[7:]}"))
    both = take(tar_of(files), store)[0]
    assert store.complete(both, AMD64)
    assert not store.complete(both, ARM64)
    files = made.files()
    files.pop(f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}")
    with pytest.raises(DigestError, match=manifest["layers"][0]["digest"]):
        take(tar_of(files), Store(store.root.with_name("other")))


def test_a_layout_without_its_top(store: Store) -> None:
    made = layout()
    files = made.files()
    files.pop(f"blobs/sha256/{made.tops[1]['digest'][7:]}")
    with pytest.raises(DigestError, match="lacks the blob"):
        take(tar_of(files), store)


def test_a_damaged_blob(store: Store) -> None:
    files = layout().files()
    name = next(name for name in files if name.startswith("blobs/"))
    files[name] = b"?" + files[name][1:]
    with pytest.raises(DigestError, match=name[13:]):
        take(tar_of(files), store)
    assert not store.has(f"sha256:{name[13:]}")


def test_a_wrong_size_in_a_manifest(store: Store) -> None:
    made = Images()
    child = made.manifest("amd64", [layer("x")])
    raw = json.loads(made.blobs.pop(child["digest"]))
    raw["layers"][0]["size"] += 1
    made.name(made.put(json.dumps(raw).encode(), child["mediaType"]), "x:1")
    with pytest.raises(DigestError, match="lacks the blob"):
        take(tar_of(made.files()), store)


@pytest.mark.parametrize("legacy", [True, False])
def test_docker_save_with_several_images(store: Store, legacy: bool) -> None:
    data = docker_save([(["acme/one:1", "acme/alias:2"], "amd64", [layer("base"), layer("one")]),
                        (["acme/two:1"], "arm64", [layer("base"), layer("two")])], legacy=legacy)
    found = {full_name(top): top for top in take(data, store)}
    assert set(found) == {"docker.io/acme/one:1", "docker.io/acme/alias:2", "docker.io/acme/two:1"}
    image = store.image(found["docker.io/acme/one:1"], AMD64)
    assert [store.read(x) for x in image.layers] == [layer("base"), layer("one")]
    assert store.image(found["docker.io/acme/two:1"], ARM64).layers[0] == image.layers[0]
    again = {full_name(top): top.digest for top in take(data, Store(store.root.with_name("again")))}
    assert again == {name: top.digest for name, top in found.items()}, "the same archive, the same digests"


def test_docker_save_with_several_platforms_of_one_name(store: Store) -> None:
    top, = take(docker_save([(["acme/x:1"], "amd64", [layer("a")]), (["acme/x:1"], "arm64", [layer("b")])]), store)
    assert top.media_type == INDEX
    assert store.platforms(top) == (AMD64, ARM64)
    assert store.read(store.image(top, ARM64).layers[0]) == layer("b")


def test_docker_save_without_names(store: Store) -> None:
    top, = take(docker_save([([], "amd64", [layer("a")])]), store)
    assert full_name(top) == ""
    assert store.complete(top, AMD64)


def test_compressed_layers_in_a_docker_archive(store: Store) -> None:
    config = Images().config("amd64", [layer("a")])
    files = {"c.json": config, "l.tar.gz": gzip.compress(layer("a"))}
    rows = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar.gz"]}]
    top, = take(tar_of(files | {"manifest.json": json.dumps(rows).encode()}), store)
    assert store.image(top, AMD64).layers[0].media_type == LAYER_GZIP


@pytest.mark.parametrize(("change", "error", "why"), [
    (lambda files: files.update({"l.tar": layer("other")}), DigestError, "not what its image's config promises"),
    (lambda files: files.update({"l.tar": bz2.compress(layer("a"))}), DigestError, "not what"),
    (lambda files: files.update({"l.tar": lzma.compress(layer("a"))}), InputError, "compressed with xz"),
    (lambda files: files.pop("l.tar"), InputError, "lacks a layer"),
    (lambda files: files.pop("c.json"), InputError, r"names the config 'c\.json'"),
    (lambda files: files.update({"c.json": b"{"}), InputError, "no JSON"),
    (lambda files: files.update({"c.json": b"{}"}), InputError, "no list of texts"),
    (lambda files: files.update({"manifest.json": b"{}"}), InputError, "no list of images"),
    (lambda files: files.update({"manifest.json": b"[1]"}), InputError, "no list of images"),
    (lambda files: files.update({"manifest.json": b"["}), InputError, "no JSON"),
    (lambda files: files.update({"manifest.json": b'[{"Config":"c.json","RepoTags":["A b"],"Layers":["l.tar"]}]'}),
     InputError, "no image reference"),
    (lambda files: files.update({"manifest.json": b'[{"Config":"c.json","Layers":["l.tar","l.tar"]}]'}),
     InputError, "2 layers and the config 1"),
    (lambda files: files.update({"manifest.json": b'[{"Config":["c"],"Layers":[]}]'}), InputError, "the config"),
])
def test_unsound_docker_archives(store: Store, change: Callable[[dict[str, bytes]], object],
                                 error: type[ProvisionerError], why: str) -> None:
    rows = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"]}]
    files = {"c.json": Images().config("amd64", [layer("a")]), "l.tar": layer("a"),
             "manifest.json": json.dumps(rows).encode()}
    change(files)
    with pytest.raises(error, match=why):
        take(tar_of(files), store)


def test_links_that_lead_nowhere_or_in_circles(store: Store) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, target in (("a.tar", "b.tar"), ("b.tar", "a.tar"), ("c.tar", "../../../etc/passwd")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name, data in (("x.json", Images().config("amd64", [layer("a")])), ("manifest.json", json.dumps(
                [{"Config": "x.json", "RepoTags": ["x:1"], "Layers": ["a.tar"]}]).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(InputError, match="lacks a layer"):
        take(out.getvalue(), store)
    with pytest.raises(InputError, match="lacks a layer"):
        take(out.getvalue().replace(b'["a.tar"]', b'["c.tar"]'), store)


@pytest.mark.parametrize("data", [b"", b"nonsense" * 100, tar_of({"etc/passwd": b"root"}), tar_of({})])
def test_what_is_no_image_archive(store: Store, data: bytes) -> None:
    with pytest.raises(InputError, match=r"it\.tar"):
        take(data, store)


def test_a_cut_off_archive(store: Store) -> None:
    data = tar_of(layout().files())
    for cut in range(700, len(data) - 10_240, 3333):
        with pytest.raises(ProvisionerError):
            take(data[:cut], store)
    assert list((store.root / "ingest").iterdir()) == []


def test_too_much_that_is_no_image(store: Store) -> None:
    files = {f"{number}.bin": bytes(4 << 20) for number in range(20)}
    with pytest.raises(InputError, match="too many other files"):
        take(tar_of(files), store)


def test_choosing_in_an_archive(store: Store, tmp_path: Path) -> None:
    path = layout().archive(tmp_path / "it.tar")
    assert store.complete(fetch(f"oci-archive:{path}:acme/both:1", ARM64, store), ARM64)
    with pytest.raises(NotFoundError, match="several images"):
        fetch(f"oci-archive:{path}", AMD64, store)
    with pytest.raises(PlatformError, match="it has linux/amd64"):
        fetch(f"oci-archive:{path}:acme/solo:1", ARM64, store)
    with pytest.raises(NotFoundError, match="no file"):
        fetch("oci-archive:/nowhere.tar", AMD64, store)
    with pytest.raises(InputError, match="cannot read"):
        fetch(f"docker-archive:{tmp_path}", AMD64, store)
    assert store.references() == {}


def test_a_path_with_a_colon(store: Store, tmp_path: Path) -> None:
    data = docker_save([(["x:1"], "amd64", [layer("a")])])
    (tmp_path / "odd:name.tar").write_bytes(data)
    assert store.complete(fetch(f"docker-archive:{tmp_path}/odd:name.tar", AMD64, store), AMD64)


@given(st.sampled_from([tar_of(layout().files()), docker_save([(["x:1"], "amd64", [layer("a"), layer("b")])])]),
       st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_whatever_is_flipped_nothing_false_gets_in(data: bytes, flips: list[tuple[int, int]]) -> None:
    """A damaged archive is refused by a named error, or the damage was where nothing is kept."""
    bad = bytearray(data)
    for position, value in flips:
        bad[position % len(bad)] = value
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        with suppress(ProvisionerError):
            for top in take(bytes(bad), store):
                for part in store.parts(top):
                    assert digest_of(store.path(part.digest).read_bytes()) == part.digest
        assert list((store.root / "ingest").iterdir()) == []


@pytest.mark.tool
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes(store: Store, tmp_path: Path, kind: str) -> None:
    source = layout().write(tmp_path / "source")
    target = tmp_path / "out.tar"
    subprocess.run(["skopeo", "--override-arch", "arm64", "copy", f"oci:{source}:docker.io/acme/both:1",
                    f"{kind}:{target}:acme/out:1"], check=True, capture_output=True)
    found = fetch(f"{kind}:{target}", ARM64, store)
    image = store.image(found, ARM64)
    assert image.process["Cmd"] == ["arm64"]
    plain = b"".join(store.read(x) for x in image.layers)
    assert digest_of(gzip.decompress(plain) if plain[:2] == b"\x1f\x8b" else plain) == digest_of(layer("arm64"))
