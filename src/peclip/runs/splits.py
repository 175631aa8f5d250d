"""The splits of a run: for training, for selecting the epoch, and for the report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from peclip.data import (
    DataConfig,
    Split,
    carve_validation,
    check_captions,
    check_missing,
    find_benchmark,
    load_split,
    read_split,
)
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet
from peclip.training.config import TrainConfig


@dataclass(frozen=True)
class RunSplits:
    """The splits of a run."""

    train: Split
    val: Split | None
    """Split on which the epoch is selected; only monitored if the last epoch is kept."""
    test: Split | None
    """Split on which scores are reported; without it, they are reported on `val`."""

    @property
    def reported(self) -> Split | None:
        """The videos of the report, if there are any."""
        return self.test or self.val

    @property
    def found(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        splits = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes on their videos, without duplicates."""
        return tuple(dict.fromkeys(note for split in self.found.values() for note in split.notes))


def _check_kinds(train: Split, test: Split) -> None:
    """Rejects frames for one split of a benchmark and videos for the other, such as crops and whole scenes.

    Raises:
        DatasetError: the splits mix the two.
    """
    if (one := train.samples[0].source).is_dir() != (other := test.samples[0].source).is_dir():
        raise DatasetError(
            f"{train.title} and {test.title} mix video files and frame folders, such as {one} and "
            f"{other}. Both splits must contain the same kind: add the missing files, or move one "
            "kind to another folder."
        )


def read_run_splits(data: DataConfig, config: TrainConfig) -> RunSplits:
    """Reads the splits of a run, and holds out validation videos from train if there are none.

    Raises:
        ConfigError: `select_on` is test, but there are no test videos.
        DatasetError: the data set or its videos are missing, or the captions belong to other videos.
    """
    benchmark = find_benchmark(data.dataset)
    train = load_split(data.model_copy(update={"split": "train"}))
    check_captions(train, data)
    found = benchmark.splits_found(data.root.expanduser(), data.annotations)

    def read(name: str) -> Split | None:
        return load_split(data.model_copy(update={"split": name})) if name in found else None

    test = read(benchmark.test_split) if config.test else None
    if test is not None and benchmark.labels is not None:
        _check_kinds(train, test)
    if config.select_on == "test":
        if test is None:
            raise ConfigError(
                f"select_on is 'test', but {data.dataset} in {data.root} has no test videos. Use "
                "select_on=val."
            )
        return RunSplits(train, replace(test, split="test"), test)
    # Papers report the val split of AFEW: it is not used before the end.
    val = read("val") if benchmark.test_split != "val" else None
    if val is None and config.select_on == "val":
        train, val = carve_validation(train, config.val_fraction, config.seed)
    return RunSplits(train, val, test)


def read_fold_splits(
    data: DataConfig, name: str | None, *, all_folds: bool
) -> dict[int | None, Split]:
    """Reads the split that is evaluated, by the number of the fold, with the samples whose video is missing.

    Args:
        data: the data set; its split is ignored.
        name: of the split; by default, the one that papers report scores on.
        all_folds: whether to read it for every fold.

    Raises:
        ConfigError: the split `all` was requested for all folds.
        DatasetError: the data set is missing, or videos are and `allow_missing` is not set.
    """
    benchmark = find_benchmark(data.dataset)
    folds = benchmark.fold_numbers() if all_folds else (data.fold,)
    name = name or benchmark.test_split
    if name == "all" and len(folds) > 1:
        raise ConfigError(
            f"The split 'all' of {data.dataset} contains the same videos in every fold, so each "
            f"video would be counted {len(folds)} times. Use a single --fold, or another --split."
        )
    splits = {
        fold: read_split(data.model_copy(update={"fold": fold, "split": name})) for fold in folds
    }
    for split in splits.values():
        check_captions(split, data)
        check_missing(split, data)
    return splits


def known_samples(split: Split, labels: LabelSet) -> Split:
    """Returns the available videos whose label is one of a model's.

    Raises:
        ConfigError: there is none.
    """
    present = split.without_missing()
    known = present.with_samples(s for s in present.samples if s.label in labels.names)
    if not len(known):
        raise ConfigError(
            f"None of the labels of {split.title} ({', '.join(split.labels)}) is a label of the "
            f"model ({', '.join(labels)}). Pass matching labels with --labels."
        )
    return known
