"""The splits of a run: for training, for selecting the epoch, and for the report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from peclip.data import (
    DataConfig,
    Split,
    carve_validation,
    check_captions,
    find_benchmark,
    load_split,
)
from peclip.errors import ConfigError, DatasetError
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
