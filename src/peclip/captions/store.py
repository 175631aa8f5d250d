"""The growing file of captions: JSON Lines, one line per video.

A line is written and flushed as soon as its caption is complete, so that an interrupted run resumes
with the next video.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from peclip.data.caption_file import read_caption_rows
from peclip.errors import ConfigError
from peclip.files import lock, unlock, write_problem
from peclip.text.comparison import differences
from peclip.text.parsing import parse_json

logger = logging.getLogger(__name__)

_BEGINNING = b'{"id"'
"""Fields of every line written here."""


@dataclass(frozen=True, slots=True)
class Caption:
    """One line of the store."""

    id: str
    """`Sample.id`."""
    caption: str
    """The model's text."""
    refined: str
    """The caption without clauses that name or infer an emotion; empty if nothing is left."""
    model: str
    prompt: str
    """Version of the prompt."""
    num_frames: int
    """Number of frames shown to the model."""


class CaptionStore:
    """Captions by video id, in an append-only file; close it, or use it in `with`.

    Until then the file is locked against other runs. A truncated last line is removed, with a warning.

    Args:
        path: a `.jsonl` file in an existing folder; it is created with the first caption.

    Raises:
        ConfigError: the path is invalid, not writable, or in use by another run.
        DatasetError: the file does not hold captions, has a broken line, or contains a video twice.
    """

    def __init__(self, path: Path) -> None:
        folder = path.absolute().parent
        if path.suffix.lower() != ".jsonl" or path.is_dir() or not folder.is_dir():
            raise ConfigError(
                f"Captions cannot be written to {str(path)!r}; use a .jsonl file in an existing "
                "folder."
            )
        problem = write_problem(folder)
        if problem is not None or (path.exists() and not os.access(path, os.W_OK)):
            raise ConfigError(
                f"{path} is not writable ({problem or 'Permission denied'}); choose a file in a "
                "writable folder."
            )
        self.path = path
        # Locked before reading: a line being written by another run looks truncated.
        self._lock = lock(path)
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
        """Releases the file, so that another run may write to it."""
        unlock(self._lock)

    def check_origin(self, model: str, prompt: str, num_frames: int) -> None:
        """Checks that the stored captions were made with the same settings as the new ones.

        Raises:
            ConfigError: they were not, or their settings are unknown.
        """
        wanted = {"model": model, "prompt": prompt, "num_frames": num_frames}
        for row in self._made.values():
            changed = differences({name: row.get(name) for name in wanted}, wanted)
            if changed:
                raise ConfigError(
                    f"{str(self.path)!r} contains captions generated with different settings "
                    f"({row['id']}: {', '.join(map(str, changed))}). Choose another file, or use "
                    "the original settings."
                )

    def add(self, caption: Caption) -> None:
        """Writes one caption to the disk.

        Raises:
            ConfigError: the file cannot be written.
        """
        if self._made and not self.path.exists():
            raise ConfigError(
                f"{self.path} was removed while it was being written, so {len(self):,} captions "
                "are lost. Run the command again."
            )
        line = json.dumps(asdict(caption), ensure_ascii=False) + "\n"
        try:
            with self.path.open(
                "a", encoding="utf-8", errors="backslashreplace", newline="\n"
            ) as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be written: {error.strerror}. Free up disk space or choose "
                f"another file; {len(self):,} captions have been saved."
            ) from error
        self._made[caption.id] = asdict(caption)


def _read(path: Path) -> dict[str, Mapping[str, object]]:
    if not path.exists():
        return {}
    try:
        _cut_off_half_a_line(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}. Choose a file in a writable folder."
        ) from None
    return read_caption_rows(path)


def _cut_off_half_a_line(path: Path) -> None:
    """Removes an incomplete last line, as left by a power cut or a full disk.

    Other files are left unchanged: reading them reports the broken line.
    """
    content = path.read_bytes()
    start = content.rfind(b"\n") + 1
    before, last = content[:start].split(b"\n"), content[start:]
    if not last or not all(_is_caption(_value(line)) for line in before if line.strip()):
        return
    row = _value(last)
    if _is_caption(row):  # edited manually, without a final newline
        with path.open("ab") as file:
            file.write(b"\n")
    elif row is None and _BEGINNING.startswith(last[: len(_BEGINNING)]):
        with path.open("rb+") as file:
            file.truncate(start)
        logger.warning("%s: removed an incomplete last line.", path)


def _value(line: bytes) -> object:
    try:
        return parse_json(line)
    except ConfigError:
        return None


def _is_caption(row: object) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("id", row.get("source")), str)
        and isinstance(row.get("caption"), str)
    )
