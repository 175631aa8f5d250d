"""Opens the output of rows: a file, or standard output, in one of the formats of `formats`."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from peclip.errors import ConfigError, MissingExtraError, UserError
from peclip.results.formats.registry import FORMATS
from peclip.results.interface import RowWriter, SourceResult
from peclip.results.rows import Row

STDOUT = Path("-")


def format_of(path: Path) -> str:
    """Returns the format of a file extension.

    Raises:
        ConfigError: the extension is unsupported.
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise ConfigError(
            f"Cannot infer the output format of {path.name!r} from its extension; use "
            f"{', '.join(FORMATS)}, or set the format with -f."
        )
    return ending


def check_format(form: str, path: Path, *, excel: bool = False) -> None:
    """Checks that a format can be written, before anything is computed.

    Raises:
        ConfigError: the format is unknown, cannot be written to standard output, or does not
            support Excel.
        MissingExtraError: the format needs an optional package.
    """
    if form not in FORMATS:
        raise ConfigError(f"Unknown format {form!r}; choose one of {', '.join(FORMATS)}.")
    found = FORMATS[form]
    if excel and found.for_excel is None:
        suited = ", ".join(name for name, one in FORMATS.items() if one.for_excel)
        raise ConfigError(f"--excel requires the format {suited}; got {form}. Remove --excel.")
    if found.binary and path == STDOUT:
        raise ConfigError(
            f"{form} output cannot be written to standard output; set an output file with -o."
        )
    if found.package is not None:
        try:
            import_module(found.package)
        except ImportError:
            raise MissingExtraError(f"Writing {form}", found.extra) from None


@contextmanager
def open_writer(
    form: str,
    path: Path,
    labels: Sequence[str],
    *,
    append: bool = False,
    excel: bool = False,
) -> Iterator[RowWriter]:
    """Opens a writer for a format, to a file or, for `-`, to standard output.

    Args:
        form: one of `FORMATS`.
        path: the file.
        labels: of the model.
        append: append to existing rows; requires a resumable format.
        excel: write for Excel; requires a format that supports it.

    Raises:
        ConfigError: the format is unknown, or the file cannot be written.
        MissingExtraError: the format needs an optional package.
    """
    check_format(form, path, excel=excel)
    with ExitStack() as stack:
        with _writing(path):
            stream = _open(path, stack, binary=FORMATS[form].binary, append=append)
            made = FORMATS[form].for_excel if excel else FORMATS[form].writer
            assert made is not None, "check_format has checked this"
            writer = _Checked(made(stream, labels), path, stream)
        stack.callback(writer.close)
        yield writer


class _Checked(RowWriter):
    """Names the file in an error when writing fails: the disk is full, or the file was removed."""

    def __init__(self, writer: RowWriter, path: Path, stream: IO[Any]) -> None:
        self._writer, self._path, self._stream = writer, path, stream

    def write_row(self, row: Row) -> None:
        with _writing(self._path):
            self._writer.write_row(row)

    def end_source(self, prediction: SourceResult) -> None:
        with _writing(self._path):
            self._writer.end_source(prediction)
            self._check_present()

    def close(self) -> None:
        with _writing(self._path):
            self._writer.close()
            self._check_present()

    def _check_present(self) -> None:
        """Checks that the path still is the file being written, as otherwise the rows are lost."""
        if self._path == STDOUT:
            return
        about = os.fstat(self._stream.fileno())
        if stat.S_ISREG(about.st_mode) and not (
            self._path.exists() and os.path.samestat(about, self._path.stat())
        ):
            raise ConfigError(
                f"The output {str(self._path)!r} was removed or replaced while it was being "
                "written, so its rows are lost. Run the command again."
            )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, UserError):  # MissingExtraError is both
        raise
    except OSError as error:
        raise ConfigError(
            f"The output {str(path)!r} cannot be written: {error.strerror or error}. Choose a "
            "file in an existing, writable folder."
        ) from None


def _open(path: Path, stack: ExitStack, *, binary: bool, append: bool) -> IO[Any]:
    if path == STDOUT:
        return sys.stdout
    mode = "a" if append else "w"
    stream: IO[Any]
    if binary:
        stream = path.open(f"{mode}b")
    else:
        stream = path.open(mode, encoding="utf-8", errors="backslashreplace", newline="")
    stack.callback(_close, stream, path)
    return stream


def _close(stream: IO[Any], path: Path) -> None:
    with _writing(path):
        stream.close()
