"""Writes the predictions of many sources from an engine to an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from peclip.cli import console
from peclip.errors import SOME_FAILED, InternalError, VideoError

if TYPE_CHECKING:
    from peclip.cli.interruption import Interruption
    from peclip.cli.output import RowOutput
    from peclip.cli.reading_bar import ReadingBar
    from peclip.engines.base import Engine, Reading
    from peclip.video.sources import Source


class PredictionRun:
    """Writes the readings of an engine to the output, and counts failures."""

    def __init__(
        self, output: RowOutput, bar: ReadingBar, interruption: Interruption, *, several: bool
    ) -> None:
        self._output, self._bar, self._interruption = output, bar, interruption
        self._several = several
        self._recognised = 0
        self._failed_before = 0
        self._codes: list[int] = []  # exit codes only: there may be a million failures

    def write(self, engine: Engine, sources: Sequence[Source]) -> None:
        """Writes all sources; a bad one is reported and does not stop the others."""
        try:
            todo, before = self._output.missing(sources)
            self._failed_before = sum(entry.failed for entry in before)
            self._recognised = sum(entry.recognised for entry in before)
            if not sources:
                self._output.open()  # an empty shard still writes an empty file
            self._bar.begin(len(todo))
            for reading in engine.read(todo):
                with self._bar.follow(reading):
                    self._write_source(reading)
        except (KeyboardInterrupt, SystemExit):
            console.note(f"interrupted{self._output.remark()}")
            raise
        finally:
            self._interruption.hold()  # while the files are closed

    def leave(self) -> None:
        """Exits with the code of the failures, including those of earlier runs of the same output."""
        if not self._codes and not self._failed_before:
            return
        if InternalError.exit_code in self._codes:  # other failures must not hide a bug
            raise typer.Exit(InternalError.exit_code)
        if self._recognised:
            raise typer.Exit(SOME_FAILED)
        # Nothing could be read: exit with the first failure's code; earlier runs only recorded a failure.
        raise typer.Exit(self._codes[0] if self._codes else VideoError.exit_code)

    def _write_source(self, reading: Reading) -> None:
        recognised = labelled = False
        try:
            for row in reading.rows():
                unreadable = row.window == 0 and row.status == "decode_error"
                recognised |= row.window == 0 and not unreadable
                labelled |= bool(row.scores)
                if unreadable and not self._several:
                    continue  # a single unreadable source gives one error line and no output
                self._interruption.hold()
                self._output.write_row(row)
                self._interruption.release()
            self._output.draw_source(reading, self._bar.show_drawn)
            self._interruption.hold()
        except (KeyboardInterrupt, SystemExit):
            self._output.break_source(reading)  # keep the rows recognised so far
            raise
        if reading.failure is not None:
            console.error(str(reading.failure))
            self._codes.append(reading.failure.exit_code)
        self._recognised += recognised
        self._output.end_source(reading, recognised=recognised, faceless=not labelled)
        self._interruption.release()
