"""Small images made with the standard library alone, so that our writers never vouch for our readers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker.distribution.manifest."


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Return a tar with these files, as any tool would write it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def layer(seed: str, size: int = 1000) -> bytes:
    """Return a layer whose one file has ``size`` bytes that do not compress well."""
    body = b"".join(hashlib.sha256(f"{seed}{i}".encode()).digest() for i in range(size // 32 + 1))[:size]
    return tar_of({f"data/{seed}": body})


@dataclass
class Images:
    """Blobs, and named manifests or indexes over them."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    tops: list[dict[str, Any]] = field(default_factory=list)

    def put(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def config(self, architecture: str, layers: Sequence[bytes], **inner: Any) -> bytes:
        return json.dumps({"architecture": architecture, "os": "linux", "config": inner,
                           "rootfs": {"type": "layers", "diff_ids": [digest_of(x) for x in layers]}}).encode()

    def manifest(self, architecture: str = "amd64", layers: Sequence[bytes] = (), *, docker: bool = False,
                 compress: bool = True, **inner: Any) -> dict[str, Any]:
        """Add one platform's image and return its descriptor with platform."""
        packed = [gzip.compress(x, mtime=0) if compress else x for x in layers]
        kind = OCI + "layer.v1.tar" + ("+gzip" if compress else "")
        if docker:
            kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        config = self.put(self.config(architecture, layers, **inner),
                          "application/vnd.docker.container.image.v1+json" if docker else OCI + "config.v1+json")
        media_type = DOCKER + "v2+json" if docker else OCI + "manifest.v1+json"
        body = json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config,
                           "layers": [self.put(x, kind) for x in packed]}).encode()
        return self.put(body, media_type) | {"platform": {"architecture": architecture, "os": "linux"}}

    def index(self, manifests: Sequence[dict[str, Any]], *, docker: bool = False) -> dict[str, Any]:
        media_type = DOCKER + "list.v2+json" if docker else OCI + "index.v1+json"
        return self.put(json.dumps({"schemaVersion": 2, "mediaType": media_type,
                                    "manifests": list(manifests)}).encode(), media_type)

    def name(self, descriptor: dict[str, Any], name: str, *, containerd: bool = True) -> dict[str, Any]:
        """Give a manifest or index a name in the layout's index."""
        notes = {"org.opencontainers.image.ref.name": name}
        if containerd:
            notes["io.containerd.image.name"] = name
        self.tops.append(descriptor | {"annotations": notes})
        return descriptor

    @property
    def index_json(self) -> bytes:
        return json.dumps({"schemaVersion": 2, "manifests": self.tops}).encode()

    def files(self) -> dict[str, bytes]:
        """Return the layout as files by path."""
        found = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": self.index_json}
        return found | {f"blobs/sha256/{digest[7:]}": data for digest, data in self.blobs.items()}

    def write(self, folder: Path) -> Path:
        """Write the layout as a directory."""
        for name, data in self.files().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

    def archive(self, path: Path) -> Path:
        """Write the layout as a tar."""
        path.write_bytes(tar_of(self.files()))
        return path


def docker_save(rows: Sequence[tuple[Sequence[str], str, Sequence[bytes]]], *, legacy: bool = True) -> bytes:
    """Return what ``docker save`` writes for images given as (tags, architecture, layers).

    ``legacy`` is the form before Docker 25: a folder per layer, repeated layers as symlinks.
    """
    out, listed, seen = io.BytesIO(), [], dict[str, str]()
    with tarfile.open(fileobj=out, mode="w") as archive:
        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

        for number, (tags, architecture, layers) in enumerate(rows):
            config = Images().config(architecture, layers)
            paths = []
            for position, body in enumerate(layers):
                digest = digest_of(body)[7:]
                path = f"{number}-{position}/layer.tar" if legacy else f"{digest}.tar"
                paths.append(path)
                if legacy and digest in seen:
                    link = tarfile.TarInfo(path)
                    link.type, link.linkname = tarfile.SYMTYPE, f"../{seen[digest]}"
                    archive.addfile(link)
                elif path not in seen.values():
                    add(path, body)
                    seen[digest] = path
                if legacy:
                    add(f"{number}-{position}/VERSION", b"1.0")
                    add(f"{number}-{position}/json", b"{}")
            name = f"{digest_of(config)[7:]}.json"
            add(name, config)
            listed.append({"Config": name, "RepoTags": list(tags) or None, "Layers": paths})
        add("manifest.json", json.dumps(listed).encode())
    return out.getvalue()
