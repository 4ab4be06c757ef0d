"""The verb ``inspect``: what is inside an image file."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.output import Output, human

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.cli.contents import Contents, Group
    from provisioner.model.tree import Entry

_LETTERS = {"file": stat.S_IFREG, "hardlink": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK,
            "char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--files", is_flag=True, help="List every file.")
@click.option("--config", metavar="NAME", help="Print the runtime configuration of the container NAME.")
@click.pass_obj
def command(out: Output, /, file: Path, *, files: bool, config: str | None) -> None:
    """Show what is inside an image file.

    FILE is an initrd (also one that another tool made), a tar, or a kernel. Shown are its containers with the images
    they were made from, their sizes and configuration, the kernel's version and its command line.
    """
    from provisioner.cli import contents

    if config is not None:
        text = contents.config_text(file, config)
        click.echo(text)
        return
    rows: list[Entry] = []
    found = contents.inspect(file, rows.append if files else lambda _entry: None)
    if out.as_json:
        out.result("", _plain(found) | ({"files": [_file(entry) for entry in rows]} if files else {}))
    elif files:
        for entry in rows:
            click.echo(_line(entry))
    else:
        _print(out, found)


def _print(out: Output, found: Contents) -> None:
    click.echo(f"{found.path}: {_summary(found)}")
    for label, value in (("platform", found.platform), ("kernel", found.kernel), ("command line", found.cmdline)):
        if value:
            click.echo(f"{label}: {_safe(value)}")
    if init := [(where, *origin) for where, origin in found.origins.items() if where.startswith(("kernel", "init"))]:
        click.echo()
        out.table(["PART", "IMAGE", "DIGEST"], [[where, source, _short(digest)] for where, source, digest in init])
    if found.groups:
        click.echo()
        out.table(["WHAT", "IMAGE", "DIGEST", "SIZE", "COMPRESSED", "COMMAND", "CAPABILITIES", "NET", "MOUNTS"],
                  [_row(group) for group in found.groups.values()])


def _summary(found: Contents) -> str:
    words = [found.kind, human(found.size)]
    if found.segments:
        words.append(f"{len(found.segments)} segments ({found.method})")
    if found.entries:
        words.append(f"{human(found.raw)} unpacked, {found.entries} entries")
    return ", ".join(words)


def _row(group: Group) -> list[object]:
    facts = summary(group.config) if group.config else {}
    return [group.path, group.source, _short(group.digest), human(group.raw), human(group.size) if group.size else "",
            _safe(" ".join(facts.get("command", ()))), _capabilities(facts), facts.get("net", ""),
            _safe(" ".join(facts.get("mounts", ())))]


def _capabilities(facts: dict[str, Any]) -> str:
    names = facts.get("capabilities", ())
    return f"{len(names)} of them" if len(names) > 4 else " ".join(name.removeprefix("CAP_") for name in names)


def summary(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a ``config.json`` says most: command, capabilities, net, bind mounts, readonly."""
    from provisioner.cli.contents import listed, mapped

    process, linux = mapped(config.get("process")), mapped(config.get("linux"))
    spaces = [mapped(space) for space in listed(linux.get("namespaces"))]
    net = [space for space in spaces if space.get("type") == "network"]
    mounts = [mapped(mount) for mount in listed(config.get("mounts"))]
    binds = [f"{mount.get('source')}:{mount.get('destination')}" for mount in mounts
             if {"bind", "rbind"} & {str(option) for option in listed(mount.get("options"))}]
    return {
        "command": [str(word) for word in listed(process.get("args"))],
        "capabilities": [str(name) for name in listed(mapped(process.get("capabilities")).get("bounding"))],
        "net": str(net[0].get("path") or "new") if net else "host",
        "mounts": binds,
        "readonly": bool(mapped(config.get("root")).get("readonly")),
    }


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]


def _plain(found: Contents) -> dict[str, Any]:
    groups = [{"section": group.section, "name": group.name, "source": group.source, "digest": group.digest,
               "entries": group.entries, "raw": group.raw, "size": group.size}
              | ({"config": summary(group.config)} if group.config else {}) for group in found.groups.values()]
    origins = [{"location": where, "source": source, "digest": digest}
               for where, (source, digest) in found.origins.items()]
    return {"path": str(found.path), "kind": found.kind, "size": found.size, "raw": found.raw, "method": found.method,
            "entries": found.entries, "platform": found.platform, "kernel": found.kernel, "cmdline": found.cmdline,
            "segments": found.segments, "groups": groups, "origins": origins}


def _file(entry: Entry) -> dict[str, Any]:
    return {"path": entry.path, "kind": str(entry.kind), "mode": f"{entry.mode:04o}", "uid": entry.uid,
            "gid": entry.gid, "size": entry.size, "target": entry.target}


def _line(entry: Entry) -> str:
    mode = stat.filemode(_LETTERS[str(entry.kind)] | entry.mode)
    size = ",".join(map(str, entry.device)) if str(entry.kind) in ("char", "block") else str(entry.size)
    arrow = {"symlink": " -> ", "hardlink": " link to "}.get(str(entry.kind), "")
    return f"{mode} {entry.uid:>5} {entry.gid:>5} {size:>10} {_safe(entry.path)}{arrow}{_safe(entry.target)}"


def _safe(name: str) -> str:
    """Return a name from an image without what could steer the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in name)
