"""``provisioner cache``: look at the store of images, clean it, carry images in and out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from provisioner.cli.output import Output, human
from provisioner.model.event import discard

if TYPE_CHECKING:
    from provisioner.oci.store import Store


@click.group()
def command() -> None:
    """Look at and tend the store of images.

    The store is an OCI image layout in the cache directory (PROVISIONER_CACHE chooses another); skopeo and others
    can read it. It holds nothing that cannot be fetched or built again.
    """


@command.command("ls")
@click.pass_obj
def ls(out: Output) -> None:
    """List the images.

    Shown are the platforms of which all is here, and the bytes that are here.
    """
    store = _store()
    rows = []
    for name, descriptor in store.references().items():
        there = _platforms(store, name)
        size = sum(part.size for part in {part.digest: part for part in store.parts(descriptor)}.values())
        rows.append((name, descriptor.digest, there, size))
    if out.as_json:
        out.result("", [{"name": name, "digest": digest, "platforms": there, "size": size}
                        for name, digest, there, size in rows])
    else:
        out.table(("NAME", "DIGEST", "PLATFORMS", "SIZE"),
                  [(name, digest[7:19], " ".join(there) or "-", human(size)) for name, digest, there, size in rows])


@command.command("prune")
@click.option("--grace", default=24.0, show_default=True, metavar="HOURS", type=click.FloatRange(min=0),
              help="Keep what was written or used within this time; a build may be at work.")
@click.option("--all", "everything", is_flag=True, help="Forget every name first, so that all may go.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.pass_obj
def prune(out: Output, *, grace: float, everything: bool, dry_run: bool) -> None:
    """Remove what no name leads to.

    So goes what interrupted runs and damaged blobs left behind. Safe beside a build at work.
    """
    store = _store()
    gone = store.prune(grace=grace * 3600, dry_run=dry_run, forget=everything)
    verb = "would free" if dry_run else "freed"
    lines = [f"{digest}  {human(size)}" for digest, size in gone.blobs] if out.verbose or dry_run else []
    lines.append(f"{verb} {human(gone.freed)}: {len(gone.blobs)} blobs"
                 + (f", {human(gone.leftovers)} of leftovers" if gone.leftovers else ""))
    out.result("\n".join(lines), {"freed": gone.freed, "leftovers": gone.leftovers, "dry_run": dry_run,
                                  "blobs": [{"digest": digest, "size": size} for digest, size in gone.blobs]})


@command.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE…")
@click.option("--platform", "platform_name", metavar="ARCH", help="Default: this machine's.")
@click.option("--mirror", "mirrors", multiple=True, metavar="[REGISTRY=]URL",
              help="Ask this mirror first; may be repeated.")
@click.pass_obj
def pull(out: Output, names: tuple[str, ...], platform_name: str | None, mirrors: tuple[str, ...]) -> None:
    """Fetch images now, so that builds need no network."""
    from provisioner.model.platform import Platform
    from provisioner.oci.settings import Settings
    from provisioner.resolve import Sources

    store, settings = _store(), Settings.load(mirrors)
    platform = Platform.parse(platform_name) if platform_name else Platform.host()
    sink = out.event if not out.as_json else discard
    # Through the builder's own way, so that a component's name never means a stranger's image in a registry.
    sources = Sources(store, pull=True, settings=settings, sink=sink)
    rows = [{"name": name, "digest": sources.get(name, platform).digest, "platform": str(platform)} for name in names]
    out.result("\n".join(f"{row['name']}  {row['digest']}" for row in rows), rows)


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE…")
@click.pass_obj
def rm(out: Output, names: tuple[str, ...]) -> None:
    """Forget names; prune frees the space."""
    from provisioner.errors import NotFoundError

    store = _store()
    missing = [name for name in names if not store.untag(name)]
    if missing:
        raise NotFoundError(f"the store has no {', '.join(missing)}", hint="provisioner cache ls lists the names")
    out.result(f"forgot {len(names)} names", {"removed": list(names)})


@command.command("import")
@click.argument("file", metavar="FILE|-")
@click.option("--name", metavar="IMAGE", help="Call the archive's only image so, whatever it calls itself.")
@click.pass_obj
def import_(out: Output, file: str, name: str | None) -> None:
    """Bring in an archive of images.

    An OCI layout in a tar (skopeo, containerd, LinuxKit, provisioner) or what docker save wrote, compressed or not,
    with all its images and platforms.
    """
    from provisioner.oci.archive import ingest
    from provisioner.oci.layout import named_images

    store = _store()
    with _input(file) as stream:
        images = named_images(ingest(stream, store, file), name or "", file)
    store.tag_all(images)
    rows = [{"name": key, "digest": descriptor.digest, "platforms": _platforms(store, key)}
            for key, descriptor in images.items()]
    lines = [f"{row['name']}  {str(row['digest'])[7:19]}  {' '.join(row['platforms'])}".rstrip() for row in rows]
    out.result("\n".join(lines), rows)


@command.command("export")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE…")
@click.option("--format", "form", type=click.Choice(["oci", "docker"]), default="oci", show_default=True,
              help="An OCI layout tar, or what docker load and podman load take.")
@click.option("--platform", "platform_name", metavar="ARCH", help="Only this platform, such as arm64.")
@click.option("-o", "--outfile", default="-", show_default=True, metavar="FILE|-", help="Where to write.")
@click.pass_obj
def export(out: Output, names: tuple[str, ...], form: str, platform_name: str | None, outfile: str) -> None:
    """Write images to an archive.

    Other tools and other stores can read it; the same images always give the same bytes.
    """
    from provisioner.model.platform import Platform
    from provisioner.oci import export as writer

    store = _store()
    platform = Platform.parse(platform_name) if platform_name else None
    entries = (writer.oci if form == "oci" else writer.docker)(store, names, platform)
    size = writer.save(entries, outfile)
    if outfile != "-":
        out.result(f"{outfile}  {human(size)}", {"file": outfile, "size": size, "images": list(names)})


def _store() -> Store:
    from provisioner.oci.store import Store

    return Store()


def _platforms(store: Store, name: str) -> list[str]:
    """Return the platforms of which all is there."""
    from provisioner.errors import ProvisionerError

    descriptor = store.lookup(name)
    if descriptor is None:
        return []
    found = []
    for platform in store.platforms(descriptor):
        try:
            if store.complete(descriptor, platform):
                found.append(str(platform))
        except ProvisionerError as error:
            click.echo(f"warning: {name}: {error.message}", err=True)
    return found


@contextmanager
def _input(file: str) -> Iterator[BinaryIO]:
    from provisioner.oci.sources import open_file

    if file == "-":
        yield sys.stdin.buffer
        return
    with open_file(Path(file)) as stream:
        yield stream
