"""What a grammar cannot see: doubled names, unknown volumes and ids, and things without effect."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.model.document import Document
from provisioner.model.spec import ImageEntry, ImageSpec, Volume


def check(spec: ImageSpec) -> list[Problem]:
    """Return every problem of a merged spec, each with its place."""
    return [*_doubles(spec), *_names(spec), *_volumes(spec), *_ids(spec)]


def notices(spec: ImageSpec) -> list[Problem]:
    """Return what LinuxKit accepts although it has no effect, so that nothing is ignored silently."""
    return [*_kernel_notices(spec), *_entry_notices(spec), *_file_notices(spec), *_volume_notices(spec)]


def volume_of(source: str, spec: ImageSpec) -> Volume | None:
    """Return the volume that the source of a bind names; a path (it starts with ``/``) names none."""
    return None if source.startswith("/") else next((v for v in spec.volumes if v.name == source), None)


def _doubles(spec: ImageSpec) -> Iterator[Problem]:
    for kind, items in (("service", spec.services), ("volume", spec.volumes)):
        seen: dict[str, Document] = {}
        for item in items:
            if item.name in seen:
                yield item.problem(f"two {kind}s are named `{item.name}`", "name",
                                   hint=f"the first is at {seen[item.name].place('name')}")
            else:
                seen[item.name] = item


def _names(spec: ImageSpec) -> Iterator[Problem]:
    for section, _, entry in spec.containers():
        parts = entry.name.split("/")
        if any(part in ("", ".", "..") for part in parts) and (entry.name or section == "services"):
            yield entry.problem(f"`{entry.name}` cannot name a directory below containers/{section}", "name",
                                hint="use letters, digits and hyphens")
    for item in spec.files:
        if posixpath.normpath(item.path.lstrip("/")).split("/")[0] == "..":
            yield item.problem(f"the path {item.path} leads out of the root", "path", hint="leave the `..` out")


def _volumes(spec: ImageSpec) -> Iterator[Problem]:
    for _, _, entry in spec.containers():
        for key, texts in (("binds", entry.binds), ("binds.add", entry.binds_add)):
            for index, text in enumerate(texts or ()):
                source, _, rest = text.partition(":")
                writable = rest.partition(":")[2] != "ro"
                yield from _volume(spec, entry, source, writable, (key, index))
        for index, mount in enumerate(entry.mounts or ()):
            if mount.type == "bind":
                access = next((option for option in mount.options or () if option in ("ro", "rw")), "rw")
                yield from _volume(spec, entry, mount.source, access == "rw", ("mounts", index))


def _volume(spec: ImageSpec, entry: ImageEntry, source: str, writable: bool,
            keys: tuple[str, int]) -> Iterator[Problem]:
    if source.startswith("/"):
        return
    volume = volume_of(source, spec)
    if volume is None:
        near = difflib.get_close_matches(source, [v.name for v in spec.volumes], 1)
        hint = f"did you mean {near[0]}?" if near else "a bind names a path from / on, or a volume of `volumes`"
        yield entry.problem(f"{entry.name}: no volume is named `{source}`", *keys, hint=hint)
    elif volume.readonly and writable:
        yield entry.problem(f"{entry.name}: the volume {source} is read-only", *keys,
                            hint=f"bind it as {source}:/path:ro")


def _ids(spec: ImageSpec) -> Iterator[Problem]:
    known = spec.ids()
    uses: list[tuple[Document, object, tuple[str | int, ...]]] = []
    for _, _, entry in spec.containers():
        uses += [(entry, entry.uid, ("uid",)), (entry, entry.gid, ("gid",))]
        uses += [(entry, value, ("additionalGids", index)) for index, value in enumerate(entry.additional_gids or ())]
    for item in spec.files:
        uses += [(item, item.uid, ("uid",)), (item, item.gid, ("gid",))]
    for owner, value, keys in uses:
        if isinstance(value, str) and value not in ("", "root") and value not in known:
            near = difflib.get_close_matches(value, list(known), 1)
            hint = f"did you mean {near[0]}?" if near else "an id is a number, root, or the name of a container"
            yield owner.problem(f"no container is named `{value}`", *keys, hint=hint)


def _kernel_notices(spec: ImageSpec) -> Iterator[Problem]:
    given = [key for key in ("cmdline", "binary", "tar", "ucode") if getattr(spec.kernel, key)]
    if given and not spec.kernel.image:
        yield spec.kernel.problem(f"kernel.{given[0]} has no effect without kernel.image", given[0])


def _entry_notices(spec: ImageSpec) -> Iterator[Problem]:
    for _, _, entry in spec.containers():
        for key, plain, added in (("capabilities", entry.capabilities, entry.capabilities_add),
                                  ("binds", entry.binds, entry.binds_add)):
            if plain is not None and added is not None:
                yield entry.problem(f"{entry.name}: {key}.add has no effect beside {key}", f"{key}.add")
        if "/" in entry.name:
            yield entry.problem(f"{entry.name}: init starts no container whose name has a slash", "name")


def _file_notices(spec: ImageSpec) -> Iterator[Problem]:
    for item in spec.files:
        if item.directory and item.symlink:
            yield item.problem(f"{item.path}: symlink has no effect beside directory", "symlink")
        elif item.symlink and item.contents is not None:
            yield item.problem(f"{item.path}: contents has no effect beside symlink", "contents")
        if not item.path.strip("/."):
            yield item.problem("the root directory itself is not written", "path")


def _volume_notices(spec: ImageSpec) -> Iterator[Problem]:
    for item in spec.volumes:
        if item.platforms and item.format != "oci":
            yield item.problem(f"volume {item.name}: platforms has no effect without format: oci", "platforms")
        if item.format == "oci" and not item.image:
            yield item.problem(f"volume {item.name}: format has no effect without an image", "format")
