"""Description of a data set: its classes, folds, folder tree and reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peclip.data.config import DataConfig
from peclip.data.samples import Split
from peclip.data.votes import BY_ID, VoteKey, Votes, expected_votes, read_vote_file
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet

Loader = Callable[[Path, int | None, str, Path | None], Split]
"""(root, fold, split, annotations) → split. Listed but missing videos are in `Split.missing`."""

SubjectLoader = Callable[[Path, str, Sequence[str]], Split]
"""(root, split, test subjects) → split."""

CaptionReader = Callable[[Path, Path | None], dict[str, str]]
"""(root, annotations) → the authors' captions of the videos, by id."""

VoteReader = Callable[[Path, Path | None], Votes]
"""(root, annotations) → the votes included with the labels."""

SplitFinder = Callable[[Path, Path | None], tuple[str, ...]]
"""(root, annotations) → the existing splits, for data sets where the user defines them."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One data set."""

    name: str
    """As for `--dataset`."""
    title: str
    labels: LabelSet | None
    """The labels in the authors' order; `None` for custom labels."""
    folds: int | None
    """Number of folds, or `None` for one fixed split."""
    splits: tuple[str, ...]
    test_split: str
    """The split for which papers report scores."""
    tree: tuple[str, ...]
    """Paths below the root, shown in errors and `docs/datasets.md`."""
    source: str
    """Where to get it."""
    licence: str
    """Conditions of use."""
    load: Loader
    load_subjects: SubjectLoader | None = None
    """Set if the user may choose the test subjects."""
    find_splits: SplitFinder | None = None
    own_captions: CaptionReader | None = None
    """Set if the data set includes captions of its videos."""
    own_votes: VoteReader | None = None
    """Set if the annotations may contain votes."""
    vote_key: VoteKey = BY_ID
    """Column of a vote file that identifies the videos."""
    hint: str = "To create a validation split from train, use peclip.data.carve_validation."
    """Part of the error for a split that does not exist."""

    def fold_numbers(self) -> tuple[int | None, ...]:
        """Returns 1 to the number of folds, or only `None` without folds."""
        return (None,) if self.folds is None else tuple(range(1, self.folds + 1))

    def splits_found(self, root: Path, annotations: Path | None) -> tuple[str, ...]:
        """Returns the splits of a copy of the data set, which together contain all of it."""
        if self.find_splits is not None:
            return self.find_splits(root, annotations)
        return tuple(split for split in self.splits if split != "all")

    def read_votes(self, config: DataConfig, labels: LabelSet) -> Votes:
        """Returns the votes of the given file, or those included with the labels.

        Raises:
            ConfigError: there are neither.
            DatasetError: they cannot be read.
        """
        if config.votes is not None:
            return read_vote_file(config.votes, self.vote_key, labels)
        votes = {} if self.own_votes is None else self.own_votes(config.root, config.annotations)
        if not votes:
            raise ConfigError(
                f"data.targets is {config.targets}, but {self.name} has no votes. "
                f"{expected_votes(self.vote_key, labels)}"
            )
        return votes

    def check_request(self, root: Path, fold: int | None, split: str) -> None:
        """Checks that the requested split exists, before anything is read.

        Raises:
            DatasetError: the root is not a folder; the data set has no such split or fold.
        """
        self.check_root(root)
        if split not in self.splits:
            raise DatasetError(
                f"{self.name} has no split {split!r}; its splits are {', '.join(self.splits)}. "
                f"{self.hint}"
            )
        if self.folds is None and fold is not None:
            raise DatasetError(
                f"{self.name} has no folds, but fold {fold} was requested; omit the fold."
            )
        if self.folds is not None and (fold is None or not 1 <= fold <= self.folds):
            given = "no fold was given" if fold is None else f"{fold} was given"
            raise DatasetError(
                f"{self.name} has the folds 1 to {self.folds}, but {given}; choose one of them."
            )

    def check_root(self, root: Path) -> None:
        """Raises a DatasetError if the root is not a folder."""
        if not root.is_dir():
            raise DatasetError(f"{root} is not a folder. {self.expected(root)}")

    def check_no_lists(self, annotations: Path | None) -> None:
        """Raises a DatasetError if lists are given for a data set without lists."""
        if annotations is not None:
            raise DatasetError(
                f"{self.name} has no annotation lists, because its labels are in the file names; "
                f"remove {str(annotations)!r}."
            )

    def expected(self, root: Path) -> str:
        """Returns one sentence with the expected folder tree."""
        lines = "".join(f"\n  {root}/{path}" for path in self.tree)
        return f"Expected for {self.name}:{lines}\nDownload it from {self.source}."
