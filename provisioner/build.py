"""From YAML to files: load, resolve, assemble, write, put in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from provisioner import data, plugins
from provisioner.archive.output import Outputs
from provisioner.errors import UsageError
from provisioner.formats import FormatOptions
from provisioner.model.artifact import Artifact
from provisioner.model.event import Sink, discard
from provisioner.model.platform import Platform
from provisioner.model.spec import ImageSpec
from provisioner.model.tree import ImageTree
from provisioner.oci.settings import Settings
from provisioner.oci.store import Store
from provisioner.resolve import Sources, resolve
from provisioner.tree import assemble

DEFAULT_FORMAT = "kernel+initrd"
STDIN_NAME = "moby"
"""What LinuxKit calls an image whose YAML has no name; scripts count on it."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to build of a spec, and where to.

    ``name`` and ``directory`` make the files' base name; ``output`` instead is the one file (``-``: standard output)
    of a streamable format. With several ``platforms`` the architecture becomes part of each name.
    """

    name: str
    directory: Path = Path()
    output: Path | None = None
    formats: tuple[str, ...] = (DEFAULT_FORMAT,)
    platforms: tuple[Platform, ...] = ()
    compress: str = "gzip"
    pull: bool = False
    docker: bool = False
    locked: bool = False
    settings: Settings | None = None
    sink: Sink = discard

    def target(self, platform: Platform) -> Path:
        """Return directory and base name of the files for a platform."""
        several = len(self.platforms) > 1
        return self.directory / (f"{self.name}-{platform.architecture}" if several else self.name)


def build(spec: ImageSpec, options: BuildOptions) -> list[Artifact]:
    """Build ``spec`` in every format for every platform and return the files; all of them appear, or none."""
    formats = chosen_formats(options)
    store = Store()
    artifacts: list[Artifact] = []
    with Outputs(options.output) as outputs:
        for platform in options.platforms or (Platform.host(),):
            tree = _tree(spec, store, platform, options)
            for module in formats:
                artifacts += module.write(tree, options.target(platform), _format_options(outputs, options))
        outputs.commit()
    return artifacts


def chosen_formats(options: BuildOptions) -> list[ModuleType]:
    """Return the modules of the formats; raise UsageError for a choice that cannot be written as asked."""
    modules = [plugins.find("formats", name) for name in dict.fromkeys(options.formats)]
    if options.output is not None:
        unfit = [module.NAME for module in modules if not module.STREAMABLE]
        if unfit or len(modules) != 1 or len(options.platforms) > 1:
            raise UsageError("one output file takes one format that is one file, for one architecture",
                             hint=f"{', '.join(unfit)} is more than one file; use --dir and --name" if unfit else
                             "use --dir and --name")
    return modules


def _tree(spec: ImageSpec, store: Store, platform: Platform, options: BuildOptions) -> ImageTree:
    sources = Sources(store, options.pull, options.docker, options.locked, options.settings, options.sink)
    resolved = resolve(spec, platform, sources)
    return assemble(spec, resolved.images, store.open, name=options.name, platform=platform, roots=resolved.roots,
                    sink=options.sink)


def _format_options(outputs: Outputs, options: BuildOptions) -> FormatOptions:
    return FormatOptions(outputs, data.cache_dir(), options.compress, sink=options.sink)


def default_name(sources: Sequence[str]) -> str:
    """Return the base name that files get without --name: that of the last source, as LinuxKit does."""
    last = sources[-1]
    if last == "-":
        return STDIN_NAME
    name = last.split("?")[0].rstrip("/").rpartition("/")[2] if "://" in last else Path(last).name
    return name.rpartition(".")[0] or name
