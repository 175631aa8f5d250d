"""Printing for commands: data on standard output, everything else on standard error."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from peclip.results.interface import SourceResult
from peclip.results.rows import Row
from peclip.text.display import abridged, one_line, printable

if TYPE_CHECKING:
    from peclip.cli.progress_bar import LiveBar

_bars: list[Console] = []
"""Consoles of the bars that are visible now."""

_STYLES = {
    "ok": "",
    "low_quality": "yellow",
    "uncertain": "yellow",
    "no_face": "dim",
    "decode_error": "red",
}


def out() -> Console:
    """Standard output; created on each call so that a redirected stream is honoured."""
    return Console(file=sys.stdout, highlight=False, emoji=False, soft_wrap=True)


def err() -> Console:
    """Standard error; while a bar is visible, the bar's console, which prints above it."""
    if _bars:
        return _bars[-1]
    return Console(file=sys.stderr, highlight=False, emoji=False, soft_wrap=True)


def error(message: str) -> None:
    """Prints one line that starts with `peclip: error:`."""
    err().print(Text.assemble(("peclip: error:", "red"), " ", abridged(message)))


def is_bar_visible() -> bool:
    """Returns whether a progress bar shows what is being done."""
    return bool(_bars)


def as_markup(text: str) -> str:
    """Escapes text for a bar, which reads brackets as markup."""
    return escape(one_line(text))


def note(message: str) -> None:
    """Prints an informational line; `--quiet` silences it."""
    if logging.getLogger("peclip").level <= logging.WARNING:
        err().print(f"[dim]{escape(printable(message))}[/]")


def arrow() -> str:
    """Returns an arrow that standard error can encode."""
    try:
        "→".encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "->"
    return "→"


def clock(seconds: float) -> str:
    """Returns a duration as 3:25 or 1:03:25."""
    minutes, rest = divmod(round(seconds), 60)
    return str(timedelta(seconds=round(seconds))) if minutes >= 60 else f"{minutes}:{rest:02}"


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = escape(abridged(record.getMessage()))
        err().print(f"[yellow]peclip: {record.levelname.lower()}:[/] {text}")
        if record.exc_info and record.exc_info[1] is not None:
            for line in traceback.format_exception(record.exc_info[1]):
                err().print("\n".join(map(printable, line.rstrip().splitlines())), markup=False)


def configure_logging(*, quiet: bool, verbose: bool) -> None:
    """Sends the library's log to standard error: warnings, everything, or only errors."""
    log = logging.getLogger("peclip")
    for handler in list(log.handlers):
        log.removeHandler(handler)
    log.addHandler(_Warnings())
    log.propagate = False
    log.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING)


@contextmanager
def progress_bar(*, enabled: bool) -> Iterator[LiveBar]:
    """Shows a progress bar on standard error, or lines of progress if it is not a terminal."""
    from peclip.cli.progress_bar import new_bar
    from peclip.cli.progress_lines import progress_lines

    console = err()
    visible = enabled and console.is_terminal
    bar = new_bar(console, visible=visible)
    with bar, nullcontext() if visible or not enabled else progress_lines(bar, note):
        if visible:
            _bars.append(console)
        try:
            yield bar
        finally:
            if visible:
                _bars.remove(console)


class RowTable:
    """Prints rows as table lines as they arrive, and a summary of each source."""

    def __init__(self, top_k: int) -> None:
        self._top_k = top_k
        self._source: str | None = None

    def write_row(self, row: Row) -> None:
        """Prints one line, after a heading for each new source."""
        if row.source != self._source:
            self._source = row.source
            out().print(f"[bold]{escape(one_line(row.source))}[/]")
            what = "label" if _is_whole_frame(row) else "expression"
            heading = f"{'person':>8}  {'seconds':>15}  {what:<15} {'score':>5}  {'face':>4}"
            out().print(f"[dim]{heading}  next[/]")
        who = "-" if row.track_id < 0 else str(row.track_id)
        span = f"{row.start_s:.2f} - {row.end_s:.2f}"
        label = escape(one_line(row.label or row.status.replace("_", " ")))
        score = "" if row.score is None else f"{row.score:.2f}"
        face = "" if row.face_conf is None else f"{row.face_conf:.2f}"
        others = [item for item in row.scores.items() if item[0] != row.label]
        # Labels whose probabilities look equal keep their order.
        ranked = sorted(others, key=lambda item: -round(item[1], 2))
        ranked = ranked[: self._top_k - (row.label is not None)]
        following = ", ".join(f"{name} {value:.2f}" for name, value in ranked)
        if row.status == "low_quality":
            following += "  (low quality)"
        line = f"{who:>8}  {span:>15}  {label:<15} {score:>5}  {face:>4}  {escape(printable(following))}"
        out().print(line, style=_STYLES[row.status] or None)

    def end_source(self, prediction: SourceResult) -> None:
        """Prints the aggregated prediction of each track."""
        for track in prediction.tracks.values():
            who = "whole frame" if track.track_id < 0 else f"person {track.track_id}"
            windows = f"{len(track.rows)} window{'s' if len(track.rows) != 1 else ''}"
            best = next(iter(track.scores.values()))
            out().print(
                f"  {who}: [bold]{escape(one_line(track.label or 'uncertain'))}[/] {best:.2f} ({windows})"
            )

    def close(self) -> None:
        """Does nothing: every row is printed already."""


def _is_whole_frame(row: Row) -> bool:
    """Returns whether a row is of a source in which no faces are detected."""
    return row.track_id < 0 and bool(row.scores)


def print_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints aligned columns."""
    heading, *rows = [[printable(str(cell)) for cell in line] for line in [heading, *rows]]
    widths = [max(len(line[i]) for line in [heading, *rows]) for i in range(len(heading))]

    def text(line: Sequence[str]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        return escape("  ".join(cells).rstrip())

    out().print(f"[bold]{text(heading)}[/]")
    for line in rows:
        out().print(text(line))
