"""`peclip predict`: recognises the expressions of everyone in videos."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.batch import PredictionRun
from peclip.cli.field_options import Fields, from_fields
from peclip.cli.frame_options import check_faces_found, check_frame_outputs, chosen_blur
from peclip.cli.interruption import Interruption
from peclip.cli.options import (
    BlurAllOpt,
    BlurOthersOpt,
    DeviceOpt,
    ExcelOpt,
    LabelsOpt,
    ModelOpt,
    OutputOpt,
    OverwriteOpt,
    PageOpt,
    PerFrameOpt,
    PicturesOpt,
    PrecisionOpt,
    ProgressOpt,
    SaveVideoOpt,
    SummaryOpt,
    TimelineOpt,
    read_labels,
)
from peclip.cli.output import RowOutput, check_resume, check_row_output
from peclip.cli.reading_bar import ReadingBar
from peclip.config import check
from peclip.errors import ConfigError, VideoError
from peclip.files import locked
from peclip.literals import Blur, EngineName, Precision, RowFormat
from peclip.predict_options import PredictOptions

if TYPE_CHECKING:
    from peclip.engines.base import Engine, Job
    from peclip.video.sources import Source


@from_fields
def predict(
    *,
    source: Annotated[
        list[str],
        typer.Argument(
            help="Video files, folders of videos or frames, glob patterns, http(s) or rtsp(s) "
            "URLs, or a webcam index."
        ),
    ],
    model: ModelOpt = "nano",
    output: OutputOpt = None,
    form: Annotated[
        RowFormat | None,
        typer.Option(
            "-f",
            "--format",
            help="Output format; by default, the format is inferred from the extension of -o "
            "FILE. The default for -o - is JSON Lines; without -o, a table is printed. srt, vtt, "
            "textgrid and eaf require one file per source: for several sources, pass a folder to -o.",
        ),
    ] = None,
    excel: ExcelOpt = False,
    summary: SummaryOpt = None,
    plot: TimelineOpt = None,
    report: PageOpt = None,
    pictures: PicturesOpt = True,
    save_video: SaveVideoOpt = None,
    blur_others: BlurOthersOpt = False,
    blur_all: BlurAllOpt = False,
    per_frame: PerFrameOpt = None,
    options: Annotated[dict[str, Any], Fields(PredictOptions)],
    labels: LabelsOpt = None,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    top_k: Annotated[
        int, typer.Option(min=1, help="Number of labels shown per row of the table.")
    ] = 3,
    overwrite: OverwriteOpt = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume an interrupted run: skip sources that are already complete in the "
            "output file (-o FILE.jsonl).",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Process only shard K of N: every N-th source, sorted by name, starting with "
            "the K-th. Shards 1/N to N/N together cover each source exactly once. `env` "
            "derives K and N from the environment variables RANK and WORLD_SIZE.",
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="Where to run the model: local (in this process) or ray (on the workers of a Ray "
            "cluster)."
        ),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of Ray workers (with --engine ray); by default, as many as the cluster "
            "can run.",
        ),
    ] = None,
    worker_cpus: Annotated[
        float | None,
        typer.Option(min=0, help="CPU cores per Ray worker (with --engine ray); default 1."),
    ] = None,
    worker_gpus: Annotated[
        float | None,
        typer.Option(min=0, help="GPUs per Ray worker (with --engine ray); default 0."),
    ] = None,
    progress: ProgressOpt = True,
) -> None:
    """Recognise the facial expressions of everyone in one or more videos.

    The output has one row per person and time window. Examples:

    peclip predict clip.mp4

    peclip predict videos/ -o rows.csv --summary people.csv --window 2s --hop 1s

    peclip predict talk.mp4 --save-video faces.mp4 --plot talk.png --report talk.html

    peclip predict talk.mp4 -f jsonl -o - | jq .label
    """
    from peclip.cli.side_outputs import SideOutputs
    from peclip.results.formats.registry import FORMATS

    checked = check(PredictOptions, options)
    _check_workers(engine, workers, worker_cpus, worker_gpus)
    own_labels = None if labels is None else read_labels(labels)
    tables = {"summary": summary, "per-frame": per_frame}
    chosen = _format(output, form, tables.values(), excel=excel)
    if resume:
        check_resume(output, chosen, overwrite=overwrite)
    sources, all_names = _sources(source, shard)
    blur = chosen_blur(save_video, checked, others=blur_others, everyone=blur_all)
    check_frame_outputs(save_video, per_frame, sources, engine, resume=resume)
    paths = {"plot": plot, "report": report, "save-video": save_video, **tables}
    may_exist = overwrite or resume
    sides = SideOutputs(
        paths, output, all_names, blur=blur, pictures=pictures, excel=excel, overwrite=may_exist
    )
    files = check_row_output(output, chosen, all_names, overwrite=may_exist)
    _check_model(model, device, precision, checked, engine)
    from peclip.engines.base import Job, Pool

    job = Job(
        model,
        device,
        precision,
        own_labels,
        checked,
        Pool(workers, worker_cpus, worker_gpus),
        keep_rows=chosen is None or not FORMATS[chosen].by_row or bool(sides),
        keep_faces=sides.needs_faces,
    )
    rows = partial(RowOutput, path=output, form=chosen, sides=sides, files=files)
    bar = progress and not _shows_rows(output)
    rows = partial(rows, excel=excel, top_k=top_k, resume=resume)
    single, folder = (output, None) if files is None else (None, output)
    lock = partial(locked, single, *sides.paths, folder=folder)
    _write(job, engine, sources, rows, lock, len(all_names) > 1, blur=blur, bar=bar)


def _check_model(
    model: str, device: str, precision: Precision, options: PredictOptions, engine: EngineName
) -> None:
    """Checks what can be checked before torch is imported; the devices of workers are not those of this machine."""
    from peclip.recognizers.early_checks import check_prediction

    check_prediction(model, device if engine == "local" else "auto", precision, options)


def _check_workers(engine: EngineName, *given: float | None) -> None:
    if engine == "local" and any(number is not None for number in given):
        raise ConfigError(
            "--workers, --worker-cpus and --worker-gpus require --engine ray; add it, or remove "
            "these options."
        )


def _write(
    job: Job,
    engine: EngineName,
    sources: list[Source],
    rows: Callable[[Engine], RowOutput],
    lock: Callable[[], AbstractContextManager[None]],
    several: bool,
    *,
    blur: Blur | None,
    bar: bool,
) -> None:
    """Reads the sources and writes their outputs, which are locked against other processes."""
    from peclip.engines.registry import ENGINES

    with console.progress_bar(enabled=bar) as shown:
        reading_bar = ReadingBar(shown, end=job.options.end)
        with Interruption() as interruption, lock():
            interruption.release()
            with ENGINES[engine](job) as opened, rows(opened) as target:
                if blur is not None:
                    check_faces_found(job, opened)
                batch = PredictionRun(target, reading_bar, interruption, several=several)
                batch.write(opened, sources)
    batch.leave()


def _sources(arguments: Sequence[str], shard: str | None) -> tuple[list[Source], list[str]]:
    """Returns the sources of this process, and the names of the sources of all shards."""
    from peclip.engines.shards import read_shard
    from peclip.inference.source_name import called

    part = None if shard is None else read_shard(shard, os.environ)
    sources = _expand(arguments)
    names = [called(one.location) for one in sources]
    if part is not None:
        sources = part.of(sources, key=lambda one: str(one.location))
        console.note(f"shard {part}: {len(sources)} sources")
    return sources, names


def _shows_rows(output: Path | None) -> bool:
    """Returns whether rows are printed to the terminal that would show the bar."""
    return (output is None or str(output) == "-") and sys.stdout.isatty()


def _expand(arguments: Sequence[str]) -> list[Source]:
    """Finds the sources; among several, a missing one fails only when it is read."""
    from peclip.video.omissions import Omissions
    from peclip.video.sources import Source, expand_source, taken_once

    found, omissions = list[Source](), Omissions()
    for argument in arguments:
        try:
            found += expand_source(argument, omissions)
        except VideoError:
            if len(arguments) == 1:
                raise
            found.append(Source(argument, Path(argument)))
    sources = taken_once(found, omissions)
    omissions.warn()
    return sources


def _format(
    output: Path | None, form: RowFormat | None, tables: Iterable[Path | None], *, excel: bool
) -> str | None:
    """Returns the row format, or `None` for a table; fails before a model is loaded.

    With `excel`, the rows or one of the other tables must be a csv file.
    """
    from peclip.results.formats.registry import STREAM_FORMAT
    from peclip.results.writers import STDOUT, check_format, format_of

    if any(path is not None and path.suffix.lower() == ".csv" for path in tables):
        excel = False  # it applies to that table, whatever the format of the rows
    if output is None and form is None:
        if excel:
            raise ConfigError(
                "--excel requires csv output: set -o FILE.csv, --summary FILE.csv or --per-frame "
                "FILE.csv, or remove --excel."
            )
        return None
    path = STDOUT if output is None else output
    chosen = form or (STREAM_FORMAT if path == STDOUT else format_of(path))
    check_format(chosen, path, excel=excel)
    return chosen
