"""The raw log: bit-exact, indexed, and honest about a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.console.log import HEADER, Piece, RawLog, index_of, read_index
from provisioner.errors import DeviceError, InputError


def test_bytes_are_kept_exactly_and_each_piece_has_its_times(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "console.log"
    pieces = [bytes(range(256)), b"\x1b[31m\xff\r\n", b"x" * 100_000]
    with RawLog(path) as log:
        for number, piece in enumerate(pieces):
            log.write(piece, 100.5 + number, 1_700_000_000.25 + number)
    assert path.read_bytes() == b"".join(pieces)
    assert index_of(path).read_text().startswith(HEADER)
    assert list(read_index(path)) == [
        Piece(0, 256, 100.5, 1_700_000_000.25), Piece(256, 8, 101.5, 1_700_000_001.25),
        Piece(264, 100_000, 102.5, 1_700_000_002.25)]


def test_a_second_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"first", b"second"):
        with RawLog(path) as log:
            log.write(text, 1.0, 2.0)
    assert path.read_bytes() == b"firstsecond"
    assert [(p.offset, p.length) for p in read_index(path)] == [(0, 5), (5, 6)]


def test_a_full_disk_is_told_counted_and_got_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with RawLog(path) as log:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
            log.write(b"a" * 1500, 1.0, 1.0)
            log.write(b"b" * 10, 2.0, 2.0)
            assert log.lost == 510
            assert "too large" in log.trouble
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            log.write(b"c" * 10, 3.0, 3.0)
            assert (log.lost, log.trouble) == (0, "")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b"a" * 1000 + b"c" * 10
    assert [p.length for p in read_index(path) if p.gap] == [510]


def test_a_log_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=str(tmp_path)):
        RawLog(tmp_path)


def test_after_a_kill_everything_written_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = (f"import os, pathlib\nfrom provisioner.console.log import RawLog\n"
              f"log = RawLog(pathlib.Path({str(path)!r}))\nlog.write(b'last words', 1.0, 2.0)\n"
              f"os.kill(os.getpid(), 9)\n")
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"last words"
    assert [p.length for p in read_index(path)] == [10]


def test_a_last_line_cut_short_is_left_out_and_nonsense_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    index_of(path).write_text(HEADER + "0 5 1.0 2.0\n5 1")
    assert len(list(read_index(path))) == 1
    index_of(path).write_text(HEADER + "0 5 1.0 2.0\nnonsense\n")
    with pytest.raises(InputError, match=r"log\.index:3"):
        list(read_index(path))


def test_the_log_is_closed_for_programs_that_are_started(tmp_path: Path) -> None:
    with RawLog(tmp_path / "log") as log:
        assert not os.get_inheritable(log._raw)
