"""Leases on disk: a small SQLite file that survives kill -9 and power cuts.

Write-ahead log with ``synchronous=FULL``: `save` returns when the leases are on the disk, so that no address is
promised that a restarted server would give away. One call saves many, at the price of one flush.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from provisioner.errors import DeviceError, RefusedError
from provisioner.protocols.commands import Lease

VERSION = 1
_SCHEMA = """create table lease (
    address text primary key, mac text not null, expires real not null, state text not null, hostname text not null
) strict"""


class LeaseStore:
    """Opens the file, or makes it; raises DeviceError when it cannot, RefusedError for a newer version's file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._database.execute("pragma journal_mode=wal")
            self._database.execute("pragma synchronous=full")
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise DeviceError(f"cannot use the lease file {path}: {error}") from error

    def load(self) -> list[Lease]:
        """Return every lease, expired ones too: they say who had an address last."""
        rows = self._database.execute("select address, mac, expires, state, hostname from lease order by expires")
        return [Lease(*row) for row in rows]

    def save(self, leases: Iterable[Lease]) -> None:
        """Write leases durably, all or none; raises DeviceError when the disk does not take them."""
        rows = [(lease.address, lease.mac, lease.expires, lease.state, lease.hostname) for lease in leases]
        try:
            self._database.execute("begin immediate")
            self._database.executemany("insert or replace into lease values (?, ?, ?, ?, ?)", rows)
            self._database.execute("commit")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("rollback")
            raise DeviceError(f"cannot write the lease file {self.path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _prepare(self) -> None:
        version = int(self._database.execute("pragma user_version").fetchone()[0])
        if version > VERSION:
            raise RefusedError(f"{self.path} was written by a newer version (format {version})",
                               hint="use that version, or another state directory")
        if version < VERSION:
            self._database.execute("begin immediate")
            self._database.execute(_SCHEMA)
            self._database.execute(f"pragma user_version={VERSION}")
            self._database.execute("commit")
