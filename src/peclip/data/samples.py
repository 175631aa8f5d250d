"""The common form of all data sets: samples with label names, and their splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from peclip.errors import ConfigError, DatasetError
from peclip.labels import EMOTIONS, LabelSet, canonical


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled video, or one still."""

    source: Path
    """A video file, a folder of frames, or an image; the expected path if it is missing."""
    label: str
    """The canonical name, never an index."""
    id: str
    """Identifies the video within its data set, independent of folder and split."""
    subject: str | None = None
    """The person shown, if the data set provides it."""
    num_frames: int | None = None
    """Number of frames according to the list, which may differ from the files; `check` compares them."""
    caption: str = ""
    """Caption of the facial movements, without the emotion; empty if missing."""
    soft_target: tuple[tuple[str, float], ...] | None = None
    """Training target as label → probability, which sum to 1; `None` if the target is the label itself."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not a sample, in the root of a data set without lists."""

    path: str
    """Relative to the root."""
    reason: str


@dataclass(frozen=True, slots=True)
class Split:
    """The samples of one part of a data set, and its label set."""

    dataset: str
    fold: int | None
    """From 1; `None` if the data set has no folds."""
    split: str
    """`train`, `val`, `test` or `all`."""
    samples: tuple[Sample, ...]
    """All listed samples, including missing ones."""
    labels: LabelSet
    """In the authors' order."""
    missing: tuple[Sample, ...] = ()
    """The samples whose video was not found."""
    notes: tuple[str, ...] = ()
    """Notes on skipped files, on dropped samples, and on targets that differ from the data set's labels."""
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        known = frozenset(self.labels)
        for sample in self.samples:
            self._check_soft_target(sample)
            if sample.label not in known:
                raise DatasetError(
                    f"{self.title}: unknown label {sample.label!r} for {sample.id}; the labels "
                    f"are {', '.join(self.labels)}. Correct the label."
                )

    def _check_soft_target(self, sample: Sample) -> None:
        if sample.soft_target is None:
            return
        target = dict(sample.soft_target)
        total = sum(target.values())
        if (
            min(target.values(), default=-1) < 0
            or abs(total - 1) > 1e-6
            or target.keys() - {*self.labels}
        ):
            raise DatasetError(
                f"{self.title}: invalid soft target {target} for {sample.id}. Use probabilities "
                f"for the labels {', '.join(self.labels)} that sum to 1."
            )

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def title(self) -> str:
        """`dfew fold 1 train`."""
        fold = "" if self.fold is None else f" fold {self.fold}"
        return f"{self.dataset}{fold} {self.split}"

    @property
    def subjects(self) -> frozenset[str]:
        """The subjects; empty if unknown."""
        return frozenset(s.subject for s in self.samples if s.subject is not None)

    def counts(self) -> dict[str, int]:
        """Returns the number of samples of each label, in the order of the labels, zeros included."""
        found = Counter(sample.label for sample in self.samples)
        return {label: found[label] for label in self.labels}

    def with_samples(self, samples: Iterable[Sample], split: str | None = None) -> Split:
        """Returns this split with only some of its samples, optionally under another name."""
        kept = tuple(samples)
        missing = frozenset(sample.source for sample in self.missing)
        return replace(
            self,
            split=self.split if split is None else split,
            samples=kept,
            missing=tuple(sample for sample in kept if sample.source in missing),
        )

    def with_captions(self, captions: Mapping[str, str]) -> Split:
        """Returns this split with the captions of its videos, by their ids; some may have none."""
        return self.with_samples(
            replace(sample, caption=captions.get(sample.id, "")) for sample in self.samples
        )

    @property
    def num_captions(self) -> int:
        """Number of videos with a caption."""
        return sum(bool(sample.caption) for sample in self.samples)

    def without_missing(self) -> Split:
        """Returns this split without the missing samples."""
        missing = frozenset(self.missing)
        return self.with_samples(sample for sample in self.samples if sample not in missing)


def label_set_of(names: Iterable[str], where: str) -> LabelSet:
    """Orders the labels of a custom data set: the emotions of the field first, then alphabetically.

    The order must not depend on the file system, or a trained model could not be evaluated elsewhere.

    Raises:
        DatasetError: fewer than two labels.
    """
    found = {canonical(name) for name in names}
    ordered = [name for name in EMOTIONS if name in found] + sorted(found - set(EMOTIONS))
    try:
        return LabelSet(tuple(ordered))
    except ConfigError as error:
        raise DatasetError(f"{where}: {error}") from None
