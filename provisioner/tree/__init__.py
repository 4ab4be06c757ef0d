"""The YAML's sections into one file tree in LinuxKit's order and layout: a file per section.

    assemble(spec, images, open_blob, name=…, platform=…) -> ImageTree

kernel, init, volumes, containers (onboot, onshutdown, services), files. Nothing is read until the parts are
iterated, except the labels and configs that decide ``config.json``.
"""

from provisioner.tree.assemble import assemble

__all__ = ["assemble"]
