"""What a model card tells about the training and the scores of a model."""

from __future__ import annotations

from pathlib import Path

from peclip.errors import ConfigError
from peclip.runs.recipe import RunConfig
from peclip.runs.run_files import read_report
from peclip.runs.run_folder import RunFolder
from peclip.runs.run_report import ModelReport
from peclip.runs.splits import RunSplits
from peclip.weights.folder import is_stage


def training_story(config: RunConfig, splits: RunSplits, report: ModelReport) -> str:
    """Returns the lines of a model card on training and scores."""
    epoch = "the last one"
    if splits.val is not None and config.train.select_on != "last":
        epoch = f"the one with the best {config.train.select_by.upper()} on {splits.val.title}"
    told = [
        f"It was trained on the {len(splits.train):,} videos in {splits.train.title}, starting "
        f"from {_origin(config.base)}. Its weights are from epoch {report.selected_epoch} of "
        f"{report.epochs}, {epoch}."
    ]
    point = report.operating_point
    if point is not None and config.train.prior == "fit":
        told.append(
            "Its predictions are adjusted for the label prior with a weight of "
            f"{point['prior_weight']:.3g}, chosen on {point['chosen_on']} (criterion: "
            f"{point['criterion']})."
        )
    if report.scores is not None:
        told.append(
            f"On the {report.scores.num_videos:,} videos in {report.reported_on}, its UAR is "
            f"{report.scores.in_words('uar')} and its WAR {report.scores.in_words('war')}."
        )
    told += [*report.notes, *([] if report.warning is None else [report.warning])]
    return "\n".join(told)


def _origin(base: str) -> str:
    """Returns the base of a training in words: of an earlier stage, also what that was trained on."""
    folder = Path(base)
    if not is_stage(folder) or not RunFolder(folder).is_finished:
        return base
    try:
        report = read_report(folder)
    except ConfigError:  # of all folds, or corrupt
        return base
    before = Path(report.base)
    # The run may have moved since.
    origin = str(folder.with_name(before.name)) if is_stage(before) else report.base
    return (
        f"the model of {folder.name} (trained on {report.dataset}, starting from {_origin(origin)})"
    )
