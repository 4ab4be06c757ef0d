"""Bundles in LinuxKit's layout; an image that comes again is shared."""

from __future__ import annotations

import json

from provisioner.tree.containers import containers
from tests.tree.made import Shelf, content, entries, member, paths, tar


def shelf() -> Shelf:
    made = Shelf()
    made.add("app", tar(member("bin/app", b"app")), Cmd=["/bin/app"])
    made.add("app:latest", tar(member("bin/app", b"app")))
    made.add("ro", tar(member("x", b"x")), Labels={"org.mobyproject.config": '{"readonly": true}'})
    return made


def test_a_writable_container() -> None:
    parts = list(containers(shelf().sources("services: [{name: a, image: app}]")))
    assert [(part.location, part.source, part.key is None) for part in parts] == [
        ("services[0]", "docker.io/library/app", False), ("services[0]", "docker.io/library/app", True)]
    assert paths(parts[0])[:5] == ["containers", "containers/services", "containers/services/a",
                                   "containers/services/a/lower", "containers/services/a/lower/bin"]
    assert paths(parts[1]) == [f"containers/services/a/{name}" for name in (
        "config.json", "tmp", "rootfs", "runtime.json")]
    config = json.loads(content(entries(parts[1]), "containers/services/a/config.json"))
    assert config["process"]["args"] == ["/bin/app"]


def test_a_read_only_container_by_its_label() -> None:
    parts = list(containers(shelf().sources("onboot: [{name: a, image: ro}]")))
    assert "containers/onboot/000-a/rootfs/x" in paths(parts[0])
    assert paths(parts[1]) == ["containers/onboot/000-a/config.json", "containers/onboot/000-a/runtime.json"]


def test_the_same_image_is_laid_out_once() -> None:
    text = ("onboot: [{name: a, image: app}, {name: a, image: app, readonly: true}]\n"
            "onshutdown: [{name: b, image: app}]\nservices: [{name: c, image: \"app:latest\"}]")
    parts = list(containers(shelf().sources(text)))
    found = entries(*parts)
    assert [entry.path for entry in found if entry.path.endswith("/bin/app")] == [
        "containers/onboot/000-a/lower/bin/app", "containers/services/c/lower/bin/app"]
    assert paths(parts[2]) == ["containers", "containers/onboot", "containers/onboot/001-a",
                               *(f"containers/onboot/001-a/{name}" for name in (
                                   "config.json", "rootfs", "runtime.json"))]
    read_only = json.loads(content(found, "containers/onboot/001-a/runtime.json"))
    assert read_only["mounts"][0]["source"] == "/containers/onboot/000-a/lower"
    writable = json.loads(content(found, "containers/onshutdown/000-b/runtime.json"))
    assert writable["mounts"][2]["options"][0] == "lowerdir=/containers/onboot/000-a/lower"


def test_ids_and_volumes_reach_the_bundle() -> None:
    text = "volumes: [{name: data}]\nservices: [{name: a, image: app, uid: a, binds: [\"data:/d\"]}]"
    found = entries(*containers(shelf().sources(text)))
    config = json.loads(content(found, "containers/services/a/config.json"))
    assert config["process"]["user"]["uid"] == 100
    assert [mount["source"] for mount in config["mounts"] if mount["destination"] == "/d"] == [
        "/containers/volumes/data/merged"]
