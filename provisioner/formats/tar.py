"""The format ``tar``: the whole tree, with ``boot/``, as one archive BASE.tar.

Every entry carries LinuxKit's PAX records ``LINUXKIT.source`` (image reference) and ``LINUXKIT.location`` (such as
``onboot[1]``), and ``PROVISIONER.digest``, the manifest digest that the reference stood for.
"""

from __future__ import annotations

from pathlib import Path

from provisioner.archive.compress import Writer, compressor
from provisioner.archive.tarwrite import TarWriter
from provisioner.formats._common import FormatOptions, artifact, suffixed
from provisioner.model.artifact import Artifact
from provisioner.model.tree import ImageTree, Part

NAME = "tar"
STREAMABLE = True


def write(tree: ImageTree, target: Path, options: FormatOptions) -> list[Artifact]:
    """Write BASE.tar."""
    output = options.outputs.create(suffixed(target, ".tar"))
    packer = Writer(compressor("none"), output.write)
    archive = TarWriter(packer.write)
    for part in tree.parts:
        records = _records(part)
        for entry in part.entries():
            archive.add(entry, records)
        options.tell("part", part.location, "written", {"source": part.source})
    archive.close()
    packer.close()
    return [artifact(output, "tar", NAME, tree)]


def _records(part: Part) -> dict[str, str]:
    known = {"LINUXKIT.location": part.location, "LINUXKIT.source": part.source, "PROVISIONER.digest": part.digest}
    return {key: value for key, value in known.items() if value}
