"""Pulling an image into the store from a source of blobs."""

from __future__ import annotations

import pytest

from provisioner.errors import DigestError
from provisioner.model.event import Event
from provisioner.model.oci import Descriptor
from provisioner.model.platform import Platform
from provisioner.oci.blobs import BlobWriter
from provisioner.oci.manifest import LIMIT, ManifestError, descriptor_from_json
from provisioner.oci.pull import pull
from provisioner.oci.store import PlatformError, Store
from tests.fakes.images import Images, layer

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


class Shelf:
    """A source that notes what it is asked for and may hand out rubbish first."""

    def __init__(self, images: Images) -> None:
        self.images, self.asked, self.rubbish = images, list[str](), dict[str, int]()

    def fetch(self, descriptor: Descriptor, out: BlobWriter) -> None:
        self.asked.append(descriptor.digest)
        body = self.images.blobs[descriptor.digest]
        if self.rubbish.get(descriptor.digest, 0) > 0:
            self.rubbish[descriptor.digest] -= 1
            body = b"?" + body[1:]
        out.write(body[out.offset:])


@pytest.fixture
def images() -> Images:
    made = Images()
    children = [made.manifest(arch, [layer(arch), layer("common"), layer("common")]) for arch in ("amd64", "arm64")]
    made.name(made.index([made.index(children[:1]), children[1]]), "x")
    return made


@pytest.fixture
def top(images: Images) -> Descriptor:
    return descriptor_from_json(images.tops[0], "top")


def test_each_blob_is_asked_for_once(images: Images, top: Descriptor, store: Store) -> None:
    shelf, events = Shelf(images), list[Event]()
    pull(shelf, top, AMD64, store, name="x", sink=events.append)
    assert store.complete(top, AMD64)
    assert len(shelf.asked) == len(set(shelf.asked)) == 6  # two indexes, manifest, config, two layers
    done = [event for event in events if event.stage == "fetched"]
    assert [event.data["digest"] for event in done] == shelf.asked
    assert sum(event.data["size"] for event in done) == sum(len(images.blobs[d]) for d in shelf.asked)


def test_the_second_platform_costs_what_is_its_own(images: Images, top: Descriptor, store: Store) -> None:
    pull(Shelf(images), top, AMD64, store, name="x")
    shelf = Shelf(images)
    pull(shelf, top, ARM64, store, name="x")
    assert len(shelf.asked) == 3  # manifest, config, one layer; the other is common


def test_a_corrupt_manifest_in_the_store_is_fetched_anew(images: Images, top: Descriptor, store: Store) -> None:
    pull(Shelf(images), top, AMD64, store, name="x")
    path = store.path(store.select(top, AMD64).digest)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    pull(Shelf(images), top, AMD64, store, name="x")
    assert store.complete(top, AMD64)


@pytest.mark.parametrize(("times", "fine"), [(1, True), (2, False)])
def test_rubbish_is_accepted_never_and_retried_once(images: Images, top: Descriptor, store: Store, times: int,
                                                    fine: bool) -> None:
    for digest in list(images.blobs):
        shelf = Shelf(images)
        shelf.rubbish[digest] = times
        empty = Store(store.root.with_name(digest[7:19]))
        if fine:
            pull(shelf, top, AMD64, empty, name="x")
        elif digest in _needed(images, top, store):
            with pytest.raises(DigestError):
                pull(shelf, top, AMD64, empty, name="x")
            assert not empty.has(digest)


def _needed(images: Images, top: Descriptor, store: Store) -> set[str]:
    shelf = Shelf(images)
    pull(shelf, top, AMD64, Store(store.root.with_name("whole")), name="x")
    whole = Store(store.root.with_name("whole"))
    return {part.digest for part in whole.parts(top)}


def test_a_descriptor_of_a_huge_manifest_is_refused_unseen(images: Images, store: Store) -> None:
    shelf = Shelf(images)
    with pytest.raises(ManifestError, match="at most"):
        pull(shelf, Descriptor(images.tops[0]["mediaType"], "sha256:" + "1" * 64, LIMIT + 1), AMD64, store, name="x")
    assert shelf.asked == []


def test_the_wrong_platform_costs_no_layer(images: Images, top: Descriptor, store: Store) -> None:
    shelf = Shelf(images)
    with pytest.raises(PlatformError, match="x has no image for linux/riscv64; it has linux/amd64, linux/arm64"):
        pull(shelf, top, Platform("riscv64"), store, name="x")
    assert len(shelf.asked) == 2  # the indexes
