"""The store: names, platforms, pruning, and other tools' view of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from provisioner.errors import DeviceError, DigestError, NotFoundError, RefusedError
from provisioner.model.oci import INDEX, MANIFEST, Descriptor
from provisioner.model.platform import Platform
from provisioner.oci.manifest import ManifestError, descriptor_from_json
from provisioner.oci.store import PlatformError, Store
from tests.fakes.images import Images, digest_of, layer

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


def load(store: Store, images: Images) -> Descriptor:
    """Put every blob of ``images`` into the store and return its last one, which is the top."""
    for data in images.blobs.values():
        store.put(data, "")
    digest, data = list(images.blobs.items())[-1]
    media_type = json.loads(data).get("mediaType", MANIFEST)
    return Descriptor(media_type, digest, len(data))


def both(*architectures: str) -> Images:
    images = Images()
    images.index([images.manifest(arch, [layer(arch), layer("common")], Cmd=[arch]) for arch in architectures])
    return images


def age(store: Store, seconds: float) -> None:
    for path in (store.root / "blobs" / "sha256").iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_names_come_and_go(store: Store) -> None:
    one, two = store.put(b"{}", MANIFEST), store.put(b"{} ", INDEX)
    assert store.lookup("acme/x:1") is None
    assert store.references() == {}
    store.tag("acme/x:1", one)
    store.tag_all({"y": two, "acme/x:2": one})
    assert store.lookup("docker.io/acme/x:1") == one
    assert list(store.references()) == ["docker.io/acme/x:1", "docker.io/acme/x:2", "docker.io/library/y:latest"]
    store.tag("acme/x:1", two)
    assert store.lookup("acme/x:1") == two
    assert store.untag("acme/x:1")
    assert not store.untag("acme/x:1")
    assert store.lookup("acme/x:1") is None


def test_a_digest_is_found_with_and_without_a_name(store: Store) -> None:
    top = load(store, both("amd64"))
    assert store.lookup(f"any/thing@{top.digest}") == top
    assert store.lookup(f"any/thing:9@{top.digest}") == top
    assert store.lookup("any/thing@sha256:" + "0" * 64) is None


def test_the_index_is_what_the_specification_wants(store: Store) -> None:
    top = load(store, both("amd64"))
    store.tag("acme/x:1", top)
    raw = json.loads((store.root / "index.json").read_bytes())
    assert raw["schemaVersion"] == 2
    assert raw["manifests"] == [{"mediaType": INDEX, "digest": top.digest, "size": top.size, "annotations": {
        "io.containerd.image.name": "docker.io/acme/x:1", "org.opencontainers.image.ref.name": "docker.io/acme/x:1"}}]
    assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_what_another_tool_put_there_is_kept(store: Store) -> None:
    foreign = {"mediaType": MANIFEST, "digest": digest_of(b"{}"), "size": 2,
               "annotations": {"org.opencontainers.image.ref.name": "theirs"}, "x-more": [1]}
    (store.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [foreign]}))
    store.tag("mine:1", store.put(b"{}", MANIFEST))
    assert foreign in json.loads((store.root / "index.json").read_bytes())["manifests"]


def test_an_index_resolves_by_platform(store: Store) -> None:
    top = load(store, both("amd64", "arm64"))
    image = store.image(top, ARM64, "acme/x:1")
    assert (image.platform, image.reference, image.process["Cmd"]) == (ARM64, "acme/x:1", ["arm64"])
    assert len(image.layers) == 2
    assert store.image(top, AMD64).process["Cmd"] == ["amd64"]
    assert store.platforms(top) == (AMD64, ARM64)


def test_a_missing_platform_says_which_there_are(store: Store) -> None:
    top = load(store, both("amd64", "arm64"))
    with pytest.raises(PlatformError, match=r"acme/x has no image for linux/s390x; it has linux/amd64, linux/arm64"):
        store.image(top, Platform("s390x"), "acme/x")
    single = load(store, both("arm64"))
    with pytest.raises(PlatformError, match="it has linux/arm64"):
        store.image(single, AMD64)


def test_a_manifest_that_stands_alone_is_taken_as_it_is(store: Store) -> None:
    images = Images()
    images.manifest("arm64", [layer("x")])
    alone = load(store, images)
    assert store.image(alone, AMD64).platform == ARM64
    assert store.complete(alone, AMD64)
    with pytest.raises(PlatformError, match="it has linux/arm64"):
        store.image(alone, AMD64, strict=True)


def test_a_config_that_names_another_platform_than_its_index_is_refused(store: Store) -> None:
    images = Images()
    images.index([images.manifest("amd64", [layer("x")]) | {"platform": {"architecture": "arm64", "os": "linux"}}])
    with pytest.raises(PlatformError, match="it has linux/amd64"):
        store.image(load(store, images), ARM64)


@pytest.mark.parametrize(("wanted", "chosen"), [("linux/arm", "v7"), ("linux/arm/v6", "v6"), ("linux/arm/v5", "v5"),
                                                ("linux/amd64", ""), ("linux/amd64/v3", "v3")])
def test_variants(store: Store, wanted: str, chosen: str) -> None:
    images = Images()
    tops = [images.manifest(arch, [layer(arch + variant)]) | {
        "platform": {"architecture": arch, "os": "linux", "variant": variant}}
        for arch, variant in (("arm", "v5"), ("arm", "v6"), ("arm", "v7"), ("amd64", "v3"), ("amd64", ""))]
    top = descriptor_from_json(images.index(tops), "")
    load(store, images)
    found = store.select(top, Platform.parse(wanted)).platform
    assert found is not None
    assert found.variant == chosen


def test_nested_indexes_up_to_three(store: Store) -> None:
    images = Images()
    top = images.manifest("amd64", [layer("x")])
    for depth in range(1, 5):
        top = images.index([top])
        here = descriptor_from_json(top, "")
        load(store, images)
        if depth <= 3:
            assert store.image(here, AMD64).platform == AMD64
        else:
            with pytest.raises(ManifestError, match="nested"):
                store.image(here, AMD64)


def test_complete_counts_every_blob_of_one_platform(store: Store) -> None:
    images = both("amd64", "arm64")
    top = load(store, images)
    assert store.complete(top, AMD64)
    gone = store.image(top, ARM64).layers[0]
    store.path(gone.digest).unlink()
    assert not store.complete(top, ARM64)
    assert store.complete(top, AMD64)
    store.path(store.select(top, ARM64).digest).unlink()
    assert not store.complete(top, ARM64)
    with pytest.raises(PlatformError):
        store.complete(top, Platform("s390x"))


def test_corrupt_manifests_are_found(store: Store) -> None:
    top = load(store, both("amd64"))
    path = store.path(top.digest)
    path.write_bytes(path.read_bytes().replace(b"amd64", b"amd46"))
    with pytest.raises(DigestError, match=top.digest):
        store.image(top, AMD64)


def test_prune_keeps_what_has_a_name(store: Store) -> None:
    images = both("amd64", "arm64")
    store.tag("x:1", load(store, images))
    loose = store.put(b"nobody wants me", "")
    age(store, 90_000)
    assert store.prune(dry_run=True).blobs == ((loose.digest, 15),)
    assert store.has(loose.digest), "a dry run removes nothing"
    age(store, 90_000)
    gone = store.prune()
    assert (gone.blobs, gone.freed) == (((loose.digest, 15),), 15)
    assert all(store.has(digest) for digest in images.blobs)


def test_prune_keeps_attestations_and_what_is_half_there(store: Store) -> None:
    images = both("amd64", "arm64")
    statement = images.put(b'{"predicate":1}', "application/vnd.in-toto+json")
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [statement], "config": images.put(
        b"{}", "application/vnd.oci.image.config.v1+json")}).encode()
    proof = images.put(body, MANIFEST) | {"platform": {"os": "unknown", "architecture": "unknown"}}
    top = load(store, images)  # the proof's manifest is no top: make one
    images.index([images.manifest("amd64", [layer("z")]), proof])
    top = load(store, images)
    store.tag("x:1", top)
    store.path(store.image(top, AMD64).layers[0].digest).unlink()
    age(store, 90_000)
    store.prune()
    assert store.has(statement["digest"])


def test_prune_spares_what_was_written_or_asked_for_lately(store: Store) -> None:
    old, asked = store.put(b"old", ""), store.put(b"asked", "")
    top = load(store, both("amd64"))
    age(store, 90_000)
    fresh = store.put(b"fresh", "")
    assert store.has(asked.digest)
    store.image(top, AMD64)
    kept = {part.digest for part in store.parts(top)}
    assert [digest for digest, _ in store.prune().blobs] == [old.digest]
    assert all(store.has(digest) for digest in {fresh.digest, asked.digest, *kept})


def test_prune_forgets_all_names_and_empties_quarantine(store: Store) -> None:
    top = load(store, both("amd64"))
    store.tag("x:1", top)
    bad = store.put(b"soon bad", "")
    store.path(bad.digest).write_bytes(b"it isbad")
    with pytest.raises(DigestError):
        store.read(bad)
    (store.root / "ingest" / "new-x.part").write_bytes(b"12345")
    gone = store.prune(grace=0, forget=True)
    assert gone.leftovers == 13
    assert list((store.root / "blobs" / "sha256").iterdir()) == []
    assert store.references() == {}


def test_prune_removes_nothing_when_it_cannot_tell(store: Store) -> None:
    top = load(store, both("amd64"))
    store.tag("x:1", top)
    loose = store.put(b"loose", "")
    store.path(top.digest).write_bytes(b"damaged" + bytes(top.size - 7))
    with pytest.raises(DigestError):
        store.prune(grace=0)
    assert store.has(loose.digest)


def test_pruning_beside_a_build(store: Store) -> None:
    """A build that finds a blob there may count on it, however old it was: no interleaving takes it away."""
    images, stop = both("amd64"), threading.Event()
    top = load(store, images)
    lost = []

    def build() -> None:
        while not stop.is_set():
            mine = Store(store.root)
            age_one = mine.path(top.digest)
            os.utime(age_one, (0, 0))
            if mine.has(top.digest) and not age_one.exists():
                lost.append(top.digest)
            mine.put(images.blobs[top.digest], INDEX)

    worker = threading.Thread(target=build)
    worker.start()
    for _ in range(300):
        Store(store.root).prune()
    stop.set()
    worker.join()
    assert lost == []


def test_many_taggers_lose_nothing(store: Store) -> None:
    blob = store.put(b"{}", MANIFEST)
    threads = [threading.Thread(target=lambda n: Store(store.root).tag(f"x:{n}", blob), args=(number,))
               for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.references()) == 40


def test_making_a_new_meaning_from_the_old_one(store: Store) -> None:
    one, two = store.put(b"{}", MANIFEST), store.put(b"{} ", MANIFEST)
    assert store.tag_if("x", one, was=None)
    assert not store.tag_if("x", two, was=None)
    assert store.lookup("x") == one
    assert store.tag_if("x", two, was=one)
    assert not store.tag_if("x", one, was=one)
    assert store.lookup("x") == two


def test_a_store_others_may_write_to_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "open"
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(RefusedError, match="written by everybody"):
        Store(root)


def test_a_store_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "s")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(RefusedError, match="another user"):
        Store(tmp_path / "s")


@pytest.mark.parametrize(("text", "error"), [('{"imageLayoutVersion":"2.0.0"}', RefusedError), ("{}", DigestError),
                                             ("", DigestError)])
def test_a_layout_from_the_future_or_a_broken_one(tmp_path: Path, text: str, error: type[Exception]) -> None:
    (tmp_path / "oci-layout").write_text(text)
    with pytest.raises(error):
        Store(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"manifests":null}x'])
def test_a_damaged_index_is_named(store: Store, text: str) -> None:
    (store.root / "index.json").write_text(text)
    with pytest.raises(DigestError, match=r"index\.json is damaged"):
        store.references()


def test_a_place_that_cannot_be_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot write"):
        Store(tmp_path / "file" / "store")


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "cache"))
    assert Store().root == tmp_path / "cache" / "oci"


def test_nothing_there(store: Store) -> None:
    ghost = Descriptor(INDEX, "sha256:" + "0" * 64, 5)
    with pytest.raises(NotFoundError):
        store.image(ghost, AMD64)
    assert not store.complete(ghost, AMD64)
    assert list(store.parts(ghost)) == []


@pytest.mark.tool
def test_skopeo_reads_it(store: Store) -> None:
    store.tag("acme/x:1", load(store, both("amd64", "arm64")))
    for arch in ("amd64", "arm64"):
        out = subprocess.run(["skopeo", "--override-arch", arch, "inspect", "--config",
                              f"oci:{store.root}:docker.io/acme/x:1"], capture_output=True, check=True).stdout
        assert json.loads(out)["config"]["Cmd"] == [arch]


FILL = """
import sys
from pathlib import Path
from provisioner.oci.store import Store

store = Store(Path(sys.argv[1]))
for number in range(60):
    blob = store.put(b"common" * 1000 + str(number).encode(), "application/vnd.oci.image.manifest.v1+json")
    store.tag(f"p{sys.argv[2]}:{number}", blob)
"""


@pytest.mark.tool
def test_two_processes_fill_one_store(tmp_path: Path) -> None:
    root = tmp_path / "store"
    children = [subprocess.Popen([sys.executable, "-c", FILL, str(root), str(number)], cwd=Path(__file__).parents[2])
                for number in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    store = Store(root)
    assert len(store.references()) == 120
    assert len(list((root / "blobs" / "sha256").iterdir())) == 60
    assert list((root / "ingest").iterdir()) == []
    assert all(len(store.read(found)) == found.size for found in store.references().values())
