"""Data sets: `load_split` turns a benchmark, a folder or a table into samples with named labels."""

from __future__ import annotations

from pathlib import Path

from peclip.data.afew import AFEW
from peclip.data.benchmark import Benchmark
from peclip.data.captions import read_captions
from peclip.data.config import DataConfig
from peclip.data.cremad import CREMAD
from peclip.data.dfew import DFEW
from peclip.data.duplicates import without_copies
from peclip.data.fer2013 import FER2013
from peclip.data.ferv39k import FERV39K
from peclip.data.folder import FOLDER
from peclip.data.mafw import MAFW
from peclip.data.ravdess import RAVDESS
from peclip.data.samples import Sample, Split
from peclip.data.split import carve_validation
from peclip.data.table import TABLE
from peclip.data.votes import with_votes
from peclip.errors import ConfigError, DatasetError

__all__ = [
    "DATASETS",
    "Benchmark",
    "DataConfig",
    "Sample",
    "Split",
    "carve_validation",
    "check_captions",
    "check_missing",
    "find_benchmark",
    "load_split",
    "read_split",
    "read_splits",
]

DATASETS = {
    benchmark.name: benchmark
    for benchmark in (DFEW, FERV39K, MAFW, AFEW, RAVDESS, CREMAD, FER2013, FOLDER, TABLE)
}


def find_benchmark(name: str) -> Benchmark:
    """Returns what is known of a data set.

    Raises:
        ConfigError: the name is not known.
    """
    if name not in DATASETS:
        raise ConfigError(
            f"The data set {name!r} is not known; choose one of {', '.join(DATASETS)}."
        )
    return DATASETS[name]


def read_split(config: DataConfig) -> Split:
    """Reads a split with all that is listed, whether it is there or not, for checking it.

    What `targets` and `copies` leave out is not in it.

    Raises:
        DatasetError: the data set or its votes are not there, or a list or name of it is wrong.
        ConfigError: the data set is not known, or has no test subjects to choose or no votes.
    """
    split = _listed(config)

    def read(name: str) -> Split | None:
        found = find_benchmark(config.dataset).splits_found(config.root, config.annotations)
        return _listed(config.model_copy(update={"split": name})) if name in found else None

    split = without_copies(split, config, read)
    if config.targets != "labels":
        votes = find_benchmark(config.dataset).read_votes(config, split.labels)
        split = with_votes(split, votes, config)
    return split if config.captions is None else split.with_captions(read_captions(config.captions))


def _listed(config: DataConfig) -> Split:
    """Reads a split as its data set lists it."""
    benchmark = find_benchmark(config.dataset)
    if not config.test_subjects:
        split = benchmark.load(config.root, config.fold, config.split, config.annotations)
    elif benchmark.load_subjects is None or config.fold is not None:
        reason = "a fold was given too" if benchmark.load_subjects else "it has none to choose"
        raise ConfigError(
            f"test_subjects cannot be used with {config.dataset}: {reason}. Give a fold or subjects."
        )
    else:
        split = benchmark.load_subjects(config.root, config.split, config.test_subjects)
    if len(split.missing) == len(split):
        first = f", the first one at {split.samples[0].source}" if len(split) else ""
        raise DatasetError(
            f"None of the {len(split):,} videos of {split.title} is below {config.root}{first}. "
            f"{benchmark.expected(config.root)}"
        )
    return split


def check_captions(split: Split, config: DataConfig) -> None:
    """Checks that the captions that were given are about the videos of a split.

    Raises:
        DatasetError: none of them is.
    """
    if config.captions is not None and not split.num_captions:
        raise DatasetError(
            f"None of the captions of {str(config.captions)!r} is about a video of {split.title}, such as "
            f"{split.samples[0].id!r}. Give the captions of this data set, or make them: peclip captions"
        )


def check_missing(split: Split, config: DataConfig) -> None:
    """Checks that the videos of a split are all there, unless `allow_missing` is set.

    Raises:
        DatasetError: some of them are not.
    """
    if split.missing and not config.allow_missing:
        raise DatasetError(
            f"{len(split.missing):,} of the {len(split):,} videos of {split.title} are not there, the "
            f"first one at {split.missing[0].source}. See which: peclip data check; or leave them "
            "out, which makes other numbers than those of papers: allow_missing=True (evaluate: "
            "--allow-missing; train: --set data.allow_missing=true)."
        )


def load_split(config: DataConfig) -> Split:
    """Reads a split whose videos are all there; `allow_missing` leaves out those that are not.

    Raises:
        DatasetError: the data set or some of its videos are not there, or a list or name is wrong.
        ConfigError: the data set is not known, or has no test subjects to choose.
    """
    split = read_split(config)
    check_missing(split, config)
    return split.without_missing()


def read_splits(
    dataset: str, root: Path, annotations: Path | None = None, fold: int | None = None
) -> list[Split]:
    """Reads all splits of a fold, or of all folds: together, everything that a copy should hold.

    Raises:
        DatasetError: the data set or a list is not there, or cannot be read at all.
        ConfigError: the data set is not known.
    """
    benchmark = find_benchmark(dataset)
    benchmark.check_root(root)
    folds = benchmark.fold_numbers() if fold is None else (fold,)
    names = benchmark.splits_found(root, annotations)
    if fold is None and benchmark.folds is not None and "all" in benchmark.splits:
        folds, names = (None,), ("all",)  # folds made by a rule: nothing in them can be wrong
    config = DataConfig(dataset=dataset, root=root, annotations=annotations)
    return [
        read_split(config.model_copy(update={"fold": number, "split": name}))
        for number in folds
        for name in names
    ]
