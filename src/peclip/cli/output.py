"""The output of `peclip predict`: a table, or a file with its journal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from peclip.cli import console
from peclip.cli.options import check_output
from peclip.cli.row_count import RowCount
from peclip.cli.run_remarks import RunRemarks
from peclip.errors import ConfigError

if TYPE_CHECKING:
    from peclip.cli.side_outputs import SideOutputs
    from peclip.engines.base import Engine, Reading
    from peclip.engines.journal import Entry, Journal
    from peclip.results.interface import RowWriter
    from peclip.results.rows import Row
    from peclip.video.sources import Source


def check_resume(output: Path | None, form: str | None, *, overwrite: bool) -> None:
    """Checks that an output can be resumed, before a model is loaded.

    Raises:
        ConfigError: it is not a JSON Lines file, or `overwrite` is set.
    """
    if overwrite:
        raise ConfigError(
            "--resume keeps the existing output and --overwrite replaces it; use only one of them."
        )
    if output is None or not _takes_journal(output, form):
        raise ConfigError("--resume requires a JSON Lines output, such as -o rows.jsonl.")


def check_row_output(
    output: Path | None, form: str | None, sources: Sequence[str], *, overwrite: bool
) -> dict[str, Path] | None:
    """Checks that the rows can be written to the output, before a model is loaded.

    Returns:
        Each source's file if the output is a folder, otherwise `None`.

    Raises:
        ConfigError: a file exists and may not be replaced, cannot be written, or would have several sources
            in a format with one file per source.
    """
    from peclip.results.formats.registry import FORMATS

    if (
        form is None
        or not FORMATS[form].per_source
        or (len(sources) < 2 and not _is_folder(output))
    ):
        check_output(output, overwrite=overwrite)
        return None
    if output is None or str(output) == "-" or output.is_file() or output.suffix:
        raise ConfigError(
            f"The format {form} requires one file per source, but there are {len(sources)} sources. "
            "Set the output to a folder: -o FOLDER."
        )
    from peclip.results.source_files import source_files

    if not output.is_dir():
        check_output(output, overwrite=overwrite)  # the folder is created in an existing one
    files = source_files(output, sources, FORMATS[form].ending or form)
    for path in files.values() if output.is_dir() else ():
        check_output(path, overwrite=overwrite)
    return files


def _is_folder(output: Path | None) -> bool:
    return output is not None and output.is_dir()


def _takes_journal(path: Path, form: str | None) -> bool:
    from peclip.results.formats.registry import FORMATS
    from peclip.results.writers import STDOUT

    regular = path != STDOUT and (path.is_file() or not path.exists())
    return form is not None and FORMATS[form].resumable and regular


class RowOutput:
    """Opens the file with the first row, so that an unreadable source leaves no empty file."""

    def __init__(
        self,
        engine: Engine,
        path: Path | None,
        form: str | None,
        sides: SideOutputs,
        files: Mapping[str, Path] | None,
        *,
        excel: bool,
        top_k: int,
        resume: bool,
    ) -> None:
        from peclip.results.writers import STDOUT

        self._engine, self._top_k, self._resume = engine, top_k, resume
        self._path, self._format = STDOUT if path is None else path, form
        self._sides, self._files, self._excel = sides, files, excel
        self._file = ExitStack()
        self._writer: RowWriter | None = None
        self._journal: Journal | None = None
        self._count = RowCount()
        self._num_earlier = 0  # sources of earlier runs, which are in the file and the side outputs
        self._remarks = RunRemarks()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remarks.print()
        try:
            self._file.close()
            if kind is None or issubclass(kind, KeyboardInterrupt | SystemExit):
                self._sides.close()
            else:
                self._sides.discard()
            if kind is None:
                self._note_files()
        finally:
            if self._journal is not None:
                self._journal.close(keep=self._resume or kind is not None)

    def _note_files(self) -> None:
        """Prints what was counted, and the files and folders that were written."""
        to_file = self._format is not None and str(self._path) != "-"
        has_rows = self._writer is not None or bool(self._num_earlier)
        written = [self._path] if has_rows and to_file else []
        written += self._sides.written()
        if written:
            names = ", ".join(f"{path}/" if path.is_dir() else str(path) for path in written)
            console.note(f"{self._count.text(self._num_earlier)} {console.arrow()} {names}")

    def missing(self, sources: Sequence[Source]) -> tuple[list[Source], list[Entry]]:
        """Returns the sources still to read, and the journal entries of the others."""
        if not self._resume:
            return list(sources), []
        from peclip.engines.journal import Journal
        from peclip.inference.source_name import called

        journal = self._journal = Journal.resume(self._path, self._engine.fingerprint())
        if journal.lines_cut:
            console.note(f"{self._path}: removed {journal.lines_cut} lines of unfinished sources")
        todo = [source for source in sources if called(source.location) not in journal.done]
        names = {called(source.location) for source in sources}
        finished = [entry for name, entry in journal.done.items() if name in names]
        self._num_earlier = len(finished)
        if finished:
            console.note(
                f"{self._path}: {len(finished)} of {len(sources)} sources have already been "
                f"processed ({sum(entry.failed for entry in finished)} of them failed)"
            )
            self._resume_sides({entry.source for entry in finished})
        return todo, finished

    def open(self) -> RowWriter:
        """Returns the writer; the first call creates the file."""
        if self._writer is None:
            about = self._engine.describe()
            console.note(f"{about['model']} on {about['device']} in {about['precision']}")
            self._writer = self._new_writer()
        return self._writer

    def write_row(self, row: Row) -> None:
        """Writes one row."""
        self.open().write_row(row)
        self._count.add(row)

    def draw_source(self, reading: Reading, on_frame: Callable[[float], None]) -> None:
        """Writes the videos of a source, which may take as long as predicting it."""
        if self._writer is not None and self._sides:
            self._sides.draw_source(reading.prediction(), on_frame)

    def end_source(self, reading: Reading, *, recognised: bool, faceless: bool) -> None:
        """Writes the prediction of a source, which is then complete.

        Args:
            reading: the reading of the source.
            recognised: whether any of the source could be read.
            faceless: whether none of its rows shows a face.
        """
        if self._writer is None:
            return
        prediction = reading.prediction()
        self._writer.end_source(prediction)
        self._count.end_source(failed=reading.failure is not None)
        is_faceless = reading.failure is None and faceless
        self._remarks.add(reading.source, prediction.metadata, is_faceless=is_faceless)
        self._sides.end_source(prediction)
        if self._journal is not None:
            failed = reading.failure is not None
            self._journal.add(reading.source, failed=failed, partly=failed and recognised)

    def break_source(self, reading: Reading) -> None:
        """Writes the partial prediction of an interrupted source."""
        reading.note("interrupted")
        if self._writer is not None:
            prediction = reading.prediction()
            self._writer.end_source(prediction)
            self._sides.end_source(prediction)

    def remark(self) -> str:
        """Returns a remark about the output of an interrupted run."""
        if self._writer is None or str(self._path) == "-":
            return ""
        more = "; to resume, repeat the command with --resume" if self._journal is not None else ""
        return f"; finished rows are in {self._path}{more}"

    def _resume_sides(self, sources: Collection[str]) -> None:
        """Passes the sources of earlier runs to the side outputs, from their rows in the file."""
        if not self._sides:
            return
        from peclip.results.row_file import read_rows

        for prediction in read_rows([self._path]).predictions():
            if prediction.source in sources:
                self._sides.end_source(prediction)

    def _new_writer(self) -> RowWriter:
        from peclip.engines.journal import Journal
        from peclip.results.formats.registry import FORMATS
        from peclip.results.writers import open_writer

        if self._format is None:
            return console.RowTable(self._top_k)
        if self._files is not None:
            from peclip.results.source_files import FolderWriter

            return FolderWriter(self._format, self._files, self._engine.labels)
        if self._journal is None and _takes_journal(self._path, self._format):
            self._journal = Journal.begin(self._path, self._engine.fingerprint())
        labels = self._engine.labels
        excel = self._excel and FORMATS[self._format].for_excel is not None
        writer = open_writer(self._format, self._path, labels, append=self._resume, excel=excel)
        return self._file.enter_context(writer)
