"""A spec back to text: the merged YAML or JSON, which parses again, and the JSON Schema of the grammar."""

from __future__ import annotations

import json
from typing import Any

from provisioner.model.spec import ImageSpec
from provisioner.yamlfile import dump


def to_data(spec: ImageSpec) -> dict[str, Any]:
    """Return a spec as plain data with the keys of the YAML; what was not said is not in it."""
    data = spec.model_dump(mode="json", by_alias=True, exclude_unset=False, exclude_defaults=True)
    for section in ("onboot", "onshutdown", "services"):
        for entry in data.get(section, ()):
            if entry.get("devices"):
                entry["devices"] = [{"major": 0, "minor": 0} | device for device in entry["devices"]]
    kept = ("kernel", "init", "volumes", "onboot", "onshutdown", "services", "files", "trust")
    return {key: _bare(data[key]) for key in kept if key in data}


def _bare(value: Any) -> Any:
    """Drop what is None: a key that was left out. Empty lists stay, they override labels."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if item is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def to_yaml(spec: ImageSpec) -> str:
    """Return the spec as YAML that ``parse`` reads back to an equal spec, and LinuxKit to the same machine."""
    return dump(to_data(spec))


def to_json(spec: ImageSpec) -> str:
    """Return the spec as JSON, indented by four spaces as LinuxKit's ``metadata: json``."""
    return json.dumps(to_data(spec), indent=4, ensure_ascii=False)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the YAML, for editors."""
    made = ImageSpec.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "provisioner machine image"
    return _without_null(made)  # type: ignore[no-any-return]  # an object goes in, an object comes out


def _without_null(value: Any) -> Any:
    """Take the null out of ``anyOf``: leaving a key out is allowed, giving it no value is not."""
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _without_null(item) for key, item in value.items() if not (key == "default" and item is None)}
    options = made.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        del made["anyOf"]
        made |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    return made
