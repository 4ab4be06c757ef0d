"""What we export, others read."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from provisioner.errors import DeviceError, DigestError, NotFoundError, UsageError
from provisioner.model.platform import Platform
from provisioner.oci import export
from provisioner.oci.archive import ingest
from provisioner.oci.layout import named_images
from provisioner.oci.store import PlatformError, Store
from tests.fakes.images import Images, layer, tar_of

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


@pytest.fixture
def full(store: Store) -> Store:
    made = Images()
    made.name(made.index([made.manifest(arch, [layer(arch), layer("common")], Cmd=[arch])
                          for arch in ("amd64", "arm64")]), "docker.io/acme/both:1")
    made.name(made.manifest("arm64", [layer("solo")]), "docker.io/acme/solo:1")
    store.tag_all(named_images(ingest(io.BytesIO(tar_of(made.files())), store, "it"), "", "it"))
    return store


def again(path: Path) -> tuple[Store, dict[str, str]]:
    other = Store(path.with_name(f"{path.name}.store"))
    with path.open("rb") as file:
        return other, {name: top.digest for name, top in named_images(ingest(file, other, "it"), "", "it").items()}


def test_there_and_back(full: Store, tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    assert export.save(export.oci(full, ["acme/both:1", "acme/solo:1"], None), str(target)) == target.stat().st_size
    other, found = again(target)
    assert found == {name: top.digest for name, top in full.references().items()}
    assert other.complete(full.references()["docker.io/acme/both:1"], ARM64)


def test_one_platform_alone(full: Store, tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    export.save(export.oci(full, ["acme/both:1"], ARM64), str(target))
    other, found = again(target)
    top = full.references()["docker.io/acme/both:1"]
    assert found == {"docker.io/acme/both:1": full.select(top, ARM64).digest}
    with pytest.raises(PlatformError):
        export.save(export.oci(full, ["acme/both:1"], Platform("s390x")), str(target))
    assert again(target)[1] == found, "a failed export leaves the old file"
    assert other


def test_the_same_bytes_every_time(full: Store, tmp_path: Path) -> None:
    for form in (export.oci, export.docker):
        for name in ("a.tar", "b.tar"):
            export.save(form(full, ["acme/both:1"], AMD64), str(tmp_path / name))
        assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_docker_s_form(full: Store, tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    export.save(export.docker(full, ["acme/both:1", "acme/solo:1"], ARM64), str(target))
    with tarfile.open(target) as archive:
        member = archive.extractfile("manifest.json")
        assert member is not None
        rows = json.load(member)
        assert [row["RepoTags"] for row in rows] == [["acme/both:1"], ["acme/solo:1"]]
        assert {rows[0]["Config"], *rows[0]["Layers"]} <= set(archive.getnames())
    other, found = again(target)
    assert set(found) == set(full.references())
    for digest in found.values():
        top = other.lookup(f"x@{digest}")
        assert top is not None
        assert other.complete(top, ARM64)


def test_the_only_platform_is_the_default(full: Store, tmp_path: Path) -> None:
    export.save(export.docker(full, ["acme/solo:1"], None), str(tmp_path / "out.tar"))
    assert list(again(tmp_path / "out.tar")[1]) == ["docker.io/acme/solo:1"]


def test_a_platform_that_is_not_here_is_left_out(full: Store, tmp_path: Path) -> None:
    top = full.references()["docker.io/acme/both:1"]
    kept = {part.digest for part in full.parts(full.select(top, AMD64))}
    for part in list(full.parts(full.select(top, ARM64))):
        if part.digest not in kept:
            full.path(part.digest).unlink()
    export.save(export.oci(full, ["acme/both:1"], None), str(tmp_path / "out.tar"))
    other, _ = again(tmp_path / "out.tar")
    assert other.complete(top, AMD64)
    assert not other.complete(top, ARM64)
    with pytest.raises(NotFoundError, match="has not all"):
        export.save(export.oci(full, ["acme/both:1"], ARM64), str(tmp_path / "out.tar"))


def test_unknown_names_and_terminals(full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in (export.oci, export.docker):
        with pytest.raises(NotFoundError, match="no absent"):
            export.save(form(full, ["absent"], None), str(tmp_path / "x"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="terminal"):
        export.save(export.oci(full, ["acme/solo:1"], None), "-")
    with pytest.raises((DeviceError, UsageError)):
        export.save(export.oci(full, ["acme/solo:1"], None), str(tmp_path))


def test_damage_leaves_no_archive(full: Store, tmp_path: Path) -> None:
    top = full.references()["docker.io/acme/solo:1"]
    path = full.path(full.image(top, ARM64).layers[0].digest)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DigestError):
        export.save(export.oci(full, ["acme/solo:1"], None), str(tmp_path / "out.tar"))
    assert not (tmp_path / "out.tar").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.tool
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_reads_them(full: Store, tmp_path: Path, kind: str) -> None:
    form = export.oci if kind == "oci-archive" else export.docker
    export.save(form(full, ["acme/both:1"], ARM64), str(tmp_path / "out.tar"))
    subprocess.run(["skopeo", "--override-arch", "arm64", "copy", f"{kind}:{tmp_path / 'out.tar'}",
                    f"oci:{tmp_path / 'copy'}:x"], check=True, capture_output=True)
    out = subprocess.run(["skopeo", "--override-arch", "arm64", "inspect", "--config", f"oci:{tmp_path / 'copy'}:x"],
                         check=True, capture_output=True).stdout
    assert json.loads(out)["config"]["Cmd"] == ["arm64"]
