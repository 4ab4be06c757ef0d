"""The verb ``build``: YAML to image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.cli.output import Output, human

if TYPE_CHECKING:
    from provisioner.build import BuildOptions
    from provisioner.model.artifact import Artifact
    from provisioner.model.event import Event
    from provisioner.model.platform import Platform
    from provisioner.model.spec import ImageSpec

_URL_LIMIT = 1 << 20


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--name", default="", help="Base name of the files; default: that of the last YAML file.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Folder for the files; default: this one.")
@click.option("-o", "--o", "output", type=click.Path(path_type=Path),
              help="One output file, or - for standard output, instead of --dir and --name; for the format tar.")
@click.option("-f", "--format", "formats", multiple=True, metavar="FORMAT,…",
              help="Output formats, comma-separated or repeated; default: kernel+initrd, or tar with --o.")
@click.option("--arch", "arches", multiple=True, metavar="ARCH,…",
              help="Architectures, such as amd64 or arm64; with several, each is part of its files' names. "
                   "Default: this machine's.")
@click.option("--compress", type=click.Choice(["gzip", "zstd", "xz", "none"]), default="gzip", show_default=True,
              help="How an initrd is compressed; every kernel knows gzip.")
@click.option("--pull", is_flag=True, help="Ask registries for newer images, even for those in the store.")
@click.option("--docker", is_flag=True, help="Look for images in the Docker daemon first.")
@click.option("--locked", is_flag=True, help="Fail when a component's locked packages are gone from the mirrors.")
@click.pass_obj
def command(out: Output, /, files: tuple[str, ...], **chosen: object) -> None:
    """Build machine images from YAML.

    FILE is a YAML file, an http(s) URL, or - for standard input; several are merged in their order. The files appear
    when everything has succeeded, and not at all otherwise.
    """
    from provisioner.build import build, chosen_formats

    options = _options(out, files, chosen)
    chosen_formats(options)
    artifacts = build(load(out, files), options)
    if options.output != Path("-"):
        _report(out, artifacts)


def _options(out: Output, files: tuple[str, ...], chosen: dict[str, object]) -> BuildOptions:
    from provisioner.build import DEFAULT_FORMAT, BuildOptions, default_name
    from provisioner.errors import UsageError

    output, directory, name = chosen["output"], chosen["directory"], str(chosen["name"])
    if output is not None and (directory is not None or name):
        raise UsageError("--o names the whole output, so --dir and --name say nothing beside it")
    if "/" in name or name in (".", ".."):
        raise UsageError(f"--name {name} is no file name", hint="choose the folder with --dir")
    return BuildOptions(
        name=name or default_name(files),
        directory=directory if isinstance(directory, Path) else Path(),
        output=output if isinstance(output, Path) else None,
        formats=_words(chosen["formats"]) or (("tar",) if output is not None else (DEFAULT_FORMAT,)),
        platforms=_platforms(_words(chosen["arches"])),
        compress=str(chosen["compress"]),
        pull=bool(chosen["pull"]), docker=bool(chosen["docker"]), locked=bool(chosen["locked"]),
        sink=Progress(out),
    )


def _words(given: object) -> tuple[str, ...]:
    """Split what was given comma-separated, repeated, or both."""
    words = given if isinstance(given, tuple) else ()
    return tuple(dict.fromkeys(part.strip() for word in words for part in word.split(",") if part.strip()))


def _platforms(names: tuple[str, ...]) -> tuple[Platform, ...]:
    from provisioner.errors import UsageError
    from provisioner.model.platform import DEBIAN, Platform

    found = tuple(dict.fromkeys(Platform.parse(name) for name in names)) or (Platform.host(),)
    for platform in found:
        if platform.architecture not in DEBIAN:
            raise UsageError(f"unknown architecture {platform.architecture}", hint=f"one of {', '.join(DEBIAN)}")
    return found


def load(out: Output, files: tuple[str, ...]) -> ImageSpec:
    """Read a spec and warn of all that has no effect."""
    from provisioner import spec
    from provisioner.errors import Problem

    noted: list[Problem] = []
    loaded = spec.load(*files, fetch=_fetch, noted=noted)
    for problem in noted:
        out.warn(str(problem))
    if loaded.trust is not None:
        out.warn(f"{loaded.place('trust')}: signatures are not checked yet; trust has no effect")
    return loaded


def _fetch(url: str) -> bytes:
    from provisioner.http import Client

    with Client() as client:
        return client.get(url, limit=_URL_LIMIT).body


def _report(out: Output, artifacts: list[Artifact]) -> None:
    if out.as_json:
        rows = [{"path": str(a.path), "role": a.role, "format": a.format, "platform": str(a.platform),
                 "size": a.size, "digest": a.digest} for a in artifacts]
        out.result("", {"artifacts": rows})
        return
    out.table(["FILE", "SIZE", "DIGEST"], [[a.path, human(a.size), a.digest] for a in artifacts])


class Progress:
    """Prints a line for each step of a build on standard error."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def __call__(self, event: Event) -> None:
        """Be a sink: warnings always, the rest unless quiet."""
        if event.stage in ("warning", "stale"):
            self._out.warn(f"{event.name}: {event.detail}" if event.name else event.detail)
        elif event.stage != "image" or self._out.verbose:
            self._out.info(self._line(event))

    @staticmethod
    def _line(event: Event) -> str:
        words = [event.stage, event.name, event.detail]
        size, raw = event.data.get("size"), event.data.get("raw")
        if isinstance(size, int) and isinstance(raw, int):
            words.append(f"{human(raw)} → {human(size)}")
        elif isinstance(size, int):
            words.append(human(size))
        return " ".join(word for word in words if word)
