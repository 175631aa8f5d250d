"""Detects overlap between the training and evaluation videos of a run, and returns warnings."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from peclip.data import DataConfig, Split, find_benchmark
from peclip.data.recordings import shared_recording_warning
from peclip.runs.recipe import read_recipe
from peclip.runs.run_files import CONFIG
from peclip.runs.splits import RunSplits
from peclip.training.config import TrainConfig
from peclip.training.state import BEST
from peclip.weights.folder import MODEL, model_folder

TEST_WARNING = (
    "The epoch was selected on the test videos, as in many papers, so the scores are optimistic. "
    "Use select_on=val for unbiased scores."
)
VAL_WARNING = (
    "There are no test videos, so the scores are computed on the validation videos. With "
    "select_on=val, the epoch is selected on the same videos, so the scores may be optimistic."
)
CALIBRATED = "The temperature was also fitted on these videos, so the ECE is too low."
WEIGHED = "The prior weight was also chosen on these videos, so UAR and WAR are too high."


def report_warning(config: TrainConfig, splits: RunSplits) -> str | None:
    """Returns the warning that a run's report must include, if any."""
    if config.select_on == "test":
        return TEST_WARNING
    if splits.test is not None:
        return None
    if splits.val is None:
        return "There are no videos to report scores on."
    said = {VAL_WARNING: True, CALIBRATED: config.calibrate, WEIGHED: config.prior == "fit"}
    return " ".join(sentence for sentence, holds in said.items() if holds)


def recordings_warning(data: DataConfig, splits: RunSplits) -> str | None:
    """Returns a warning if pieces of one recording seem to be in two splits of a custom data set."""
    if find_benchmark(data.dataset).labels is not None:
        return None
    return shared_recording_warning(tuple(splits.found.values()))


def config_of(model: str | Path) -> Path | None:
    """Returns the `config.yaml` of the run that a model belongs to; `None` if it belongs to none.

    Args:
        model: a run, its `model` or its `checkpoints/best`, or any other name of a model.
    """
    # Absolute: `model` is a valid path inside a run folder, and `best` inside `checkpoints`.
    folder = Path(os.path.abspath(model_folder(Path(model))))
    for place in (Path(MODEL), BEST):
        run = Path(*folder.parts[: -len(place.parts)])
        if run / place == folder and (run / CONFIG).is_file():
            return run / CONFIG
    return None


def run_warning(run: str, model: str | Path, split: Split, data: DataConfig) -> str | None:
    """Returns a warning if a run is evaluated on videos it was trained on, or selected its epoch on.

    Args:
        run: the run's name in the warning.
        model: a model, which may belong to a run.
        split: the evaluated split.
        data: the configuration of the split.
    """
    path = config_of(model)
    if path is None:
        return None
    begun = read_recipe(str(path))
    own = begun.get("data") or {}
    if own.get("dataset") != split.dataset:
        return None
    benchmark = find_benchmark(split.dataset)
    # Custom data sets share one name, such as folder, so the paths must match too.
    same = benchmark.labels is not None or (
        _is(own.get("root"), data.root) and _is(own.get("annotations"), data.annotations)
    )
    if not same:
        return None
    fold, subjects = own.get("fold"), own.get("test_subjects") or ()
    flags = f"--split {benchmark.test_split}" + ("" if fold is None else f" --fold {fold}")
    trained = (
        f"The run {run!r} was trained on videos in the split {split.split} of {split.dataset}, so "
        f"the scores are too high. Use {flags}, or held-out videos."
    )
    if split.split == "all":  # of every fold, and whoever was tested
        return trained
    if fold not in (None, split.fold):
        return (
            f"The run {run!r} was trained on fold {fold} of {split.dataset}, which includes test "
            f"videos of the other folds, so their scores are too high. Use --fold {fold}, or a "
            "run over all folds."
        )
    if subjects and _numbers(subjects) != _numbers(data.test_subjects):
        return (
            f"The run {run!r} was trained on all subjects of {split.dataset} except "
            f"{', '.join(map(str, subjects))} (data.test_subjects), so the scores on the training "
            "subjects are too high."
        )
    if split.split == "train":
        return trained
    selected = (begun.get("train") or {}).get("select_on") == "test"
    return TEST_WARNING if selected and split.split == benchmark.test_split else None


def known_warning(name: str, split: Split, data: DataConfig) -> str | None:
    """Returns a warning if a base model or a teacher was trained on the videos that a run reports.

    Args:
        name: of the base or teacher; only runs on this machine can be checked.
        split: the reported split.
        data: the configuration of the split.
    """
    if run_warning(name, name, split, data) is None:
        return None
    return (
        f"{name!r}, the base model or teacher of this run, was trained or selected on videos of "
        f"{split.title}, so the scores are too high."
    )


def _is(path: Any, other: Path | None) -> bool:
    if path is None or other is None:
        return path is other
    return Path(str(path)).expanduser().resolve() == other.resolve()


def _numbers(subjects: Iterable[object]) -> set[str]:
    """Returns people by their numbers; `1` and `01` are one."""
    return {str(subject).lstrip("0") for subject in subjects}
