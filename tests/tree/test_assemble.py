"""The sections in LinuxKit's order, and nothing read before it is wanted."""

from __future__ import annotations

from tests.tree.made import Shelf, entries, final, lines, member, tar

WHOLE = """
files: [{path: etc/x, contents: x}, {path: boot/note, contents: n}]
services: [{name: s, image: app}]
onshutdown: [{name: d, image: app}]
onboot: [{name: b, image: app}]
volumes: [{name: v}]
init: [init, app]
kernel: {image: k, cmdline: quiet, tar: none}
"""


def shelf() -> Shelf:
    made = Shelf()
    made.add("k", tar(member("kernel", b"K")))
    made.add("init", tar(member("init", b"#!", 0o755), member("etc/", mode=0o711)))
    made.add("app", tar(member("app", b"a")))
    return made


def test_the_order_is_linuxkits() -> None:
    tree = shelf().tree(WHOLE)
    assert [part.location for part in tree.parts] == [
        "kernel", "kernel", "init[0]", "init[1]", "init", "volumes[0]", "volumes[0]", "onboot[0]", "onboot[0]",
        "onshutdown[0]", "services[0]", "files[0]", "files[1]"]
    assert (tree.name, tree.cmdline, str(tree.platform)) == ("x", "quiet", "linux/amd64")


def test_files_do_not_close_the_directories_they_are_in() -> None:
    found = final(entries(*shelf().tree(WHOLE).parts))
    assert (found["etc"].mode, found["boot"].mode, found["containers"].mode) == (0o755, 0o755, 0o755)


def test_the_same_spec_is_the_same_tree() -> None:
    one, two = shelf().tree(WHOLE), shelf().tree(WHOLE)
    assert lines(entries(*one.parts)) == lines(entries(*two.parts))
    assert [part.key for part in one.parts] == [part.key for part in two.parts]


def test_nothing_is_opened_before_it_is_wanted() -> None:
    made = shelf()
    tree = made.tree(WHOLE)
    assert made.opened == []
    entries(tree.parts[2])
    assert set(made.opened) == {layer.digest for layer in made.images["init"].layers}


def test_a_tree_of_nothing_is_empty() -> None:
    tree = Shelf().tree("kernel: {cmdline: x}")
    assert tree.parts == ()
    assert tree.cmdline == ""
