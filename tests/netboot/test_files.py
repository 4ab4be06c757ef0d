"""What is served, and that nothing else is: names, links and special files that lead out."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.netboot import files
from provisioner.netboot.files import Tree, open_beneath, regular


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "file").write_text("content")
    (root / "sub" / "deep").write_text("deep")
    (root / "inside").symlink_to("sub/deep")
    (root / "outside").symlink_to("../secret")
    (root / "absolute").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (root / "proc").symlink_to("/proc/self/root")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture(params=["openat2", "resolved"])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], int]:
    if request.param == "resolved":
        monkeypatch.setattr(files, "_SYS_OPENAT2", 99_999)  # a call that no kernel knows
    return open_beneath


def read(opener: Callable[[Path, str], int], root: Path, name: str) -> bytes:
    file = regular(opener(root, name))
    try:
        return file.read(0, file.size)
    finally:
        file.close()


def test_files_and_links_inside(opener: Callable[[Path, str], int], root: Path) -> None:
    assert read(opener, root, "file") == b"content"
    assert read(opener, root, "sub/deep") == read(opener, root, "inside") == b"deep"


@pytest.mark.parametrize("name", ["outside", "absolute", "up/secret", "../secret", "sub/../../secret", "loop",
                                  "/etc/hostname", "proc/etc/hostname", "gone", "fifo", "sub", "", "file/x"])
def test_ways_out(opener: Callable[[Path, str], int], root: Path, name: str) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match=r".+"):
        read(opener, root, name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_ten_thousand_names_find_nothing_outside(root: Path) -> None:
    parts = ["..", ".", "sub", "up", "outside", "absolute", "secret", "proc", "inside", "file", "etc", "", "%2e"]
    dice = random.Random(18)
    for _ in range(10_000):
        name = "/".join(dice.choices(parts, k=dice.randint(1, 6)))
        try:
            assert read(open_beneath, root, name) in (b"content", b"deep"), name
        except OSError:
            continue


def test_a_tree_of_single_files_and_a_root(root: Path) -> None:
    loader = root.parent / "secret"
    with pytest.raises(FileNotFoundError):
        Tree({"loader": loader}).open("file")
    tree = Tree({"loader": loader}, root)
    assert [tree.open(name).read(0, 100) for name in ("loader", "file")] == [b"secret", b"content"]


def test_reading_anywhere_and_closing_twice(root: Path) -> None:
    file = Tree(root=root).open("file")
    assert (file.size, file.read(3, 2), file.read(6, 50), file.read(7, 1)) == (7, b"te", b"t", b"")
    file.close()
    file.close()
