"""Images on disk: what must be there, what a kernel is for, what a command line may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import InputError, NotFoundError
from provisioner.netboot.images import BootImage, cmdline_problem
from tests.netboot.conftest import ImageMaker


def test_a_whole_image(make_image: ImageMaker) -> None:
    image = BootImage(make_image("build/docker"))
    image.check()
    assert (image.name, image.kernel.name, image.initrd.name) == ("docker", "docker-kernel", "docker-initrd.img")
    assert (image.arch(), image.read_cmdline()) == ("amd64", "console=ttyS0")


@pytest.mark.parametrize("part", ["-kernel", "-initrd.img"])
def test_what_is_missing_is_named(make_image: ImageMaker, part: str) -> None:
    base = make_image()
    base.with_name(base.name + part).unlink()
    with pytest.raises(NotFoundError, match=f"docker{part} is not there") as error:
        BootImage(base).check()
    assert "provisioner build" in error.value.hint


def test_no_file_is_an_empty_command_line(make_image: ImageMaker) -> None:
    image = BootImage(make_image())
    image.cmdline.unlink()
    image.check()
    assert image.read_cmdline() == ""


def test_architectures(make_image: ImageMaker) -> None:
    assert BootImage(make_image("a", arch="arm64")).arch() == "arm64"
    assert BootImage(make_image("b", arch="riscv64")).arch() == ""
    assert BootImage(make_image("c").with_name("none")).arch() == ""


@pytest.mark.parametrize("text", ["console=ttyS0 a=\"b c\"", "", "x=a&b", "root=UUID=1#2", "a=$b", "a=||b"])
def test_command_lines_that_can_be_carried(text: str) -> None:
    assert cmdline_problem(text) == ""


@pytest.mark.parametrize("text", ["a\nchain http://evil/", "a\rb", "${uuid}", "x || shell", "x && reboot", "x ; y",
                                  "x # y", "#!ipxe", "é", "a\0b", "a\tb", "x \\"])
def test_command_lines_that_would_steer_the_boot_loader(make_image: ImageMaker, text: str) -> None:
    assert cmdline_problem(text)
    if text.isprintable():
        with pytest.raises(InputError, match="docker-cmdline"):
            BootImage(make_image(cmdline=text)).check()


@given(st.text(max_size=40))
def test_whatever_is_accepted_is_one_line_without_expansion(text: str) -> None:
    if not cmdline_problem(text):
        assert text.splitlines() in ([text], [])
        assert "${" not in text
