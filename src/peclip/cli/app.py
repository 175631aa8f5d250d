"""The command `peclip`. Nothing here imports torch before a command runs."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pkgutil import resolve_name
from typing import Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.logging_options import QuietOpt, VerboseOpt, with_logging
from peclip.cli.option_file import with_option_file
from peclip.errors import EXIT_CODES, MissingExtraError, UserError

COMMANDS = {
    "predict": "peclip.cli.predict:predict",
    "train": "peclip.cli.train:train",
    "convert": "peclip.cli.convert:convert",
    "export": "peclip.cli.export:export",
    "explain": "peclip.cli.explain:explain",
    "evaluate": "peclip.cli.evaluate:evaluate",
    "compare": "peclip.cli.compare:compare",
    "score": "peclip.cli.score:score",
    "plots": "peclip.cli.plots:plots",
    "summarise": "peclip.cli.summarise:summarise",
    "captions": "peclip.cli.captions:captions",
    "serve": "peclip.cli.serve:serve",
    "doctor": "peclip.cli.doctor:doctor",
    "models": "peclip.cli.models:models",
    "data": "peclip.cli.data:app",
}
"""Functions and groups by name, as `module:object`: only what a command line names is imported."""


def opencv_threads() -> int:
    """Returns how many threads a command lets OpenCV use: a quarter of the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // 4)


ENVIRONMENT = {
    # Waiting threads of torch would spin on the cores that decoding and reading need.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Decoding, detection and the model run at the same time, and a detection in two threads takes a third more CPU time.
    "OPENCV_FOR_THREADS_NUM": str(opencv_threads()),
    # Large tensors in huge pages on Linux: less time in page faults (docs/performance.md).
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""Variables that a command sets for the libraries if the user has not."""


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"peclip {version('peclip')}")
        raise typer.Exit


def options(
    verbose: VerboseOpt = False,
    quiet: QuietOpt = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    console.configure_logging(quiet=quiet, verbose=verbose)


@cache
def _new_app(*names: str) -> typer.Typer:
    """Returns the application with some of the commands."""
    new = typer.Typer(
        name="peclip",
        help="Facial expression recognition in video with CLIP.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # its locals would show paths and tokens
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: "
        + "; ".join(f"{code} {what}" for code, what in EXIT_CODES.items())
        + ".",
    )
    new.callback()(options)
    for name in names:
        command: Any = resolve_name(COMMANDS[name])
        if not isinstance(command, typer.Typer):
            new.command(name)(with_option_file(with_logging(command)))
            continue
        for inner in command.registered_commands:
            assert inner.callback is not None
            inner.callback = with_option_file(with_logging(inner.callback))
        new.add_typer(command, name=name)
    return new


def __getattr__(name: str) -> typer.Typer:
    """Returns `app`, which has every command; `typer --app app peclip.cli.app utils docs` writes its reference."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _new_app(*COMMANDS)


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; a user error is printed as one line."""
    for name, value in ENVIRONMENT.items():  # before a command imports the libraries that read it
        os.environ.setdefault(name, value)
    named = arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS
    try:
        _new_app(*named)(list(arguments), standalone_mode=True, prog_name="peclip")
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            return 0  # the reader closed the pipe (`peclip predict … | head`); typer silenced the streams
        return stop.code if isinstance(stop.code, int) else 0
    except UserError as error:
        return _report(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "peclip").partition(".")[0]
        if package == "peclip":  # a bug
            raise
        return _report(
            f"This command requires {package!r}, which is not installed. Install all dependencies "
            "of peclip. Without torch, predict with a file that peclip export wrote (-m FILE.onnx).",
            MissingExtraError.exit_code,
        )
    return 0


def _report(message: str, code: int) -> int:
    """Prints an error, after its traceback with --verbose, and returns its exit code."""
    if logging.getLogger("peclip").level == logging.DEBUG:
        traceback.print_exc()
    console.error(message)
    return code


def main() -> None:
    """The entry point of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a label may be missing from the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
