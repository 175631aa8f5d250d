"""Custom videos: a folder per label, optionally inside a folder per split."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.media import find_media, list_files, sub_folders
from peclip.data.samples import Sample, Skipped, Split, label_set_of
from peclip.errors import DatasetError
from peclip.labels import canonical
from peclip.video.omissions import UNLABELLED, Omissions

_SPLITS = ("train", "val", "test")
_RESERVED = frozenset({*_SPLITS, "valid", "validation"})
"""Not labels: such a folder in the place of a label is a misnamed or misplaced split."""


def load_folder(root: Path, fold: int | None, split: str, annotations: Path | None = None) -> Split:
    """Reads a split of a folder. Without folders train, val or test there is only `train`, equal to `all`.

    The labels are those of all splits together, so that the splits of a folder have one label set.

    Raises:
        DatasetError: the root, the split, the labels or the videos are missing; a folder is neither a
            label nor a split.
    """
    FOLDER.check_no_lists(annotations)
    FOLDER.check_request(root, fold, split)
    bases = _split_folders(root) or {"train": root}
    found = tuple(bases)
    if split != "all" and split not in found:
        raise DatasetError(
            f"{root} has no split {split!r}; its splits are {', '.join(found)}. To use all of its "
            "videos, set the split to all (peclip evaluate --split all). To divide them, move the "
            "label folders into folders named train, val and test."
        )
    _check_strangers(root, bases)
    folders = {name: sub_folders(base) for name, base in bases.items()}
    _check_labels(folder for group in folders.values() for folder in group)
    labels = label_set_of((f.name for group in folders.values() for f in group), str(root))
    wanted = found if split == "all" else (split,)
    omissions = Omissions()
    samples = [
        _sample(path, label, root)
        for name in wanted
        for label in folders[name]
        for path in find_media(label, omissions)
    ]
    if not samples:
        raise DatasetError(f"No videos found for {split!r} in {root}. {FOLDER.expected(root)}")
    outside = _files_outside(root, bases)
    notes = (*outside.lines(root), *omissions.lines(root))  # apart: all splits share the first ones
    skipped = tuple(
        Skipped(path.relative_to(root).as_posix(), reason.text)
        for reason, path in (*outside, *omissions)
    )
    return Split("folder", None, split, tuple(samples), labels, notes=notes, skipped=skipped)


def find_splits(root: Path, annotations: Path | None = None) -> tuple[str, ...]:
    """Returns the splits of a folder; a folder without any is all train."""
    return tuple(_split_folders(root)) or ("train",)


def _split_folders(root: Path) -> dict[str, Path]:
    """Returns the folders of splits; `Train` counts too, on any file system."""
    folders = sub_folders(root)
    found: dict[str, Path] = {}
    for split in _SPLITS:
        same = [folder for folder in folders if folder.name.casefold() == split]
        if len(same) > 1:
            raise DatasetError(
                f"{root} contains {' and '.join(repr(folder.name) for folder in same)}, but there "
                f"may be only one folder per split. Merge these folders, or remove one of them."
            )
        if same:
            found[split] = same[0]
    return found


def _check_strangers(root: Path, bases: dict[str, Path]) -> None:
    """Rejects a folder such as `valid` or `happy` next to `train`, which would be silently ignored."""
    bare = root in bases.values()
    strangers = [] if bare else [f.name for f in sub_folders(root) if f not in bases.values()]
    if strangers:
        raise DatasetError(
            f"{root} contains {', '.join(map(repr, strangers))} next to {', '.join(bases)}. A "
            "folder with splits may contain only train, val and test; rename or remove everything "
            "else."
        )


def _files_outside(root: Path, bases: dict[str, Path]) -> Omissions:
    """Returns the files in the root and in the folders of the splits, which have no label."""
    omissions = Omissions()
    for folder in dict.fromkeys([root, *bases.values()]):
        omissions.add(UNLABELLED, list_files(folder))
    return omissions


def _check_labels(folders: Iterable[Path]) -> None:
    for folder in folders:
        if folder.name.casefold() in _RESERVED:
            raise DatasetError(
                f"The folder {folder} is named after a split, but a label folder is expected "
                "here. Split folders (train, val and test) must be directly in the root and "
                "contain the label folders. Move or rename it."
            )


def _sample(path: Path, label: Path, root: Path) -> Sample:
    # With the split: 001.mp4 of train and 001.mp4 of test are usually two videos.
    return Sample(path, canonical(label.name), path.relative_to(root).as_posix())


FOLDER = Benchmark(
    name="folder",
    title="Your own folder",
    labels=None,
    folds=None,
    splits=("train", "val", "test", "all"),
    test_split="test",
    tree=(
        "happy/one.mp4, or train/happy/one.mp4 with val and test next to train",
        "sad/two/*.jpg (a folder of frames), or sad/*.jpg (each a still)",
    ),
    source="your own recordings",
    licence="yours",
    load=load_folder,
    find_splits=find_splits,
)
