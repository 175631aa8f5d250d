"""Options that several commands share, declared once."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from peclip.errors import ConfigError
from peclip.literals import Precision

ReportFormat = Literal["table", "json"]


def seconds(text: str) -> float:
    """Reads `4`, `4s`, `500ms` or `all` as seconds."""
    word = text.strip().lower()
    if word == "all":
        return math.inf
    unit = 0.001 if word.endswith("ms") else 1.0
    try:
        value = float(word.removesuffix("ms").removesuffix("s")) * unit
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; give seconds such as 4, 4s or 500ms."
        ) from None
    if math.isnan(value):
        raise typer.BadParameter(f"{text!r} is no time; give seconds such as 4, 4s or 500ms.")
    return value


def check_output(output: Path | None, *, overwrite: bool, endings: Sequence[str] = ()) -> None:
    """Fails before anything is computed where the output could not be written after it.

    Raises:
        ConfigError: the file exists and may not be replaced, its folder does not exist or cannot be
            written, or its ending is none of those given.
    """
    if output is None or str(output) == "-":
        return
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ConfigError(f"The output {str(output)!r} must be a file in a folder that exists.")
    if output.exists() and not overwrite:
        raise ConfigError(f"The output {str(output)!r} exists; give another one, or --overwrite.")
    # A pipe or a device, such as /dev/stdout, is written into; a file is made, or replaced, in its folder.
    special = output.exists() and not output.is_file()
    if not special and not os.access(output.absolute().parent, os.W_OK):
        raise ConfigError(
            f"The output {str(output)!r} is in a folder that cannot be written. Give a file in a folder of "
            "yours."
        )
    if endings and output.suffix.lower() not in endings:
        raise ConfigError(
            f"The ending of {output.name!r} does not say a format; use {', '.join(endings)}."
        )


ModelOpt = Annotated[
    str,
    typer.Option(
        "-m",
        "--model",
        help="nano, BACKBONE/WEIGHTS such as ViT-B-16-quickgelu/openai, a directory, or a hub "
        "repository owner/name@revision.",
    ),
]
DeviceOpt = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
PrecisionOpt = Annotated[
    Precision, typer.Option("--precision", help="auto is bf16 on CUDA and fp32 elsewhere.")
]
ReportFormatOpt = Annotated[ReportFormat, typer.Option("-f", "--format", help="table or json.")]
LabelsOpt = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="Own labels: names separated by commas, or a YAML/JSON file of names or of names with "
        "descriptions.",
    ),
]
CaptionsOpt = Annotated[
    Path | None,
    typer.Option(
        "--captions",
        help="Descriptions of the videos, for models that read them: a file of `peclip captions`.",
    ),
]
PriorWeightOpt = Annotated[
    float | None,
    typer.Option(
        "--prior-weight",
        help="Weight of the logarithm of the model's prior, from 0; by default the model's own.",
    ),
]
OutputOpt = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="File to write, or - for standard output."),
]
ProgressOpt = Annotated[
    bool, typer.Option("--progress/--no-progress", help="A bar, if stderr is a terminal.")
]
OverwriteOpt = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
