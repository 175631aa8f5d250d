"""The file in which captions are kept while they are made: JSON Lines, a line per video.

A line is written and flushed as soon as its caption is there, so that a run that stops, however it
stops, goes on with the next video.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from filelock import BaseFileLock, FileLock, Timeout

from peclip.data.caption_file import read_caption_rows
from peclip.errors import ConfigError

logger = logging.getLogger(__name__)

_MADE_BY = ("model", "prompt", "num_frames")
_BEGINNING = b'{"id"'
"""Of every line that is written here."""


@dataclass(frozen=True, slots=True)
class Caption:
    """One line of the store."""

    id: str
    """`Sample.id`."""
    caption: str
    """As the model wrote it."""
    refined: str
    """Without what names or concludes an emotion; empty if nothing was left."""
    model: str
    prompt: str
    """Version of the prompt."""
    num_frames: int
    """Frames that the model saw."""


class CaptionStore:
    """Captions by the ids of their videos, in a file that grows; close it, or use it in `with`.

    Until then no other run may write the file. A last line that was cut off in the middle is removed,
    with a warning.

    Args:
        path: a `.jsonl` file, in a folder that exists; it is made with the first caption.

    Raises:
        ConfigError: the path is not such a file, cannot be written, or another run writes it.
        DatasetError: the file is there and something else than captions, one of its lines is broken, or
            a video stands in it twice.
    """

    def __init__(self, path: Path) -> None:
        folder = path.absolute().parent
        if path.suffix.lower() != ".jsonl" or path.is_dir() or not folder.is_dir():
            raise ConfigError(
                f"Captions cannot be kept in {str(path)!r}; give a .jsonl file in a folder that exists."
            )
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise ConfigError(f"{path} cannot be written; give a file in a folder of yours.")
        self.path = path
        # Before it is read: a line that another run is writing looks like half a line.
        self._lock = _locked(path)
        try:
            self._made = _read(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, id: object) -> bool:
        return id in self._made

    def __len__(self) -> int:
        return len(self._made)

    def close(self) -> None:
        """Lets go of the file, so that another run may write it."""
        if self._lock.is_locked:  # once closed, the lock file may be that of another run
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()

    def check_origin(self, model: str, prompt: str, num_frames: int) -> None:
        """Checks that what is kept was made in the same way as what is to come.

        Raises:
            ConfigError: it was not, or is not known to be.
        """
        wanted = dict(zip(_MADE_BY, (model, prompt, num_frames), strict=True))
        for row in self._made.values():
            other = {name: row.get(name) for name in _MADE_BY if row.get(name) != wanted[name]}
            if other:
                was = ", ".join(f"{name} {value!r}" for name, value in other.items())
                raise ConfigError(
                    f"{str(self.path)!r} holds captions that were made otherwise: {row['id']} with {was}. "
                    "Give another file, or the same options."
                )

    def add(self, caption: Caption) -> None:
        """Writes one caption to the disk.

        Raises:
            ConfigError: the file cannot be written.
        """
        line = json.dumps(asdict(caption), ensure_ascii=False) + "\n"
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be written: {error.strerror}. Free some space or give another file; "
                f"{len(self):,} captions are kept."
            ) from error
        self._made[caption.id] = asdict(caption)


def _locked(path: Path) -> BaseFileLock:
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"Another run is writing {str(path)!r}. Wait for it, or give each run a file of its own."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}.lock cannot be written: {error.strerror}.") from None
    return lock


def _read(path: Path) -> dict[str, Mapping[str, object]]:
    if not path.exists():
        return {}
    try:
        _cut_off_half_a_line(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
    return {row["id"]: row for _, row in read_caption_rows(path)}


def _cut_off_half_a_line(path: Path) -> None:
    """Leaves only whole lines: what a power cut or a full disk left of the last one goes.

    Nothing goes from a file that is not ours: there, whoever reads it names the line.
    """
    content = path.read_bytes()
    start = content.rfind(b"\n") + 1
    before, last = content[:start].split(b"\n"), content[start:]
    if not last or not all(_is_caption(_parsed(line)) for line in before if line.strip()):
        return
    row = _parsed(last)
    if _is_caption(row):  # written by hand, without the end of its line
        with path.open("ab") as file:
            file.write(b"\n")
    elif row is None and _BEGINNING.startswith(last[: len(_BEGINNING)]):
        with path.open("rb+") as file:
            file.truncate(start)
        logger.warning("%s ended in the middle of a line, which was removed.", path)


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_caption(row: object) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("id", row.get("source")), str)
        and isinstance(row.get("caption"), str)
    )
