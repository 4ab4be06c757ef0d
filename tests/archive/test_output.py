"""Output files appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from io import FileIO
from pathlib import Path

import pytest

from provisioner.archive import output
from provisioner.archive.output import Outputs, copy
from provisioner.errors import DeviceError, PrivilegeError, ProvisionerError, UsageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_files_appear_together_at_commit(tmp_path: Path) -> None:
    with Outputs() as outputs:
        first, second = outputs.create(tmp_path / "new" / "a"), outputs.create(tmp_path / "new" / "b")
        first.write(b"one")
        second.write(b"two")
        assert names(tmp_path) == ["new"]
        outputs.commit()
    assert (tmp_path / "new" / "a").read_bytes() == b"one"
    assert (tmp_path / "new" / "b").read_bytes() == b"two"
    assert first.digest == "sha256:" + hashlib.sha256(b"one").hexdigest()
    assert first.size == 3
    assert names(tmp_path) == ["a", "b", "new"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DeviceError("full")])
def test_nothing_is_left_when_something_fails(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "old").write_text("kept")

    def fail() -> None:
        with Outputs() as outputs:
            outputs.create(tmp_path / "deep" / "er" / "a").write(b"one")
            outputs.create(tmp_path / "old").write(b"two")
            raise error

    with pytest.raises(BaseException):  # noqa: B017 - whatever it is
        fail()
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "kept"


def test_a_device_is_written_to_and_stays() -> None:
    with pytest.raises(DeviceError, match="/dev/full: the disk is full"), Outputs() as outputs:
        outputs.create(Path("/dev/full")).write(b"x")
    assert Path("/dev/full").is_char_device()


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Outputs() as outputs:
        outputs.create(pipe).write(b"through")
        outputs.commit()
    assert os.read(reader, 99) == b"through"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_folder_that_may_not_be_searched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(PrivilegeError, match="Permission denied"), Outputs() as outputs:
        outputs.create(tmp_path / "a")


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old and longer")
    with Outputs() as outputs:
        outputs.create(tmp_path / "a").write(b"new")
        outputs.commit()
    assert (tmp_path / "a").read_text() == "new"


def test_where_nameless_files_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def without(path: object, flags: int, *rest: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no")
        return real(path, flags, *rest)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr("os.open", without)
    with Outputs() as outputs:
        file = outputs.create(tmp_path / "a")
        file.write(b"x")
        assert [name.startswith(".a.") for name in names(tmp_path)] == [True]
        outputs.commit()
    assert names(tmp_path) == ["a"]
    with Outputs() as outputs:
        outputs.create(tmp_path / "b")
    assert names(tmp_path) == ["a"]


def test_what_cannot_be_an_output(tmp_path: Path) -> None:
    with Outputs() as outputs:
        with pytest.raises(UsageError, match="is a directory"):
            outputs.create(tmp_path)
        outputs.create(tmp_path / "a")
        with pytest.raises(UsageError, match="two outputs"):
            outputs.create(tmp_path / "a")
        (tmp_path / "file").touch()
        with pytest.raises(DeviceError, match="file is no folder"):
            outputs.create(tmp_path / "file" / "a")


@pytest.mark.parametrize(("number", "kind", "words"), [
    (errno.ENOSPC, DeviceError, "x: the disk is full after 7 bytes"),
    (errno.EDQUOT, DeviceError, "x: the disk is full after 7 bytes"),
    (errno.EIO, DeviceError, "x: .* after 7 bytes"),
    (errno.EACCES, PrivilegeError, "x: "),
])
def test_errors_of_the_system_name_path_and_bytes(number: int, kind: type[ProvisionerError], words: str) -> None:
    with pytest.raises(kind, match=words), output.translated(Path("x"), 7):
        raise OSError(number, os.strerror(number))



def test_a_really_full_device() -> None:
    file = output.OutputFile(Path("image"), FileIO("/dev/full", "w"), output.STDOUT)
    with pytest.raises(DeviceError, match="image: the disk is full after 0 bytes"):
        file.write(b"x" * 10)
    file.discard()


def test_standard_output(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with Outputs(Path("-")) as outputs:
        outputs.create(tmp_path / "ignored.tar").write(b"bytes")
        outputs.commit()
    assert capfdbinary.readouterr().out == b"bytes"
    assert names(tmp_path) == []


def test_one_named_output(tmp_path: Path) -> None:
    with Outputs(tmp_path / "mine") as outputs:
        assert outputs.create(Path("x.tar")).path == tmp_path / "mine"
        outputs.commit()
    assert names(tmp_path) == ["mine"]


def test_copying_verifies_and_takes_back(tmp_path: Path) -> None:
    digest = "sha256:" + hashlib.sha256(b"good").hexdigest()
    with Outputs() as outputs:
        file = outputs.create(tmp_path / "a")
        file.write(b"head ")
        assert copy(raw(b"good"), file, size=4, digest=digest)
        assert not copy(raw(b"evil"), file, size=4, digest=digest)
        assert not copy(raw(b"goo"), file, size=4, digest=digest)
        file.write(b" tail")
        outputs.commit()
    assert (tmp_path / "a").read_bytes() == b"head good tail"
    assert file.digest == "sha256:" + hashlib.sha256(b"head good tail").hexdigest()


class Raw(io.RawIOBase):
    """Raw reading from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # narrower is enough here
        piece, self._data = self._data[:len(buffer)], self._data[len(buffer):]
        buffer[:len(piece)] = piece
        return len(piece)


def raw(data: bytes) -> Raw:
    return Raw(data)
