"""The format ``kernel+initrd``: what a boot loader, QEMU or a netboot server loads.

    BASE-kernel      the kernel as its image has it
    BASE-initrd.img  the tree, a chain of compressed cpio archives, with processor microcode in front if there is any
    BASE-cmdline     the kernel command line

A part that would be empty is not written. Source: LinuxKit ``src/cmd/linuxkit/moby/output.go``, outputKernelInitrd.
"""

from __future__ import annotations

from pathlib import Path

from provisioner.formats._common import KERNEL, UCODE, FormatOptions, artifact, suffixed
from provisioner.formats._initrd import Initrd
from provisioner.model.artifact import Artifact
from provisioner.model.tree import ImageTree

NAME = "kernel+initrd"
STREAMABLE = False


def write(tree: ImageTree, target: Path, options: FormatOptions) -> list[Artifact]:
    """Write the three files and return them."""
    made = []
    with Initrd(tree, options) as initrd:
        if initrd.has(KERNEL):
            kernel = options.outputs.create(suffixed(target, "-kernel"))
            initrd.copy_taken(KERNEL, kernel)
            made.append(artifact(kernel, "kernel", NAME, tree))
        if initrd.entries or initrd.has(UCODE):
            image = options.outputs.create(suffixed(target, "-initrd.img"))
            initrd.write(image)
            made.append(artifact(image, "initrd", NAME, tree))
    if tree.cmdline:
        cmdline = options.outputs.create(suffixed(target, "-cmdline"))
        cmdline.write(tree.cmdline.encode())
        made.append(artifact(cmdline, "cmdline", NAME, tree))
    return made
