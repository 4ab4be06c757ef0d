"""LinuxKit's YAML into one ``ImageSpec``: grammar, cross-checks, merging, and back to text.

    load("a.yml", "b.yml") -> ImageSpec     files in order, as LinuxKit merges them
    parse(text, file="a.yml") -> ImageSpec  one file's text, grammar only
    merge([one, two]) -> ImageSpec          and check(spec) for what needs the whole
    to_yaml(spec), to_json(spec), schema()  the merged file, and the JSON Schema for editors
"""

from provisioner.spec.check import check, notices
from provisioner.spec.load import load, merge, parse, parse_label
from provisioner.spec.text import schema, to_json, to_yaml

__all__ = ["check", "load", "merge", "notices", "parse", "parse_label", "schema", "to_json", "to_yaml"]
