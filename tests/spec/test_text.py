"""Back to text and forth again, and the schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from provisioner.spec import merge, parse, schema, to_json, to_yaml
from tests.spec.test_load import WHOLE


@pytest.mark.parametrize("text", [
    WHOLE, "{}", "services: [{name: a, image: b, binds: [], command: [], uid: 0, hostname: 'no', readonly: false}]",
    "kernel: {image: a, tar: '', ucode: ''}", "files: [{path: a, contents: ''}, {path: b, contents: \"x\\ny\\n\"}]",
    "services: [{name: '1', image: b, env: ['1', 'true', '0755', '1e3'], runtime: {bindNS: {}}}]",
])
def test_merged_text_parses_again(text: str) -> None:
    spec = parse(text, file="f")
    assert parse(to_yaml(spec), file="again") == spec
    assert parse(to_json(spec), file="again") == spec
    assert yaml.safe_load(to_yaml(spec)) == json.loads(to_json(spec))


def test_sections_stand_in_the_order_of_the_build() -> None:
    spec = merge([parse("files: [{path: a, directory: true}]\ninit: [b]", file="f"), parse("init: [c]", file="g")])
    assert to_yaml(spec) == "init:\n- b\n- c\nfiles:\n- path: a\n  directory: true\n"


def test_resources_keep_the_keys_of_the_grammar() -> None:
    text = ("services: [{name: a, image: b, resources: "
            "{hugepageLimits: [{pageSize: 1, limit: 2}], blockio: {weight: 3}}}]")
    assert yaml.safe_load(to_yaml(parse(text, file="f")))["services"][0]["resources"] == {
        "hugepageLimits": [{"pageSize": 1, "limit": 2}], "blockio": {"weight": 3}}


def test_the_schema_is_one_and_knows_the_keys() -> None:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    check = jsonschema.Draft202012Validator(made)
    check.validate(yaml.safe_load(WHOLE))
    wrong: list[dict[str, Any]] = [
        {"outputs": []}, {"services": [{"name": "a"}]}, {"services": None}, {"init": "a"},
        {"services": [{"name": "a", "image": "b", "readonly": "yes"}]}]
    for bad in wrong:
        assert not check.is_valid(bad)


def test_examples_parse_and_fit_the_schema() -> None:
    check = jsonschema.Draft202012Validator(schema())
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.yml"))
    assert examples
    for path in examples:
        parse(path.read_text(), file=path.name)
        check.validate(yaml.safe_load(path.read_text()))
