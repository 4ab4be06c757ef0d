"""Init images over one another, and one package database of several."""

from __future__ import annotations

from provisioner.tree.init import DATABASE, init
from tests.tree.made import Shelf, content, entries, final, member, tar


def shelf() -> Shelf:
    made = Shelf()
    made.add("one", tar(member("etc/motd", b"one"), member(DATABASE, b"P:one\n")))
    made.add("two", tar(member("etc/motd", b"two"), member(DATABASE, b"P:two\n")))
    made.add("plain", tar(member("bin/x", b"x")))
    return made


def test_later_images_win_and_databases_are_joined() -> None:
    made = shelf()
    parts = list(init(made.sources("init: [one, plain, two]")))
    found = entries(*parts)
    assert [part.location for part in parts] == ["init[0]", "init[1]", "init[2]", "init"]
    assert [part.source for part in parts][:2] == ["docker.io/library/one", "docker.io/library/plain"]
    assert content(found, "etc/motd") == b"two"
    assert content(found, DATABASE) == b"P:one\n\n\nP:two\n\n\n"
    assert found[-1].path == DATABASE
    assert final(found)["etc/resolv.conf"].target == "/run/resolvconf/resolv.conf"


def test_no_layer_is_read_again_for_the_database() -> None:
    made = shelf()
    parts = list(init(made.sources("init: [one, two]")))
    entries(*parts[:2])
    before = len(made.opened)
    assert entries(parts[2])
    assert len(made.opened) == before


def test_an_image_that_came_from_a_cache_is_asked() -> None:
    made = shelf()
    parts = list(init(made.sources("init: [one, two]")))
    assert content(entries(parts[2]), DATABASE) == b"P:one\n\n\nP:two\n\n\n"


def test_one_database_stays_as_it_is() -> None:
    made = shelf()
    parts = list(init(made.sources("init: [one, plain]")))
    assert entries(parts[-1]) == []
    assert len(list(init(made.sources("init: [one]")))) == 1
    assert list(init(made.sources("{}"))) == []
