"""Registries: Debian's, with and without a password, and one that misbehaves."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import AuthError, DigestError, NetworkError, NotFoundError
from provisioner.http import Client
from provisioner.model.event import Event
from provisioner.model.platform import Platform
from provisioner.oci.auth.credentials import Finder
from provisioner.oci.manifest import PULLED, ManifestError
from provisioner.oci.reference import Reference
from provisioner.oci.registry import Registry
from provisioner.oci.settings import Settings
from provisioner.oci.sources import fetch
from provisioner.oci.store import PlatformError, Store
from tests.fakes.faults import Answer, FaultServer, Request, serving
from tests.fakes.images import Images, digest_of, layer
from tests.fakes.registry import PASSWORD, USER, FakeRegistry, debian_registry, fake

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


def images(*, size: int = 20_000) -> Images:
    made = Images()
    children = [made.manifest(arch, [layer(arch, size), layer("common")], Cmd=[arch]) for arch in ("amd64", "arm64")]
    made.name(made.index(children), "docker.io/team/app:1")
    return made


def blobs_of(made: Images, platform: Platform) -> list[str]:
    """Return the layer digests of a platform, read by hand."""
    top = json.loads(made.blobs[made.tops[0]["digest"]])
    child = next(m for m in top["manifests"] if m["platform"]["architecture"] == platform.architecture)
    return [part["digest"] for part in json.loads(made.blobs[child["digest"]])["layers"]]


def log_in(home: Path, registry: str) -> None:
    packed = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {registry: {"auth": packed}}}))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(fake(images())) as made:
        yield made


def script(server: FaultServer) -> FakeRegistry:
    assert isinstance(server.script, FakeRegistry)
    return server.script


def test_one_platform_is_fetched_and_no_more(server: FaultServer, store: Store) -> None:
    made = script(server).images
    top = fetch(f"{server.host}/team/app:1", ARM64, store)
    assert top.digest == made.tops[0]["digest"]
    assert store.image(top, ARM64).process["Cmd"] == ["arm64"]
    assert store.lookup(f"{server.host}/team/app:1") == replace(top, annotations=(PULLED,))
    asked = [request.path.rpartition("/")[2] for request in server.requests]
    assert set(blobs_of(made, ARM64)) <= set(asked)
    assert not set(blobs_of(made, AMD64)[:1]) & set(asked)


def test_what_the_store_has_is_not_asked_for(server: FaultServer, store: Store) -> None:
    name = f"{server.host}/team/app:1"
    fetch(name, ARM64, store)
    before = len(server.requests)
    fetch(name, ARM64, store)
    assert len(server.requests) == before
    fetch(name, ARM64, store, pull=True)
    again = [r.path for r in server.requests[before:] if "/blobs/" in r.path]
    assert again == []


def test_another_platform_of_the_very_same_version(server: FaultServer, store: Store) -> None:
    name = f"{server.host}/team/app:1"
    top = fetch(name, AMD64, store)
    script(server).tags["1"] = "sha256:" + "0" * 64  # the tag has moved on meanwhile
    assert fetch(name, ARM64, store) == top
    assert store.complete(top, ARM64)


def test_an_image_by_digest(server: FaultServer, store: Store) -> None:
    digest = script(server).images.tops[0]["digest"]
    top = fetch(f"{server.host}/team/app@{digest}", AMD64, store)
    assert top.digest == digest
    assert store.lookup(f"{server.host}/team/app@{digest}") == replace(top, annotations=(PULLED,))


def test_docker_media_types(store: Store) -> None:
    made = Images()
    made.name(made.index([made.manifest("amd64", [layer("x")], docker=True)], docker=True), "x")
    with serving(fake(made)) as server:
        top = fetch(f"{server.host}/x:1", AMD64, store)
    assert len(store.image(top, AMD64).layers) == 1


def test_a_single_manifest_of_another_platform(store: Store) -> None:
    made = Images()
    made.name(made.manifest("arm64", [layer("x")]), "x")
    with serving(fake(made)) as server:
        with pytest.raises(PlatformError, match="has no image for linux/amd64; it has linux/arm64"):
            fetch(f"{server.host}/x:1", AMD64, store)
        assert not any("/blobs/" + digest_of(made.blobs[d]) in r.path for d in blobs_of_single(made)
                       for r in server.requests), "no layer is fetched for nothing"


def blobs_of_single(made: Images) -> list[str]:
    return [part["digest"] for part in json.loads(made.blobs[made.tops[0]["digest"]])["layers"]]


def test_a_platform_nobody_has(server: FaultServer, store: Store) -> None:
    with pytest.raises(PlatformError, match="it has linux/amd64, linux/arm64"):
        fetch(f"{server.host}/team/app:1", Platform("s390x"), store)


def test_no_such_image(server: FaultServer, store: Store) -> None:
    with pytest.raises(NotFoundError, match="has no image team/app with tag 9"):
        fetch(f"{server.host}/team/app:9", AMD64, store)


def test_a_blob_is_resumed_however_often_it_breaks(store: Store) -> None:
    made = images(size=400_000)
    with serving(fake(made)) as server:
        script(server).cut_every = 60_000
        events: list[Event] = []
        top = fetch(f"{server.host}/team/app:1", AMD64, store, sink=events.append)
    assert store.complete(top, AMD64)
    large = blobs_of(made, AMD64)[0]
    ranges = [r.headers.get("range", "") for r in server.requests if r.path.endswith(large)]
    assert ranges[0] == ""
    assert len(ranges) > 5
    assert all(ranges[1:]), "every further attempt asks for the rest only"
    assert any(event.stage == "retry" for event in events)


def test_an_interrupted_pull_goes_on_in_the_next_run(store: Store) -> None:
    made = images(size=400_000)
    large = blobs_of(made, AMD64)[0]
    with serving(fake(made)) as server:
        body = made.blobs[large]
        script(server).faults[large] = [Answer(200, body, cut=150_000), Answer(404)]
        with pytest.raises(NotFoundError):
            fetch(f"{server.host}/team/app:1", AMD64, store)
        kept = (store.root / "ingest" / f"sha256-{large[7:]}.part").stat().st_size
        fetch(f"{server.host}/team/app:1", AMD64, Store(store.root))
        last = [r for r in server.requests if r.path.endswith(large)][-1]
    assert 0 < kept <= 150_000
    assert last.headers["range"] == f"bytes={kept}-"


@pytest.mark.parametrize("answers", [[Answer(503)], [Answer(429, headers={"Retry-After": "0"})], [Answer(500)] * 2])
def test_passing_troubles(store: Store, answers: list[Answer]) -> None:
    made = images()
    with serving(fake(made)) as server:
        script(server).faults[made.tops[0]["digest"]] = list(answers)
        fetch(f"{server.host}/team/app:1", AMD64, store)


@pytest.mark.parametrize("change", [lambda b: b[:-1] + b"!", lambda b: b"!" + b[1:]])
def test_a_wrong_blob_once_is_fetched_again(store: Store, change: object) -> None:
    made = images()
    bad = blobs_of(made, AMD64)[0]
    assert callable(change)
    with serving(fake(made)) as server:
        script(server).faults[bad] = [Answer(200, change(made.blobs[bad]))]
        top = fetch(f"{server.host}/team/app:1", AMD64, store)
    assert store.complete(top, AMD64)


@pytest.mark.parametrize("wrong", [b"!", b""])
def test_a_wrong_blob_always_is_an_error(store: Store, wrong: bytes) -> None:
    made = images()
    bad = blobs_of(made, AMD64)[0]
    body = wrong + made.blobs[bad][len(wrong):] if wrong else made.blobs[bad] + b"more"
    with serving(fake(made)) as server:
        script(server).faults[bad] = [Answer(200, body)] * 9
        with pytest.raises(DigestError, match=bad):
            fetch(f"{server.host}/team/app:1", AMD64, store)
    assert not store.has(bad)
    assert store.lookup(f"{server.host}/team/app:1") is None
    assert list((store.root / "ingest").iterdir()) == []


def test_a_truncated_blob_that_never_grows(store: Store) -> None:
    made = images()
    bad = blobs_of(made, AMD64)[0]
    short = len(made.blobs[bad]) - 5
    with serving(fake(made)) as server, Client(wait=lambda _: None) as client:
        script(server).faults[bad] = [Answer(200, made.blobs[bad][:short])] + [Answer(416)] * 9
        registry = Registry(Reference.parse(f"{server.host}/team/app:1"), server.url, client, Settings(), Finder())
        registry.resolve()
        with pytest.raises(NetworkError), store.writer(None) as out:
            client.download(f"{server.url}/v2/team/app/blobs/{bad}", out.write, size=short + 5)


def test_manifests_that_are_not_what_was_asked_for(store: Store) -> None:
    made = images()
    digest = made.tops[0]["digest"]
    other = made.index([])
    with serving(fake(made)) as server:
        name = f"{server.host}/team/app"
        script(server).tags[digest] = other["digest"]
        with pytest.raises(DigestError, match=f"asked for {digest} and sent {other['digest']}"):
            fetch(f"{name}@{digest}", AMD64, store)
        del script(server).tags[digest]
        script(server).headers = {"Docker-Content-Digest": other["digest"]}
        with pytest.raises(DigestError):
            fetch(f"{name}:1", AMD64, store)


@pytest.mark.parametrize(("content_type", "why"), [
    ("application/vnd.oci.image.manifest.v1+json", "announced as"), ("application/json", "media type"),
    ("", "media type"), ("text/html", "media type")])
def test_a_content_type_that_says_otherwise(store: Store, content_type: str, why: str) -> None:
    made = images()
    with serving(fake(made)) as server:
        script(server).content_types[made.tops[0]["digest"]] = content_type
        with pytest.raises(ManifestError, match=why):
            fetch(f"{server.host}/team/app:1", AMD64, store)


def test_a_content_type_with_a_charset_is_fine(store: Store) -> None:
    made = images()
    with serving(fake(made)) as server:
        script(server).content_types[made.tops[0]["digest"]] = made.tops[0]["mediaType"] + "; charset=utf-8"
        fetch(f"{server.host}/team/app:1", AMD64, store)


def test_a_huge_manifest_is_not_read(store: Store) -> None:
    made = images()
    with serving(fake(made)) as server:
        script(server).faults[made.tops[0]["digest"]] = [Answer(200, b" " * (5 << 20))]
        with pytest.raises(NetworkError, match="more than"):
            fetch(f"{server.host}/team/app:1", AMD64, store)


def test_layer_urls_are_ignored(store: Store) -> None:
    made = Images()
    with serving(lambda _: Answer(200, b"evil")) as elsewhere:
        child = made.manifest("amd64", [layer("x")])
        raw = json.loads(made.blobs.pop(child["digest"]))
        raw["layers"][0]["urls"] = [f"{elsewhere.url}/blob"]
        made.name(made.put(json.dumps(raw).encode(), child["mediaType"]), "x")
        with serving(fake(made)) as server:
            top = fetch(f"{server.host}/x:1", AMD64, store)
        assert store.complete(top, AMD64)
        assert elsewhere.requests == []


def test_blobs_from_elsewhere_come_without_our_password(store: Store, tmp_path: Path) -> None:
    made = images()
    with serving(lambda r: Answer(200, made.blobs[r.path[1:]])) as cdn:
        registry = fake(made)

        def moved(request: Request) -> Answer:
            answer = registry(request)
            if "/blobs/" in request.path and answer.status == 200:
                return Answer(307, headers={"Location": f"{cdn.url}/{request.path.rpartition('/')[2]}"})
            return answer

        with serving(moved) as server:
            registry.token_service = f"{server.url}/token"
            log_in(tmp_path / "home", server.host)
            fetch(f"{server.host}/team/app:1", AMD64, store)
    assert cdn.requests
    assert not any("authorization" in request.headers for request in cdn.requests)
    assert any("authorization" in request.headers for request in server.requests)


def test_a_host_we_were_led_to_may_not_ask_for_our_password(store: Store, tmp_path: Path) -> None:
    made = images()
    with serving(lambda _: Answer(401, headers={"WWW-Authenticate": "Basic"})) as trap, \
            serving(lambda _: Answer(307, headers={"Location": trap.url})) as server:
        log_in(tmp_path / "home", server.host)
        with pytest.raises(AuthError):
            fetch(f"{server.host}/team/app:1", AMD64, store)
    assert made
    assert not any("authorization" in request.headers for request in trap.requests)


@pytest.mark.parametrize("uses", [1, 2, 1000])
def test_tokens_that_run_out_are_renewed(server: FaultServer, store: Store, tmp_path: Path, uses: int) -> None:
    script(server).token_service, script(server).token_uses = f"{server.url}/token", uses
    log_in(tmp_path / "home", server.host)
    fetch(f"{server.host}/team/app:1", AMD64, store)
    tokens = [r for r in server.requests if r.path.startswith("/token")]
    assert len(tokens) == 1 if uses == 1000 else len(tokens) > 1


def test_a_token_that_runs_out_in_the_middle_of_a_blob(store: Store, tmp_path: Path) -> None:
    made = images(size=400_000)
    with serving(fake(made)) as server:
        script(server).cut_every, script(server).token_uses = 60_000, 2
        script(server).token_service = f"{server.url}/token"
        log_in(tmp_path / "home", server.host)
        top = fetch(f"{server.host}/team/app:1", AMD64, store)
    assert store.complete(top, AMD64)


def test_a_public_image_needs_no_user(server: FaultServer, store: Store) -> None:
    script(server).token_service, script(server).anonymous = f"{server.url}/token", True
    fetch(f"{server.host}/team/app:1", AMD64, store)


def test_without_a_password_the_error_says_how_to_log_in(server: FaultServer, store: Store) -> None:
    script(server).token_service = f"{server.url}/token"
    with pytest.raises(AuthError) as caught:
        fetch(f"{server.host}/team/app:1", AMD64, store)
    assert f"docker login {server.host}" in caught.value.hint
    assert caught.value.exit_code == 5


def test_a_helper_that_is_missing_is_part_of_the_advice(server: FaultServer, store: Store, tmp_path: Path) -> None:
    script(server).token_service = f"{server.url}/token"
    (tmp_path / "home" / ".docker").mkdir()
    (tmp_path / "home" / ".docker" / "config.json").write_text('{"credsStore":"absent"}')
    with pytest.raises(AuthError) as caught:
        fetch(f"{server.host}/team/app:1", AMD64, store)
    assert "docker-credential-absent is not installed" in caught.value.hint


def test_a_mirror_is_asked_first_and_then_the_registry(server: FaultServer, store: Store) -> None:
    made = script(server).images
    events: list[Event] = []
    name = f"{server.host}/team/app:1"
    with serving(fake(made)) as mirror:
        settings = Settings().with_mirrors([f"{server.host}={mirror.url}/path"])
        fetch(name, AMD64, store, settings=settings)
        assert server.requests == []
        assert mirror.requests[0].path == "/path/v2/team/app/manifests/1"
        script(mirror).tags.clear()
        fetch(name, AMD64, store, pull=True, settings=settings, sink=events.append)
    assert server.requests
    assert [event.stage for event in events] == ["mirror-failed"]


def test_a_mirror_that_lies_is_passed_over(server: FaultServer, store: Store) -> None:
    with serving(lambda _: Answer(200, b"<html>", {"Content-Type": "text/html"})) as mirror:
        settings = Settings().with_mirrors([mirror.url])
        top = fetch(f"{server.host}/team/app:1", AMD64, store, settings=settings)
    assert store.complete(top, AMD64)


def skopeo(*words: str) -> bytes:
    done = subprocess.run(["skopeo", *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.tool
@pytest.mark.parametrize("password", [False, True])
def test_debian_s_registry_filled_and_read_by_skopeo(tmp_path: Path, store: Store, password: bool) -> None:
    made = images(size=300_000)
    layout = made.write(tmp_path / "layout")
    creds = ["--dest-creds", f"{USER}:{PASSWORD}"] if password else []
    with debian_registry(tmp_path, password=password) as registry:
        name = f"{registry}/team/app:1"
        skopeo("copy", "--all", "--dest-tls-verify=false", *creds, f"oci:{layout}:docker.io/team/app:1",
               f"docker://{name}")
        if password:
            with pytest.raises(AuthError, match="wants a user"):
                fetch(name, ARM64, store)
            log_in(tmp_path / "home", registry)
        for platform in (ARM64, AMD64):
            top = fetch(name, platform, store)
            assert store.image(top, platform).process["Cmd"] == [platform.architecture]
        with pytest.raises(NotFoundError, match="tag absent"):
            fetch(f"{registry}/team/app:absent", AMD64, store)
    assert top.digest == made.tops[0]["digest"]
    for arch in ("amd64", "arm64"):
        seen = json.loads(skopeo("--override-arch", arch, "inspect", f"oci:{store.root}:{name}"))
        assert (seen["Architecture"], len(seen["Layers"])) == (arch, 2)
    skopeo("copy", "--all", f"oci:{store.root}:{name}", f"oci:{tmp_path / 'out'}:x")


@pytest.mark.tool
def test_a_registry_with_tls_of_a_private_authority(tmp_path: Path, store: Store,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    made = images()
    layout = made.write(tmp_path / "layout")
    with debian_registry(tmp_path, tls=(certificate, key)) as registry:
        skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{layout}:docker.io/team/app:1",
               f"docker://{registry}/team/app:1")
        with pytest.raises(NetworkError):
            fetch(f"{registry}/team/app:1", AMD64, store, settings=Settings({registry: (f"https://{registry}",)}))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        top = fetch(f"{registry}/team/app:1", AMD64, store)
    assert store.complete(top, AMD64)
