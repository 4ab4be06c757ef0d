"""The recipe of a component: ``components/<name>/component.yml`` and the tree ``components/<name>/files/``.

    summary: runc, the OCI runtime that starts every container
    packages: [runc]                       # Debian packages; {arch} and {triplet} may stand in every pattern
    layout: split                          # for images laid into the machine's own root; merged for containers
    keep: [usr/sbin/runc]                  # seed paths; the image is these plus what their ELF headers ask for
    move: {usr/sbin/runc: usr/bin/runc}
    files:                                 # as in an image's YAML: contents, directory or symlink
      - {path: etc/init.d/010-onboot, symlink: /usr/bin/service}
    config: {capabilities: [CAP_SYS_ADMIN]}   # the label org.mobyproject.config, defaults of the image entry

Patterns are relative to the root: ``*`` and ``?`` stay within one name, ``**`` crosses them, a pattern that names a
folder keeps all below it. A pattern that matches nothing is an error. Everything below ``files/`` is added at its own
path: mode 0755 when it starts with ``#!``, else 0644, so that no checkout's permissions matter. ``base: other`` takes
over another component's recipe and files: what is said here replaces, ``packages``, ``keep`` and ``config`` add.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from provisioner import data, yamlfile
from provisioner.errors import InputError, NotFoundError
from provisioner.model.platform import Platform

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu", "armhf": "arm-linux-gnueabihf",
            "i386": "i386-linux-gnu", "riscv64": "riscv64-linux-gnu", "s390x": "s390x-linux-gnu"}
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


def _relative(path: str) -> str:
    if path.startswith("/") or path.endswith("/") or not path or ".." in path.split("/"):
        raise ValueError("expected a path relative to the root, such as usr/bin/program, without '..'")
    return path


def _octal(mode: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3,4}", mode):
        raise ValueError('expected an octal string such as "0644"')
    return mode


Path_ = Annotated[str, AfterValidator(_relative)]
Mode = Annotated[str, AfterValidator(_octal)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Added(_Model):
    """A path that the recipe adds: exactly one of ``contents``, ``directory`` and ``symlink``."""

    path: Path_
    contents: str | None = None
    directory: bool = False
    symlink: str | None = None
    mode: Mode | None = None
    uid: int = 0
    gid: int = 0

    @model_validator(mode="after")
    def _one_kind(self) -> Added:
        if sum((self.contents is not None, self.directory, self.symlink is not None)) != 1:
            raise ValueError("expected exactly one of contents, directory: true and symlink")
        return self


class Links(_Model):
    """Symlinks ``<at>/<name>`` for every name, all to ``target``: a multi-call program and its names."""

    target: str
    at: Path_
    names: list[str] = Field(min_length=1)


class Joined(_Model):
    """A file made by joining the files that match ``parts``, in order of their paths."""

    path: Path_
    parts: list[Path_] = Field(min_length=1)


class User(_Model):
    """A line of ``etc/passwd`` with its group; root is always there."""

    name: str
    uid: int
    gid: int
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"


class Kernel(_Model):
    """A kernel: ``image`` becomes ``/kernel``; ``modules``, closed over what they need, become ``/kernel.tar``.

    A module pattern without a slash matches module names (``-`` and ``_`` are the same), one with a slash paths below
    ``kernel/`` without suffix. A pattern may match nothing, for architectures differ; ``without`` takes out again.
    ``unpack`` takes the modules out of the package's compression, for machines whose modprobe cannot.
    """

    image: Path_
    modules: list[str]
    without: list[str] = []
    unpack: bool = False


class Only(_Model):
    """What one architecture has beyond the others."""

    packages: list[str] = []
    keep: list[Path_] = []


class Recipe(_Model):
    """A component, as its ``component.yml`` says; ``name`` is the folder's."""

    summary: str
    base: str | None = None
    suite: str = "trixie"
    arches: list[Literal["amd64", "arm64", "armhf", "i386", "riscv64", "s390x"]] = ["amd64", "arm64"]
    layout: Literal["merged", "split"] = "merged"
    packages: list[str] = []
    keep: list[Path_] = []
    drop: list[Path_] = []
    provided: list[Path_] = []
    move: dict[Path_, Path_] = {}
    files: list[Added] = []
    links: list[Links] = []
    join: list[Joined] = []
    users: list[User] = []
    kernel: Kernel | None = None
    only: dict[str, Only] = {}
    config: dict[str, Any] = {}
    entrypoint: list[str] = []
    command: list[str] = []
    env: list[str] = []
    workdir: str = "/"
    labels: dict[str, str] = {}

    def over(self, base: Recipe) -> Recipe:
        """Return ``base`` with what this recipe says in its place or, for lists that add, behind it."""
        said = self.model_dump(exclude_unset=True, exclude={"base"})
        for key in ("packages", "keep"):
            said[key] = [*getattr(base, key), *said.get(key, [])]
        said["config"] = base.config | self.config
        return Recipe.model_validate(base.model_dump() | said)

    def for_arch(self, platform: Platform) -> Recipe:
        """Return the recipe with ``{arch}`` and ``{triplet}`` filled in and ``only`` merged for one architecture."""
        arch = platform.debian
        words = {"{arch}": arch, "{triplet}": TRIPLETS.get(arch, arch)}
        patterns = {"packages", "keep", "drop", "provided", "move", "links", "join", "kernel"}
        filled = _fill(self.model_dump(include=patterns), words)
        extra = _fill(self.only.get(arch, Only()).model_dump(), words)
        filled["packages"] += extra["packages"]
        filled["keep"] += extra["keep"]
        return Recipe.model_validate(self.model_dump(exclude={"only"}) | filled)


class Component(_Model):
    """A recipe with its name, its folder and the bytes of its ``files/`` tree (path → content or symlink)."""

    name: str
    folder: Path
    recipe: Recipe
    files: dict[str, bytes | str]

    def key(self) -> str:
        """Return the sha256 that identifies the recipe and its files, whatever folder they lie in."""
        text = json.dumps(self.recipe.model_dump(), sort_keys=True)
        total = hashlib.sha256(f"{self.name}\n{text}\n".encode())
        for path, content in sorted(self.files.items()):
            body = content if isinstance(content, bytes) else f"-> {content}".encode()
            total.update(f"{path} {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode())
        return total.hexdigest()

    def selection(self) -> str:
        """Return the digest of what decides which packages contribute: a lock made for another one is stale."""
        fields = {"suite", "packages", "keep", "drop", "join", "only", "arches"}
        chosen = self.recipe.model_dump(include=fields)
        if self.recipe.provided:
            chosen["provided"] = self.recipe.provided
        chosen["kernel"] = self.recipe.kernel.image if self.recipe.kernel else ""
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]

    def supports(self, platform: Platform) -> bool:
        """Whether the recipe is meant for this platform."""
        return platform.os == "linux" and platform.debian in self.recipe.arches


def names() -> dict[str, Path]:
    """Return every component's name and folder: the user's own override those that ship."""
    return {name: path for name, path in data.listing("components").items() if (path / "component.yml").is_file()}


def load(name: str) -> Component:
    """Read the component ``name``; raise NotFoundError with the nearest names, InputError with every fault."""
    return load_folder(_folder(name))


def _folder(name: str) -> Path:
    known = names()
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known) or 'none'}"
        raise NotFoundError(f"no component is named {name}", hint=hint)
    return known[name]


def load_folder(folder: Path, above: tuple[str, ...] = ()) -> Component:
    """Read the component in ``folder``, whose last part is its name; ``above`` names those it is a base of."""
    if not NAME.fullmatch(folder.name):
        raise InputError(f"{folder}: a component's name has lower-case letters, digits, '-' and '.' only")
    recipe = yamlfile.load_file(folder / "component.yml", Recipe)
    files = dict(_tree(folder / "files"))
    if recipe.base is not None:
        chain = (*above, folder.name)
        if recipe.base in chain:
            raise InputError(f"{folder}/component.yml: base leads in a circle: {' -> '.join((*chain, recipe.base))}")
        base = load_folder(_folder(recipe.base), chain)
        recipe, files = recipe.over(base.recipe), base.files | files
    return Component(name=folder.name, folder=folder, recipe=recipe, files=files)


def _tree(root: Path) -> Mapping[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def _fill(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
        return value
    if isinstance(value, list):
        return [_fill(item, words) for item in value]
    if isinstance(value, dict):
        return {_fill(key, words): _fill(item, words) for key, item in value.items()}
    return value
