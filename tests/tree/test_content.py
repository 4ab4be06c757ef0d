"""An image below a prefix: drops, replacements, additions; everything else untouched."""

from __future__ import annotations

import tarfile

from provisioner.model.tree import Entry, Kind
from provisioner.tree.content import HOSTS, RESOLV, RESOLV_LINK, part
from tests.tree.made import Shelf, content, entries, final, lines, member, tar

ADDED = ["dev dir 755", "dev/pts dir 755", "dev/shm dir 755", "etc dir 755", "etc/hosts file 644",
         "etc/mtab symlink 777 -> /proc/mounts", "etc/resolv.conf file 644", "proc dir 755", "sys dir 755"]


def laid(*layers: bytes, prefix: str = "", resolv: str = "") -> list[Entry]:
    shelf = Shelf()
    image = shelf.add("x", *layers)
    return entries(part(shelf.sources("{}"), image, "here", prefix, resolv=resolv))


def test_an_empty_image_gets_what_must_be_there() -> None:
    found = laid()
    assert lines(found) == ADDED
    assert (content(found, "etc/hosts"), content(found, "etc/resolv.conf")) == (HOSTS, RESOLV)
    assert {entry.mtime for entry in found} == {1492533000}


def test_the_prefix_goes_before_everything() -> None:
    found = laid(tar(member("a/"), member("a/x", b"x"), member("a/y", kind=tarfile.LNKTYPE, link="a/x"),
                     member("a/z", link="x")), prefix="p/q")
    assert lines(found)[:6] == ["p dir 755", "p/q dir 755", "p/q/a dir 644", "p/q/a/x file 644",
                                "p/q/a/y hardlink 644 -> p/q/a/x", "p/q/a/z symlink 644 -> x"]
    assert all(entry.path.startswith("p/q/") for entry in found[2:])


def test_what_docker_leaves_behind_is_dropped_and_replaced() -> None:
    found = laid(tar(member(".dockerenv"), member("Dockerfile"), member("dev/"), member("dev/console"),
                     member("dev/pts/"), member("dev/shm/", mode=0o1777), member("dev/shm/left", b"l"),
                     member("etc/hostname", b"h"), member("etc/hosts", b"old", 0o600), member("etc/mtab", b"old"),
                     member("etc/resolv.conf", link="../run/x"), member("etc/Dockerfile", b"kept")))
    names = [entry.path for entry in found]
    for gone in (".dockerenv", "Dockerfile", "dev/console", "etc/hostname"):
        assert gone not in names
    assert len(names) == len(set(names))
    assert (content(found, "etc/mtab"), content(found, "etc/Dockerfile")) == (b"old", b"kept")
    assert content(found, "dev/shm/left") == b"l"
    ends = final(found)
    assert (ends["etc/hosts"].mode, content(found, "etc/hosts")) == (0o644, HOSTS)
    assert (ends["etc/resolv.conf"].kind, ends["dev/shm"].mode) == (Kind.FILE, 0o755)


def test_the_images_own_directories_keep_their_modes() -> None:
    own = tar(member("etc/", mode=0o750, uid=3), member("dev/", mode=0o700), member("proc/", mode=0o555))
    found = final(laid(own))
    assert [(found[path].mode, found[path].uid) for path in ("etc", "dev", "proc", "sys")] == [
        (0o750, 3), (0o700, 0), (0o555, 0), (0o755, 0)]


def test_resolv_conf_of_the_root_is_a_link() -> None:
    found = final(laid(tar(member("etc/resolv.conf", b"x")), resolv=RESOLV_LINK))
    assert found["etc/resolv.conf"].target == "/run/resolvconf/resolv.conf"


def test_links_to_what_is_replaced_or_dropped_do_not_dangle() -> None:
    found = laid(tar(member("etc/hosts", b"old"), member("copy", kind=tarfile.LNKTYPE, link="etc/hosts"),
                     member("Dockerfile", b"FROM x"), member("other", kind=tarfile.LNKTYPE, link="Dockerfile")))
    order = [entry.path for entry in found]
    for link, file in (("copy", "etc/hosts"), ("other", "Dockerfile")):
        assert final(found)[link].target == file
        assert order.index(file) < order.index(link)
    assert order.count("etc/hosts") == 1


def test_no_link_of_an_image_leads_what_is_added_out_of_it() -> None:
    found = laid(tar(member("usr/"), member("usr/etc/"), member("etc", link="/usr/etc")), prefix="c")
    names = [entry.path for entry in found]
    assert "c/usr/etc/hosts" in names
    assert not any(name.startswith("c/etc/") for name in names)


def test_extended_attributes_and_devices_survive() -> None:
    found = final(laid(tar(member("ping", b"x", pax={"SCHILY.xattr.user.note": "hello"}))))
    assert found["ping"].xattrs == (("user.note", b"hello"),)


def test_the_key_is_the_content_and_the_place() -> None:
    shelf = Shelf()
    one, two = shelf.add("one", tar(member("a", b"1"))), shelf.add("two", tar(member("a", b"2")))
    sources = shelf.sources("{}")
    keys = [part(sources, image, location, prefix, resolv=resolv).key for image, location, prefix, resolv in (
        (one, "init[0]", "", ""), (one, "init[7]", "", ""), (two, "init[0]", "", ""), (one, "init[0]", "p", ""),
        (one, "init[0]", "", "/x"))]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


def test_a_part_can_be_read_again() -> None:
    shelf = Shelf()
    made = part(shelf.sources("{}"), shelf.add("one", tar(member("a", b"1"))), "here", "p")
    assert entries(made) == entries(made)
