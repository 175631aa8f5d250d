"""Files of captions: one video per row, with a description of its face.

The columns (csv) or keys (jsonl) are `id` or `source`, which names the video as the data set does
(`Sample.id`), and `caption`. A column `refined`, as written by `peclip captions`, takes precedence; a
caption without it is refined on reading. Other columns are ignored.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from peclip.data.caption_refinement import refine
from peclip.errors import DatasetError

Row = tuple[int, Mapping[str, Any]]
"""Line number from 1, and its content."""


def read_captions(path: Path) -> dict[str, str]:
    """Reads a `.jsonl` or `.csv` file of captions.

    Returns:
        id → refined caption, in the order of the file; empty where refinement left nothing.

    Raises:
        DatasetError: the file cannot be read, is empty or broken, lacks a column, or names a video
            twice; the message gives the line.
    """
    captions: dict[str, str] = {}
    for _, row in read_caption_rows(path):
        caption = row.get("refined")
        captions[row["id"]] = (
            caption.strip() if isinstance(caption, str) else refine(row["caption"])
        )
    if not captions:
        raise DatasetError(f"{path} has no captions. Give a file with one row per video.")
    return captions


def read_caption_rows(path: Path) -> list[Row]:
    """Reads the rows of a file of captions, each with an `id` and a `caption`; the file may be empty.

    Raises:
        DatasetError: the file cannot be read, is broken, a row lacks one of these, or a video has two.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(f"Unsupported caption file {path}; give a .jsonl or .csv file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(
            f"The captions {path} cannot be read: {error.strerror}. Make them with peclip captions, or "
            "give an existing file."
        ) from None
    except UnicodeDecodeError:
        raise DatasetError(f"The captions {path} are not UTF-8; save the file as UTF-8.") from None
    rows = [(line, _checked(path, line, row)) for line, row in reader(path, text)]
    _check_unique(path, rows)
    return rows


def _check_unique(path: Path, rows: Iterable[Row]) -> None:
    seen: set[str] = set()
    for line, row in rows:
        if row["id"] in seen:
            raise DatasetError(
                f"{path}, line {line}: duplicate caption of {row['id']!r}. Keep one row per video."
            )
        seen.add(row["id"])


def _checked(path: Path, line: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
    name = row.get("id", row.get("source"))
    if not isinstance(name, str) or not name.strip():
        raise DatasetError(
            f"{path}, line {line}: a column id or source must name the video; found "
            f"{', '.join(map(str, row)) or 'none'}. Add it."
        )
    if not isinstance(row.get("caption"), str):
        raise DatasetError(f"{path}, line {line}: the caption of {name!r} is missing. Add it.")
    return {**row, "id": name.strip()}


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        for row in reader:
            if None in row or None in row.values():
                raise DatasetError(
                    f"{path}, line {reader.line_num}: the number of cells differs from the header's. "
                    "Quote captions that contain a comma."
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {reader.line_num} is not valid CSV: {error}. Correct the line."
        ) from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not splitlines(): U+2028 and similar may occur inside a JSON string.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DatasetError(
                f"{path}, line {line} is not a JSON object; one per line is expected. Remove the line: "
                "peclip captions restores missing captions."
            )
        yield line, row


_READERS: dict[str, Callable[[Path, str], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
}
