"""Files of captions: one video per row, with a description of its face.

The columns (csv) or keys (jsonl) are `id` or `source`, which names the video as the data set does
(`Sample.id`), and `caption`. A column `refined`, as written by `peclip captions`, takes precedence; a
caption without it is refined on reading. Other columns are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peclip.data.caption_refinement import refine
from peclip.errors import ConfigError, DatasetError
from peclip.text.records import read_records


def read_captions(path: Path) -> dict[str, str]:
    """Reads a `.jsonl` or `.csv` file of captions.

    Returns:
        id → refined caption, in the order of the file; empty where refinement left nothing.

    Raises:
        DatasetError: the file cannot be read, is empty or broken, lacks a column, or names a video
            twice; the message gives the line.
    """
    captions: dict[str, str] = {}
    for name, row in read_caption_rows(path).items():
        caption = row.get("refined")
        captions[name] = caption.strip() if isinstance(caption, str) else refine(row["caption"])
    if not captions:
        raise DatasetError(f"{path} contains no captions. Use a file with one row per video.")
    return captions


def read_caption_rows(path: Path) -> dict[str, Mapping[str, Any]]:
    """Reads the rows of a file of captions, each with an `id` and a `caption`; the file may be empty.

    Returns:
        id → row, in the order of the file.

    Raises:
        DatasetError: the file cannot be read, is broken, a row lacks one of these, or a video has two.
    """
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise DatasetError(f"Unsupported caption file {path}; use a .jsonl or .csv file.")
    try:
        records = read_records(path, lowercase=True)
    except ConfigError as error:
        raise DatasetError(
            f"The captions {path} cannot be read: {error}. Correct the file, or generate the "
            "captions again with peclip captions."
        ) from None
    found: dict[str, Mapping[str, Any]] = {}
    for place, row in records:
        row = _checked(f"{path}, {place}", row)
        if row["id"] in found:
            raise DatasetError(
                f"{path}, {place}: duplicate caption for {row['id']!r}. Keep one row per video."
            )
        found[row["id"]] = row
    return found


def _checked(where: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    name = row.get("id", row.get("source"))
    if not isinstance(name, str) or not name.strip():
        found = f"the columns {', '.join(map(str, row))}" if row else "no columns"
        raise DatasetError(
            f"{where}: expected a column id or source that identifies the video; found "
            f"{found}. Add such a column."
        )
    if not isinstance(row.get("caption"), str):
        raise DatasetError(f"{where}: the caption for {name!r} is missing. Add it.")
    return {**row, "id": name.strip()}
