"""The entry point: finds the verb's file, runs it, turns errors into messages and exit codes.

``provisioner/cli/<verb>.py`` *is* the verb ``<verb>``: it holds one click command (or group) named ``command``
whose docstring's first line is its help. Only the verb that is run gets imported, so ``--help`` stays fast.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from provisioner import __version__
from provisioner.errors import DeviceError, PrivilegeError, ProvisionerError, UsageError

VERBS: dict[str, str] = {
    "build": "Build machine images from YAML.",
    "cache": "Look at and tend the store of images.",
    "component": "Build component images from Debian packages.",
    "console": "Attach to a machine's console: live, logged, staged.",
    "demo": "PXE-boot a machine in a network namespace and watch it.",
    "doctor": "Say what this machine lacks for which verb.",
    "inspect": "Show what is inside an image file.",
    "run": "Run an image as a machine.",
    "serve": "Serve DHCP or proxyDHCP, TFTP and HTTP to booting machines.",
}


class LazyGroup(click.Group):
    """A group whose commands are modules of this folder, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, sorted."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and return its ``command``."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"provisioner.cli.{cmd_name}")
        loaded = module.command
        if not isinstance(loaded, click.Command):
            raise TypeError(f"provisioner.cli.{cmd_name}.command is no click command")
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))

    def resolve_command(self, ctx: click.Context,
                        args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest verbs when there is none of that name."""
        import difflib

        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "provisioner --help lists the commands"
            raise UsageError(f"no such command: {args[0]}", hint=hint)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="provisioner")
@click.option("--json", "as_json", is_flag=True, help="Print results and errors as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print results only, no progress.")
@click.option("-v", "--verbose", count=True, help="Print more; twice for the inner workings.")
@click.pass_context
def cli(ctx: click.Context, *, as_json: bool, quiet: bool, verbose: int) -> None:
    """One YAML file becomes running machines."""
    from provisioner.cli.output import Output

    ctx.obj = Output(as_json=as_json, quiet=quiet, verbose=verbose)


def main() -> NoReturn:
    """Run the command line and exit: 0 ok, the error's own code, 130 on Ctrl-C."""
    signal.signal(signal.SIGTERM, _terminated)
    code = _guarded(sys.argv[1:])
    if not _flushed() and not code:
        code = DeviceError.exit_code
    sys.exit(code)


def _guarded(argv: list[str]) -> int:
    try:
        result = cli.main(args=argv, prog_name="provisioner", standalone_mode=False)
    except ProvisionerError as error:
        _report(error, as_json="--json" in argv)
        return error.exit_code
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        if "--json" in argv:
            click.echo(json.dumps({"error": "interrupted", "message": "interrupted", "hint": "", "exit_code": 130}))
        else:
            click.echo("\ninterrupted", err=True)
        return 130
    except click.ClickException as error:
        if "--json" in argv:
            _report(UsageError(error.format_message()), as_json=True)
        else:
            error.show()
        return UsageError.exit_code
    except BrokenPipeError:
        return 141
    except OSError as error:
        # Whatever the kernel says where nobody expected it is still no reason to show a traceback.
        failure = PrivilegeError(str(error)) if isinstance(error, PermissionError) else DeviceError(str(error))
        _report(failure, as_json="--json" in argv)
        return failure.exit_code
    return result if isinstance(result, int) else 0


def _flushed() -> bool:
    """Write out what standard output still holds; what it does not take must not fail again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _report(error: ProvisionerError, *, as_json: bool) -> None:
    if as_json:
        try:
            click.echo(json.dumps(error.to_json()))
        except OSError:  # standard output itself is what failed
            click.echo(json.dumps(error.to_json()), err=True)
        return
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"  hint: {error.hint}", err=True)


def _terminated(_signum: int, _frame: FrameType | None) -> NoReturn:
    # SIGTERM takes the same way out as Ctrl-C, so that every finally block runs.
    raise KeyboardInterrupt
