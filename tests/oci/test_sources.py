"""Where images come from, by the form of their name; the ways themselves have tests of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.errors import InputError, NetworkError, NotFoundError
from provisioner.model.event import Event
from provisioner.model.platform import Platform
from provisioner.oci.archive import ingest
from provisioner.oci.layout import named_images
from provisioner.oci.sources import fetch
from provisioner.oci.store import PlatformError, Store
from tests.fakes.faults import Answer, serving
from tests.fakes.images import Images, docker_save, layer
from tests.fakes.registry import fake

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


def tagged(store: Store) -> Store:
    made = Images()
    made.name(made.index([made.manifest("amd64", [layer("x")])]), "docker.io/acme/x:1")
    made.name(made.manifest("amd64", [layer("x")], docker=True), "docker.io/acme/alone:1")
    path = made.archive(store.root.parent / "x.tar")
    with path.open("rb") as file:
        store.tag_all(named_images(ingest(file, store, "x.tar"), "", "x.tar"))
    return store


def test_an_image_that_is_here_needs_no_network(store: Store) -> None:
    assert tagged(store).complete(fetch("acme/x:1", AMD64, store), AMD64)


def test_the_wrong_platform_of_it_says_so_without_asking(store: Store) -> None:
    with pytest.raises(PlatformError, match=r"acme/x:1 has no image for linux/arm64; it has linux/amd64") as caught:
        fetch("acme/x:1", ARM64, tagged(store))
    assert "--pull" in caught.value.hint


def test_an_imported_image_that_stands_alone_is_used_with_a_warning(store: Store) -> None:
    events: list[Event] = []
    tagged(store)
    fetch("acme/alone:1", AMD64, store, sink=events.append)
    assert events == []
    found = fetch("acme/alone:1", ARM64, store, sink=events.append)
    assert store.image(found, ARM64).platform == AMD64
    assert [event.stage for event in events] == ["warning"]
    assert "image for linux/amd64 is used for linux/arm64" in events[0].detail


def test_a_pulled_image_that_stands_alone_serves_its_own_platform_only(store: Store) -> None:
    made = Images()
    made.name(made.manifest("amd64", [layer("x")]), "x")
    with serving(fake(made)) as server:
        name = f"{server.host}/x:1"
        for _ in range(2):
            assert store.complete(fetch(name, AMD64, store), AMD64)
            with pytest.raises(PlatformError, match="has no image for linux/arm64; it has linux/amd64"):
                fetch(name, ARM64, store)


def test_a_blob_that_went_bad_is_fetched_anew(store: Store) -> None:
    made = Images()
    made.name(made.manifest("amd64", [layer("x")]), "x")
    with serving(fake(made)) as server:
        name = f"{server.host}/x:1"
        top = fetch(name, AMD64, store)
        bad = store.path(store.image(top, AMD64).manifest.digest)
        bad.write_bytes(bad.read_bytes()[:-1] + b"!")
        assert store.complete(fetch(name, AMD64, store), AMD64)


def test_names_that_are_none(store: Store) -> None:
    with pytest.raises(InputError, match="no image reference"):
        fetch("FOO bar", AMD64, store)


def test_offline_the_error_says_what_helps(store: Store) -> None:
    with serving(lambda _: Answer()) as server:
        host = server.host
    with pytest.raises(NetworkError, match=f"cannot pull {host}/x:1: cannot reach .*refused") as caught:
        fetch(f"{host}/x:1", AMD64, store)
    assert caught.value.exit_code == 7


def test_relative_paths(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.tar").write_bytes(docker_save([(["x:1"], "amd64", [layer("a")])]))
    assert store.complete(fetch("docker-archive:x.tar", AMD64, store), AMD64)
    with pytest.raises(NotFoundError):
        fetch("docker-archive:y.tar", AMD64, store)


PULL = """
import sys
from pathlib import Path
from provisioner.model.event import Event
from provisioner.model.platform import Platform
from provisioner.oci.archive import ingest
from provisioner.oci.layout import named_images
from provisioner.oci.sources import fetch
from provisioner.oci.store import Store

store = Store(Path(sys.argv[1]))
print(store.complete(fetch(sys.argv[2], Platform("amd64"), store), Platform("amd64")))
"""


@pytest.mark.tool
def test_eight_processes_fetch_each_blob_once_while_another_prunes(tmp_path: Path) -> None:
    made = Images()
    made.name(made.manifest("amd64", [layer(f"x{number}", 200_000) for number in range(5)]), "x")
    with serving(fake(made)) as server:
        children = [subprocess.Popen([sys.executable, "-c", PULL, str(tmp_path / "store"), f"{server.host}/x:1"],
                                     stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) for _ in range(8)]
        while any(child.poll() is None for child in children):
            assert Store(tmp_path / "store").prune().blobs == ()
        said = [child.communicate()[0].strip() for child in children]
        asked = [request.path for request in server.requests if "/blobs/" in request.path]
    assert said == [b"True"] * 8
    assert len(asked) == len(set(asked)) == 6


@pytest.mark.tool
def test_a_killed_pull_is_taken_up_again(tmp_path: Path) -> None:
    """SIGKILL in the middle of a blob; the next run asks for the rest of it and ends with the same image."""
    made = Images()
    made.name(made.manifest("amd64", [layer("large", 600_000)]), "x")
    with serving(fake(made)) as server:
        large = max(made.blobs, key=lambda digest: len(made.blobs[digest]))
        served = server.script
        command = [sys.executable, "-c", PULL, str(tmp_path / "store"), f"{server.host}/x:1"]
        child = subprocess.Popen(command, cwd=Path(__file__).parents[2])

        def script(request: object) -> Answer:
            answer = served(request)  # type: ignore[arg-type]  # the server's own request
            if str(getattr(request, "path", "")).endswith(large):
                if answer.status == 200:
                    return Answer(200, answer.body, cut=250_000)
                child.kill()
                return Answer(503)
            return answer

        server.script = script
        child.wait()
        assert child.returncode == -9
        part, = (tmp_path / "store" / "ingest").iterdir()
        server.script = served
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=False)
        assert done.stdout.strip() == b"True", done.stderr
        again = [r.headers.get("range") for r in server.requests if r.path.endswith(large)][-1]
    assert again is not None
    assert 0 < int(again[6:-1]) <= 250_000
    assert not part.exists()
