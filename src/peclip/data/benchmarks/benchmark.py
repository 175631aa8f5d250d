"""What peclip knows of a data set: its classes, folds and tree, and how it is read."""

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
"""(root, fold, split, annotations) → split. What is listed but not there is in `Split.missing`."""

SubjectLoader = Callable[[Path, str, Sequence[str]], Split]
"""(root, split, test subjects) → split."""

CaptionReader = Callable[[Path, Path | None], dict[str, str]]
"""(root, annotations) → what its authors wrote about the videos, by their ids."""

VoteReader = Callable[[Path, Path | None], Votes]
"""(root, annotations) → the votes that come with the labels."""

SplitFinder = Callable[[Path, Path | None], tuple[str, ...]]
"""(root, annotations) → the splits that are there, where that is the user's choice."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One data set."""

    name: str
    """As for `--dataset`."""
    title: str
    labels: LabelSet | None
    """In the authors' order; `None` where the labels are the user's own."""
    folds: int | None
    """How many there are, or `None`: one fixed division."""
    splits: tuple[str, ...]
    test_split: str
    """The split that papers report."""
    tree: tuple[str, ...]
    """Paths below the root, as errors and `docs/datasets.md` show them."""
    source: str
    """Where to get it."""
    licence: str
    """What has to be signed or kept."""
    load: Loader
    load_subjects: SubjectLoader | None = None
    """Where the test subjects may be chosen by the user."""
    find_splits: SplitFinder | None = None
    own_captions: CaptionReader | None = None
    """Where the data set comes with descriptions of its videos."""
    own_votes: VoteReader | None = None
    """Where the annotations may hold votes."""
    vote_key: VoteKey = BY_ID
    """How a file of votes names its videos."""
    hint: str = "A validation split is carved from train, with peclip.data.carve_validation."
    """Said where a split is asked for that does not exist."""

    def fold_numbers(self) -> tuple[int | None, ...]:
        """Returns 1 to the number of folds, or only `None` where there are none."""
        return (None,) if self.folds is None else tuple(range(1, self.folds + 1))

    def splits_found(self, root: Path, annotations: Path | None) -> tuple[str, ...]:
        """Returns the splits of a copy of the data set; together they are all of it."""
        if self.find_splits is not None:
            return self.find_splits(root, annotations)
        return tuple(split for split in self.splits if split != "all")

    def read_votes(self, config: DataConfig, labels: LabelSet) -> Votes:
        """Returns the votes of the file that was given, or those that come with the labels.

        Raises:
            ConfigError: neither of them is there.
            DatasetError: they cannot be read.
        """
        if config.votes is not None:
            return read_vote_file(config.votes, self.vote_key, labels)
        votes = {} if self.own_votes is None else self.own_votes(config.root, config.annotations)
        if not votes:
            raise ConfigError(
                f"data.targets is {config.targets}, and {self.name} has no votes. "
                f"{expected_votes(self.vote_key, labels)}"
            )
        return votes

    def check_request(self, root: Path, fold: int | None, split: str) -> None:
        """Checks that there can be such a split, before anything is read.

        Raises:
            DatasetError: the root is no folder; the data set has no such split or fold.
        """
        self.check_root(root)
        if split not in self.splits:
            raise DatasetError(
                f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}. {self.hint}"
            )
        if self.folds is None and fold is not None:
            raise DatasetError(
                f"{self.name} has no folds, and fold {fold} was given; leave it out."
            )
        if self.folds is not None and (fold is None or not 1 <= fold <= self.folds):
            given = "none was given" if fold is None else f"{fold} was given"
            raise DatasetError(f"{self.name} has the folds 1 to {self.folds}, and {given}.")

    def check_root(self, root: Path) -> None:
        """Raises a DatasetError where the root is no folder."""
        if not root.is_dir():
            raise DatasetError(f"{root} is not a folder. {self.expected(root)}")

    def check_no_lists(self, annotations: Path | None) -> None:
        """Raises a DatasetError where lists are given to a data set that has none."""
        if annotations is not None:
            raise DatasetError(
                f"{self.name} has no annotation lists, its labels are in its names; "
                f"{str(annotations)!r} was given. Leave it out."
            )

    def expected(self, root: Path) -> str:
        """Returns one sentence with the tree that is expected."""
        lines = "".join(f"\n  {root}/{path}" for path in self.tree)
        return f"Expected for {self.name}:{lines}\nGet it from {self.source}."
