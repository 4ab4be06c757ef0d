"""Images as skopeo and the specification see them, and the index that gathers the platforms."""

from __future__ import annotations

import hashlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioner.components import contents, image
from provisioner.components.recipe import Recipe
from provisioner.model.oci import LAYER_TAR, Descriptor
from provisioner.model.platform import Platform
from provisioner.model.tree import Entry, Kind
from provisioner.oci.store import Store

RECIPE = Recipe(summary="a tool", packages=["tool"], entrypoint=["/usr/bin/tool"], command=["-x"],
                config={"net": "new", "binds": ["/run:/run"]}, labels={"extra": "1"})
ENTRIES = [Entry("usr", Kind.DIR, 0o755, mtime=contents.MTIME),
           Entry("usr/tool", Kind.FILE, 0o755, mtime=contents.MTIME, size=4, content=(b"tool",))]
REFERENCE = "docker.io/provisioner/tool:latest"


def made(store: Store, arch: str = "amd64") -> Descriptor:
    labels = image.labels("tool", RECIPE, {"libc6": "2.41", "tool": "1.0"})
    return image.write(RECIPE, Platform(arch), ENTRIES, labels, store)


def test_has_one_plain_layer_and_the_recipes_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    found = store.image(made(store), Platform("amd64"))
    assert [layer.media_type for layer in found.layers] == [LAYER_TAR]
    assert found.config["rootfs"]["diff_ids"] == [layer.digest for layer in found.layers]
    assert found.process["Entrypoint"] == ["/usr/bin/tool"]
    assert found.process["Cmd"] == ["-x"]
    assert found.process["Env"] == [image.PATH]
    assert json.loads(found.labels["org.mobyproject.config"]) == RECIPE.config
    assert found.labels["provisioner.packages"] == "libc6=2.41 tool=1.0"
    assert found.labels["org.opencontainers.image.version"] == "1.0"
    assert found.labels["extra"] == "1"


def test_the_time_is_that_of_the_files() -> None:
    import datetime as dt

    assert dt.datetime.fromisoformat(image.CREATED).timestamp() == contents.MTIME


def test_one_name_gathers_the_platforms(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = image.publish(REFERENCE, made(store), store)
    both = image.publish(REFERENCE, made(store, "arm64"), store)
    assert first != both
    assert image.publish(REFERENCE, made(store), store).digest == both.digest, "known already"
    for arch in ("amd64", "arm64"):
        assert store.image(both, Platform(arch)).platform.architecture == arch


def test_platforms_published_at_once_are_all_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    images = [made(store, arch) for arch in ("amd64", "arm64", "riscv64", "s390x")]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: image.publish(REFERENCE, one, Store(tmp_path)), images))
    index = store.lookup(REFERENCE)
    assert index
    assert {child.digest for child in store.manifests(index)} == {one.digest for one in images}


def test_a_half_pruned_index_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    index = image.publish(REFERENCE, made(store), store)
    store.path(index.digest).unlink()
    again = image.publish(REFERENCE, made(store, "arm64"), store)
    assert [str(child.platform) for child in store.manifests(again)] == ["linux/arm64"]


@pytest.mark.tool
def test_skopeo_reads_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "oci")
    image.publish(REFERENCE, made(store), store)
    image.publish(REFERENCE, made(store, "arm64"), store)
    copy = ["skopeo", "copy", "--quiet", "--override-arch", "arm64", f"oci:{tmp_path}/oci:{REFERENCE}",
            f"dir:{tmp_path}/copy"]
    subprocess.run(copy, check=True)
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    layer = (tmp_path / "copy" / manifest["layers"][0]["digest"].removeprefix("sha256:")).read_bytes()
    config = json.loads((tmp_path / "copy" / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes())
    assert config["architecture"] == "arm64"
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
