"""``provisioner component``: build component images from Debian packages, and keep their lock."""

from __future__ import annotations

import click

from provisioner.cli.output import Output, human


@click.group()
def command() -> None:
    """Build component images from Debian packages."""


@command.command("build")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--arch", "arches", multiple=True, metavar="ARCH", help="Repeatable; default: this machine's.")
@click.option("--all", "everything", is_flag=True, help="Build every component.")
@click.option("--locked", is_flag=True, help="Fail rather than take a package that the lock does not name.")
@click.pass_obj
def build(output: Output, names: tuple[str, ...], arches: tuple[str, ...], *, everything: bool, locked: bool) -> None:
    """Build components into the store and print their references and digests."""
    from provisioner import components
    from provisioner.errors import UsageError
    from provisioner.model.platform import Platform
    from provisioner.oci.store import Store

    chosen = list(names) or (list(components.listing()) if everything else [])
    if not chosen:
        raise UsageError("no component named", hint="name some, or say --all; provisioner component ls lists them")
    store = Store()
    platforms = [Platform.parse(arch) for arch in arches] or [Platform.host()]
    rows = []
    for name in chosen:
        for platform in platforms:
            made = components.build(name, platform, store, locked=locked, sink=output.progress)
            size = sum(layer.size for layer in store.image(made, platform).layers)
            rows.append((f"provisioner/{name}", platform, made.digest, size if output.as_json else human(size)))
    output.table(("Component", "Platform", "Digest", "Size"), rows)


@command.command("ls")
@click.pass_obj
def listing(output: Output) -> None:
    """List the components."""
    from provisioner import components

    output.table(("Component", "What it is"), list(components.listing().items()), keys=("name", "summary"))


@command.command("show")
@click.argument("name")
@click.pass_obj
def show(output: Output, name: str) -> None:
    """Show a component's recipe and its locked packages."""
    import json

    from provisioner import yamlfile
    from provisioner.components import lock, recipe

    component = recipe.load(name)
    locked = lock.load().get(name)
    rows = locked.packages if locked else {}
    packages = {arch: [f"{p.name} {p.version}" for p in rows[arch]] for arch in rows}
    data = {"name": name, "folder": str(component.folder), "files": sorted(component.files), "packages": packages,
            "recipe": json.loads(component.recipe.model_dump_json(exclude_defaults=True))}
    output.result(yamlfile.dump(data).rstrip(), data)


@command.command("lock")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--update", is_flag=True, help="Move on to the newest packages of the suite.")
@click.pass_obj
def lock(output: Output, names: tuple[str, ...], *, update: bool) -> None:
    """Lock the exact packages of components, and print what changed."""
    from provisioner import components
    from provisioner.oci.store import Store

    changed = components.update(names, move=update, store=Store(), sink=output.progress)
    rows = [{"component": c.component, "arch": c.arch, "package": c.package, "old": c.old, "new": c.new}
            for c in changed]
    output.result("\n".join(map(str, changed)) or "nothing changed", rows)
