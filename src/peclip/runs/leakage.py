"""What a run has seen of the videos that it is scored on, and what must be said of such a score."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from peclip.data import DataConfig, Split, find_benchmark
from peclip.runs.recipe import read_recipe
from peclip.runs.run_folder import CONFIG
from peclip.runs.splits import RunSplits
from peclip.training.config import TrainConfig
from peclip.training.state import BEST
from peclip.weights.checkpoint import MODEL, model_folder

TEST_WARNING = (
    "The epoch was selected on the test videos themselves, as the papers of the field do, so the result is "
    "too high. Use select_on val for numbers of your own."
)
VAL_WARNING = (
    "There are no test videos: these are the validation videos, which also select the epoch where "
    "select_on is val, so the result may be too high."
)
CALIBRATED = "The temperature was fitted on them too, so the ece is too low."
WEIGHED = "The prior weight was chosen on them too, so UAR and WAR are too high."


def report_warning(config: TrainConfig, splits: RunSplits) -> str | None:
    """Returns what the report of a run must say of its scores."""
    if config.select_on == "test":
        return TEST_WARNING
    if splits.test is not None:
        return None
    if splits.val is None:
        return "There are no videos to report."
    said = {VAL_WARNING: True, CALIBRATED: config.calibrate, WEIGHED: config.prior == "fit"}
    return " ".join(sentence for sentence, holds in said.items() if holds)


def config_of(model: str | Path) -> Path | None:
    """Returns the `config.yaml` of the run that a model belongs to; `None` if it belongs to none.

    Args:
        model: a run, its `model` or its `checkpoints/best`, or any other name of a model.
    """
    # Absolute: whoever stands in the folder of a run gives `model`, and in `checkpoints` gives `best`.
    folder = Path(os.path.abspath(model_folder(Path(model))))
    for place in (Path(MODEL), BEST):
        run = Path(*folder.parts[: -len(place.parts)])
        if run / place == folder and (run / CONFIG).is_file():
            return run / CONFIG
    return None


def run_warning(run: str, model: str | Path, split: Split, data: DataConfig) -> str | None:
    """Returns what must be said where a run is evaluated on videos that it has trained on, or selected its epoch by.

    Args:
        run: what it is called.
        model: a model, which may be of a run.
        split: what it is asked about.
        data: where the split is from.
    """
    path = config_of(model)
    if path is None:
        return None
    begun = read_recipe(str(path))
    own = begun.get("data") or {}
    if own.get("dataset") != split.dataset:
        return None
    benchmark = find_benchmark(split.dataset)
    # Videos of one's own go by the name of their form, so others may be meant.
    same = benchmark.labels is not None or (
        _is(own.get("root"), data.root) and _is(own.get("annotations"), data.annotations)
    )
    if not same:
        return None
    fold, subjects = own.get("fold"), own.get("test_subjects") or ()
    flags = f"--split {benchmark.test_split}" + ("" if fold is None else f" --fold {fold}")
    trained = (
        f"The run {run!r} was trained on videos of {split.dataset} that are in the split {split.split}: the "
        f"scores are too high. Give {flags}, or videos that it has not seen."
    )
    if split.split == "all":  # of every fold, and whoever was tested
        return trained
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
    if split.split == "train":
        return trained
    selected = (begun.get("train") or {}).get("select_on") == "test"
    return TEST_WARNING if selected and split.split == benchmark.test_split else None


def known_warning(name: str, split: Split, data: DataConfig) -> str | None:
    """Returns what must be said where a base or a teacher knows the videos that a run reports.

    Args:
        name: of the base or teacher; only runs of this machine are known.
        split: what is reported.
        data: where the split is from.
    """
    if run_warning(name, name, split, data) is None:
        return None
    return (
        f"{name!r}, which this run began with or learned from, was trained on videos of {split.title} or "
        "selected by them: the result is too high."
    )


def _is(path: Any, other: Path | None) -> bool:
    if path is None or other is None:
        return path is other
    return Path(str(path)).expanduser().resolve() == other.resolve()


def _numbers(subjects: Iterable[object]) -> set[str]:
    """Returns people by their numbers; `1` and `01` are one."""
    return {str(subject).lstrip("0") for subject in subjects}
