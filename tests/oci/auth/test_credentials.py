"""Credentials from the files and helpers of other tools."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import InputError
from provisioner.oci.auth.credentials import Credentials, Finder

SECRET = "s3cret-canary"


def packed(user: str = "me", password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with a ``bin`` on the PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def helper(place: Path, name: str, body: str) -> None:
    """Install a credential helper: a shell script that notes how it was called."""
    program = place / "bin" / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {place}/argv\nread -r key\n{body}\n")
    program.chmod(0o755)


def finder(place: Path, **more: str) -> Finder:
    return Finder({"HOME": str(place), **more})


def test_docker_and_podman_files_in_order(place: Path) -> None:
    write(place / ".docker" / "config.json", {"auths": {"reg.example.com": packed("docker")}})
    assert finder(place).find("reg.example.com") == Credentials(
        "docker", SECRET, source=f"{place}/.docker/config.json (reg.example.com)")
    write(place / ".config" / "containers" / "auth.json", {"auths": {"reg.example.com": packed("config")}})
    write(place / "run" / "containers" / "auth.json", {"auths": {"reg.example.com": packed("runtime")}})
    write(place / "chosen.json", {"auths": {"reg.example.com": packed("chosen")}})
    users = [finder(place, **more).find("reg.example.com") for more in (
        {}, {"XDG_RUNTIME_DIR": f"{place}/run"}, {"REGISTRY_AUTH_FILE": f"{place}/chosen.json"},
        {"DOCKER_CONFIG": f"{place}/elsewhere"})]
    assert [found and found.user for found in users] == ["config", "runtime", "chosen", "config"]


def test_nothing_known(place: Path) -> None:
    assert finder(place).find("reg.example.com") is None
    write(place / ".docker" / "config.json", "")
    assert finder(place).find("reg.example.com") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io",
                                 "registry-1.docker.io", "https://registry-1.docker.io/v2/"])
def test_docker_hub_goes_by_many_names(place: Path, key: str) -> None:
    write(place / ".docker" / "config.json", {"auths": {key: packed()}})
    found = finder(place).find("docker.io", "library/x")
    assert found is not None
    assert (found.user, found.password) == ("me", SECRET)


@pytest.mark.parametrize("key", ["https://reg.example.com:5000/v1/", "http://reg.example.com:5000",
                                 "reg.example.com:5000/"])
def test_old_keys(place: Path, key: str) -> None:
    write(place / ".docker" / "config.json", {"auths": {key: packed()}})
    assert finder(place).find("reg.example.com:5000") is not None
    assert finder(place).find("reg.example.com") is None, "another port is another registry"


def test_the_most_specific_key_wins(place: Path) -> None:
    write(place / ".config/containers/auth.json", {"auths": {
        "quay.example.com": packed("all"), "quay.example.com/team": packed("team"),
        "quay.example.com/team/app": packed("app")}})
    found = [finder(place).find("quay.example.com", repository) for repository in
             ("team/app", "team/other", "teams/app", "")]
    assert [one and one.user for one in found] == ["app", "team", "all", "all"]


def test_other_forms_of_an_entry(place: Path) -> None:
    write(place / ".docker/config.json", {"auths": {
        "a.example.com": {"username": "u", "password": "p"}, "b.example.com": {"identitytoken": SECRET},
        "c.example.com": {}, "d.example.com": {"auth": base64.b64encode(b"u:p:q\0").decode()}}})
    find = finder(place).find
    a, b, d = find("a.example.com"), find("b.example.com"), find("d.example.com")
    assert (a and a.password, b and b.token, d and d.password) == ("p", SECRET, "p:q")
    assert find("c.example.com") is None


@pytest.mark.parametrize(("content", "why"), [("{", "no JSON"), ("[]", "no JSON object"),
                                              ({"auths": {"x": {"auth": "%%%"}}}, "no base64"),
                                              ({"auths": {"x": {"auth": "YWJj"}}}, "no colon")])
def test_broken_files_are_named(place: Path, content: Any, why: str) -> None:
    write(place / ".docker/config.json", content)
    with pytest.raises(InputError, match=why) as caught:
        finder(place).find("x")
    assert ".docker/config.json" in caught.value.message


def test_helpers_are_asked_by_docker_s_protocol(place: Path) -> None:
    helper(place, "test", f'echo "{{\\"Username\\":\\"$key\\",\\"Secret\\":\\"{SECRET}\\"}}"')
    write(place / ".docker/config.json", {"credHelpers": {"reg.example.com": "test"}})
    assert finder(place).find("reg.example.com") == Credentials("reg.example.com", SECRET,
                                                                source="docker-credential-test")
    assert finder(place).find("other.example.com") is None
    assert (place / "argv").read_text() == "get\n", "neither name nor secret is an argument"


def test_a_store_for_all(place: Path) -> None:
    helper(place, "all", 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"$key\\"}"')
    write(place / ".docker/config.json", {"credsStore": "all", "auths": {"docker.io": {}}})
    hub, other = finder(place).find("docker.io"), finder(place).find("reg.example.com")
    assert (hub and hub.token, other and other.token) == ("https://index.docker.io/v1/", "reg.example.com")


@pytest.mark.parametrize(("body", "problem"), [
    ("echo credentials not found in native keychain; exit 1", ""),
    ("echo locked; exit 1", "ended with 1"),
    ("echo nonsense", "no credential"),
    ("echo '[]'", "no credential"),
])
def test_helpers_that_fail_are_reported_not_fatal(place: Path, body: str, problem: str) -> None:
    helper(place, "test", body)
    write(place / ".docker/config.json", {"credsStore": "test"})
    looking = finder(place)
    assert looking.find("reg.example.com") is None
    assert problem in " ".join(looking.problems)
    assert bool(looking.problems) == bool(problem)


@pytest.mark.parametrize("name", ["absent", "../../bin/sh"])
def test_a_helper_that_is_not_installed_or_a_path(place: Path, name: str) -> None:
    write(place / ".docker/config.json", {"credsStore": name})
    looking = finder(place)
    assert looking.find("reg.example.com") is None
    assert len(looking.problems) == 1


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(Credentials("me", SECRET, SECRET))
    assert base64.b64decode(Credentials("me", SECRET).basic.removeprefix("Basic ")) == f"me:{SECRET}".encode()
