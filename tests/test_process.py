"""Programs are found, fed, bounded in time and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provisioner import process
from provisioner.errors import ProvisionerError, ToolMissingError


def test_a_missing_tool_names_its_package() -> None:
    process.PACKAGES["no-such-tool"] = "tool-package"
    with pytest.raises(ToolMissingError) as caught:
        process.find("no-such-tool")
    assert caught.value.hint == "apt-get install tool-package"
    assert not process.available("no-such-tool")


def test_run_feeds_and_returns() -> None:
    done = process.run(["cat"], stdin=b"abc")
    assert (done.returncode, done.stdout, done.text) == (0, b"abc", "abc")


def test_a_failure_carries_the_last_words() -> None:
    with pytest.raises(process.ProgramError, match="exit code 3: it broke") as caught:
        process.run(["sh", "-c", "echo it broke >&2; exit 3"])
    assert caught.value.returncode == 3
    assert process.run(["sh", "-c", "exit 3"], check=False).returncode == 3


def test_time_is_bounded() -> None:
    with pytest.raises(ProvisionerError, match=r"did not end within 0\.1 s"):
        process.run(["sleep", "60"], timeout=0.1)


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = ("from provisioner import process\n"
            f"child = process.spawn(['sleep', '600'])\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
            "print('started', flush=True)\nchild.wait()\n")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        parent.send_signal(signal.SIGKILL)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(500):
        if not alive(pid):
            return
        time.sleep(0.01)
    pytest.fail(f"the child {pid} outlived its parent")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_stop_kills_what_does_not_listen() -> None:
    child = process.spawn(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], stdout=process.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    with child.stdout:
        assert process.stop(child, grace=0.2) == -signal.SIGKILL
    assert not alive(child.pid)


def test_a_new_session_is_shielded_from_the_terminal() -> None:
    child = process.spawn(["sleep", "60"], new_session=True)
    try:
        assert os.getsid(child.pid) == child.pid
    finally:
        process.stop(child)
