"""Names, keys and small entries."""

from __future__ import annotations

import pytest

from provisioner.errors import NotFoundError
from provisioner.tree.sources import Chunks, ancestors, cache_key, full_name
from tests.tree.made import Shelf, lines


@pytest.mark.parametrize(("written", "full"), [
    ("redis", "docker.io/library/redis"), ("redis:7", "docker.io/library/redis:7"),
    ("acme/app", "docker.io/acme/app"), ("localhost/app", "localhost/app"), ("host:5000/app", "host:5000/app"),
    ("reg.example.com/app", "reg.example.com/app"), ("a/b/c:1", "a/b/c:1"),
    ("docker.io/library/x", "docker.io/library/x"),
])
def test_full_names_keep_the_tag_as_written(written: str, full: str) -> None:
    assert full_name(written) == full


def test_keys_depend_on_every_fact() -> None:
    keys = {cache_key("a", "b"), cache_key("ab", ""), cache_key("a", ["b"]), cache_key("a", None)}
    assert len(keys) == 4
    assert all(len(key) == 64 for key in keys)


def test_ancestors() -> None:
    assert lines(list(ancestors("a/b"))) == ["a dir 755", "a/b dir 755"]
    assert list(ancestors("")) == []


def test_chunks_read_as_a_stream() -> None:
    stream = Chunks([b"abc", b"", b"de"])
    assert [stream.read(2) for _ in range(5)] == [b"ab", b"c", b"de", b"", b""]


def test_an_image_that_nobody_resolved_is_named() -> None:
    with pytest.raises(NotFoundError, match="acme/x"):
        Shelf().sources("{}").image("acme/x")
