"""Entries become an OCI image (image-spec 1.1): one plain layer, so that its digest depends on no compressor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import provisioner.components.layer as layer
from provisioner.components.recipe import Recipe
from provisioner.errors import NotFoundError
from provisioner.model.oci import CONFIG, CONFIG_LABEL, INDEX, LAYER_TAR, MANIFEST, Descriptor
from provisioner.model.platform import Platform
from provisioner.model.tree import Entry
from provisioner.oci import manifest
from provisioner.oci.store import Store

CREATED = "2017-04-18T16:30:00Z"
"""The time of contents.MTIME."""

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write(recipe: Recipe, platform: Platform, entries: Iterable[Entry], labels: Mapping[str, str],
          store: Store) -> Descriptor:
    """Write layer, config and manifest into the store and return the manifest's descriptor."""
    with store.writer() as blob:
        layer.write(entries, blob)
    packed = blob.descriptor(LAYER_TAR)
    process = {
        "Entrypoint": recipe.entrypoint, "Cmd": recipe.command, "Env": recipe.env or [PATH],
        "WorkingDir": recipe.workdir, "Labels": dict(sorted(labels.items())),
    }
    config = {
        "created": CREATED, "architecture": platform.architecture, "os": platform.os,
        "config": {key: value for key, value in process.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [packed.digest]},
        "history": [{"created": CREATED, "created_by": "provisioner component build"}],
    }
    described = store.put(manifest.compact_json(config), CONFIG)
    done = store.put(manifest.manifest_json(described, [packed]), MANIFEST)
    return Descriptor(MANIFEST, done.digest, done.size, platform)


def labels(name: str, recipe: Recipe, packages: Mapping[str, str]) -> dict[str, str]:
    """Return an image's labels; ``packages`` are names to versions."""
    version = next((packages[package] for package in recipe.packages if package in packages), "")
    found = {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.description": recipe.summary,
        "org.opencontainers.image.version": version,
        "provisioner.packages": " ".join(f"{key}={value}" for key, value in sorted(packages.items())),
    }
    if recipe.config:
        found[CONFIG_LABEL] = json.dumps(recipe.config, sort_keys=True, separators=(",", ":"))
    return {key: value for key, value in (found | recipe.labels).items() if value}


def publish(reference: str, made: Descriptor, store: Store) -> Descriptor:
    """Let ``reference`` name an index that holds ``made`` beside the images of the other platforms it had.

    Two processes that build for two platforms at once both find theirs in it.
    """
    while True:
        old = store.lookup(reference)
        known = _children(old, store)
        if old is not None and any((child.digest, child.platform) == (made.digest, made.platform) for child in known):
            return old
        others = [child for child in known
                  if child.platform not in (None, made.platform) and store.has(child.digest)]
        children = sorted([made, *others], key=lambda child: str(child.platform))
        index = store.put(manifest.index_json(children), INDEX)
        if store.tag_if(reference, index, was=old):
            return index


def _children(index: Descriptor | None, store: Store) -> list[Descriptor]:
    try:
        return [] if index is None else list(store.manifests(index))
    except NotFoundError:
        return []      # a half-pruned index: what is gone is built again when it is asked for
