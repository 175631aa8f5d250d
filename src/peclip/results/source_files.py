"""The files of an output that has one file per source, in a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from peclip.errors import ConfigError
from peclip.files import replacing
from peclip.results.formats.registry import FORMATS
from peclip.results.interface import RowWriter, SourceResult
from peclip.results.writers import open_writer

_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')


def source_files(folder: Path, sources: Iterable[str], ending: str) -> dict[str, Path]:
    """Returns each source's file: the source's name with its extension replaced by the ending.

    Sources whose files would have the same name keep their extension; if that is not enough, they are numbered.

    Args:
        folder: of the files.
        sources: the names of all sources of the run.
        ending: without a dot.
    """
    names = list(dict.fromkeys(sources))
    stems = Counter(_safe(Path(name).stem).casefold() for name in names)
    files, taken = dict[str, Path](), set[str]()
    for name in names:
        stem = _safe(Path(name).stem)
        stem = stem if stems[stem.casefold()] == 1 else _safe(Path(name).name)
        unique, number = stem, 2
        while unique.casefold() in taken:
            unique, number = f"{stem}-{number}", number + 1
        taken.add(unique.casefold())
        files[name] = folder / f"{unique}.{ending}"
    return files


class FolderWriter(RowWriter):
    """Writes each source's file when the source is complete; unreadable sources have none.

    Args:
        form: one of `FORMATS`, which writes at the end of a source.
        files: the file of each source, in a folder that exists.
        labels: of the model.
    """

    def __init__(self, form: str, files: Mapping[str, Path], labels: Sequence[str]) -> None:
        assert not FORMATS[form].by_row
        self._form, self._files, self._labels = form, files, labels
        self._last: Path | None = None

    def end_source(self, prediction: SourceResult) -> None:
        """Writes the file of one source.

        Raises:
            ConfigError: the folder was removed, or the file cannot be written.
        """
        if all(row.status == "decode_error" for row in prediction.rows):
            return
        path = self._files[prediction.source]
        self._check_present(path.parent)
        with (
            replacing(path) as partial,
            open_writer(self._form, partial, self._labels) as writer,
        ):
            writer.end_source(prediction)
        self._last = path

    def _check_present(self, folder: Path) -> None:
        """Checks the folder and the last file in it, as otherwise the files before are lost.

        Raises:
            ConfigError: one of them was removed.
        """
        if not folder.is_dir() or (self._last is not None and not self._last.is_file()):
            raise ConfigError(
                f"The output folder {str(folder)!r} was removed while it was being written, so its "
                "files are lost. Run the command again."
            )


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name) or "source"
