"""Find a registry's credentials where Docker, Podman and skopeo keep them.

Files, first match wins: ``$REGISTRY_AUTH_FILE``, ``$XDG_RUNTIME_DIR/containers/auth.json``,
``$XDG_CONFIG_HOME/containers/auth.json``, ``$DOCKER_CONFIG/config.json`` (default ``~/.docker``). Formats:
containers-auth.json(5) and Docker's ``config.json``: ``auths``, ``credHelpers``, ``credsStore``. Helpers are the
programs ``docker-credential-NAME``; names and secrets go through pipes, never through arguments. Secrets are kept
out of every ``repr`` and message.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner import process
from provisioner.errors import InputError, NotFoundError, ProvisionerError
from provisioner.oci.reference import DOCKER_HUB

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_HELPER_SECONDS = 30.0
_TOKEN_USER = "<token>"  # noqa: S105 - the user name by which a helper says that it returns a token


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with a password, or an identity token; ``source`` says where they were found."""

    user: str
    password: str = field(repr=False, default="")
    token: str = field(repr=False, default="")
    source: str = ""

    @property
    def basic(self) -> str:
        """The Authorization header of RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Finder:
    """Looks credentials up; ``problems`` collects why a place that should have had them did not give them."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self.problems: list[str] = []

    def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return credentials for a registry host (with port), the most specific key first; None when there are none.

        Raises InputError when a configuration file is no JSON.
        """
        for path in self._files():
            config = self._load(path)
            if config is not None and (found := self._from_file(config, path, registry, repository)):
                return found
        return None

    def _files(self) -> Iterator[Path]:
        env = self._environment
        home = Path(env.get("HOME") or Path.home())
        if chosen := env.get("REGISTRY_AUTH_FILE"):
            yield Path(chosen)
        if runtime := env.get("XDG_RUNTIME_DIR"):
            yield Path(runtime) / "containers" / "auth.json"
        yield Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"
        yield Path(env.get("DOCKER_CONFIG") or home / ".docker") / "config.json"

    def _load(self, path: Path) -> dict[str, Any] | None:
        try:
            raw = json.loads(path.read_bytes() or b"{}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.problems.append(f"cannot read {path}: {error.strerror}")
            return None
        except ValueError as error:
            raise InputError(f"{path} is no JSON: {error}", hint="it holds registry credentials; mend or remove it") \
                from error
        if not isinstance(raw, dict):
            raise InputError(f"{path} is no JSON object", hint="it holds registry credentials; mend or remove it")
        return raw

    def _from_file(self, config: Mapping[str, Any], path: Path, registry: str,
                   repository: str) -> Credentials | None:
        helpers = _object(config, "credHelpers")
        auths = {_normal(key): value for key, value in _object(config, "auths").items()}
        for key in _keys(registry, repository):
            if helper := helpers.get(key):
                return self._ask(str(helper), key)
            entry = auths.get(key)
            if isinstance(entry, dict) and (found := _entry(entry, f"{path} ({key})")):
                return found
        if store := config.get("credsStore"):
            key = _HUB_KEY if registry in _HUB_HOSTS else registry
            return self._ask(str(store), key)
        return None

    def _ask(self, helper: str, key: str) -> Credentials | None:
        """Run a helper by Docker's protocol: the key on its input, JSON or an error text on its output."""
        program = f"docker-credential-{helper}"
        if "/" in helper:
            self.problems.append(f"the credential helper {helper!r} is a path; a name was expected")
            return None
        try:
            answer = process.run([program, "get"], stdin=key.encode(), check=False, timeout=_HELPER_SECONDS)
        except NotFoundError:
            self.problems.append(f"the credential helper {program} is not installed")
            return None
        except ProvisionerError as error:
            self.problems.append(f"the credential helper {program} failed: {error.message}")
            return None
        if answer.returncode:
            if b"not found" not in answer.stdout:
                self.problems.append(f"the credential helper {program} ended with {answer.returncode}")
            return None
        try:
            raw = json.loads(answer.stdout)
            user, secret = str(raw["Username"]), str(raw["Secret"])
        except (ValueError, KeyError, TypeError):
            self.problems.append(f"the credential helper {program} answered what is no credential")
            return None
        if user == _TOKEN_USER:
            return Credentials("", token=secret, source=program)
        return Credentials(user, secret, source=program)


def _keys(registry: str, repository: str) -> Iterator[str]:
    hosts = _HUB_HOSTS if registry in _HUB_HOSTS else (registry,)
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        for host in hosts:
            yield "/".join([host, *parts[:count]])
    yield from hosts


def _normal(key: str) -> str:
    """Strip what old Docker versions put around a host: ``https://host/v1/``."""
    host = key.removeprefix("https://").removeprefix("http://")
    return host.rstrip("/").removesuffix("/v1").removesuffix("/v2")


def _entry(entry: Mapping[str, Any], where: str) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials("", token=str(token), source=where)
    if entry.get("username") and entry.get("password"):
        return Credentials(str(entry["username"]), str(entry["password"]), source=where)
    packed = entry.get("auth")
    if not packed:
        return None  # an empty entry says that a credential store has it
    try:
        user, colon, password = base64.b64decode(str(packed), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InputError(f"{where}: 'auth' is no base64 text", hint="log in again with docker or podman") from error
    if not colon:
        raise InputError(f"{where}: 'auth' has no colon", hint="log in again with docker or podman")
    return Credentials(user, password.rstrip("\0"), source=where)


def _object(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}
