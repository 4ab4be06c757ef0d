"""Nodes to data: text where text is wanted, merge keys, duplicates, places."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, RootModel

from provisioner.errors import InputError
from provisioner.yamlfile.nodes import compose
from provisioner.yamlfile.shape import Shape, alternatives, spell


class Leaf(BaseModel):
    text: str = ""
    number: int = 0
    either: str | int = 0
    texts: tuple[str, ...] = ()
    table: dict[str, str] = {}
    pair: tuple[int, str] = (0, "")
    anything: Any = None


class Root(RootModel[list[Leaf]]):
    pass


def shape(text: str, model: Any = Leaf, *, exact: bool = False) -> tuple[Any, Shape]:
    root, _ = compose(text, file="f")
    assert root is not None
    made = Shape("f", exact)
    return made.walk(root, alternatives(model)), made


def test_alternatives_flatten_unions_annotations_and_roots() -> None:
    assert alternatives(Annotated[str | None, Field(min_length=1)] | list[int]) == (str, list[int])
    assert alternatives(Root) == (list[Leaf],)


def test_a_scalar_is_what_its_field_wants() -> None:
    data, _ = shape("{text: 1.20, number: 0x10, either: 012, texts: [no, 0777, true], table: {1: 2}, pair: [1, 2]}")
    assert data == {"text": "1.20", "number": 16, "either": 10, "texts": ["no", "0777", "true"], "table": {"1": "2"},
                    "pair": [1, "2"]}


def test_exact_text_keeps_numbers_numbers() -> None:
    data, made = shape("{text: 1.20, texts: [no, 0777], table: {1: x, true: y, 1.5: z}}", exact=True)
    assert data == {"text": 1.2, "texts": ["no", 511], "table": {"1": "x"}}
    assert [problem.message for problem in made.problems] == [
        "the key true of table is no text", "the key 1.5 of table is no text"]


def test_a_file_that_says_null_says_nothing_only_to_linuxkit() -> None:
    assert shape("---\n", exact=True)[0] == {}
    assert shape("---\n")[1].problems[0].message == "the file has no value"


def test_free_values_resolve() -> None:
    assert shape("anything: {a: 1, b: [true, ~]}")[0] == {"anything": {"a": 1, "b": [True, None]}}


def test_whole_floats_count_as_whole_numbers() -> None:
    assert shape("{number: 1e2}")[0] == {"number": 100}


def test_merge_keys_fill_what_is_missing() -> None:
    text = """
    - &one {text: a, number: 1}
    - &two {<<: *one, text: b}
    - {number: 3, <<: [*two, *one]}
    - <<: {texts: [x]}
    """
    data, made = shape(text, Root)
    assert data[1] == {"text": "b", "number": 1}
    assert data[2] == {"number": 3, "text": "b"}
    assert data[3] == {"texts": ["x"]}
    assert made.places[(2, "text")].line == 3


def test_merging_anything_else_is_an_error() -> None:
    assert "must name a mapping" in shape("<<: 1")[1].problems[0].message
    assert shape('{"<<": 1}')[0] == {"<<": 1}


def test_doubled_keys_are_errors_even_in_merged_mappings() -> None:
    _, made = shape("- &a {text: x, text: y}\n- {<<: *a}", Root)
    assert [str(problem) for problem in made.problems] == [
        "f:1:16: the key `text` stands twice in [0] (the first is at line 1)"]


def test_no_value_is_an_error_where_one_is_wanted() -> None:
    _, made = shape("text:\nanything:\n")
    assert [problem.message for problem in made.problems] == ["text has no value"]


def test_keys_must_be_scalars() -> None:
    assert "no text" in shape("{[a]: 1}")[1].problems[0].message


@pytest.mark.parametrize("bomb", [
    "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)),
    "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{v: *a{i - 1}, w: *a{i - 1}}}\n" for i in range(1, 30)),
])
def test_alias_bombs_stop(bomb: str) -> None:
    with pytest.raises(InputError, match="aliases are expanded"):
        shape(bomb, dict[str, Any])


def test_half_characters_are_named() -> None:
    text = '{text: "\\ud800"}'
    try:
        _, made = shape(text)
    except InputError as error:  # libyaml refuses the escape itself
        assert error.problems[0].line == 1
    else:
        assert "half a character" in made.problems[0].message


def test_spell() -> None:
    assert spell(("services", 0, "binds.add", 2)) == "services[0].binds.add[2]"
    assert spell(()) == "the file"
