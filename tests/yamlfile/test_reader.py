"""Text to model: every fault at once, at its place, with the way out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field

from provisioner.errors import InputError, NotFoundError, Problem
from provisioner.model.document import Document, Place
from provisioner.yamlfile import load, load_file
from provisioner.yamlfile.reader import decode


def _even(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd\ntake an even number")
    return value


class Colour(StrEnum):
    RED = "red"


class Step(Document):
    name: str
    size: Annotated[int, AfterValidator(_even)] = 0
    kind: Literal["disk", "net"] = "disk"
    run: str | tuple[str, ...] = ""
    extra: tuple[str, ...] | None = Field(default=None, alias="run.add")


class Plan(Document):
    steps: tuple[Step, ...] = ()
    dry: bool = False
    ratio: float = 1.0
    labels: Mapping[str, Step] = Field(default_factory=dict)
    where: Path = Path()
    address: IPv4Address | None = None
    colour: Colour = Colour.RED


class Circle(BaseModel):
    radius: int


class Square(BaseModel):
    side: int


class Drawing(BaseModel):
    shape: Circle | Square


def faults(text: str, model: type[BaseModel] = Plan, *, exact: bool = False) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(text, model, file="plan.yml", exact_text=exact)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_file_becomes_a_frozen_model() -> None:
    plan = load("""
steps: [{name: 1.20, run: [no, 0777]}, {name: b, run: yes, run.add: [2026-01-01]}]
ratio: 2
where: /srv/x
address: 10.0.0.1
colour: red
labels: {1: {name: one}}
""", Plan, file="plan.yml")
    assert plan.steps == (Step(name="1.20", run=("no", "0777")), Step.model_validate(
        {"name": "b", "run": "yes", "run.add": ("2026-01-01",)}))
    assert (plan.ratio, plan.where, plan.address) == (2.0, Path("/srv/x"), IPv4Address("10.0.0.1"))
    with pytest.raises(ValueError, match="frozen"):
        plan.dry = True  # type: ignore[misc]  # that is the point


def test_all_faults_at_once_in_reading_order() -> None:
    assert faults("""\
steps:
  - nme: a
    size: 3
  - name: b
    kind: dsk
    run: {x: 1}
    size: "4"
dry: yes
dri: true
labels: [a]
dry: true
""") == [
        "plan.yml:2:5: `name` is missing in steps[0]",
        "plan.yml:2:5: unknown key `nme` in steps[0] (did you mean `name`?)",
        "plan.yml:3:11: steps[0].size: 3 is odd (take an even number)",
        "plan.yml:5:11: steps[1].kind: must be 'disk' or 'net', not 'dsk' (did you mean disk?)",
        "plan.yml:6:10: steps[1].run must be text or a list, not a mapping",
        "plan.yml:7:11: steps[1].size must be a whole number, not the text '4' (leave the quotes out)",
        "plan.yml:8:6: dry must be true or false, not the text 'yes' (write true or false without quotes)",
        "plan.yml:9:1: unknown key `dri` in the file (did you mean `dry`?)",
        "plan.yml:10:9: labels must be a mapping, not a list",
        "plan.yml:11:1: the key `dry` stands twice in the file (the first is at line 8)",
    ]


def test_a_deep_fault_hides_the_union_branch_that_never_fitted() -> None:
    assert faults("steps: [{name: a, run: [a, [b]]}]") == [
        "plan.yml:1:28: steps[0].run[1] must be text, not a list"]


def test_exact_text_asks_for_quotes() -> None:
    assert faults("steps: [{name: 1.20}]", exact=True) == [
        "plan.yml:1:16: steps[0].name must be text, not the number 1.20 (put it in quotes)"]
    assert faults("steps: [{name: true}]", exact=True) == [
        "plan.yml:1:16: steps[0].name must be text, not the boolean true (put it in quotes)"]


def test_an_unlike_key_lists_the_known_ones() -> None:
    assert faults("qqqq: 1") == [
        "plan.yml:1:1: unknown key `qqqq` in the file"
        " (known keys: steps, dry, ratio, labels, where, address, colour)"]


def test_the_wrong_root() -> None:
    assert faults("[a]") == ["plan.yml:1:1: the file must be a mapping, not a list"]
    assert faults("") == [
        "plan.yml:1:1: the file is empty (known keys: steps, dry, ratio, labels, where, address, colour)"]


def test_a_second_document_is_an_error_or_a_notice() -> None:
    assert faults("dry: true\n---\ndry: false\n") == ["plan.yml:2:1: a second document in one file is not read"]
    noted: list[Problem] = []
    assert load("dry: true\n---\n[", Plan, file="p", notices=noted).dry
    assert [str(problem) for problem in noted] == ["p:2:1: a second document in one file is not read"]


def test_unions_of_models_need_not_be_strict_documents() -> None:
    assert load("shape: {side: 2}", Drawing, file="d").shape == Square(side=2)
    assert any("radius" in fault or "side" in fault for fault in faults("shape: {width: 2}", Drawing))


def test_values_keep_their_places() -> None:
    plan = load("labels:\n  x:\n    name: a\n    run: [b,\n      c]\n", Plan, file="p")
    step = plan.labels["x"]
    assert plan.place("labels") == Place("p", 2, 3)
    assert str(step.place("name")) == "p:3:11"
    assert step.place("run", 1) == Place("p", 5, 7)
    assert step.place("size") == step.place()
    assert str(step.problem("bad", "run", hint="mend it")) == "p:4:10: bad (mend it)"
    assert Step(name="a").place() == Place()


def test_equal_values_at_different_places_are_equal() -> None:
    one, two = (load(text, Plan, file="p").steps[0] for text in ("steps: [{name: a}]", "steps:\n - name: a"))
    assert one == two
    assert one != Step(name="b")
    assert one != "a"


def test_files(tmp_path: Path) -> None:
    good = tmp_path / "plan.yml"
    good.write_bytes(b"\xef\xbb\xbfdry: true\r\n")
    assert load_file(good, Plan).dry
    with pytest.raises(NotFoundError, match="No such file"):
        load_file(tmp_path / "none.yml", Plan)


def test_bytes_that_are_no_utf8_have_a_place() -> None:
    with pytest.raises(InputError, match=r"^f:2:4: not UTF-8: byte 0xFF$"):
        decode(b"a: 1\nb: \xff\n", "f")
