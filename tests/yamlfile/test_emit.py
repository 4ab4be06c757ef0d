"""Text that comes back as it went."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import RootModel

from provisioner.yamlfile import dump, load

Anything = RootModel[Any]
WORDS = st.sampled_from(["no", "0o17", "1e3", "0755", "1.20", "12:34:56", "2026-01-01", "~", "", " x", "a: b", "# c",
                         "true", "y", "=", "<<", "a\nb\n", "\nx", "x \ny", "@a", "0x1f", "1_000", "-", "é", "'", '"'])
TEXTS = WORDS | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
DATA = st.recursive(TEXTS | st.integers(-2**63, 2**63) | st.booleans(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
                    max_leaves=12)


@given(DATA)
def test_a_round_trip_changes_nothing(data: Any) -> None:
    text = dump({"data": data})
    assert load(text, Anything, file="f").root == {"data": data}
    assert yaml.safe_load(text) == {"data": data}


def test_order_and_blocks() -> None:
    assert dump({"b": "x\ny\n", "a": ["0755", 1, True]}) == "b: |\n  x\n  y\na:\n- '0755'\n- 1\n- true\n"
