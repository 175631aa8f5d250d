"""What a run folder contains for figures: predictions, scores, history, and the facts for titles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from peclip.config import RESAMPLES
from peclip.errors import ConfigError
from peclip.metrics.figures.plot_data import PlotData
from peclip.metrics.prediction_file import read_predictions
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.scoring import score
from peclip.runs.run_files import CONFIG, ENVIRONMENT, HISTORY, PREDICTIONS, REPORT, read_report
from peclip.runs.run_report import ModelReport
from peclip.text.bounds import read_text
from peclip.text.parsing import parse_json
from peclip.weights.folder import is_fold, last_stage


def read_run(folder: Path, *, resamples: int = RESAMPLES, seed: int = 0) -> PlotData:
    """Reads a run folder; the predictions of a run with several folds are merged.

    Args:
        folder: of a run; an unfinished one has only its history.
        resamples: number of bootstrap draws for the intervals; 0 omits them.
        seed: random seed of the bootstrap and of t-SNE.

    Raises:
        ConfigError: it is not a run folder, one of its files is corrupt, or several folds contain the same video.
    """
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            f"{str(folder)!r} is not a run folder, because it has no {CONFIG}. Pass the folder of a run "
            "of peclip train, or a prediction file."
        )
    own = last_stage(folder)
    parts = fold_folders(own) or [own]
    reports = {part: read_report(part) for part in parts if (part / REPORT).is_file()}
    files = [part / PREDICTIONS for part in parts if (part / PREDICTIONS).is_file()]
    table = _merged([read_predictions(file) for file in files])
    names = {part: part.name if part != own else "" for part in parts}
    return PlotData(
        videos=_videos(list(reports.values())),
        model=f"run {folder.resolve().name}{_network(parts[0], reports.get(parts[0]))}",
        table=table,
        report=None if table is None else score(table, resamples=resamples, seed=seed),
        histories={
            names[part]: _history(part / HISTORY) for part in parts if (part / HISTORY).is_file()
        },
        selected={names[part]: report.selected_epoch for part, report in reports.items()},
        warning=next((one.warning for one in reports.values() if one.warning), None),
        seed=seed,
    )


def fold_folders(folder: Path) -> list[Path]:
    """Returns the folders of the folds of a run, by their number; none if it has no folds."""
    found = {
        int(entry.name.removeprefix("fold-")): entry
        for entry in folder.iterdir()
        if is_fold(entry) and entry.is_dir()
    }
    return [found[number] for number in sorted(found)]


def training_minutes(folder: Path) -> float:
    """Returns the time of all training steps of a run, or of all of its folds."""
    files = [part / HISTORY for part in fold_folders(folder) or [folder]]
    entries = [entry for file in files if file.is_file() for entry in _history(file)]
    return float(sum(entry.get("seconds", 0) for entry in entries)) / 60


def _merged(tables: Sequence[PredictionTable]) -> PredictionTable | None:
    if len(tables) <= 1:
        return tables[0] if tables else None
    ids = [video for table in tables for video in table.ids]
    if len(set(ids)) < len(ids):
        twice = next(video for video in ids if ids.count(video) > 1)
        raise ConfigError(
            f"The video {twice!r} is in several folds of this run, so they cannot be merged. Pass the "
            "folder of one fold, such as fold-1."
        )
    classes = tables[0].classes
    if any(table.classes != classes for table in tables):
        raise ConfigError(
            "The folds of this run have different labels, so they cannot be merged. Pass the folder of "
            "one fold, such as fold-1."
        )
    scores = [table.probabilities for table in tables if table.probabilities is not None]
    return PredictionTable(
        tuple(ids),
        tuple(target for table in tables for target in table.targets),
        tuple(label for table in tables for label in table.labels),
        np.concatenate(scores) if classes else None,
        classes,
    )


def _videos(reports: Sequence[ModelReport]) -> str:
    titles = [one.reported_on for one in reports if one.reported_on is not None]
    if not titles:
        return "no videos were scored"
    return (
        titles[0]
        if len(titles) == 1
        else f"{titles[0]} to {titles[-1]}, {len(titles)} folds merged"
    )


def _network(folder: Path, report: ModelReport | None) -> str:
    """Returns the architecture, backbone and base model of a run, as far as its files state them."""
    try:
        environment = parse_json(read_text(folder / ENVIRONMENT))
        model = environment["model"]
        network = f": {model['architecture']} on {model['backbone']}"
    except (ConfigError, KeyError, TypeError):  # only for the title
        network = ""
    return network if report is None else f"{network}, trained from {report.base}"


def _history(path: Path) -> list[dict[str, Any]]:
    try:
        entries = [parse_json(line) for line in read_text(path, limit=None).splitlines() if line]
    except ConfigError as error:
        raise ConfigError(f"The training history {str(path)!r} {error}.") from None
    if not all(map(_is_entry, entries)):
        raise ConfigError(
            f"The training history {str(path)!r} is corrupt. Resume the run, which rewrites it, or draw "
            "other figures with --only confusion,recall."
        )
    return entries


def _is_entry(entry: Any) -> bool:
    """Returns whether an entry has an epoch, and numbers in each split that it has."""
    if not isinstance(entry, dict) or type(entry.get("epoch")) is not int:
        return False
    splits = [entry[name] for name in ("train", "val", "test") if name in entry]
    return all(
        isinstance(split, dict)
        and all(value is None or type(value) in (int, float) for value in split.values())
        for split in splits
    )
