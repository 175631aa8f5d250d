"""`peclip predict`: recognises the expressions of everyone in videos."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peclip.cli import console
from peclip.cli.batch import Batch
from peclip.cli.interruption import Interruption
from peclip.cli.options import (
    CaptionsOpt,
    DeviceOpt,
    LabelsOpt,
    ModelOpt,
    OutputOpt,
    OverwriteOpt,
    PrecisionOpt,
    PriorWeightOpt,
    check_output,
    seconds,
)
from peclip.cli.output import Output, check_resume
from peclip.errors import VideoError
from peclip.literals import DecoderName, DetectorName, EngineName, RowFormat

if TYPE_CHECKING:
    from peclip.video.sources import Source


def predict(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders, glob patterns, http(s) URLs, folders of frames, or a webcam index."
        ),
    ],
    model: ModelOpt = "nano",
    output: OutputOpt = None,
    form: Annotated[
        RowFormat | None,
        typer.Option("-f", "--format", help="By default from the extension of -o, else a table."),
    ] = None,
    window: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="TIME", help="Window length, or `all` for one window."
        ),
    ] = "1s",  # type: ignore[assignment]  # typer parses a default as it parses a value
    hop: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="Time between window starts.")
    ] = "0.5s",  # type: ignore[assignment]
    start: Annotated[
        float,
        typer.Option(parser=seconds, metavar="TIME", help="Skip everything before this time."),
    ] = "0s",  # type: ignore[assignment]
    end: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="Skip everything after this time.")
    ] = "all",  # type: ignore[assignment]
    face_crop: Annotated[
        bool,
        typer.Option(
            "--face-crop/--no-face-crop",
            help="Detect and crop faces, or use the whole frame of a video already cropped to a face.",
        ),
    ] = True,
    detector: Annotated[DetectorName, typer.Option(help="Face detector.")] = "auto",
    detect_rate: Annotated[
        float,
        typer.Option(help="Maximum frames per second searched for faces; 1 to inf."),
    ] = 10.0,
    face_threshold: Annotated[
        float, typer.Option(help="Minimum detection confidence, 0 to 1.")
    ] = 0.7,
    min_face: Annotated[
        float,
        typer.Option(help="Minimum face size in pixels; smaller faces are marked low_quality."),
    ] = 24.0,
    min_coverage: Annotated[
        float,
        typer.Option(
            help="Minimum fraction of a window's frames that show the face, 0 to 1; below it, low_quality."
        ),
    ] = 0.3,
    labels: LabelsOpt = None,
    prior_weight: PriorWeightOpt = None,
    captions: CaptionsOpt = None,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    batch_size: Annotated[
        int | None, typer.Option("-b", "--batch-size", help="Windows per forward pass.")
    ] = None,
    decoder: Annotated[DecoderName, typer.Option(help="Video decoder.")] = "auto",
    frame_rate: Annotated[
        float, typer.Option("--fps", help="Frame rate of folders of frames.")
    ] = 25.0,
    top_k: Annotated[int, typer.Option(min=1, help="Labels shown per table line.")] = 3,
    overwrite: OverwriteOpt = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Resume -o FILE.jsonl: skip the sources already complete in it."
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Read only shard K of N: every N-th source in name order, starting with the K-th. "
            "Shards 1/N to N/N cover each source exactly once. `env` uses RANK and WORLD_SIZE.",
        ),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="local: this process; ray: the workers of a Ray cluster.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers of --engine ray; by default as many as fit.")
    ] = None,
    worker_cpus: Annotated[
        float | None, typer.Option(min=0, help="Cores per worker of --engine ray; by default 1.")
    ] = None,
    worker_gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs per worker of --engine ray; by default 0.")
    ] = None,
    progress: Annotated[
        bool,
        typer.Option(
            "--progress/--no-progress", help="Show a progress bar (when stderr is a terminal)."
        ),
    ] = True,
) -> None:
    """Recognise the expressions of everyone in videos.

    One row per person and time window. Examples:

    peclip predict clip.mp4

    peclip predict videos/ -o rows.csv --window 2s --hop 1s

    peclip predict talk.mp4 -f jsonl -o - | jq .label

    peclip predict videos/ -o rows-3.jsonl --shard 3/8 --resume
    """
    # Before torch is imported: waiting torch threads then leave the cores to the other stages.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from peclip.config import PredictOptions, check
    from peclip.engines.base import Job, Pool
    from peclip.engines.registry import ENGINES
    from peclip.engines.shards import read_shard
    from peclip.results.writers import BY_LINE

    options = check(
        PredictOptions,
        {
            "window": window,
            "hop": hop,
            "start": start,
            "end": None if math.isinf(end) else end,
            "face_crop": face_crop,
            "detector": detector,
            "detect_rate": detect_rate,
            "face_threshold": face_threshold,
            "min_face": min_face,
            "min_coverage": min_coverage,
            "decoder": decoder,
            "frame_rate": frame_rate,
            "prior_weight": prior_weight,
            "captions": captions,
            "batch_size": batch_size,
        },
    )
    check_output(output, overwrite=overwrite or resume)
    chosen = _format(output, form)
    if resume:
        check_resume(output, chosen, overwrite=overwrite)
    part = None if shard is None else read_shard(shard, os.environ)
    sources = _expand(source)
    several = len(sources) > 1
    if part is not None:
        sources = part.of(sources, key=lambda one: str(one.location))
        console.note(f"shard {part}: {len(sources)} sources")
    job = Job(
        model,
        device,
        precision,
        None if labels is None else read_labels(labels),
        options,
        Pool(workers, worker_cpus, worker_gpus),
        keep_rows=chosen not in BY_LINE,
    )
    with Interruption() as interruption:
        interruption.release()
        with (
            ENGINES[engine](job) as opened,
            Output(opened, output, chosen, top_k=top_k, resume=resume) as target,
            console.progress_bar(enabled=progress and not _shows_rows(output)) as bar,
        ):
            batch = Batch(target, bar, interruption, several=several)
            batch.write(opened, sources)
    batch.leave()


def _shows_rows(output: Path | None) -> bool:
    """Returns whether rows are printed to the terminal that would show the bar."""
    return (output is None or str(output) == "-") and sys.stdout.isatty()


def _expand(arguments: Sequence[str]) -> list[Source]:
    """Finds the sources; among several, a missing one fails only when it is read."""
    from peclip.video.sources import Source, expand_source, taken_once

    found: list[Source] = []
    for argument in arguments:
        try:
            found += expand_source(argument)
        except VideoError:
            if len(arguments) == 1:
                raise
            found.append(Source(argument, Path(argument)))
    return taken_once(found)


def read_labels(text: str) -> dict[str, str]:
    """Reads `--labels`: a file if it exists or has such an extension, else comma-separated names."""
    from peclip.labels import LabelSet
    from peclip.models.descriptions import read_label_file

    if text.lower().endswith((".yaml", ".yml", ".json")) or os.path.isfile(text):
        names, own = read_label_file(Path(text))
        return {name: own.get(name, "") for name in names}
    return dict.fromkeys(LabelSet.of(text.split(",")), "")


def _format(output: Path | None, form: RowFormat | None) -> str | None:
    """Returns the row format, or `None` for a table; fails before a model is loaded."""
    from peclip.results.writers import STDOUT, check_format, format_of

    if output is None and form is None:
        return None
    path = STDOUT if output is None else output
    chosen = form or ("jsonl" if path == STDOUT else format_of(path))
    check_format(chosen, path)
    return chosen
