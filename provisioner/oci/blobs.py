"""Blobs on disk by their sha256: written whole or not at all, verified whenever they are read to the end.

    blobs/sha256/<hex>          complete blobs, as an OCI image layout has them
    ingest/<name>.part          blobs on their way in; the writer holds a flock on the file
    quarantine/sha256-<hex>     blobs that were found to differ from their name
    lock                        shared while blobs are claimed, exclusive while old ones are removed

Any number of processes and threads may fill one store. Two that want the same blob wait for each other, so it is
fetched once; a killed one leaves at most a ``.part``, which the next fetch of that blob continues.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from provisioner.errors import DeviceError, DigestError, NotFoundError
from provisioner.model.oci import Descriptor

STALE = 24 * 3600.0  # seconds after which an abandoned .part is removed
_CHUNK = 1 << 18


class BlobWriter:
    """What ``Blobs.writer`` yields: takes a blob's bytes in order."""

    def __init__(self, file: IO[bytes], path: Path, expected: Descriptor | None, *, complete: bool) -> None:
        self._file, self._path, self._expected = file, path, expected
        self._hash = hashlib.sha256()
        self.offset = 0
        self.complete = complete  # the store has the blob already; what is written is dropped

    @property
    def digest(self) -> str:
        """The digest of what was written so far, or of the blob that was there already."""
        if self.complete and self._expected is not None:
            return self._expected.digest
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes | memoryview) -> int:
        """Take the next bytes; raise DigestError beyond the expected size, DeviceError when the disk is full."""
        if self.complete:
            return len(data)
        self.offset += len(data)
        if self._expected is not None and self.offset > self._expected.size:
            raise DigestError(f"{self._expected.digest} is larger than the {self._expected.size} bytes promised")
        self._hash.update(data)
        with disk_errors(self._path, self._expected.size if self._expected else self.offset):
            _write_all(self._file, data)
        return len(data)

    def restart(self) -> None:
        """Forget what was written."""
        if not self.complete:
            self._file.seek(0)
            self._file.truncate()
            self._hash, self.offset = hashlib.sha256(), 0

    def descriptor(self, media_type: str) -> Descriptor:
        """Return the descriptor of what was written."""
        size = self._expected.size if self.complete and self._expected else self.offset
        return Descriptor(media_type, self.digest, size)

    def resume(self) -> None:
        """Go on behind the bytes that an earlier writer left."""
        while data := self._file.read(_CHUNK):
            self._hash.update(data)
            self.offset += len(data)
        if self._expected is not None and self.offset > self._expected.size:
            self.restart()

    def verify(self) -> None:
        """Raise DigestError when the bytes are not those expected."""
        if self._expected is None or self.complete:
            return
        if self.offset != self._expected.size:
            raise DigestError(f"{self._expected.digest} has {self.offset} bytes; {self._expected.size} were promised")
        if self.digest != self._expected.digest:
            raise DigestError(f"what came for {self._expected.digest} has the digest {self.digest}")


class Blobs:
    """The blobs below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = root / "blobs" / "sha256"
        self._ingest = root / "ingest"
        self._quarantine = root / "quarantine"
        self._swept = False

    def path(self, digest: str) -> Path:
        """Return where a blob is or would be."""
        return self._folder / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        """Whether the blob is there; its grace period (see ``Store.prune``) starts anew."""
        with self.locked(exclusive=False):
            try:
                os.utime(self.path(digest))
            except FileNotFoundError:
                return False
            except OSError:  # somebody else's file or a read-only disk: nobody prunes there
                return self.path(digest).is_file()
            return True

    def put(self, data: bytes, media_type: str) -> Descriptor:
        """Store bytes and return their descriptor."""
        wanted = Descriptor(media_type, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        with self.writer(wanted) as out:
            out.write(data)
        return wanted

    @contextmanager
    def writer(self, expected: Descriptor | None = None, *, resume: bool = False) -> Iterator[BlobWriter]:
        """Write one blob; it counts once the block has ended well and digest and size are those expected.

        With ``expected`` this waits for others who write the same blob; ``.complete`` says that it is there. With
        ``resume`` the bytes of an interrupted writer are kept and ``.offset`` says how many there are; without it
        nothing stays behind after an error. Raises DigestError and DeviceError.
        """
        self._sweep_once()
        file, path, complete = self._claim(expected)
        writer = BlobWriter(file, path, expected, complete=complete)
        try:
            if resume and not complete:
                writer.resume()
            elif not complete:
                writer.restart()
            yield writer
            writer.verify()
            if not complete:
                self._commit(file, path, writer)
        except BaseException as error:
            if not complete and (not resume or not writer.offset or isinstance(error, DigestError)):
                path.unlink(missing_ok=True)
            raise
        finally:
            with suppress(OSError):  # what could not be flushed was reported or is dropped
                file.close()

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """Open a blob for reading once, front to back.

        Its size is checked at once; its digest when the last byte has been read, and what the caller left unread
        is read when the block ends well or fails, so that damage is always found and named as such. A corrupt blob
        goes to quarantine. Raises NotFoundError and DigestError.
        """
        try:
            raw = VerifyingReader(self.path(descriptor.digest).open("rb", buffering=0), descriptor)
        except FileNotFoundError:
            raise NotFoundError(f"the store does not hold the blob {descriptor.digest}",
                                hint="build with --pull, or import the image again") from None
        with raw, io.BufferedReader(raw, _CHUNK) as reader:
            try:
                raw.check_size()
                yield cast(BinaryIO, reader)
                raw.drain()
            except DigestError as error:
                raise self._set_aside(descriptor, error) from error
            except Exception as error:
                # A broken blob first shows as bad compression or a bad archive: name the cause, not the symptom.
                try:
                    raw.drain()
                except DigestError as cause:
                    raise self._set_aside(descriptor, cause) from error
                raise

    def read(self, descriptor: Descriptor, *, limit: int = 4 << 20) -> bytes:
        """Return a small blob whole and verified; raise DigestError, NotFoundError, or DigestError over ``limit``."""
        if descriptor.size > limit:
            raise DigestError(f"{descriptor.digest} has {descriptor.size} bytes; at most {limit} are accepted here")
        with self.open(descriptor) as file:
            return file.read()

    @contextmanager
    def locked(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the store's lock; never taken twice by one thread.

        A store that may only be read has nobody who removes anything, so reading it works without the lock.
        """
        try:
            handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if exclusive or error.errno not in (errno.EROFS, errno.EACCES):
                raise _disk_error(self.root, 0, error) from error
            yield
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def sweep(self, age: float = STALE) -> int:
        """Remove what killed writers left more than ``age`` seconds ago; return the bytes freed."""
        freed = 0
        for path in self._ingest.glob("*"):
            with suppress(OSError):
                status = path.stat()
                if time.time() - status.st_mtime > age:
                    with path.open("rb") as file:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        path.unlink()
                        freed += status.st_size
        return freed

    def _sweep_once(self) -> None:
        if not self._swept:
            self._swept = True
            self.sweep()

    def _claim(self, expected: Descriptor | None) -> tuple[IO[bytes], Path, bool]:
        with disk_errors(self._ingest, expected.size if expected else 0):
            if expected is None:
                return *_temporary(self._ingest), False
            path = self._ingest / f"sha256-{expected.hex}.part"
            while True:
                file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)
                fcntl.flock(file, fcntl.LOCK_EX)
                if _same_file(file, path):
                    break
                file.close()  # the one we waited for has finished: it moved or removed the file under us
        complete = self.has(expected.digest)
        if complete:
            path.unlink(missing_ok=True)
        return file, path, complete

    def _commit(self, file: IO[bytes], path: Path, writer: BlobWriter) -> None:
        target = self.path(writer.digest)
        with disk_errors(target, writer.offset):
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
            os.utime(path)
            path.replace(target)
            sync_folder(target.parent)

    def _set_aside(self, descriptor: Descriptor, found: DigestError) -> DigestError:
        self._quarantine.mkdir(exist_ok=True)
        bad = self._quarantine / f"sha256-{descriptor.hex}"
        with suppress(FileNotFoundError):
            self.path(descriptor.digest).replace(bad)
        return DigestError(f"the store's copy of {descriptor.digest} is corrupt: {found.message}",
                           hint=f"it was moved to {bad}; the next build fetches it anew, an import brings it back")


class VerifyingReader(io.RawIOBase):
    """A file read front to back whose digest is checked when its last byte has been read."""

    def __init__(self, file: IO[bytes], descriptor: Descriptor) -> None:
        super().__init__()
        self._file, self._wanted = file, descriptor
        self._hash, self._offset = hashlib.sha256(), 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; raise DigestError at the end when the content is not what its name says."""
        view = memoryview(buffer).cast("B")
        count = cast(io.RawIOBase, self._file).readinto(view) or 0
        self._hash.update(view[:count])
        self._offset += count
        if count == 0 or self._offset >= self._wanted.size:
            self._check()
        return count

    def check_size(self) -> None:
        """Raise DigestError when the file has not the promised size."""
        size = os.fstat(self._file.fileno()).st_size
        if size != self._wanted.size:
            raise DigestError(f"it has {size} bytes; {self._wanted.size} were promised")

    def drain(self) -> None:
        """Read to the end, for the check there."""
        scratch = bytearray(_CHUNK)
        while self.readinto(scratch):
            pass

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _check(self) -> None:
        if self._offset != self._wanted.size:
            raise DigestError(f"it has {self._offset} bytes; {self._wanted.size} were promised")
        if self._hash.hexdigest() != self._wanted.hex:
            raise DigestError(f"its bytes have the digest sha256:{self._hash.hexdigest()}")


@contextmanager
def disk_errors(path: Path, size: int) -> Iterator[None]:
    """Translate what a disk says: DeviceError naming the path and, when it is full, the bytes needed."""
    try:
        yield
    except OSError as error:
        raise _disk_error(path, size, error) from error


def _disk_error(path: Path, size: int, error: OSError) -> DeviceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DeviceError(f"no space left to write {path} ({size} bytes)", hint="free some with `provisioner cache "
                           "prune`, or set PROVISIONER_CACHE to another disk")
    return DeviceError(f"cannot write {path}: {error.strerror or error}",
                       hint="PROVISIONER_CACHE chooses another directory")


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, scratch: Path) -> None:
    """Replace a small file in one step: a reader sees the old or the new content, never a part.

    ``scratch`` is a folder of the same file system that is swept when writers were killed.
    """
    with disk_errors(path, len(data)):
        file, temporary = _temporary(scratch)
        try:
            with file:
                _write_all(file, data)
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _temporary(folder: Path) -> tuple[IO[bytes], Path]:
    """Make a locked temporary file; one that was swept before it could be locked is made again."""
    while True:
        handle, name = tempfile.mkstemp(".part", "new-", folder)
        file, path = os.fdopen(handle, "w+b", buffering=0), Path(name)
        fcntl.flock(file, fcntl.LOCK_EX)
        if _same_file(file, path):
            return file, path
        file.close()


def _write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest):]


def _same_file(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
