"""Additional outputs of `peclip predict`, computed from whole sources rather than single rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from peclip.cli import console
from peclip.cli.options import check_output
from peclip.cli.source_outputs import files_of_sources
from peclip.errors import ConfigError
from peclip.literals import Blur
from peclip.results.figures import (
    FIGURE_ENDINGS,
    OVERLAY_ENDINGS,
    REPORT_ENDINGS,
    check_matplotlib,
)
from peclip.results.frame_file import FRAME_FILES, FrameFile, check_frame_file
from peclip.results.table_file import TABLE_ENDINGS, check_table, write_table

if TYPE_CHECKING:
    from peclip.results.prediction import Prediction
    from peclip.results.summary import Summary


OnFrame = Callable[[float], None]
"""Called with the time of a frame in seconds."""


class SideOutput(Protocol):
    """Receives the prediction of each source when it is complete; by default ignores it."""

    has_written: bool = False
    """Whether anything is in the file or folder, after `close`."""

    def draw_source(self, prediction: Prediction, on_frame: OnFrame) -> None:
        """Does the long work for one source, before `end_source`; Ctrl-C ends it at once."""

    def end_source(self, prediction: Prediction) -> None:
        """Receives one source with all of its rows; Ctrl-C waits until it is written."""

    def close(self) -> None:
        """Writes what is left at the end of the run, to a temporary name that is then moved."""

    def discard(self) -> None:
        """Removes temporary files after an error."""


@dataclass(frozen=True, slots=True)
class SideRequest:
    """What a side output is to write."""

    path: Path
    """The value of the option: a file, or the folder of `files`."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The file of each source, for outputs with one file per source."""
    blur: Blur | None = None
    pictures: bool = True
    """Whether plots and reports show faces."""
    excel: bool = False
    """Whether a csv file is for Excel; always false for other files."""


@dataclass(frozen=True, slots=True)
class SideOutputKind:
    """How a side output is checked and opened."""

    endings: tuple[str, ...]
    check: Callable[[Path], None]
    """Checks what the output needs, such as an optional package, before torch is imported."""
    open: Callable[[SideRequest], SideOutput]
    per_source: bool = False
    """A file has one source; several sources are written to a folder."""
    needs_faces: bool = False
    """Whether it needs the faces of each frame, which an engine keeps only on request."""


class SummaryOutput(SideOutput):
    """One table of the people of all sources."""

    def __init__(self, request: SideRequest) -> None:
        self._request = request
        self._parts: list[Summary] = []  # of each source, without its rows

    def end_source(self, prediction: Prediction) -> None:
        """Summarises a source."""
        self._parts.append(prediction.summary())

    def close(self) -> None:
        """Writes the table, unless there were no sources."""
        from peclip.results.summary import joined

        if self._parts:
            rows = joined(self._parts).rows()
            write_table(self._request.path, rows, excel=self._request.excel)
            self.has_written = True


class VideoOutput(SideOutput):
    """A video of each source with boxes, labels and probabilities."""

    def __init__(self, request: SideRequest) -> None:
        self._request = request

    def draw_source(self, prediction: Prediction, on_frame: OnFrame) -> None:
        """Writes the video of one source, unless nothing of it could be read."""
        from peclip.results.face_tags import numbered  # imports OpenCV

        if prediction.faces:
            path = self._request.files[prediction.source]
            path.parent.mkdir(exist_ok=True)
            numbers = {} if self.has_written else numbered(prediction.labels)
            if numbers:
                names = ", ".join(f"{number} {label}" for number, label in numbers.items())
                console.note(f"labels in the video: {names}")
            if not console.is_bar_visible():
                console.note(f"writing {path}")
            prediction.render(path, blur=self._request.blur, on_frame=on_frame)
            self.has_written = True


class FrameRowsOutput(SideOutput):
    """One file of the per-frame rows of all sources."""

    def __init__(self, request: SideRequest) -> None:
        self._request = request
        self._file: FrameFile | None = None

    def end_source(self, prediction: Prediction) -> None:
        """Writes the rows of one source; the first one creates the file."""
        if prediction.faces:
            if self._file is None:
                path, excel = self._request.path, self._request.excel
                self._file = FrameFile(path, prediction.labels, excel=excel)
            self._file.write(prediction.frame_rows())

    def close(self) -> None:
        """Completes the file."""
        if self._file is not None:
            self._file.close()
            self.has_written = True

    def discard(self) -> None:
        """Removes the incomplete file."""
        if self._file is not None:
            self._file.discard()


class PlotOutput(SideOutput):
    """The timeline of each source."""

    def __init__(self, request: SideRequest) -> None:
        self._request = request

    def end_source(self, prediction: Prediction) -> None:
        """Draws a source, unless it could not be read at all."""
        from peclip.results.figures import save_figure

        if any(row.status != "decode_error" for row in prediction.rows):
            path = self._request.files[prediction.source]
            path.parent.mkdir(exist_ok=True)
            save_figure(prediction.plot(pictures=_shows_faces(self._request)), path)
            self.has_written = True


class ReportOutput(SideOutput):
    """One page about all sources."""

    def __init__(self, request: SideRequest) -> None:
        from peclip.results.report import Report

        self._report = Report(request.path, pictures=_shows_faces(request))

    def end_source(self, prediction: Prediction) -> None:
        """Adds the section of a source."""
        self._report.end_source(prediction)
        self.has_written = True

    def close(self) -> None:
        """Writes the page."""
        self._report.close()

    def discard(self) -> None:
        """Removes the sections that wait for the end of the run."""
        self._report.discard()


def _shows_faces(request: SideRequest) -> bool:
    return request.pictures and request.blur is None


SIDE_OUTPUTS = {
    "summary": SideOutputKind(TABLE_ENDINGS, check_table, SummaryOutput),
    "plot": SideOutputKind(
        FIGURE_ENDINGS, lambda _: check_matplotlib("--plot"), PlotOutput, per_source=True
    ),
    "report": SideOutputKind(REPORT_ENDINGS, lambda _: check_matplotlib("--report"), ReportOutput),
    "save-video": SideOutputKind(
        OVERLAY_ENDINGS, lambda _: None, VideoOutput, per_source=True, needs_faces=True
    ),
    "per-frame": SideOutputKind(
        tuple(FRAME_FILES), check_frame_file, FrameRowsOutput, needs_faces=True
    ),
}
"""By the name of the option."""


class SideOutputs:
    """The side outputs of one run, checked on creation.

    Args:
        paths: by the name of the option; `None` where the option is not set.
        output: the output of the rows.
        sources: the names of all sources.
        blur: whose faces are unrecognisable in videos.
        pictures: whether plots and reports show faces.
        excel: whether csv files are for Excel.
        overwrite: whether existing files may be replaced.

    Raises:
        ConfigError: two outputs have the same path, or one cannot be written.
        MissingExtraError: one needs an optional package.
    """

    def __init__(
        self,
        paths: Mapping[str, Path | None],
        output: Path | None,
        sources: Sequence[str],
        *,
        blur: Blur | None = None,
        pictures: bool = True,
        excel: bool = False,
        overwrite: bool,
    ) -> None:
        taken = {} if output is None else {output.absolute(): "-o"}
        self._open = list[SideOutput]()
        self.paths = [path for path in paths.values() if path is not None]
        self.needs_faces = any(
            SIDE_OUTPUTS[name].needs_faces for name, path in paths.items() if path is not None
        )
        for name, path in paths.items():
            if path is None:
                continue
            kind = SIDE_OUTPUTS[name]
            files: Mapping[str, Path] = {}
            if kind.per_source:
                files = files_of_sources(
                    path, sources, kind.endings, f"--{name}", overwrite=overwrite
                )
            else:
                check_output(path, overwrite=overwrite, endings=kind.endings)
            kind.check(path)
            if (other := taken.setdefault(path.absolute(), f"--{name}")) != f"--{name}":
                raise ConfigError(
                    f"{other} and --{name} both write to {str(path)!r}; choose different files."
                )
            marked = excel and path.suffix.lower() == ".csv"
            self._open.append(kind.open(SideRequest(path, files, blur, pictures, marked)))

    def __bool__(self) -> bool:
        return bool(self._open)

    def draw_source(self, prediction: Prediction, on_frame: OnFrame) -> None:
        """Lets each output do its long work for a source."""
        for output in self._open:
            output.draw_source(prediction, on_frame)

    def end_source(self, prediction: Prediction) -> None:
        """Passes a complete source to each output."""
        for output in self._open:
            output.end_source(prediction)

    def close(self) -> None:
        """Completes each output."""
        for output in self._open:
            output.close()

    def written(self) -> list[Path]:
        """Returns the files and folders that were written, after `close`."""
        pairs = zip(self.paths, self._open, strict=True)
        return [path for path, output in pairs if output.has_written]

    def discard(self) -> None:
        """Removes temporary files after an error."""
        for output in self._open:
            output.discard()
