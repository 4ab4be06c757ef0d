"""Output formats: ``formats/<name>.py`` *is* the format, ``_`` in the file's name standing for ``-`` or ``+``.

A format is one small module with

    NAME = "kernel+initrd"                    # as the user writes it
    STREAMABLE = False                        # whether its one file can go to standard output
    def write(tree: ImageTree, target: Path, options: FormatOptions) -> list[Artifact]: ...

``target`` is the directory and base name, such as ``out/docker``; the format adds its suffixes. Files are written
through ``options.outputs``, which puts them in place when the whole build has succeeded. Third parties add a format
with an entry point in the group ``provisioner.formats``. Modules whose names begin with ``_`` are shared helpers.
"""

from provisioner.formats._common import FormatOptions

__all__ = ["FormatOptions"]
