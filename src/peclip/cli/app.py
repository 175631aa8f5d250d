"""The command `peclip`. Nothing here imports torch before a command runs."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from peclip.cli import console
from peclip.cli.captions import captions
from peclip.cli.convert import convert
from peclip.cli.data import data
from peclip.cli.doctor import doctor
from peclip.cli.evaluate import evaluate
from peclip.cli.models import models
from peclip.cli.predict import predict
from peclip.cli.score import score
from peclip.cli.train import train
from peclip.errors import UserError

app = typer.Typer(
    name="peclip",
    help="Facial expression recognition in video with CLIP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its locals would show paths and tokens
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 a bug in peclip; 2 wrong usage; 3 input unreadable or no video in it; "
    "4 weights or an endpoint unavailable; 5 device, decoder or optional package missing; 6 some sources failed and "
    "the others were written, or a check found problems; 7 a training had to stop; 130 interrupted; "
    "143 terminated.",
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"peclip {version('peclip')}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show the log, and tracebacks of errors.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show nothing but errors.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    console.configure_logging(quiet=quiet, verbose=verbose)


app.command()(predict)
app.command()(train)
app.command()(convert)
app.command()(evaluate)
app.command()(score)
app.command()(captions)
app.command()(doctor)
app.add_typer(models, name="models")
app.add_typer(data, name="data")


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; errors of users are one line."""
    try:
        app(list(arguments), standalone_mode=True, prog_name="peclip")
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            return (
                0  # the reader has gone (`peclip predict … | head`); typer has silenced the streams
            )
        return stop.code if isinstance(stop.code, int) else 0
    except UserError as error:
        if logging.getLogger("peclip").level == logging.DEBUG:
            traceback.print_exc()
        console.error(str(error))
        return error.exit_code
    return 0


def main() -> None:
    """The entry point of the command."""
    sys.exit(run(sys.argv[1:]))
