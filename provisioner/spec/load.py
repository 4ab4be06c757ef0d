"""Files, standard input and text into one checked ``ImageSpec``, merged as LinuxKit merges.

Merging (``moby/config.go``, AppendConfig): a later file's kernel fields win where they say something, every list is
appended. Volumes of every file can be bound by every file, which LinuxKit means to allow but forgets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, NotFoundError, Problem, UsageError
from provisioner.model.spec import ImageConfig, ImageEntry, ImageSpec, Kernel, Trust, Volume
from provisioner.spec.check import check, notices
from provisioner.yamlfile.nodes import MAX_BYTES
from provisioner.yamlfile.reader import decode
from provisioner.yamlfile.reader import load as load_yaml

PACKAGE = "@pkg:"
Packages = Callable[[str, Path], str]
Fetch = Callable[[str], bytes]


def load(*sources: str | Path, packages: Packages | None = None, fetch: Fetch | None = None,
         noted: list[Problem] | None = None) -> ImageSpec:
    """Read, merge and check ``sources``: paths, ``-`` for standard input, http(s) URLs.

    ``packages(directory, beside)`` returns the image reference of an ``@pkg:`` directory, taken relative to the YAML
    file's directory ``beside``; ``fetch(url)`` the bytes of a URL. ``noted`` receives what is accepted but has no
    effect. Raises InputError with every problem of every file.
    """
    if not sources:
        raise UsageError("no YAML file given")
    specs: list[ImageSpec] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            text = _read(source, fetch)
            folder = None if _is_url(source) or str(source) == "-" else Path(source).parent
            spec = parse(text, file="<stdin>" if str(source) == "-" else str(source), noted=noted)
            specs.append(_expand(spec, folder, packages))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems=problems)
    merged = merge(specs)
    problems = check(merged)
    if problems:
        raise InputError(problems=problems)
    if noted is not None:
        noted += notices(merged)
    return merged


def parse(text: str, *, file: str, noted: list[Problem] | None = None) -> ImageSpec:
    """Return one file's spec: its grammar is checked, not yet what needs the whole (see ``check``)."""
    return load_yaml(text, ImageSpec, file=file, exact_text=True, notices=[] if noted is None else noted,
                     named={"services": "service", "volumes": "volume"})


def parse_label(text: str, *, file: str) -> ImageConfig:
    """Return what an image's label ``org.mobyproject.config`` says, JSON or YAML; ``file`` names it in errors."""
    return load_yaml(text, ImageConfig, file=file, exact_text=True, notices=[])


def merge(specs: Sequence[ImageSpec]) -> ImageSpec:
    """Join specs in order; the parts keep the places they were read from."""
    merged = specs[0]
    for spec in specs[1:]:
        trusts = [one.trust for one in (merged, spec) if one.trust]
        merged = merged.model_copy(update={
            "kernel": _merge_kernel(merged.kernel, spec.kernel),
            "trust": Trust(image=sum((t.image for t in trusts), ()), org=sum((t.org for t in trusts), ()))
            if trusts else None,
            **{key: getattr(merged, key) + getattr(spec, key)
               for key in ("init", "onboot", "onshutdown", "services", "files", "volumes")},
        })
    return merged


def _merge_kernel(first: Kernel, second: Kernel) -> Kernel:
    update: dict[str, Any] = {key: value for key in ("image", "cmdline", "binary") if (value := getattr(second, key))}
    update |= {key: value for key in ("tar", "ucode") if (value := getattr(second, key)) is not None}
    base = second if second.image else first
    fields = {key: getattr(first, key) for key in Kernel.model_fields}
    return base.model_copy(update=fields | update) if fields | update != fields or base is second else first


def _is_url(source: str | Path) -> bool:
    return str(source).startswith(("http://", "https://"))


def _read(source: str | Path, fetch: Fetch | None) -> str:
    name = str(source)
    if name == "-":
        return decode(sys.stdin.buffer.read(4 * MAX_BYTES), "<stdin>")
    if _is_url(source):
        if fetch is None:
            raise UsageError(f"a URL cannot be read here: {name}", hint="fetch it first and name the file")
        return decode(fetch(name), name)
    try:
        with Path(source).open("rb") as file:
            return decode(file.read(4 * MAX_BYTES), name)
    except OSError as error:
        raise NotFoundError(f"cannot read {name}: {error.strerror}") from error


def _expand(spec: ImageSpec, folder: Path | None, packages: Packages | None) -> ImageSpec:
    """Put image references in place of ``@pkg:DIRECTORY``."""
    problems: list[Problem] = []

    def resolve(image: str, place: Problem) -> str:
        if not image.startswith(PACKAGE):
            return image
        if folder is None or packages is None:
            why = "only a file on disk may name packages" if folder is None else "packages cannot be built here"
            problems.append(Problem(place.file, place.line, place.column, f"{image}: {why}"))
            return image
        return packages(image.removeprefix(PACKAGE), folder)

    def entries(items: tuple[ImageEntry, ...]) -> tuple[ImageEntry, ...]:
        return tuple(item.model_copy(update={"image": resolve(item.image, item.problem("", "image"))})
                     if item.image.startswith(PACKAGE) else item for item in items)

    def volume(item: Volume) -> Volume:
        image = resolve(item.image, item.problem("", "image"))
        return item if image == item.image else item.model_copy(update={"image": image})

    kernel = spec.kernel
    update = {
        "kernel": kernel.model_copy(update={"image": resolve(kernel.image, kernel.problem("", "image"))}),
        "init": tuple(resolve(image, spec.problem("", "init", index)) for index, image in enumerate(spec.init)),
        "onboot": entries(spec.onboot), "onshutdown": entries(spec.onshutdown), "services": entries(spec.services),
        "volumes": tuple(volume(item) for item in spec.volumes),
    }
    if problems:
        raise InputError(problems=problems)
    return spec.model_copy(update=update)
