"""`--verbose` and `--quiet`, before or after a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from peclip.cli import console

VerboseOpt = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Show log messages and error tracebacks."),
]
QuietOpt = Annotated[bool, typer.Option("-q", "--quiet", help="Show only errors.")]
LOGGING_OPTIONS = {"verbose": VerboseOpt, "quiet": QuietOpt}


def with_logging(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the logging options to a command that lacks them; they override those before the command."""
    if "verbose" in inspect.signature(command).parameters:
        return command

    @wraps(command)
    def run(*, verbose: bool, quiet: bool, **values: Any) -> None:
        if verbose or quiet:
            console.configure_logging(quiet=quiet, verbose=verbose)
        command(**values)

    own = inspect.signature(command, eval_str=True).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=keyword) for parameter in own] + [
        inspect.Parameter(name, keyword, default=False, annotation=option)
        for name, option in LOGGING_OPTIONS.items()
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run
