"""The findings of a data set check."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from peclip.data.samples import Split

Kind = Literal[
    "missing",
    "empty",
    "unreadable",
    "frame_count",
    "duplicate",
    "conflict",
    "overlap",
    "recording",
    "short",
    "skipped",
]

KINDS: dict[Kind, str] = {
    "missing": "listed, but not found",
    "empty": "a folder without frames",
    "unreadable": "not a video, an undecodable frame, or frames of different sizes",
    "frame_count": "the frame count differs from the list",
    "duplicate": "the same video appears twice in one split",
    "conflict": "the same video has two labels",
    "overlap": "the same video is in two splits that must be disjoint",
    "recording": "names suggest that pieces of one recording are in two splits, or will be; use the table "
    "data set with a subject column",
    "short": "fewer frames than the model samples, so some are repeated",
    "skipped": "files in the data set's folders that are not samples",
}
"""Meaning of each kind. All are problems except `NOTES`, which data sets naturally contain."""

NOTES: frozenset[Kind] = frozenset({"recording", "short", "skipped"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding."""

    kind: Kind
    where: str
    """The id of a sample, or a subject."""
    detail: str


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """The size of a split."""

    title: str
    fold: int | None
    split: str
    samples: int
    subjects: int
    """0 if unknown."""
    counts: dict[str, int]
    """Samples of each label, in the order of the labels."""

    @classmethod
    def of(cls, split: Split) -> SplitSummary:
        """Sums up a split."""
        subjects = len(split.subjects)
        return cls(split.title, split.fold, split.split, len(split), subjects, split.counts())


@dataclass(frozen=True, slots=True)
class FaceShare:
    """Whether frames look like the crops of a model, like portraits or like whole scenes, from a few of them."""

    verdict: Literal["face", "portrait", "scene", "unclear"]
    median_share: float | None
    """Fraction of the frame covered by the face, 0 to 1; `None` if no face was found."""
    median_crop_side: float | None
    """Side of the square that the model would cut out, as a fraction of the frame's shorter side; `None` if no face
    was found."""
    frames: int
    """Number of frames examined."""
    frames_with_face: int
    detector: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The whole check."""

    dataset: str
    root: Path
    splits: tuple[SplitSummary, ...]
    videos: int
    """Distinct videos examined, over all splits and folds."""
    findings: tuple[Finding, ...] = field(default=())
    faces: FaceShare | None = None
    """`None` if no frames were examined."""

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that must be fixed."""
        return tuple(finding for finding in self.findings if finding.kind not in NOTES)

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def by_kind(self) -> dict[Kind, int]:
        """Returns how many findings there are of each kind, in the order of `KINDS`."""
        counts = Counter(finding.kind for finding in self.findings)
        return {kind: counts[kind] for kind in KINDS if counts[kind]}

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return {
            "dataset": self.dataset,
            "root": str(self.root),
            "ok": self.ok,
            "videos": self.videos,
            "splits": [asdict(split) for split in self.splits],
            "by_kind": dict(self.by_kind()),
            "findings": [asdict(finding) for finding in self.findings],
            "faces": None if self.faces is None else asdict(self.faces),
        }
