"""Sidecar journal that makes a JSON Lines output resumable.

`FILE.journal` is also JSON Lines. The first line holds the fingerprint of the rows, each further one marks
a complete source: its name, the size of the file after its rows, whether it failed, and whether any of it
was recognised before that. A source without such a line is read again, so that each source is written
exactly once, wherever a run was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

from peclip.errors import ConfigError
from peclip.files import replacing
from peclip.text.comparison import differences
from peclip.text.parsing import parse_json


@dataclass(frozen=True, slots=True)
class Entry:
    """A source whose rows are complete."""

    source: str
    end: int
    """Bytes of the output up to the end of its rows."""
    failed: bool
    partly: bool = False
    """Whether the source failed partway, after some rows. Missing in older journals."""

    @property
    def recognised(self) -> bool:
        return self.partly or not self.failed


class Journal:
    """Tracks the complete sources of an output that the caller has locked (`files.locked`); must be closed.

    Args:
        output: the JSON Lines file.
        fingerprint: everything that determines the rows; JSON values.
    """

    def __init__(self, output: Path, fingerprint: Mapping[str, Any]) -> None:
        self.output, self.path = output, journal_of(output)
        self.done: dict[str, Entry] = {}
        """The complete sources, by their names."""
        self.lines_cut = 0
        """Removed lines of incomplete sources, including a broken one."""
        self._fingerprint = json.loads(json.dumps(fingerprint))
        self._stream: IO[str] | None = None

    @classmethod
    def begin(cls, output: Path, fingerprint: Mapping[str, Any]) -> Self:
        """Starts an output; replaces the journal of an earlier one.

        Raises:
            ConfigError: the journal cannot be written.
        """
        journal = cls(output, fingerprint)
        with journal._closed_on_error():
            journal._write([])
        return journal

    @classmethod
    def resume(cls, output: Path, fingerprint: Mapping[str, Any]) -> Self:
        """Resumes an output, truncated to its complete sources; starts it if it does not exist.

        Raises:
            ConfigError: the output has no journal, or was made with other settings.
        """
        journal = cls(output, fingerprint)
        with journal._closed_on_error():
            entries = journal._read()
            size = output.stat().st_size if output.exists() else 0
            while entries and entries[-1].end > size:  # the machine crashed, not the run
                entries.pop()
            journal.lines_cut = _cut(output, entries[-1].end if entries else 0)
            journal.done = {entry.source: entry for entry in entries}
            journal._write(entries)
        return journal

    def add(self, source: str, *, failed: bool, partly: bool = False) -> None:
        """Records that all rows of a source are in the output and flushed."""
        try:
            entry = Entry(source, self.output.stat().st_size, failed, partly)
        except OSError as error:  # it was removed
            raise self._unwritable(error) from None
        self._append(entry)
        self.done[source] = entry

    def close(self, *, keep: bool) -> None:
        """Keeps the journal, or deletes it if there is nothing to resume."""
        if self._stream is not None:
            with suppress(OSError):  # of a line whose failed write `add` has reported
                self._stream.close()
        if not keep:
            self.path.unlink(missing_ok=True)

    def _read(self) -> list[Entry]:
        if not self.path.exists():
            if not self.output.exists():
                return []
            raise ConfigError(
                f"The output {str(self.output)!r} has no journal {self.path.name}: it is already "
                "complete, or was not written by peclip predict. Choose another output, or use "
                "--overwrite."
            )
        # An incomplete line was being written when the run was killed.
        try:
            lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
            before, *entries = [parse_json(line) for line in lines] or [self._fingerprint]
            before, found = dict(before), [Entry(**entry) for entry in entries]
            _check_entries(found)
        except (ValueError, TypeError):  # ConfigError is a ValueError
            raise ConfigError(
                f"The journal {str(self.path)!r} is corrupt. Choose another output, or use "
                "--overwrite."
            ) from None
        self._check(before)
        return found

    def _check(self, before: Mapping[str, Any]) -> None:
        changed = differences(before, self._fingerprint)
        if changed:  # one is enough: another model has other labels, weights and preprocessing too
            raise ConfigError(
                f"The output {str(self.output)!r} was written with different settings "
                f"({changed[0]}), so the rows would be inconsistent. Choose another output, or "
                "use --overwrite."
            )

    def _write(self, entries: list[Entry]) -> None:
        """Rewrites the journal atomically, and leaves it open."""
        with replacing(self.path) as partial, partial.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(self._fingerprint) + "\n")
            stream.writelines(_line(entry) + "\n" for entry in entries)
        self._stream = self.path.open("a", encoding="utf-8")

    def _append(self, entry: Entry) -> None:
        assert self._stream is not None
        try:
            self._stream.write(_line(entry) + "\n")
            self._stream.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close(keep=True)
            raise self._unwritable(error) from None
        except BaseException:
            self.close(keep=True)
            raise

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"The output {str(self.output)!r} or its journal cannot be written: "
            f"{error.strerror or error}. Choose a file in a writable folder."
        )


def journal_of(output: Path) -> Path:
    """Returns the path of an output's journal."""
    return Path(f"{output}.journal")


def _check_entries(entries: list[Entry]) -> None:
    """Raises a TypeError or a ValueError where a line has other types or runs backwards."""
    end = 0
    for entry in entries:
        flags = (entry.failed, entry.partly)
        if not isinstance(entry.source, str) or not all(isinstance(flag, bool) for flag in flags):
            raise TypeError("sources must be text, and flags must be true or false")
        if type(entry.end) is not int or entry.end < end:
            raise ValueError("positions must be integers in ascending order")
        end = entry.end


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry))


def _cut(output: Path, end: int) -> int:
    """Truncates a file, and returns the number of removed lines, including a broken one."""
    if not output.exists() or output.stat().st_size == end:
        return 0
    with output.open("rb") as stream:
        stream.seek(end)
        lines = sum(1 for _ in stream)
    os.truncate(output, end)
    return lines
