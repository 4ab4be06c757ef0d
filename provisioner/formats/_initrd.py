"""Joins a tree into an initrd: one compressed archive per part, copied from the store of segments where it can be.

Parts with a key come from `archive.segments`, or are compressed into it, two at a time. Parts without one are written
fresh, neighbours together. Because the kernel drops what lies in a directory that is not there yet, each segment
says which directories it needs, and those that no earlier segment made are put in between. The last segment is empty
but for a note in its trailer (see `archive.cpio`): what the parts were made from, as JSON.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from io import FileIO
from itertools import chain, groupby
from pathlib import Path
from typing import Self

from provisioner.archive.output import OutputFile, copy
from provisioner.archive.segments import Segment, SegmentStore
from provisioner.errors import DigestError
from provisioner.formats._common import UCODE, FormatOptions, beside
from provisioner.model.tree import Entry, ImageTree, Kind, Part

NOTE_VERSION = 1


class Initrd:
    """The segments of a tree, ready to be joined. Use as a context: leaving it removes what was only for this run."""

    def __init__(self, tree: ImageTree, options: FormatOptions) -> None:
        self._tree = tree
        self._options = options
        self._store = SegmentStore(options.cache / "segments", options.compress, options.level)
        self._runs = _runs(tree.parts)
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._segments: list[Segment] = []

    def __enter__(self) -> Self:
        # xz and zstd take up to 100 MB for each stream; zlib takes next to nothing.
        jobs = self._options.jobs if self._options.compress in ("gzip", "none") else 1
        with self._stack:
            pool = ThreadPoolExecutor(jobs)
            try:
                futures = [self._start(pool, run) for run in self._runs]
                # Awaited in order, a failure would go unseen until the parts before it are done.
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
                self._segments = [future.result() for future in futures]
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
            self._stack = self._stack.pop_all()
        self._warn()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def entries(self) -> int:
        """How many entries the initrd has."""
        return sum(segment.entries for segment in self._segments)

    def has(self, name: str) -> bool:
        """Whether the tree has the file ``name`` beside the initrd."""
        return any(name in segment.taken for segment in self._segments)

    def copy_taken(self, name: str, output: OutputFile) -> None:
        """Append a file that was taken out of the tree, such as ``boot/kernel``; the last one of that name counts."""
        for number in reversed(range(len(self._segments))):
            if name in self._segments[number].taken:
                self._copy(number, output, lambda segment: segment.taken_path(name),
                           lambda segment: (segment.taken[name].size, segment.taken[name].digest))
                return

    def write(self, output: OutputFile) -> None:
        """Append the whole initrd: microcode first and uncompressed, as the kernel wants it, then every segment."""
        if self.has(UCODE):
            self.copy_taken(UCODE, output)
            output.write(bytes(-output.size % 4))
        known: set[str] = set()
        for number, segment in enumerate(self._segments):
            if needed := [path for path in segment.missing if path not in known]:
                self._append_fresh(output, [Entry(path, Kind.DIR, 0o755) for path in needed])
            self._copy(number, output, lambda segment: segment.path, lambda segment: (segment.size, segment.digest))
            known.update(segment.directories, needed)
        self._append_fresh(output, [], note(self._tree))

    def _start(self, pool: ThreadPoolExecutor, run: Sequence[Part]) -> Future[Segment]:
        key = run[0].key
        if key and (stored := self._store.find(key)):
            self._tell(run, stored, "unchanged")
            done: Future[Segment] = Future()
            done.set_result(stored)
            return done
        return pool.submit(self._compress, run)

    def _compress(self, run: Sequence[Part]) -> Segment:
        self._check()
        key = run[0].key
        if key:
            segment = self._store.build(key, run[0].entries(), take=beside, check=self._check)
        else:
            segment = self._store.write(self._stack.enter_context(self._store.scratch()), _entries(run), take=beside,
                                        check=self._check)
        self._tell(run, segment, "compressed")
        return segment

    def _copy(self, number: int, output: OutputFile, path: Callable[[Segment], Path],
              facts: Callable[[Segment], tuple[int, str]]) -> None:
        """Append a stored file; a damaged one is made again, once."""
        for _attempt in range(2):
            segment = self._segments[number]
            size, digest = facts(segment)
            try:
                with FileIO(path(segment)) as file:
                    if copy(file, output, size=size, digest=digest):
                        return
            except FileNotFoundError:
                pass  # another process tidied up; make it again
            self._make_again(number)
        raise DigestError(f"{path(segment)}: is damaged again and again", hint="check the disk of the cache")

    def _make_again(self, number: int) -> None:
        run = self._runs[number]
        if run[0].key:
            self._store.forget(run[0].key)
        self._stop.clear()
        self._segments[number] = self._compress(run)

    def _append_fresh(self, output: OutputFile, entries: Sequence[Entry], text: bytes = b"") -> None:
        with self._store.scratch() as folder:
            segment = self._store.write(folder, entries, take=lambda _entry: False, note=text)
            output.write(segment.path.read_bytes())

    def _check(self) -> None:
        if self._stop.is_set():
            raise InterruptedError("another part of the build has failed")

    def _tell(self, run: Sequence[Part], segment: Segment, detail: str) -> None:
        name = run[0].location if len(run) == 1 else f"{run[0].location} … {run[-1].location}"
        facts = {"source": run[0].source, "raw": segment.raw, "size": segment.size}
        self._options.tell("segment", name, detail, facts)

    def _warn(self) -> None:
        if count := sum(segment.xattrs for segment in self._segments):
            self._options.tell("warning", "xattrs", f"{count} files have extended attributes (such as file "
                               "capabilities), which an initrd cannot hold")


def note(tree: ImageTree) -> bytes:
    """Return the facts that the initrd carries about its making, as canonical JSON."""
    parts = [{"location": part.location, "source": part.source, "digest": part.digest}
             for part in tree.parts if part.source]
    facts = {"version": NOTE_VERSION, "platform": str(tree.platform), "cmdline": tree.cmdline, "parts": parts}
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


def _runs(parts: Sequence[Part]) -> list[list[Part]]:
    """Group parts into segments: each keyed part alone, neighbours without a key together."""
    runs: list[list[Part]] = []
    for keyed, group in groupby(parts, key=lambda part: part.key is not None):
        if keyed:
            runs.extend([part] for part in group)
        else:
            runs.append(list(group))
    return runs


def _entries(run: Sequence[Part]) -> Iterator[Entry]:
    return chain.from_iterable(part.entries() for part in run)
