"""The command line: one small module a command, imported only when it is called."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import Any

import click

from bench import __version__
from bench.errors import BenchError

COMMANDS = {
    "run": "Run methods on incomplete images and record how well they fill them in.",
    "plan": "List the cells that a run would run, and how long they may take.",
    "status": "Show which cells are done, running, failed or missing, and why.",
    "show": "Show everything that is stored about one cell.",
    "reproduce": "Run a stored cell again from its own record and compare the numbers.",
    "rescore": "Score stored imputations again, with new judges and metrics.",
    "merge": "Copy the results of several machines into one folder.",
    "table": "Print Tables 1-3 from stored results; write them as CSV and LaTeX.",
    "figure": "Draw Figures 2-5 and the plots from stored results.",
    "report": "Write stored results as one HTML page.",
    "methods": "List the methods that can be run, with their settings.",
    "new": "Write a small method to start from, and its test.",
    "check": "Check that a method keeps the contract.",
    "datasets": "List the data sets that can be read.",
    "prepare": "Download data sets and get their judges ready.",
    "doctor": "Check what this machine has and lacks, and say what to do.",
    "train-judge": "Train the classifier that judges a data set.",
}


NOT_SUPPORTED = "bench supports Linux and macOS, and not Windows; on Windows, run it inside WSL"


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class LazyGroup(click.Group):
    """Knows every command's name and summary without importing its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"bench.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from bench.util.text import unknown

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise BenchError(unknown("command", args[0], COMMANDS))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def cli(debug: bool) -> None:
    """Compare methods that fill in missing pixels when most of them are gone."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exit status 0: all done; 1: some cells have no result; 2: the call was wrong.

    If the reader of the output goes away, as `head` does, the command ends without a word and with 1.
    """
    # Before any room is imported: they need modules that Windows does not have.
    if sys.platform == "win32":
        _say(NOT_SUPPORTED)
        sys.exit(2)
    arguments = sys.argv[1:] if arguments is None else arguments
    # Threads that spin while they wait slow each other down when several processes share the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # An output that cannot hold a dash or a plus-minus sign still gets the other characters.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        status: Any = cli.main(arguments, prog_name="bench", standalone_mode=False)
        sys.stdout.flush()
    except BenchError as error:
        if "--debug" in arguments:
            raise
        _say(str(error))
        sys.exit(2)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        _say(error.format_message())
        sys.exit(2)
    except OSError as error:
        if "--debug" in arguments:
            raise
        if error.errno == errno.EPIPE:
            _forget_output()
            sys.exit(1)
        place = error.filename or ("the output cannot be written" if error.errno in FULL else "")
        _say(": ".join(str(part) for part in (place, error.strerror or error) if part))
        _forget_output()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _say(message: str) -> None:
    """An error on one line, without the terminal sequences that a file's or a plugin's name may hold."""
    from bench.util.text import clean

    with contextlib.suppress(OSError):
        click.echo(f"error: {clean(message)}", err=True)


def _forget_output() -> None:
    """Drop what could not be printed: Python would try again when it ends, and change the exit status."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
