"""Blobs: whole or not at all, by any number of writers, whatever kills them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provisioner.errors import DeviceError, DigestError, NotFoundError
from provisioner.model.oci import LAYER_TAR, Descriptor
from provisioner.oci.blobs import STALE, disk_errors, write_whole
from provisioner.oci.store import Store
from tests.fakes.images import digest_of

DATA = bytes(range(256)) * 4096
WANTED = Descriptor(LAYER_TAR, digest_of(DATA), len(DATA))


def fill(store: Store, data: bytes = DATA, wanted: Descriptor | None = WANTED) -> Descriptor:
    with store.writer(wanted) as out:
        for at in range(0, len(data), 100_000):
            out.write(data[at:at + 100_000])
    return out.descriptor(LAYER_TAR)


def leftovers(store: Store) -> list[str]:
    return [path.name for path in (store.root / "ingest").iterdir()]


def test_what_is_written_is_read(store: Store) -> None:
    assert fill(store) == WANTED
    assert store.has(WANTED.digest)
    assert store.read(WANTED) == DATA
    assert store.path(WANTED.digest).stat().st_mode & 0o777 == 0o644
    assert leftovers(store) == []


def test_without_a_promise_the_content_decides(store: Store) -> None:
    assert fill(store, wanted=None) == WANTED
    assert store.put(DATA, LAYER_TAR) == WANTED
    assert leftovers(store) == []


@pytest.mark.parametrize(("data", "why"), [(DATA[:-1], "were promised"), (DATA + b"x", "larger than"),
                                           (b"x" + DATA[1:], "has the digest"), (b"", "were promised")])
@pytest.mark.parametrize("resume", [False, True])
def test_broken_promises_leave_nothing(store: Store, data: bytes, why: str, resume: bool) -> None:
    with pytest.raises(DigestError, match=why), store.writer(WANTED, resume=resume) as out:
        out.write(data)
    assert not store.has(WANTED.digest)
    assert leftovers(store) == []


def test_an_error_leaves_nothing_but_for_those_who_resume(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.writer(WANTED):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), store.writer(None) as out:
        out.write(b"x")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), store.writer(WANTED, resume=True):
        raise KeyboardInterrupt
    assert leftovers(store) == []
    with pytest.raises(KeyboardInterrupt), store.writer(WANTED, resume=True) as out:
        out.write(DATA[:300_000])
        raise KeyboardInterrupt
    assert len(leftovers(store)) == 1
    with store.writer(WANTED, resume=True) as out:
        assert out.offset == 300_000
        out.write(DATA[out.offset:])
    assert store.read(WANTED) == DATA
    assert leftovers(store) == []


def test_a_writer_that_does_not_resume_starts_over(store: Store) -> None:
    (store.root / "ingest" / f"sha256-{WANTED.hex}.part").write_bytes(b"rubbish")
    assert fill(store) == WANTED


def test_a_damaged_remainder_is_dropped(store: Store) -> None:
    part = store.root / "ingest" / f"sha256-{WANTED.hex}.part"
    part.write_bytes(b"rubbish")
    with pytest.raises(DigestError), store.writer(WANTED, resume=True) as out:
        out.write(DATA[out.offset:])
    assert not part.exists()
    part.write_bytes(DATA + b"too long")
    with store.writer(WANTED, resume=True) as out:
        assert out.offset == 0
        out.write(DATA)


def test_a_blob_that_is_there_is_not_written_again(store: Store) -> None:
    fill(store)
    before = store.path(WANTED.digest).stat().st_ino
    with store.writer(WANTED) as out:
        assert out.complete
        out.write(b"whatever")
    assert store.path(WANTED.digest).stat().st_ino == before
    assert out.descriptor(LAYER_TAR) == WANTED


def test_a_second_writer_waits_and_finds_it_done(store: Store) -> None:
    inside, seen = threading.Event(), list[bool]()

    def second() -> None:
        inside.set()
        with Store(store.root).writer(WANTED) as out:
            seen.append(out.complete)

    with store.writer(WANTED) as out:
        other = threading.Thread(target=second)
        other.start()
        inside.wait()
        out.write(DATA)
    other.join()
    assert seen == [True]


def test_a_second_writer_goes_on_when_the_first_gives_up(store: Store) -> None:
    def second() -> None:
        fill(Store(store.root))

    other = threading.Thread(target=second)
    with pytest.raises(RuntimeError), store.writer(WANTED) as out:
        other.start()
        out.write(DATA[:10])
        raise RuntimeError
    other.join()
    assert store.read(WANTED) == DATA
    assert leftovers(store) == []


def test_reading_finds_damage_and_sets_it_aside(store: Store) -> None:
    fill(store)
    store.path(WANTED.digest).write_bytes(DATA[:-1] + b"!")
    with pytest.raises(DigestError, match=WANTED.digest) as caught:
        store.read(WANTED)
    assert "quarantine" in caught.value.hint
    assert not store.has(WANTED.digest)
    assert (store.root / "quarantine" / f"sha256-{WANTED.hex}").exists()


@pytest.mark.parametrize("size", [0, 1, len(DATA) - 1, len(DATA) + 1])
def test_a_wrong_size_is_found_before_a_byte_is_used(store: Store, size: int) -> None:
    fill(store)
    os.truncate(store.path(WANTED.digest), size)
    with pytest.raises(DigestError, match="were promised"), store.open(WANTED):
        raise AssertionError("must not be reached")


def test_one_flipped_bit_anywhere_is_found(store: Store) -> None:
    for position in range(0, len(DATA), len(DATA) // 40):
        fill(store)
        bad = bytearray(DATA)
        bad[position] ^= 1 << (position % 8)
        store.path(WANTED.digest).write_bytes(bad)
        with pytest.raises(DigestError), store.open(WANTED) as file:
            while file.read(7777):
                pass


def test_damage_behind_what_the_caller_reads_is_found(store: Store) -> None:
    fill(store)
    store.path(WANTED.digest).write_bytes(DATA[:-1] + b"!")
    with pytest.raises(DigestError), store.open(WANTED) as file:
        assert file.read(10) == DATA[:10]


def test_damage_is_named_even_when_it_first_shows_as_something_else(store: Store) -> None:
    packed = zlib.compress(DATA)
    blob = store.put(packed, "x")
    store.path(blob.digest).write_bytes(packed[:20] + b"?" + packed[21:])
    with pytest.raises(DigestError, match="corrupt") as caught, store.open(blob) as file:
        zlib.decompress(file.read())
    assert caught.value.exit_code == 6


def test_an_error_of_the_caller_stays_what_it_is(store: Store) -> None:
    fill(store)
    with pytest.raises(ValueError, match="mine"), store.open(WANTED) as file:
        file.read(1)
        raise ValueError("mine")
    assert store.has(WANTED.digest)


def test_a_blob_that_is_not_there(store: Store) -> None:
    with pytest.raises(NotFoundError, match=WANTED.digest):
        store.read(WANTED)


def test_a_large_blob_is_not_read_into_memory(store: Store) -> None:
    fill(store)
    with pytest.raises(DigestError, match="at most 100"):
        store.read(WANTED, limit=100)


def test_what_killed_writers_left_is_swept_when_it_is_old(store: Store) -> None:
    ingest = store.root / "ingest"
    for name, age in (("new-a.part", STALE + 60), ("sha256-b.part", 60), ("locked.part", STALE + 60)):
        (ingest / name).write_bytes(b"1234")
        os.utime(ingest / name, (time.time() - age,) * 2)
    with (ingest / "locked.part").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        fill(Store(store.root))
        assert sorted(leftovers(store)) == ["locked.part", "sha256-b.part"]


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """RLIMIT_FSIZE stands in for a full disk: writing fails in the middle of a file."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_disk_full_names_path_and_need(store: Store) -> None:
    for size in range(0, len(DATA), len(DATA) // 50):
        with pytest.raises(DeviceError) as caught, no_file_beyond(size):
            fill(store)
        assert str(caught.value).startswith("no space left to write ")
        assert str(len(DATA)) in str(caught.value)
        assert leftovers(store) == []
    fill(store)
    with pytest.raises(DeviceError), no_file_beyond(10):
        store.tag("x:1", WANTED)
    assert store.references() == {}
    store.tag("x:1", WANTED)
    with pytest.raises(DeviceError), no_file_beyond(10):
        store.tag("x:2", WANTED)
    assert list(store.references()) == ["docker.io/library/x:1"]


@pytest.mark.tool
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A tmpfs with room for less than the blob; the store is sound afterwards, and works when there is room."""
    script = (f"from pathlib import Path; from tests.oci.test_blobs import *; s = Store(Path('{tmp_path}/disk/s'))\n"
              "s.tag('x:1', s.put(b'{}', LAYER_TAR))\n"
              f"hog = Path('{tmp_path}/disk/hog'); hog.write_bytes(bytes(1_500_000))\n"
              "try: fill(s)\n"
              "except DeviceError as error: print(error.message)\n"
              "assert leftovers(s) == [] and len(s.references()) == 1; fsck(s.root)\n"
              "hog.unlink(); fill(s); print('room again')")
    (tmp_path / "disk").mkdir()
    done = in_own_mounts(f"mount -t tmpfs -o size=2m tmpfs {tmp_path}/disk", script)
    assert done.stdout.splitlines()[0].startswith(b"no space left to write "), done.stderr
    assert done.stdout.endswith(b"room again\n")


def in_own_mounts(mounts: str, script: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python code in a mount namespace of its own, after some mounts."""
    return subprocess.run(["unshare", "--mount", "--map-root-user", "sh", "-c", f"{mounts} && exec \"$@\"", "sh",
                           sys.executable, "-c", script], capture_output=True, cwd=Path(__file__).parents[2],
                          check=False)


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "index.json"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    write_whole(target, b"old", scratch)
    write_whole(target, b"new", scratch)
    assert target.read_bytes() == b"new"
    with pytest.raises(DeviceError, match="nowhere"):
        write_whole(tmp_path / "nowhere" / "x", b"", scratch)
    assert list(scratch.iterdir()) == []


def test_disk_errors_are_translated(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot write") as caught, disk_errors(tmp_path, 0):
        (tmp_path / "x" / "y").mkdir()
    assert "PROVISIONER_CACHE" in caught.value.hint


KILLED = """
import os, signal, sys
from pathlib import Path
from provisioner.model.oci import Descriptor
from provisioner.oci.store import Store
from tests.oci.test_blobs import DATA, WANTED, fill

left = int(sys.argv[2])
def hook(event, args):
    global left
    if event in ("open", "os.rename", "os.remove", "os.utime", "os.mkdir", "fcntl.flock", "os.chmod"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
store = Store(Path(sys.argv[1]))
fill(store)
store.tag("killed:1", WANTED)
small = store.put(b"{}", "application/json")
store.tag("killed:2", small)
store.untag("killed:2")
print("done")
"""


def fsck(store: Path) -> None:
    """Check with plain Python: every blob is what its name says, the index is whole and leads somewhere."""
    import json

    for path in (store / "blobs" / "sha256").glob("*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    if (store / "index.json").exists():
        for entry in json.loads((store / "index.json").read_bytes())["manifests"]:
            assert (store / "blobs" / "sha256" / entry["digest"][7:]).stat().st_size == entry["size"]


@pytest.mark.tool
def test_killed_at_every_step_the_store_stays_sound(tmp_path: Path) -> None:
    """SIGKILL before the first, second, … file operation, until one run is through."""
    root, step, result = tmp_path / "store", 0, b""
    while b"done" not in result:
        step += 1
        assert step < 300
        result = subprocess.run([sys.executable, "-c", KILLED, str(root), str(step)], capture_output=True,
                                check=False, cwd=Path(__file__).parents[2]).stdout
        if (root / "blobs" / "sha256").exists():
            fsck(root)
            Store(root).sweep(0)
    assert step > 40
    again = Store(root)
    assert again.lookup("killed:1") == WANTED
    assert again.lookup("killed:2") is None
    assert again.read(WANTED) == DATA
    again.sweep(0)
    assert leftovers(again) == []
    assert {path.name for path in root.iterdir()} == {"blobs", "index.json", "ingest", "lock", "oci-layout"}


@pytest.mark.tool
def test_a_store_that_may_only_be_read(tmp_path: Path) -> None:
    """A shared cache on a disk mounted read-only serves builds; only writing to it fails, and says so."""
    Store(tmp_path / "s").put(DATA, LAYER_TAR)
    script = (f"from pathlib import Path; from tests.oci.test_blobs import *; s = Store(Path('{tmp_path}/s'))\n"
              "assert s.has(WANTED.digest) and s.read(WANTED) == DATA\n"
              "try: s.put(b'new', LAYER_TAR)\n"
              "except DeviceError as error: print(error.message)\n")
    done = in_own_mounts(f"mount --bind {tmp_path}/s {tmp_path}/s && mount -o remount,bind,ro {tmp_path}/s", script)
    assert b"Read-only file system" in done.stdout, done.stderr
