"""Data to YAML text that every YAML 1.1 and 1.2 reader reads back as the same values."""

from __future__ import annotations

from typing import Any

import yaml

from provisioner.yamlfile.nodes import parse_plain


class _Dumper(yaml.SafeDumper):
    """Block style; text that some reader could take for something else is quoted; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write repeated values out."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text and not text.startswith((" ", "\n")) and all(line == line.rstrip() for line in text.split("\n")):
        style = "|"
    elif not isinstance(parse_plain(text), str) or text[:1] in "0123456789+-.":
        style = '"' if "\n" in text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(data: Any) -> str:
    """Return ``data`` (dicts, lists, scalars) as YAML, keys in their order, Unicode as it is."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1000)
