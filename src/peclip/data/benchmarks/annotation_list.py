"""Annotation lists of the field: `<path> <number of frames> <label>` or `<path> <label>` per line.

The label column is a number in the data set's own order, or a name. It becomes a name here, and no
number leaves this file: AFEW's lists count alphabetically and DFEW's do not, and the released PE-CLIP
mixes the two up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peclip.data.benchmarks.benchmark import Benchmark
from peclip.errors import ConfigError, DatasetError
from peclip.labels import canonical
from peclip.text.bounds import read_text, whole_number
from peclip.video.sources import VIDEO_SUFFIXES

_FOLDERS = ("", "annotation", "annotations", "Annotation", "Annotations")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list."""

    parts: tuple[str, ...]
    """The path as written, usually on another machine, without a video suffix."""
    label: str
    """Canonical name."""
    num_frames: int | None
    """Number of frames according to the list."""
    line: int
    """From 1."""

    def id(self, parts: int) -> str:
        """Returns the last parts of the path, which name the video within the data set."""
        return "/".join(self.parts[-parts:])


def find_list(
    benchmark: Benchmark, root: Path, annotations: Path | None, names: Sequence[str]
) -> Path:
    """Finds an annotation list.

    Args:
        benchmark: the data set.
        root: the folder of the data set.
        annotations: the folder of the lists, or the list itself; by default the root. In a folder,
            `annotation` and `annotations` are searched as well.
        names: file names, or paths below the folder, in order of preference.

    Raises:
        DatasetError: no list is found, or the given list belongs to another fold or split.
    """
    if annotations is not None and annotations.is_file():
        if any(_ends_with(annotations, name) for name in names):
            return annotations
        raise DatasetError(
            f"{annotations} is not the required annotation list ({' or '.join(names)}). Pass the "
            "folder that contains all annotation lists instead."
        )
    folders = [(annotations or root) / name for name in _FOLDERS]
    for name in names:
        for folder in folders:
            found = _find_file(folder / name)
            if found is not None:
                return found
    looked = " or ".join(str(folders[0] / name) for name in names)
    raise DatasetError(
        f"Annotation list not found: {looked}. Set annotations to the folder that contains the "
        f"lists. {benchmark.expected(root)}"
    )


def _ends_with(path: Path, name: str) -> bool:
    """Whether a path ends with all parts of a name: official lists of train and test share a file name."""
    wanted = Path(name.casefold()).parts
    return Path(str(path.absolute()).casefold()).parts[-len(wanted) :] == wanted


def _find_file(path: Path) -> Path | None:
    """Finds a file in its folder, ignoring case: FERV39K and FERV39k are both used."""
    if path.is_file():
        return path
    if not path.parent.is_dir():
        return None
    same = (other for other in path.parent.iterdir() if other.name.lower() == path.name.lower())
    return min((other for other in same if other.is_file()), default=None)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Returns the non-blank lines of a list, with their numbers from 1.

    Raises:
        DatasetError: the file cannot be read, is not text, or is empty.
    """
    try:
        text = read_text(path, limit=None)
    except ConfigError as error:
        raise DatasetError(f"The list {path} {error}.") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DatasetError(f"The list {path} is empty. Download it again.")
    return lines


def read_list(path: Path, order: Sequence[str]) -> list[Entry]:
    """Reads a list whose label column counts from 0 in the order that is given, or is a name.

    Raises:
        DatasetError: the list cannot be read or a line is invalid; the message names file and line.
    """
    return [_entry(path, number, line, order) for number, line in read_lines(path)]


def _entry(path: Path, number: int, line: str, order: Sequence[str]) -> Entry:
    # From the right, because paths from other machines may contain spaces.
    *_, last = columns = line.rsplit(maxsplit=2)
    counted = len(columns) == 3 and columns[1].isdecimal()
    claim = whole_number(columns[1]) if counted else None
    place = columns[0] if claim is not None else line.rsplit(maxsplit=1)[0]
    if len(columns) < 2 or (claim is None and (counted or last.isdecimal())):
        raise DatasetError(
            f"{path}, line {number}: {line.strip()!r} does not have the form '<folder> <number of "
            "frames> <label>'. Correct the line."
        )
    return Entry(path_parts(place), label_name(path, number, last, order), claim, number)


def label_name(path: Path, line: int, column: str, order: Sequence[str]) -> str:
    """Returns the label name for a label column that counts from 0.

    Raises:
        DatasetError: the label is unknown; the message names file and line.
    """
    if column.isdecimal():
        number = whole_number(column)
        if number is not None and number < len(order):
            return order[number]
    elif canonical(column) in order:
        return canonical(column)
    numbered = ", ".join(f"{index} {name}" for index, name in enumerate(order))
    raise DatasetError(
        f"{path}, line {line}: invalid label {column!r}; choose one of {numbered}. Correct the "
        "list, or use the list that belongs to this data set."
    )


def path_parts(place: str) -> tuple[str, ...]:
    r"""Splits a path of any operating system: `D:\data\DFEW\00001` gives the parts below its drive.

    A drive and everything before a `..` are dropped, so that no list escapes the root, and so is
    a video suffix, because the same lists serve videos and folders of frames.
    """
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".")]
    parts = [part for part in parts if not part.endswith(":")]
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    if parts and Path(parts[-1]).suffix.lower() in VIDEO_SUFFIXES:
        parts[-1] = Path(parts[-1]).stem
    return tuple(parts) or (place,)


def check_folder_labels(path: Path, entries: Iterable[Entry]) -> None:
    """Checks labels against the emotion that the folder above a video is named after.

    Raises:
        DatasetError: they contradict each other; the message names file and line.
    """
    for entry in entries:
        folder = entry.parts[-2] if len(entry.parts) > 1 else ""
        if canonical(folder) != entry.label:
            raise DatasetError(
                f"{path}, line {entry.line}: the folder {folder!r} of {entry.id(2)} is named "
                f"after {canonical(folder)!r}, but the label is {entry.label!r}. Either the list "
                "uses a different label order, or the line is wrong. Correct the list."
            )
