"""The formats by name, as for `peclip predict --format`; a file's extension is the name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

from peclip.literals import RowFormat
from peclip.results.formats.csv import CsvWriter
from peclip.results.formats.eaf import EafWriter
from peclip.results.formats.excel import ExcelWriter
from peclip.results.formats.json import JsonWriter
from peclip.results.formats.jsonl import JsonLinesWriter
from peclip.results.formats.labelstudio import LabelStudioWriter
from peclip.results.formats.parquet import ParquetWriter
from peclip.results.formats.srt import SrtWriter
from peclip.results.formats.textgrid import TextGridWriter
from peclip.results.formats.tsv import TsvWriter
from peclip.results.formats.vtt import VttWriter
from peclip.results.interface import RowWriter


@dataclass(frozen=True, slots=True)
class Format:
    """A file format of rows."""

    writer: Callable[[IO[Any], Sequence[str]], RowWriter]
    """Takes a stream, of bytes if `binary`, and the labels."""
    by_row: bool = False
    """Rows are written immediately; otherwise with their source, whose rows are then kept in memory."""
    resumable: bool = False
    """Rows can be appended, so that an interrupted run can be resumed."""
    binary: bool = False
    """Bytes, which are not written to standard output."""
    package: str | None = None
    """An optional package that the format requires."""
    extra: str = "data"
    """The extra that installs this package."""
    per_source: bool = False
    """Each file contains one source; several sources are written to a folder."""
    ending: str | None = None
    """The extension of files in a folder; by default, the format's name."""
    for_excel: Callable[[IO[Any], Sequence[str]], RowWriter] | None = None
    """The writer for Excel files, if the format has one."""


FORMATS: dict[str, Format] = {
    "csv": Format(CsvWriter, by_row=True, for_excel=ExcelWriter),
    "jsonl": Format(JsonLinesWriter, by_row=True, resumable=True),
    "json": Format(JsonWriter),
    "parquet": Format(ParquetWriter, binary=True, package="pyarrow"),
    "srt": Format(SrtWriter, per_source=True),
    "vtt": Format(VttWriter, per_source=True),
    "tsv": Format(TsvWriter),
    "textgrid": Format(
        TextGridWriter, per_source=True, package="pympi", extra="annotation", ending="TextGrid"
    ),
    "eaf": Format(EafWriter, per_source=True, package="pympi", extra="annotation"),
    "labelstudio": Format(LabelStudioWriter),
}
"""`RowFormat` has the same names; a test compares them."""

STREAM_FORMAT: RowFormat = "jsonl"
"""The format of standard output, unless another one is given."""
