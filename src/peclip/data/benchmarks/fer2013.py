"""FER2013 (Goodfellow et al., ICML workshop 2013): 35,887 grey stills of 48x48 pixels, 7 classes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.media import find_media, is_still, sub_folders
from peclip.data.samples import Sample, Split
from peclip.data.votes import VoteKey
from peclip.errors import DatasetError
from peclip.labels import LabelSet, canonical

_LABELS = LabelSet.of(("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"))
"""The order of the original csv; the folders need none."""

_SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
"""The challenge's splits are encoded in the file names; the folder `test` holds two of them."""


def load_fer2013(
    root: Path, fold: int | None, split: str, annotations: Path | None = None
) -> Split:
    """Reads a split of FER2013: Training, PublicTest (val) or PrivateTest (test).

    Raises:
        DatasetError: the root is missing, or a folder or file name is invalid.
    """
    FER2013.check_no_lists(annotations)
    FER2013.check_request(root, fold, split)
    base = root / "fer2013" if (root / "fer2013").is_dir() else root
    samples = []
    for part in ("train", "test"):
        if not (base / part).is_dir():
            raise DatasetError(f"Folder {base / part} not found. {FER2013.expected(root)}")
        for folder in sub_folders(base / part):
            if canonical(folder.name) not in _LABELS.names:
                raise DatasetError(
                    f"Unexpected folder {folder}; expected {', '.join(_LABELS)}. Rename or remove it."
                )
            samples += _read_folder(folder, split)
    return Split("fer2013", fold, split, tuple(samples), _LABELS)


def _read_folder(folder: Path, split: str) -> list[Sample]:
    samples = []
    for path in find_media(folder):
        kind = _SPLITS.get(path.name.partition("_")[0])
        if kind is None or not is_still(path):
            raise DatasetError(
                f"{path} is not an image with a name that starts with its split "
                f"({', '.join(_SPLITS)}). Download FER2013 with its original file names, or use "
                "the data set 'folder'."
            )
        if split in (kind, "all"):
            # Two names are in two folders each, for different pictures: Training_8475486, _52789098.
            name = f"{folder.name}/{path.stem}"
            samples.append(Sample(path, canonical(folder.name), name, num_frames=1))
    return samples


def _id_of(name: str) -> str:
    """Returns the id of a still by its path, such as `train/angry/Training_10118481.jpg`."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parent.name:
        raise ValueError(name)
    return f"{path.parent.name}/{path.stem}"


FER2013 = Benchmark(
    name="fer2013",
    title="FER2013, stills",
    labels=_LABELS,
    folds=None,
    splits=("train", "val", "test", "all"),
    test_split="test",
    tree=(
        "train/angry/Training_10118481.jpg",
        "test/angry/PublicTest_*.jpg and PrivateTest_*.jpg (unpack fer2013.tar.gz first)",
    ),
    source="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
    licence="research only, free download",
    load=load_fer2013,
    vote_key=VoteKey("file", "a path such as train/angry/Training_10118481.jpg", _id_of),
)
