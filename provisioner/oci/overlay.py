"""What a stack of layers amounts to (OCI image-spec, layer.md), worked out on names alone.

The index holds the tree that applying the layers from the bottom up would leave, without any content: directories as
nodes, everything else as the number of the tar entry that made it (its ordinal over all layers). Hard links share an
ordinal. Symlinks are remembered with their targets, because a name below one is resolved inside the image's root,
as containerd does. Memory grows with the number of entries, never with their size.
"""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import RefusedError
from provisioner.model.tree import Entry, Kind

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."
_HOPS = 40


class Dir:
    """A directory: ``meta`` is the entry that declared it last (None: implied), ``layer`` who touched it last."""

    __slots__ = ("children", "layer", "meta", "ordinal")

    def __init__(self, layer: int) -> None:
        self.children: dict[str, Node] = {}
        self.layer = layer
        self.meta: Entry | None = None
        self.ordinal = -1


class Symlink:
    """A symbolic link and the ordinal of its entry."""

    __slots__ = ("ordinal", "target")

    def __init__(self, ordinal: int, target: str) -> None:
        self.ordinal = ordinal
        self.target = target


Node = Dir | Symlink | int


class Index:
    """The tree so far. Feed each layer's entries with `add` between two calls of `begin`."""

    def __init__(self) -> None:
        self.root = Dir(0)
        self._layer = 0
        self._name = ""
        self._first = 0
        self._next = 0
        self._linked: set[tuple[Dir, str]] = set()
        self._recent = ("", self.root)

    def __len__(self) -> int:
        return self._next

    def begin(self, name: str) -> None:
        """Start the next layer upwards; ``name`` is what errors call it."""
        self._layer += 1
        self._name = name
        self._first = self._next
        self._linked.clear()
        self._recent = ("", self.root)

    def add(self, entry: Entry) -> None:
        """Apply one entry; raise RefusedError for one that cannot be meant."""
        ordinal = self._next
        self._next += 1
        parent, _, name = entry.path.rpartition("/")
        if _WHITEOUT in entry.path and self._special(entry.path, parent, name):
            return
        where = self._descend(parent, entry.path)
        if isinstance(where.children.get(name), Dir | Symlink):
            self._recent = ("", self.root)  # the way to it may lead elsewhere from now on
        if entry.kind is Kind.DIR:
            self._directory(where, name, entry, ordinal)
        elif entry.kind is Kind.HARDLINK:
            where.children[name] = self._link_target(entry)
            self._linked.add((where, name))
        elif entry.kind is Kind.SYMLINK:
            where.children[name] = Symlink(ordinal, entry.target)
        else:
            where.children[name] = ordinal

    def survivors(self) -> tuple[dict[int, list[str]], dict[str, Entry | None]]:
        """Return the paths that each ordinal ends up with, and every directory with its entry (None: implied).

        A directory's ordinal is that of the entry that declared it last.
        """
        paths: dict[int, list[str]] = {}
        directories: dict[str, Entry | None] = {}
        for path, node in _walk(self.root):
            if isinstance(node, Dir):
                directories[path] = node.meta
                if node.meta is not None:
                    paths[node.ordinal] = [path]
            else:
                ordinal = node if isinstance(node, int) else node.ordinal
                paths.setdefault(ordinal, []).append(path)
        return paths, directories

    def _special(self, path: str, parent: str, name: str) -> bool:
        """Apply a whiteout, skip what aufs left behind; say whether it was either."""
        if f"/{_WHITEOUT}" in f"/{parent}":
            if f"/{_AUFS}" not in f"/{parent}":
                raise self._refused(path, "lies below a whiteout")
            return True
        if name.startswith(_WHITEOUT):
            self._whiteout(path, parent, name)
            self._recent = ("", self.root)
            return True
        return False

    def _directory(self, where: Dir, name: str, entry: Entry, ordinal: int) -> None:
        node = where.children.get(name)
        if not isinstance(node, Dir):
            node = where.children[name] = Dir(self._layer)
        node.layer, node.meta, node.ordinal = self._layer, entry, ordinal

    def _link_target(self, entry: Entry) -> Node:
        parent, _, name = entry.target.rpartition("/")
        where, _ = self._find(parent, entry.path)
        node = where.children.get(name) if where else None
        if node is None:
            raise self._refused(entry.path, f"is a hard link to {entry.target}, which is not there")
        if isinstance(node, Dir):
            raise self._refused(entry.path, f"is a hard link to the directory {entry.target}")
        return node

    def _whiteout(self, path: str, parent: str, name: str) -> None:
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise self._refused(path, "is a whiteout of no name")
        where, followed = self._find(parent, path)
        if name == _OPAQUE:
            if followed:
                raise self._refused(path, "empties a directory through a symbolic link")
            if where is not None:
                self._hide_lower(where)
        elif not name.startswith(_AUFS) and where is not None and hidden in where.children:
            self._hide(where, hidden)

    def _hide(self, where: Dir, name: str) -> None:
        """Take a child away as far as lower layers made it."""
        node = where.children[name]
        if isinstance(node, Dir) and node.layer == self._layer:
            self._hide_lower(node)
            if node.ordinal < self._first:
                node.meta = None
        elif not self._is_new(where, name, node):
            del where.children[name]

    def _hide_lower(self, where: Dir) -> None:
        stack = [where]
        while stack:
            folder = stack.pop()
            for name, node in list(folder.children.items()):
                if isinstance(node, Dir) and node.layer == self._layer:
                    stack.append(node)
                    if node.ordinal < self._first:
                        node.meta = None
                elif not self._is_new(folder, name, node):
                    del folder.children[name]

    def _is_new(self, where: Dir, name: str, node: Node) -> bool:
        if isinstance(node, Dir):
            return node.layer == self._layer
        ordinal = node if isinstance(node, int) else node.ordinal
        return ordinal >= self._first or (where, name) in self._linked

    def _descend(self, path: str, entry: str) -> Dir:
        """Return the directory at ``path``, making and marking those on the way as this layer's."""
        if path and path == self._recent[0]:
            return self._recent[1]
        where, _ = self._resolve(path, entry, make=True)
        if where is None:
            raise self._refused(entry, "has no directory")
        self._recent = (path, where)
        return where

    def _find(self, path: str, entry: str) -> tuple[Dir | None, bool]:
        return self._resolve(path, entry, make=False)

    def _resolve(self, path: str, entry: str, *, make: bool) -> tuple[Dir | None, bool]:
        """Walk to a directory inside the root; say also whether a symbolic link was followed."""
        stack = [self.root]
        todo = path.split("/")[::-1] if path else []
        hops = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del stack[max(1, len(stack) - 1):]
                continue
            node = stack[-1].children.get(part)
            if isinstance(node, Symlink):
                hops += 1
                if hops > _HOPS:
                    raise self._refused(entry, "lies below a loop of symbolic links")
                if node.target.startswith("/"):
                    del stack[1:]
                todo.extend(node.target.split("/")[::-1])
                continue
            if isinstance(node, int) and make:
                raise self._refused(entry, f"lies below {part}, which is no directory")
            if not isinstance(node, Dir):
                if not make:
                    return None, hops > 0
                node = stack[-1].children[part] = Dir(self._layer)
            stack.append(node)
        if make:
            for node in stack:
                node.layer = self._layer
        return stack[-1], hops > 0

    def _refused(self, path: str, why: str) -> RefusedError:
        return RefusedError(f"{self._name}: {path} {why}", hint="the image is broken or hostile; do not use it")


def _walk(root: Dir) -> Iterator[tuple[str, Node]]:
    """Yield every path below the root with its node, parents first, without recursion."""
    stack = [("", iter(root.children.items()))]
    while stack:
        prefix, children = stack[-1]
        for name, node in children:
            yield prefix + name, node
            if isinstance(node, Dir):
                stack.append((f"{prefix}{name}/", iter(node.children.items())))
                break
        else:
            stack.pop()
