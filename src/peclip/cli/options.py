"""Options shared by several commands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from peclip.errors import ConfigError
from peclip.files import write_problem
from peclip.literals import Precision

ReportFormat = Literal["table", "json"]


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
    problem = None if special else write_problem(output.absolute().parent)
    if problem is not None:
        raise ConfigError(
            f"The folder containing the output file {str(output)!r} is not writable: {problem}. "
            "Choose a file in a writable folder."
        )
    if endings and output.suffix.lower() not in endings:
        raise ConfigError(
            f"Cannot infer the output format of {output.name!r} from its extension; use one of "
            f"{', '.join(endings)}."
        )


def read_fold(text: str | None) -> tuple[int | None, bool]:
    """Reads `--fold`: a fold number, and whether all folds were requested."""
    if text in (None, "all"):
        return None, text == "all"
    if not text.isdecimal():
        raise ConfigError(f"Invalid --fold {text!r}: use a fold number or 'all'.")
    return int(text), False


def read_labels(text: str) -> dict[str, str]:
    """Reads `--labels`: a file if it exists or has such an extension, else comma-separated names."""
    from peclip.labels import LabelSet
    from peclip.models.descriptions import read_label_file

    if text.lower().endswith((".yaml", ".yml", ".json")) or os.path.isfile(text):
        names, own = read_label_file(Path(text))
        return {name: own.get(name, "") for name in names}
    return dict.fromkeys(LabelSet.of(text.split(",")), "")


def print_report(form: ReportFormat, document: Any, print_table: Callable[[], None]) -> None:
    """Prints a report in the chosen format."""
    if form == "json":
        typer.echo(json.dumps(document, indent=2))
    else:
        print_table()


ModelOpt = Annotated[
    str,
    typer.Option(
        "-m",
        "--model",
        help="Model: nano, BACKBONE/WEIGHTS such as ViT-B-16-quickgelu/openai, a directory, or a "
        "hub repository (owner/name or owner/name@revision).",
    ),
]
DeviceOpt = Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:N or mps.")]
PrecisionOpt = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Precision of the model; auto selects bf16 on CUDA and, for predictions, on CPUs that are faster in it; "
        "otherwise fp32.",
    ),
]
ReportFormatOpt = Annotated[
    ReportFormat, typer.Option("-f", "--format", help="Output format: table or json.")
]
FoldOpt = Annotated[
    str | None, typer.Option("--fold", help="Fold number, or `all` for all folds and their mean.")
]
LabelsOpt = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="Custom labels: comma-separated names, or a YAML/JSON file of names, optionally with "
        "descriptions.",
    ),
]
OutputOpt = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Output file, or - for standard output."),
]
SummaryOpt = Annotated[
    Path | None,
    typer.Option(
        "--summary",
        help="Also write a table with one line per person to this file (.csv, .jsonl, .json or "
        ".parquet): durations, proportions of time, mean probabilities and episodes.",
    ),
]
TimelineOpt = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        help="Also draw the timeline of each source to this file (.png, .svg or .pdf) or, for several "
        "sources, to .png files in this folder (requires the `plot` extra).",
    ),
]
PageOpt = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Also write one .html page about all sources: summary, timelines, pictures of expression "
        "peaks, and settings (requires the `plot` extra).",
    ),
]
PicturesOpt = Annotated[
    bool,
    typer.Option(
        "--pictures/--no-pictures",
        help="Show faces in --plot and --report; never with --blur-others or --blur-all.",
    ),
]
SaveVideoOpt = Annotated[
    Path | None,
    typer.Option(
        "--save-video",
        help="Also write a video with boxes, ids, labels and probabilities, and the original "
        "sound, to this file (.mp4); for several sources, to this folder. Labels in other scripts than "
        "Latin are shown as #1, #2 and so on, which a line on standard error explains.",
    ),
]
BlurOthersOpt = Annotated[
    bool,
    typer.Option(
        "--blur-others",
        help="Make all faces unrecognisable in --save-video, except that of the person seen "
        "longest (with --max-people, those of the people kept).",
    ),
]
BlurAllOpt = Annotated[
    bool,
    typer.Option("--blur-all", help="Make all faces unrecognisable in --save-video."),
]
PerFrameOpt = Annotated[
    Path | None,
    typer.Option(
        "--per-frame",
        help="Also write one row per frame and person to this file (.csv, .jsonl or .parquet): "
        "frame, timestamp, face_id, confidence, success, box, label and probabilities.",
    ),
]
ExcelOpt = Annotated[
    bool,
    typer.Option(
        "--excel",
        help="Write csv files for Excel: with a byte order mark, and with an apostrophe before text "
        "that Excel would treat as a formula.",
    ),
]
ProgressOpt = Annotated[
    bool,
    typer.Option(
        "--progress/--no-progress",
        help="Show a progress bar, or lines of progress if stderr is not a terminal.",
    ),
]
OverwriteOpt = Annotated[
    bool, typer.Option("--overwrite", help="Overwrite the output file if it exists.")
]
