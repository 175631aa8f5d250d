"""What a run has seen of the videos that it is scored on, and what must be said of such a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from peclip.data import DataConfig, Split, find_benchmark
from peclip.training.config import TrainConfig
from peclip.training.divisions import Divisions

TEST_WARNING = (
    "The epoch was selected on the test videos themselves, as the papers of the field do, so the result is "
    "too high. Use select_on val for numbers of your own."
)
VAL_WARNING = (
    "There are no test videos: these are the validation videos, which also select the epoch where "
    "select_on is val, so the result may be too high."
)
CALIBRATED = "The temperature was fitted on them too, so the ece is too low."


def report_warning(config: TrainConfig, splits: Divisions) -> str | None:
    """Returns what the report of a run must say of its scores."""
    if config.select_on == "test":
        return TEST_WARNING
    if splits.test is not None:
        return None
    if splits.val is None:
        return "There are no videos to report."
    return f"{VAL_WARNING} {CALIBRATED}" if config.calibrate else VAL_WARNING


def run_warning(run: str, begun: Mapping[str, Any], split: Split, data: DataConfig) -> str | None:
    """Returns what must be said where a run answers to videos that it has trained on, or selected its epoch by.

    Args:
        run: its folder, as it was given.
        begun: its `config.yaml`.
        split: what it is asked about.
        data: where the split is from.
    """
    own = begun.get("data") or {}
    if own.get("dataset") != split.dataset:
        return None
    fold, subjects = own.get("fold"), own.get("test_subjects") or ()
    if fold not in (None, split.fold):
        return (
            f"The run {run!r} was trained on fold {fold} of {split.dataset}, and so on test videos of the "
            f"other folds: their scores are too high. Give --fold {fold}, or a run with all folds."
        )
    if subjects and _numbers(subjects) != _numbers(data.test_subjects):
        return (
            f"The run {run!r} divided the people of {split.dataset} itself, and was trained on all but "
            f"{', '.join(map(str, subjects))} (data.test_subjects): the scores of the others are too high."
        )
    selected = (begun.get("train") or {}).get("select_on") == "test"
    benchmark = find_benchmark(split.dataset)
    # Videos of one's own go by the name of their form, so others may be meant.
    same = benchmark.labels is not None or (
        _is(own.get("root"), data.root) and _is(own.get("annotations"), data.annotations)
    )
    tested = split.split in (benchmark.test_split, "all")
    return TEST_WARNING if selected and same and tested else None


def _is(path: Any, other: Path | None) -> bool:
    if path is None or other is None:
        return path is other
    return Path(str(path)).expanduser().resolve() == other.resolve()


def _numbers(subjects: Iterable[object]) -> set[str]:
    """Returns people by their numbers; `1` and `01` are one."""
    return {str(subject).lstrip("0") for subject in subjects}
