"""YAML over label over image over default, field by field."""

from __future__ import annotations

from tests.runtime.made import choice


def test_a_field_replaces_and_does_not_merge() -> None:
    made = choice("binds: [\"/a:/b\"], hostname: \"\"", {"binds": ["/c:/d"], "hostname": "label", "cwd": "/x"})
    assert made.pick("binds", ()) == ("/a:/b",)
    assert made.pick("hostname", "") == "label"
    assert made.pick("cwd", "/") == "/x"
    assert made.pick("net", "root") == "root"
    assert made.origins == {"binds": "yaml", "hostname": "label", "cwd": "label", "net": "default"}


def test_empty_lists_and_texts_can_take_a_label_back() -> None:
    made = choice("binds: [], cgroupsPath: \"\", readonly: false, uid: 0",
                  {"binds": ["/c:/d"], "cgroupsPath": "/x", "readonly": True, "uid": 7})
    assert [made.pick(name, None) for name in ("binds", "cgroups_path", "readonly", "uid")] == [(), "", False, 0]


def test_add_appends_to_the_label() -> None:
    made = choice("binds.add: [\"/a:/b\", \"/c:/d\"]", {"binds": ["/c:/d"]})
    assert made.pick_list("binds") == ("/c:/d", "/a:/b", "/c:/d")
    assert made.origins["binds"] == "label+yaml"
    assert choice("binds.add: [\"/a:/b\"]").pick_list("binds") == ("/a:/b",)
    assert choice("binds.add: [\"/a:/b\"], binds: []", {"binds": ["/c:/d"]}).pick_list("binds") == ()


def test_the_image_comes_before_the_default() -> None:
    made = choice("", {"cwd": "/label"})
    assert made.pick_or_image("cwd", "/image", "/") == "/label"
    assert made.pick_or_image("env", ("A=1",), ()) == ("A=1",)
    assert made.pick_or_image("command", (), ()) == ()
    assert made.origins == {"cwd": "label", "env": "image", "command": "default"}


def test_the_owner_of_a_field() -> None:
    made = choice("net: new", {"pid": "host"})
    made.pick("net", "")
    made.pick("pid", "")
    assert made.owner("net") is made.entry
    assert made.owner("pid") is made.label
