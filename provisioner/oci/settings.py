"""What the user says about registries: mirrors, plain http, and who may issue tokens.

``registries.yml`` in the configuration directory::

    mirrors:
      docker.io: [https://mirror.example.com]      # tried in order, then the registry itself
      "*": [https://cache.example.com/hub]         # for every registry without mirrors of its own
    insecure: [registry.lan:5000]                  # may speak plain http; loopback hosts may anyway
    tokens: [login.example.com]                    # may issue tokens for registries of other domains

``PROVISIONER_MIRROR`` and ``--mirror`` add ``[REGISTRY=]URL``; they come before the file's. A mirror's URL starts
with https:// or, when plain http is meant, http://.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from provisioner import data, yamlfile
from provisioner.errors import UsageError
from provisioner.http import is_loopback
from provisioner.oci.reference import DOCKER_HUB

ANY = "*"
_HUB_ALIASES = ("index.docker.io", "registry-1.docker.io")


class _File(BaseModel):
    """The content of ``registries.yml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    mirrors: dict[str, list[str]] = Field(default_factory=dict)
    insecure: list[str] = Field(default_factory=list)
    tokens: list[str] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settings:
    """Mirrors by registry (``*`` for all others), registries without TLS, trusted issuers of tokens."""

    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    insecure: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()

    @classmethod
    def load(cls, mirrors: Iterable[str] = ()) -> Settings:
        """Read the user's file, ``PROVISIONER_MIRROR`` and the ``--mirror`` options given here.

        Raises InputError for the file, UsageError for a mirror that is no URL.
        """
        path = data.config_dir() / "registries.yml"
        file = yamlfile.load_file(path, _File) if path.exists() else _File()
        listed = os.environ.get("PROVISIONER_MIRROR", "").replace(",", " ").split()
        settings = cls({_registry(name): tuple(map(check_url, urls)) for name, urls in file.mirrors.items()},
                       frozenset(file.insecure), frozenset(file.tokens))
        return settings.with_mirrors(listed).with_mirrors(mirrors)

    def with_mirrors(self, options: Iterable[str]) -> Settings:
        """Put ``[REGISTRY=]URL`` options before the mirrors known so far."""
        added: dict[str, tuple[str, ...]] = {}
        for option in options:
            name, equals, url = option.partition("=")
            if not equals or "://" in name:
                name, url = ANY, option
            key = _registry(name)
            added[key] = (*added.get(key, ()), check_url(url))
        merged = {key: (*added.get(key, ()), *self.mirrors.get(key, ())) for key in {*added, *self.mirrors}}
        return Settings(merged, self.insecure, self.tokens)

    def endpoints(self, registry: str) -> tuple[str, ...]:
        """Return the base URLs to ask for a registry's images, in order; ``auto://`` leaves https or http open."""
        host = "registry-1.docker.io" if registry == DOCKER_HUB else registry
        open_ = registry in self.insecure or is_loopback(f"http://{registry}")
        own = f"{'auto' if open_ else 'https'}://{host}"
        return (*self.mirrors.get(registry, self.mirrors.get(ANY, ())), own)


def check_url(url: str) -> str:
    """Return a mirror's URL without trailing slash; raise UsageError when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment or "@" in url:
        raise UsageError(f"{url!r} is no mirror", hint="[REGISTRY=]https://HOST[:PORT][/PATH], or http:// if that is "
                         "meant; credentials belong in docker's or podman's configuration")
    return url.rstrip("/")


def _registry(name: str) -> str:
    return DOCKER_HUB if name in _HUB_ALIASES else name
