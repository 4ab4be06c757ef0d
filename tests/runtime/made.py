"""Images and entries for the tests of this room and of trees."""

from __future__ import annotations

import json
from typing import Any

from provisioner.model.oci import CONFIG_LABEL, MANIFEST, Descriptor, Image
from provisioner.model.platform import Platform
from provisioner.model.spec import ImageEntry
from provisioner.runtime import Bundle, bundle
from provisioner.runtime.choice import Choice
from provisioner.spec import parse, parse_label


def image(label: Any = None, **config: Any) -> Image:
    """Return an image without layers; ``label`` is data or text of its org.mobyproject.config."""
    if label is not None:
        config["Labels"] = {CONFIG_LABEL: label if isinstance(label, str) else json.dumps(label)}
    manifest = Descriptor(MANIFEST, "sha256:" + "0" * 64, 1)
    return Image("acme/app:1", Platform("amd64"), manifest, (), {"config": config})


def entry(text: str = "") -> ImageEntry:
    """Return the entry ``app`` with further keys in YAML flow."""
    return parse(f"services: [{{name: app, image: x{', ' if text else ''}{text}}}]", file="f.yml").services[0]


def bundled(text: str = "", label: Any = None, **config: Any) -> Bundle:
    """Return the bundle of ``entry(text)`` and ``image(label, …)``."""
    return bundle(entry(text), image(label, **config), ids={"app": 100, "web": 101},
                  volumes={"data": "/containers/volumes/data/merged"})


def choice(text: str = "", label: Any = None) -> Choice:
    """Return the choice between an entry and a label."""
    return Choice(entry(text), parse_label(json.dumps(label or {}), file="label"))
