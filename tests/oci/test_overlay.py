"""The index of a stack of layers, on names alone."""

from __future__ import annotations

import pytest

from provisioner.errors import RefusedError
from provisioner.model.tree import Entry, Kind
from provisioner.oci.overlay import Index


def directory(path: str, mode: int = 0o700) -> Entry:
    return Entry(path, Kind.DIR, mode)


def file(path: str) -> Entry:
    return Entry(path, Kind.FILE)


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.SYMLINK, target=target)


def hard(path: str, target: str) -> Entry:
    return Entry(path, Kind.HARDLINK, target=target)


def gone(path: str) -> Entry:
    folder, _, name = path.rpartition("/")
    return file(f"{folder}/.wh.{name}" if folder else f".wh.{name}")


def opaque(path: str) -> Entry:
    return file(f"{path}/.wh..wh..opq")


def apply(*layers: list[Entry]) -> tuple[dict[str, int], dict[str, int | None]]:
    """Return path to ordinal of what is no directory, and directory to mode (None: implied)."""
    index = Index()
    for number, layer in enumerate(layers):
        index.begin(f"layer {number}")
        for entry in layer:
            index.add(entry)
    paths, directories = index.survivors()
    files = {path: ordinal for ordinal, found in paths.items() for path in found if path not in directories}
    return files, {path: meta.mode if meta else None for path, meta in directories.items()}


def test_layers_merge_and_upper_files_win() -> None:
    files, directories = apply([directory("a"), file("a/x"), file("a/y")], [file("a/y"), file("b/z")])
    assert files == {"a/x": 1, "a/y": 3, "b/z": 4}
    assert directories == {"a": 0o700, "b": None}


def test_upper_directories_change_the_mode_and_keep_the_content() -> None:
    files, directories = apply([directory("a"), file("a/x")], [directory("a", 0o555)])
    assert files == {"a/x": 1}
    assert directories == {"a": 0o555}


def test_whiteouts_hide_files_and_whole_directories() -> None:
    files, directories = apply([file("a"), directory("d"), file("d/x"), file("d/e/y")], [gone("a"), gone("d")])
    assert (files, directories) == ({}, {})


def test_whiteouts_of_what_is_not_there_do_nothing() -> None:
    assert apply([file("a")], [gone("b"), gone("c/d"), gone("a/b"), opaque("q")]) == ({"a": 0}, {})


@pytest.mark.parametrize("upper", [[gone("d"), directory("d", 0o711), file("d/new")],
                                   [directory("d", 0o711), file("d/new"), gone("d")]], ids=["before", "after"])
def test_a_whiteout_spares_its_own_layer(upper: list[Entry]) -> None:
    files, directories = apply([directory("d"), file("d/old"), file("d/sub/old")], upper)
    assert list(files) == ["d/new"]
    assert directories == {"d": 0o711}


@pytest.mark.parametrize("order", [1, -1], ids=["before", "after"])
def test_an_opaque_directory_spares_its_own_layer(order: int) -> None:
    upper = [opaque("d"), file("d/sub/new")][::order]
    files, directories = apply([directory("d"), file("d/old"), directory("d/sub"), file("d/sub/old")], upper)
    assert list(files) == ["d/sub/new"]
    assert directories == {"d": 0o700, "d/sub": None}


def test_an_implied_directory_that_was_hidden_is_as_new() -> None:
    _, directories = apply([directory("d", 0o700), file("d/old")], [gone("d"), file("d/new")])
    assert directories == {"d": None}


def test_a_file_replaces_a_directory_and_the_other_way_round() -> None:
    files, directories = apply([directory("a"), file("a/x"), file("b")], [file("a"), directory("b"), file("b/y")])
    assert files == {"a": 3, "b/y": 5}
    assert directories == {"b": 0o700}


def test_hard_links_share_what_they_name() -> None:
    files, _ = apply([file("a"), hard("b", "a")], [hard("c", "b"), gone("a")])
    assert files == {"b": 0, "c": 0}


def test_a_hard_link_keeps_what_its_target_was() -> None:
    files, _ = apply([file("a"), hard("b", "a")], [file("a")])
    assert files == {"a": 2, "b": 0}


def test_a_hard_link_before_a_new_file_of_its_layer_means_the_lower_one() -> None:
    files, _ = apply([file("a")], [hard("b", "a"), file("a")])
    assert files == {"b": 0, "a": 2}


def test_a_hard_link_of_this_layer_survives_its_whiteout() -> None:
    files, _ = apply([file("a"), file("b")], [hard("b", "a"), gone("b")])
    assert files == {"a": 0, "b": 0}


def test_hard_links_to_symlinks_and_through_them() -> None:
    files, _ = apply([link("s", "a"), file("d/f"), link("e", "d")], [hard("t", "s"), hard("g", "e/f")])
    assert files == {"s": 0, "t": 0, "d/f": 1, "e": 2, "g": 1}


@pytest.mark.parametrize(("target", "where"), [
    ("usr/bin", "usr/bin/x"), ("/usr/bin", "usr/bin/x"), ("../../usr/bin", "usr/bin/x"),
    ("usr/./lib/../bin", "usr/bin/x"), ("nowhere", "nowhere/x"), ("hop", "usr/bin/x")])
def test_names_below_a_symbolic_link_stay_inside_the_root(target: str, where: str) -> None:
    files, _ = apply([directory("usr/bin"), directory("usr/lib"), link("hop", "/usr/bin"), link("bin", target)],
                     [file("bin/x")])
    assert where in files


def test_a_whiteout_below_a_symbolic_link_hides_what_it_leads_to() -> None:
    files, _ = apply([file("usr/bin/x"), link("bin", "usr/bin")], [gone("bin/x")])
    assert files == {"bin": 1}


@pytest.mark.parametrize(("layers", "words"), [
    ([[hard("a", "b")]], "a hard link to b, which is not there"),
    ([[file("b")], [gone("b"), hard("a", "b")]], "which is not there"),
    ([[directory("d"), hard("a", "d")]], "a hard link to the directory d"),
    ([[file("a"), file("a/b")]], "lies below a, which is no directory"),
    ([[link("a", "b"), link("b", "a"), file("a/x")]], "a loop of symbolic links"),
    ([[file("d/.wh..")]], "a whiteout of no name"),
    ([[file("d/.wh...")]], "a whiteout of no name"),
    ([[file("d/.wh.")]], "a whiteout of no name"),
    ([[file("d/.wh.x/y")]], "lies below a whiteout"),
    ([[directory("etc"), link("d", "etc")], [opaque("d")]], "empties a directory through a symbolic link"),
])
def test_what_cannot_be_meant_is_refused_by_layer_and_name(layers: list[list[Entry]], words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        apply(*layers)
    assert caught.value.message.startswith(f"layer {len(layers) - 1}: ")


def test_what_aufs_left_behind_is_not_content() -> None:
    assert apply([file(".wh..wh.plnk/1.2"), directory(".wh..wh.orph"), file("a")]) == ({"a": 2}, {})


def test_deep_trees_need_no_recursion() -> None:
    files, directories = apply([file("/".join(["d"] * 1500) + "/f")])
    assert len(files) == 1
    assert len(directories) == 1500
