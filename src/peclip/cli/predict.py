"""`peclip predict`: the expressions of everyone in videos, as rows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peclip.cli import console
from peclip.cli.options import (
    Decoder,
    Detector,
    DeviceOpt,
    LabelsOpt,
    ModelOpt,
    OutputOpt,
    OverwriteOpt,
    Precision,
    PrecisionOpt,
    RowFormat,
    check_output,
    seconds,
)
from peclip.errors import UserError, VideoError

if TYPE_CHECKING:
    from rich.progress import Progress

    from peclip.config import PredictOptions
    from peclip.prediction import Row
    from peclip.recognizer import Recognizer
    from peclip.session import Session
    from peclip.video.sources import Source
    from peclip.writers import RowWriter

_PARTIAL_FAILURE = 6


def predict(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders, globs, http(s) addresses, folders of frames, or a webcam index."
        ),
    ],
    model: ModelOpt = "nano",
    output: OutputOpt = None,
    form: Annotated[
        RowFormat | None,
        typer.Option("-f", "--format", help="By default a table, or what the ending of -o says."),
    ] = None,
    window: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="Length of a window, or `all`.")
    ] = "1s",  # type: ignore[assignment]  # typer parses a default as it parses a value
    hop: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="Time between windows.")
    ] = "0.5s",  # type: ignore[assignment]
    start: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="Leave out what comes before.")
    ] = "0s",  # type: ignore[assignment]
    end: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="Leave out what comes after.")
    ] = "all",  # type: ignore[assignment]
    face_crop: Annotated[
        bool,
        typer.Option(
            "--face-crop/--no-face-crop",
            help="Find and crop faces, or take the whole frame of a video that is cropped already.",
        ),
    ] = True,
    detector: Annotated[Detector, typer.Option(help="Face detector.")] = Detector.auto,
    detect_rate: Annotated[
        float, typer.Option(help="Frames per second that are searched for faces, at most; or inf.")
    ] = 10.0,
    face_threshold: Annotated[
        float, typer.Option(help="Least confidence of a face, 0 to 1.")
    ] = 0.7,
    min_face: Annotated[
        float, typer.Option(help="Pixels; smaller faces are marked as low_quality.")
    ] = 24.0,
    labels: LabelsOpt = None,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = Precision.auto,
    batch_size: Annotated[
        int | None, typer.Option("-b", "--batch-size", help="Windows per call of the model.")
    ] = None,
    decoder: Annotated[Decoder, typer.Option(help="Video decoder.")] = Decoder.auto,
    frame_rate: Annotated[
        float, typer.Option("--fps", help="Frames per second of folders of frames.")
    ] = 25.0,
    top_k: Annotated[int, typer.Option(min=1, help="Labels per line of the table.")] = 3,
    overwrite: OverwriteOpt = False,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="A bar, if stderr is a terminal.")
    ] = True,
) -> None:
    """Recognise the expressions of everyone in videos.

    One row per person and window of time. Examples:

    peclip predict clip.mp4

    peclip predict videos/ -o rows.csv --window 2s --hop 1s

    peclip predict talk.mp4 -f jsonl -o - | jq .label
    """
    from peclip.config import PredictOptions, check

    options = check(
        PredictOptions,
        {
            "window": window,
            "hop": hop,
            "start": start,
            "end": None if math.isinf(end) else end,
            "face_crop": face_crop,
            "detector": detector.value,
            "detect_rate": detect_rate,
            "face_threshold": face_threshold,
            "min_face": min_face,
            "decoder": decoder.value,
            "frame_rate": frame_rate,
            "batch_size": batch_size,
        },
    )
    check_output(output, overwrite=overwrite)
    chosen = _format(output, form)
    sources = _expand(source)
    recognizer = _load(model, device, precision, labels)
    with ExitStack() as stack:
        writer = _LazyWriter(stack, recognizer, output, chosen, top_k)
        bar = stack.enter_context(console.progress_bar(enabled=progress))
        recognised, failures = _predict_all(recognizer, sources, options, writer, bar)
    if failures:
        # Nothing at all could be read: the code says why. Otherwise some rows are there.
        raise typer.Exit(_PARTIAL_FAILURE if recognised else failures[0].exit_code)


def _expand(arguments: Sequence[str]) -> list[Source]:
    """Finds the sources; of several, one that does not exist is left to fail when its turn comes."""
    from peclip.video.sources import Source, expand_sources

    if len(arguments) == 1:
        return expand_sources(arguments)
    found: dict[object, Source] = {}
    for argument in arguments:
        try:
            sources = expand_sources([argument])
        except VideoError:
            sources = [Source(argument, Path(argument))]
        for source in sources:
            found.setdefault(source.location, source)
    return list(found.values())


def _load(model: str, device: str, precision: Precision, labels: str | None) -> Recognizer:
    from peclip.recognizer import load

    recognizer = load(model, device=device, precision=precision.value)
    if labels is None:
        return recognizer
    return recognizer.with_labels(read_labels(labels))


def read_labels(text: str) -> dict[str, str]:
    """Reads `--labels`: a file if there is one of this name or ending, else names with commas."""
    from peclip.descriptions import read_label_file
    from peclip.labels import LabelSet

    if text.lower().endswith((".yaml", ".yml", ".json")) or os.path.isfile(text):
        names, own = read_label_file(Path(text))
        return {name: own.get(name, "") for name in names}
    return dict.fromkeys(LabelSet.of(text.split(",")), "")


def _format(output: Path | None, form: RowFormat | None) -> str | None:
    """Returns the format of the rows, or `None` for a table, before a model is loaded for nothing."""
    from peclip.writers import STDOUT, check_format, format_of

    if output is None and form is None:
        return None
    path = STDOUT if output is None else output
    if form is None:
        form = RowFormat.jsonl if path == STDOUT else RowFormat(format_of(path))
    check_format(form.value, path)
    return form.value


class _LazyWriter:
    """Opens the output when the first row comes, so that a bad source leaves no empty file."""

    def __init__(
        self,
        stack: ExitStack,
        recognizer: Recognizer,
        output: Path | None,
        form: str | None,
        top_k: int,
    ) -> None:
        from peclip.writers import STDOUT

        self._stack, self._recognizer, self._top_k = stack, recognizer, top_k
        self._path = STDOUT if output is None else output
        self._format = form
        self.opened: RowWriter | None = None

    def open(self) -> RowWriter:
        from peclip.writers import open_writer

        if self.opened is None:
            about = self._recognizer.describe()
            console.note(f"{about['model']} on {about['device']} in {about['precision']}")
            if self._format is None:
                self.opened = console.RowTable(self._top_k)
            else:
                writer = open_writer(self._format, self._path, self._recognizer.labels.names)
                self.opened = self._stack.enter_context(writer)
        return self.opened

    def finish(self, session: Session, error: str | None = None) -> None:
        """Hands over the whole of a source, or what there is of it."""
        if error is not None:
            session.note(error)
        if self.opened is not None:
            self.opened.end_source(session.prediction())


def _readable(session: Session, *, several: bool) -> Iterator[Row]:
    """Yields the rows of a source, and one that says so where it cannot be read.

    Only what is wrong with the source ends here: an output that cannot be written stops the run.
    """
    try:
        yield from session
    except UserError as error:
        row = session.fail(error)
        if several:  # a single source that cannot be read is one line and no output
            yield row


def _predict_all(
    recognizer: Recognizer,
    sources: Sequence[Source],
    options: PredictOptions,
    writer: _LazyWriter,
    bar: Progress,
) -> tuple[int, list[UserError]]:
    """Predicts one source after the other; a bad one is reported and does not stop the others.

    Returns:
        How many sources gave rows of their own, and what went wrong.
    """
    recognised, failures = 0, list[UserError]()
    for number, source in enumerate(sources, start=1):
        session = recognizer.open(source.location, options)
        name = console.as_markup(Path(source.name).name or source.name)
        task = bar.add_task(f"{name} ({number}/{len(sources)})", total=None, position="")
        try:
            for row in _readable(session, several=len(sources) > 1):
                recognised += row.window == 0 and row.status != "decode_error"
                writer.open().write_row(row)
                bar.update(
                    task,
                    total=session.duration_s,
                    completed=session.position_s,
                    position=f"{session.position_s:.1f} s",
                )
        except KeyboardInterrupt:
            writer.finish(session, "interrupted")  # what was recognised is not lost
            raise
        if session.failure is not None:
            console.error(str(session.failure))
            failures.append(session.failure)
        writer.finish(session)
        bar.remove_task(task)
    return recognised, failures
