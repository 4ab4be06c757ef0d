"""Text as Go writes it."""

from __future__ import annotations

from provisioner.runtime import to_json


def test_text_is_gos() -> None:
    assert to_json({"a": [], "b": {}, "c": [1, {"d": True}]}).split("\n") == [
        "{", '    "a": [],', '    "b": {},', '    "c": [', "        1,", "        {", '            "d": true',
        "        }", "    ]", "}"]
    assert to_json("<&>é\u2028\u2029\"\\\t\x01") == '"\\u003c\\u0026\\u003eé\\u2028\\u2029\\"\\\\\\t\\u0001"'
