"""Fills the boot loader scripts of ``pxe/`` in: Jinja templates that a user may override in /etc/provisioner/pxe.

Nothing that is filled in can become a command: every value passes one check on its way into the text, whatever the
template, and a value that fails it is an error, not something to be quoted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import data
from provisioner.errors import InputError
from provisioner.netboot.images import cmdline_problem

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, **values: object) -> bytes:
    """Return the script ``pxe/NAME`` filled in.

    Raises NotFoundError if there is none, InputError for a bad value or script. ``name`` is a literal of this
    package, never a client's word.
    """
    from jinja2 import TemplateError

    path = data.find("pxe", name)
    try:
        text = _environment().from_string(path.read_text(encoding="utf-8")).render(values)
    except (TemplateError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"the script {path} cannot be filled in: {error}") from error
    return text.encode()


def checked(value: object) -> object:
    """Return a value that is to stand in a script; raise InputError if it could be more than a word of it."""
    if isinstance(value, str) and (problem := cmdline_problem(value)):
        raise InputError(f"{value!r} cannot stand in a boot script: {problem}")
    return value


def _environment() -> Environment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(finalize=checked, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                keep_trailing_newline=True, autoescape=False)
