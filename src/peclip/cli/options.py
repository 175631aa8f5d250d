"""Options shared by several commands."""

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
            f"Invalid duration {text!r}: give seconds such as 4, 4s or 500ms."
        ) from None
    if math.isnan(value):
        raise typer.BadParameter(f"Invalid duration {text!r}: give seconds such as 4, 4s or 500ms.")
    return value


def check_output(output: Path | None, *, overwrite: bool, endings: Sequence[str] = ()) -> None:
    """Checks that the output can be written, before anything is computed.

    Raises:
        ConfigError: the file exists and may not be replaced, its folder is missing or not writable, or
            its extension is unsupported.
    """
    if output is None or str(output) == "-":
        return
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ConfigError(f"The output {str(output)!r} must be a file in an existing folder.")
    if output.exists() and not overwrite:
        raise ConfigError(
            f"The output {str(output)!r} already exists. Choose another file, or add --overwrite."
        )
    # A pipe or a device, such as /dev/stdout, is written directly; a file is created in its folder.
    special = output.exists() and not output.is_file()
    if not special and not os.access(output.absolute().parent, os.W_OK):
        raise ConfigError(
            f"The folder of the output {str(output)!r} is not writable. Choose a file in a writable folder."
        )
    if endings and output.suffix.lower() not in endings:
        raise ConfigError(
            f"Cannot infer the format of {output.name!r} from its extension; use {', '.join(endings)}."
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
        help="Custom labels: comma-separated names, or a YAML/JSON file of names, optionally with "
        "descriptions.",
    ),
]
CaptionsOpt = Annotated[
    Path | None,
    typer.Option(
        "--captions",
        help="Captions of the videos, for models that read them: a file from `peclip captions`.",
    ),
]
PriorWeightOpt = Annotated[
    float | None,
    typer.Option(
        "--prior-weight",
        min=0,
        max=1,
        help="Label frequencies that predictions assume: 0 those of the training videos, 1 equal ones, values "
        "between a mixture; by default the weight stored in the model.",
    ),
]
OutputOpt = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Output file, or - for standard output."),
]
ProgressOpt = Annotated[
    bool,
    typer.Option(
        "--progress/--no-progress", help="Show a progress bar (when stderr is a terminal)."
    ),
]
OverwriteOpt = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
