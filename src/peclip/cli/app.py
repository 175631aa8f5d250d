"""The command `peclip`. Nothing here imports torch before a command runs."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from peclip.cli import console
from peclip.cli.captions import captions
from peclip.cli.convert import convert
from peclip.cli.data import app as data
from peclip.cli.doctor import doctor
from peclip.cli.evaluate import evaluate
from peclip.cli.export import export
from peclip.cli.logging_options import QuietOpt, VerboseOpt, with_logging
from peclip.cli.models import models
from peclip.cli.option_file import with_option_file
from peclip.cli.predict import predict
from peclip.cli.score import score
from peclip.cli.summarise import summarise
from peclip.cli.train import train
from peclip.errors import EXIT_CODES, UserError

app = typer.Typer(
    name="peclip",
    help="Facial expression recognition in video with CLIP.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its locals would show paths and tokens
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: " + "; ".join(f"{code} {what}" for code, what in EXIT_CODES.items()) + ".",
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"peclip {version('peclip')}")
        raise typer.Exit


@app.callback()
def options(
    verbose: VerboseOpt = False,
    quiet: QuietOpt = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    console.configure_logging(quiet=quiet, verbose=verbose)


app.command()(predict)
app.command()(train)
app.command()(convert)
app.command()(export)
app.command()(evaluate)
app.command()(score)
app.command()(summarise)
app.command()(captions)
app.command()(doctor)
app.add_typer(models, name="models")
app.add_typer(data, name="data")
for known in (app, models, data):
    for command in known.registered_commands:
        assert command.callback is not None
        command.callback = with_option_file(with_logging(command.callback))


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; a user error is printed as one line."""
    try:
        app(list(arguments), standalone_mode=True, prog_name="peclip")
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            return 0  # the reader closed the pipe (`peclip predict … | head`); typer silenced the streams
        return stop.code if isinstance(stop.code, int) else 0
    except UserError as error:
        if logging.getLogger("peclip").level == logging.DEBUG:
            traceback.print_exc()
        console.error(str(error))
        return error.exit_code
    return 0


def main() -> None:
    """The entry point of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a label may be missing from the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
