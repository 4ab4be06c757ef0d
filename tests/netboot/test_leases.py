"""Leases on disk: kept through kill -9, refused from the future, an error on a bad disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.errors import DeviceError, RefusedError
from provisioner.netboot.leases import LeaseStore
from provisioner.protocols.commands import Lease

ONE = Lease("10.0.0.9", "52:54:00:00:00:01", 1000.0, "bound", "node1")
KILLED = """
import sys
from pathlib import Path
from provisioner.netboot.leases import LeaseStore
from provisioner.protocols.commands import Lease
store = LeaseStore(Path(sys.argv[1]))
for number in range(10**9):
    store.save([Lease(f"10.0.{number // 250 % 250}.{number % 250}", "52:54:00:00:00:01", float(number))])
    print(number, flush=True)
"""


def test_round_trip(tmp_path: Path) -> None:
    store = LeaseStore(tmp_path / "deep" / "leases.db")
    store.save([ONE, Lease("10.0.0.8", "52:54:00:00:00:02", 5.0, "declined")])
    store.save([Lease("10.0.0.9", "52:54:00:00:00:03", 2000.0)])
    store.close()
    again = LeaseStore(tmp_path / "deep" / "leases.db")
    assert [(lease.address, lease.mac, lease.state) for lease in again.load()] == \
        [("10.0.0.8", "52:54:00:00:00:02", "declined"), ("10.0.0.9", "52:54:00:00:00:03", "bound")]
    again.close()


def test_what_was_saved_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(20):
                last = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            last = max([last, *map(int, child.stdout.read().split()[-1:])])
        store = LeaseStore(path)
        assert max(lease.expires for lease in store.load()) >= last
        store.close()


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    with sqlite3.connect(path) as database:
        database.execute("pragma user_version=99")
    database.close()
    with pytest.raises(RefusedError, match="newer version"):
        LeaseStore(path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    path.write_bytes(b"no database at all, but longer than a header " * 30)
    with pytest.raises(DeviceError, match=r"leases\.db"):
        LeaseStore(path)


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    store = LeaseStore(tmp_path / "leases.db")
    with sqlite3.connect(tmp_path / "leases.db") as other:
        other.execute("begin immediate")
        store._database.execute("pragma busy_timeout=10")
        with pytest.raises(DeviceError, match="cannot write"):
            store.save([ONE])
    other.close()
    store.save([ONE])
    assert store.load() == [ONE]
    store.close()
