"""YAML text into frozen pydantic models: strict, bounded, and with every fault at its line and column.

    load(text, Model, file="docker.yml") -> Model      InputError lists all problems at once
    load_file(path, Model) -> Model                    the same; NotFoundError if there is no file
    dump(data) -> str                                  text that any YAML 1.2 reader reads back unchanged

YAML 1.2 core scalars, no tags that run code, no second meaning by guess: ``no``, ``1.20``, ``0777``, ``12:34:56``
and dates stay the text they are where a field wants text, and only ``true`` and ``false`` are booleans. Duplicate
keys are errors; anchors, aliases and merge keys (``<<``) work; size, depth and expansion are limited.
"""

from provisioner.yamlfile.emit import dump
from provisioner.yamlfile.reader import load, load_file

__all__ = ["dump", "load", "load_file"]
