"""From seed paths to the files of an image: what the recipe names, and what the dynamic linker will ask for.

For every ELF file the transitive DT_NEEDED and the interpreter are found as ld.so finds them: DT_RUNPATH, then the
architecture's folders. What is dlopen()ed stands in no header; a recipe names it.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import provisioner.components.elf as elf
from provisioner.components.pool import Pool, PoolFile, join, merged
from provisioner.components.recipe import TRIPLETS, Recipe
from provisioner.errors import NotFoundError
from provisioner.model.tree import Kind


@dataclass(slots=True)
class Selection:
    """``files`` by their path in a merged /usr; ``interpreters`` the paths that PT_INTERP names, as they stand."""

    files: dict[str, PoolFile] = field(default_factory=dict)
    interpreters: set[str] = field(default_factory=set)

    @property
    def packages(self) -> set[str]:
        """The packages that have a part in it."""
        return {file.package for file in self.files.values()}


class Selector:
    """Selects from one pool for one Debian architecture."""

    def __init__(self, pool: Pool, arch: str) -> None:
        self.pool = pool
        triplet = TRIPLETS.get(arch, arch)
        self._folders = (f"usr/lib/{triplet}", "usr/lib", "usr/lib64")
        self._elves: dict[str, elf.Elf | None] = {}
        self._provided: list[re.Pattern[str]] = []

    def select(self, recipe: Recipe) -> Selection:
        """Return the files of ``recipe``, filled in for its architecture. Raises NotFoundError for missing ones."""
        found = Selection()
        self._provided = [_compiled(merged(pattern)) for pattern in recipe.provided]
        waiting = deque(self.seeds(recipe))
        while waiting:
            path = waiting.popleft()
            for file in self.pool.trace(path):
                if file.path not in found.files:
                    found.files[file.path] = file
                    waiting.extend(self._asked_by(file, found))
        return found

    def seeds(self, recipe: Recipe) -> list[str]:
        """Return the paths that the recipe's patterns match, less those it drops."""
        dropped = [_compiled(pattern) for pattern in recipe.drop]
        parts = [pattern for joined in recipe.join for pattern in joined.parts]
        return [path for pattern in [*recipe.keep, *parts] for path in self._matches(pattern)
                if not any(drop.fullmatch(path) for drop in dropped)]

    def _matches(self, pattern: str) -> list[str]:
        found = matching(pattern, self.pool.files)
        if not found and self.pool.trace(merged(pattern)):
            found = [merged(pattern)]       # it lies below a folder that is itself a symlink
        if not found:
            near = difflib.get_close_matches(pattern, self.pool.files, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "add its package to the recipe"
            raise NotFoundError(f"no package has {pattern}", hint=hint)
        return found

    def _asked_by(self, file: PoolFile, found: Selection) -> Iterator[str]:
        header = self._elf(file)
        if header is None:
            return
        if header.interpreter and not self._comes_from_beside(merged(header.interpreter)):
            found.interpreters.add(header.interpreter.lstrip("/"))
            yield self._required(header.interpreter, file)
        for name in header.needed:
            if library := self._library(name, header, file):
                yield library

    def _comes_from_beside(self, path: str) -> bool:
        """Whether another component of the init list brings this path, so that the recipe's image does not."""
        return any(pattern.fullmatch(path) for pattern in self._provided)

    def _library(self, name: str, header: elf.Elf, file: PoolFile) -> str:
        """Return the path where the linker finds a library, nothing when that is another component's."""
        if "/" in name:
            return self._required(name, file)
        origin = file.path.rpartition("/")[0]
        own = [merged(join("", "/" + re.sub(r"\$\{?ORIGIN\}?", origin, folder))) for folder in header.search]
        for folder in (*own, *self._folders):
            path = f"{folder}/{name}"
            if self._comes_from_beside(path):
                return ""
            trail = self.pool.trace(path)
            if trail and (library := self._elf(trail[-1])) and library.kind == header.kind:
                return path
        raise NotFoundError(f"{file.path} needs {name}, which none of the packages has",
                            hint="add its package to the recipe, or run provisioner component lock")

    def _required(self, path: str, file: PoolFile) -> str:
        if not self.pool.trace(merged(path)):
            raise NotFoundError(f"{file.path} needs {path}, which none of the packages has",
                                hint="add its package to the recipe, or run provisioner component lock")
        return merged(path)

    def _elf(self, file: PoolFile) -> elf.Elf | None:
        if file.kind is not Kind.FILE:
            return None
        if file.path not in self._elves:
            with self.pool.open(file) as stream:
                self._elves[file.path] = elf.read(stream, file.path)
        return self._elves[file.path]


def matching(pattern: str, paths: Iterable[str]) -> list[str]:
    """Return the paths that a recipe's pattern matches, sorted: by itself or as a folder above them."""
    wanted = _compiled(merged(pattern))
    return sorted(path for path in paths if wanted.fullmatch(path))


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    tokens = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*|\*|\?|\[[^]/]+\])", pattern)
    text = "".join(tokens.get(piece, piece if piece.startswith("[") and piece.endswith("]") else re.escape(piece))
                   for piece in pieces)
    return re.compile(f"{text}(?:/.*)?")
