"""OCI layouts in directories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provisioner.errors import DigestError, InputError, NotFoundError
from provisioner.model.oci import MANIFEST, Descriptor
from provisioner.model.platform import Platform
from provisioner.oci.layout import Layout, choose, full_name, named_images, names
from provisioner.oci.manifest import ManifestError
from provisioner.oci.sources import fetch
from provisioner.oci.store import Store
from tests.fakes.images import Images, layer

D = "sha256:" + "a" * 64
E = "sha256:" + "b" * 64
AMD64 = Platform("amd64")


def entry(short: str = "", full: str = "", digest: str = D) -> Descriptor:
    notes = {"org.opencontainers.image.ref.name": short, "io.containerd.image.name": full}
    return Descriptor(MANIFEST, digest, 1, annotations=tuple((k, v) for k, v in notes.items() if v))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = Images()
    made.name(made.manifest("amd64", [layer("one")]), "one", containerd=False)
    made.name(made.index([made.manifest("amd64", [layer("two")])]), "docker.io/acme/two:1")
    return made.write(tmp_path / "layout")


@pytest.mark.parametrize("name", ["one", "docker.io/acme/two:1", "acme/two:1"])
def test_images_by_name(folder: Path, store: Store, name: str) -> None:
    found = fetch(f"oci:{folder}:{name}", AMD64, store)
    assert store.complete(found, AMD64)
    assert store.references() == {}, "a file's metadata gives no names"


def test_several_images_want_a_choice(folder: Path, store: Store) -> None:
    with pytest.raises(NotFoundError, match="several images") as caught:
        fetch(f"oci:{folder}", AMD64, store)
    assert "one" in caught.value.hint
    assert "docker.io/acme/two:1" in caught.value.hint
    with pytest.raises(NotFoundError, match="holds no image three"):
        fetch(f"oci:{folder}:three", AMD64, store)


def test_a_missing_or_damaged_blob_is_named(folder: Path, store: Store) -> None:
    found = Layout(folder).find("one")
    path = folder / "blobs" / "sha256" / found.hex
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(DigestError, match=found.digest):
        fetch(f"oci:{folder}:one", AMD64, store)
    path.unlink()
    with pytest.raises(DigestError, match=f"lacks the blob {found.digest}"):
        fetch(f"oci:{folder}:one", AMD64, store)


def test_what_is_no_layout(tmp_path: Path, store: Store) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(NotFoundError, match=r"no index\.json"):
            fetch(f"oci:{path}", AMD64, store)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(ManifestError):
        fetch(f"oci:{tmp_path}", AMD64, store)
    (tmp_path / "index.json").unlink()
    (tmp_path / "index.json").mkdir()
    with pytest.raises(InputError, match="cannot read"):
        fetch(f"oci:{tmp_path}", AMD64, store)


def test_names_of_entries() -> None:
    assert names(entry("latest", "docker.io/a/b:latest")) == ("docker.io/a/b:latest", "latest")
    assert full_name(entry("latest", "docker.io/a/b:latest")) == "docker.io/a/b:latest"
    assert full_name(entry("a/b")) == "docker.io/a/b:latest"
    assert full_name(entry("b:1")) == "docker.io/library/b:1"
    assert full_name(entry("latest")) == ""
    assert full_name(entry()) == ""
    with pytest.raises(InputError, match="no image reference"):
        full_name(entry("", "Not a Name:1"))


def test_choosing() -> None:
    assert choose((entry(), entry()), "", "it") == entry()
    with pytest.raises(NotFoundError, match="holds no image"):
        choose((), "", "it")
    with pytest.raises(NotFoundError, match="several") as caught:
        choose((entry(), entry(digest=E)), "", "it")
    assert "no names" in caught.value.hint


def test_names_for_an_import() -> None:
    assert named_images([entry("x:1"), entry("latest")], "", "it") == {"docker.io/library/x:1": entry("x:1")}
    assert named_images([entry("latest")], "my/name", "it") == {"docker.io/my/name:latest": entry("latest")}
    with pytest.raises(InputError, match="no full names") as caught:
        named_images([entry("latest")], "", "it")
    assert "--name" in caught.value.hint
    with pytest.raises(InputError, match="cannot all be called"):
        named_images([entry("a:1"), entry("b:1", digest=E)], "c", "it")


@pytest.mark.tool
def test_a_layout_that_skopeo_and_umoci_wrote(tmp_path: Path, store: Store) -> None:
    made = Images()
    made.name(made.manifest("amd64", [layer("x")]), "docker.io/acme/x:1")
    source = made.write(tmp_path / "source")
    subprocess.run(["skopeo", "copy", f"oci:{source}:docker.io/acme/x:1", f"oci:{tmp_path / 'skopeo'}:tag"],
                   check=True, capture_output=True)
    assert store.complete(fetch(f"oci:{tmp_path / 'skopeo'}:tag", AMD64, store), AMD64)
    subprocess.run(["umoci", "init", "--layout", str(tmp_path / "umoci")], check=True, capture_output=True)
    subprocess.run(["umoci", "new", "--image", f"{tmp_path / 'umoci'}:fresh"], check=True, capture_output=True)
    subprocess.run(["umoci", "config", "--image", f"{tmp_path / 'umoci'}:fresh", "--architecture", "amd64",
                    "--config.cmd", "hello"], check=True, capture_output=True)
    found = fetch(f"oci:{tmp_path / 'umoci'}:fresh", AMD64, store)
    assert store.image(found, AMD64).process["Cmd"] == ["hello"]
