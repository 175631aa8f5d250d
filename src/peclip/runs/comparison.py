"""Compares models on one data set: each is a unit that is finished, resumed or failed on its own."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from peclip.errors import ConfigError, UserError, without_frames
from peclip.files import LOCK
from peclip.runs.comparison_config import ComparisonConfig, Contender, contenders_of
from peclip.runs.comparison_report import ComparisonReport, Failure
from peclip.runs.contender_measurement import ComparisonContext, measure
from peclip.runs.measured_contender import Measured, read_measured, write_measured
from peclip.runs.run_folder import MAY_CHANGE
from peclip.runs.splits import RunSplits, read_run_splits
from peclip.text.bounds import read_text
from peclip.text.comparison import differences
from peclip.text.parsing import parse_yaml
from peclip.training.state import claimed, writing

COMPARISON = "comparison.yaml"
"""The file of the settings in the folder of a comparison."""

_log = logging.getLogger(__name__)

_MAY_CHANGE = {"models", *(f"run.{name}" for name in MAY_CHANGE)}
"""Fields that change no finished model, so that models may be added to a comparison."""


def compare_models(config: ComparisonConfig, context: ComparisonContext) -> ComparisonReport:
    """Measures all models, one after another. One that fails is reported, and does not stop the others.

    Raises:
        UserError: the data set cannot be read or has no test videos, or the folder cannot be used.
    """
    splits = read_run_splits(config.run.data, config.run.train)
    if splits.test is None:
        raise ConfigError(
            f"{config.run.data.dataset} in {config.run.data.root} has no test videos, on which models that were "
            "selected on validation videos can be compared. Divide the data set into train and test."
        )
    _check_folder(config, context)
    with claimed(context.folder):
        _begin(config, context)
        found: dict[Contender, Measured | Failure] = {}
        for name in config.models:
            _measure_model(name, found, config, splits, context)
    return ComparisonReport.of(config, splits, tuple(found.values()))


def _measure_model(
    name: str,
    found: dict[Contender, Measured | Failure],
    config: ComparisonConfig,
    splits: RunSplits,
    context: ComparisonContext,
) -> None:
    """Adds the contenders of a model, up to the first one that fails."""
    contender = Contender(name, "none")
    try:
        for contender in contenders_of(name, config.training):
            if isinstance(found.get(contender), Failure):
                return  # the same backbone has failed under another name
            if contender not in found:
                found[contender] = _measured(contender, config, splits, context)
    except UserError as error:
        _log.warning("%s (%s): %s", contender.base, contender.training, error)
        failed = Failure(contender, str(error), error.exit_code)
        found[contender] = failed
        without_frames(error)


def _measured(
    contender: Contender, config: ComparisonConfig, splits: RunSplits, context: ComparisonContext
) -> Measured:
    """Returns a contender, from the files of an earlier run if there are any."""
    finished = read_measured(context.folder, contender)
    if finished is not None:
        return finished
    measured = measure(contender, config, splits, context)
    write_measured(context.folder, measured)
    return measured


def read_comparison(folder: Path) -> dict[str, object]:
    """Reads the settings of a comparison.

    Raises:
        ConfigError: the folder is not that of a comparison, or the file is corrupt.
    """
    path = folder / COMPARISON
    try:
        values = parse_yaml(read_text(path))
    except ConfigError as error:
        raise ConfigError(
            f"{str(path)!r} {error}. Pass the folder that peclip compare wrote."
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{str(path)!r} is corrupt. Start a new comparison.")
    return values


def _check_folder(config: ComparisonConfig, context: ComparisonContext) -> None:
    """Checks that the folder is new, may be replaced, or has the same settings."""
    folder = context.folder
    if context.resume:
        before, now = read_comparison(folder), config.model_dump(mode="json")
        if changed := differences(before, now, ignored=_MAY_CHANGE):
            raise ConfigError(
                f"The comparison in {str(folder)!r} was started with different settings: "
                f"{', '.join(map(str, changed))}. Resume it with its original settings, or start a new one."
            )
        return
    held = [entry for entry in folder.iterdir() if entry.name != LOCK] if folder.is_dir() else []
    if held and not (context.overwrite and (folder / COMPARISON).is_file()):
        raise ConfigError(
            f"The folder {str(folder)!r} is not empty. Choose another --out, continue the comparison with --resume, "
            "or replace it with --overwrite, if it is one."
        )


def _begin(config: ComparisonConfig, context: ComparisonContext) -> None:
    """Empties the folder of a comparison that is replaced, and writes the settings."""
    with writing(context.folder):
        if not context.resume:
            for entry in context.folder.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != LOCK:
                    entry.unlink()
        (context.folder / COMPARISON).write_text(config.to_yaml(), encoding="utf-8")
