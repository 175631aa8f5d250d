"""Scores of a model on a data set: one split, or the test split of every fold."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from peclip.data import DataConfig, Sample, Split
from peclip.data.dataset import Unreadable
from peclip.data.streams.audio import count_silent
from peclip.errors import ConfigError, DatasetError
from peclip.files import locked
from peclip.labels import effective_prior_weight
from peclip.literals import Precision
from peclip.metrics.prediction_file import prediction_paths, write_predictions
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.report import Report
from peclip.metrics.scoring import Evaluation, FoldReport, score, together
from peclip.recognizers.recognizer import Recognizer
from peclip.runs.evaluate_options import EvaluateOptions
from peclip.runs.fold_models import load_fold_models
from peclip.runs.splits import known_samples, read_fold_splits
from peclip.runtime import windows_at_once
from peclip.training.distributed import SINGLE, World
from peclip.training.evaluate import evaluate_views
from peclip.training.frame_orders import AS_RECORDED, FRAME_ORDERS, averaged
from peclip.training.runtime import Runtime

_log = logging.getLogger(__name__)


BatchListener = Callable[[str, int, int], None]
"""(title, videos done, videos in all), after every batch."""


def evaluate_dataset(
    model: str | Path | Recognizer,
    data: DataConfig,
    options: EvaluateOptions,
    *,
    splits: Mapping[int | None, Split] | None = None,
    all_folds: bool = False,
    device: str = "auto",
    precision: Precision = "auto",
    world: World = SINGLE,
    predictions_path: Path | None = None,
    on_batch: BatchListener | None = None,
) -> Evaluation:
    """Evaluates a model, or the model of every fold, on the videos in a data set.

    Args:
        model: a loaded model, evaluated in its precision, a name as for `-m`, or a run folder, which may contain one model per fold.
        data: the data set.
        options: the split and the evaluation settings.
        splits: those of `read_fold_splits`, if they have been read.
        all_folds: evaluate every fold and report the mean.
        device: to load models onto.
        precision: to load models for; `"auto"` is fp32 on every CPU.
        world: the processes that share the videos; all of them return the same scores.
        predictions_path: file for the predictions, written even if a video cannot be read; one per fold.
        on_batch: called with the progress.

    Raises:
        UserError: the model or the data set is missing, they have no label in common, a video cannot be
            read and `skip_unreadable` is false, or all folds are to be evaluated on the split `all`.
    """
    # Missing videos of any fold are reported before the first one is evaluated.
    found = splits or read_fold_splits(data, options.split, all_folds=all_folds)
    numbers = tuple(found)
    paths = {} if predictions_path is None else prediction_paths(predictions_path, numbers)
    with locked(*paths.values() if world.is_main else ()):
        models = load_fold_models(
            model,
            numbers,
            labels=options.labels,
            prior_weight=options.prior_weight,
            device=device,
            precision=precision,
        )
        if (warning := models.warning(list(found.values()), data)) is not None and world.is_main:
            _log.warning(warning)
        chosen = zip(numbers, found.values(), models.recognizers, strict=True)
        folds = _evaluate_folds(chosen, data, options, world, paths, on_batch)
    folds = _with_warning(folds, warning)
    return together(folds, _common(folds) if len(folds) > 1 else None)


def _with_warning(folds: list[FoldReport], warning: str | None) -> list[FoldReport]:
    facts = {} if warning is None else {"warning": warning}
    return [replace(fold, facts={**fold.facts, **facts}) for fold in folds]


def _evaluate_folds(
    models: Iterable[tuple[int | None, Split, Recognizer]],
    data: DataConfig,
    options: EvaluateOptions,
    world: World,
    paths: Mapping[int | None, Path],
    on_batch: BatchListener | None,
) -> list[FoldReport]:
    """Evaluates the model of every fold, and writes its predictions before the next one."""
    folds: list[FoldReport] = []
    failed: list[Unreadable] = []
    for fold, split, recognizer in models:
        skipped: list[Unreadable] = []
        found = evaluate_fold(recognizer, split, data, options, world, skipped, on_batch)
        failed += skipped
        if found is not None:
            table, fold_report = found
            folds.append(fold_report)
            if fold in paths and world.is_main:  # now: a later fold may fail, or be interrupted
                write_predictions(paths[fold], table)
    if failed and not (options.skip_unreadable and folds):
        raise _unreadable(failed, paths if folds else {})
    return folds


def _unreadable(failed: Sequence[Unreadable], saved: Mapping[int | None, Path]) -> DatasetError:
    names = ", ".join(map(str, saved.values()))
    kept = f"; the other predictions are in {names}" if saved else ""
    return DatasetError(
        f"{len(failed)} videos cannot be read{kept}. First error: {failed[0].reason} Download the "
        "videos again, or skip them with --skip-unreadable; the scores will then not be comparable "
        "with published ones."
    )


def evaluate_fold(
    recognizer: Recognizer,
    split: Split,
    data: DataConfig,
    options: EvaluateOptions,
    world: World,
    skipped: list[Unreadable],
    on_batch: BatchListener | None = None,
) -> tuple[PredictionTable, FoldReport] | None:
    """Evaluates one model on the available videos of a split; `None` if none of them can be read.

    Returns:
        The predictions, and their scores.

    Raises:
        ConfigError: the model has none of the labels of the split.
    """
    if options.sound == "off" and recognizer.config.sound is None:
        raise ConfigError(f"{recognizer.name} does not read sound. Remove --sound off.")
    present = split.without_missing()
    known = known_samples(split, recognizer.labels)
    tables = _predict(recognizer, known, options, world, skipped, on_batch)
    if not len(tables[0]):
        return None
    counts = {"missing": len(split) - len(present), "unreadable": len(skipped)}
    facts = _facts(recognizer, split, options) | counts | {"targets": data.targets}
    if split.notes:
        facts["notes"] = list(split.notes)
    if recognizer.config.reads_captions:
        facts |= {"captions": known.num_captions, "silent": len(known) - known.num_captions}
    if recognizer.config.sound is not None:
        silent = len(known) if options.sound == "off" else count_silent(known)
        facts |= {"sound": options.sound, "without_sound": silent}
    if data.captions is not None and not recognizer.config.reads_captions:
        _log.warning(
            "%s does not read captions, so the given captions are ignored", recognizer.name
        )
    unknown = [s for s in present.samples if s.label not in recognizer.labels.names]
    reports = [_report(table, unknown, options) for table in tables]
    if len(reports) > 1:
        facts |= {"as_recorded": _points(reports[1]), "lost": _lost(reports)}
    return tables[0], FoldReport(facts, reports[0])


def _predict(
    recognizer: Recognizer,
    known: Split,
    options: EvaluateOptions,
    world: World,
    skipped: list[Unreadable],
    on_batch: BatchListener | None,
) -> list[PredictionTable]:
    """Returns the predictions in the order of frames that is asked for and, if it is another, as recorded."""
    views = options.views
    wanted = list(dict.fromkeys((options.frames, AS_RECORDED)))
    done = 0

    def tell(videos: int) -> None:
        nonlocal done
        done += videos
        if on_batch is not None:
            on_batch(known.title, done, len(known))

    runtime = Runtime(
        recognizer.device,
        recognizer.precision,
        world,
        options.batch_size or windows_at_once(recognizer.device),
        options.workers,
    )
    return evaluate_views(
        recognizer.loaded,
        known,
        runtime,
        [averaged(FRAME_ORDERS[name], views) for name in wanted],
        seed=options.seed,
        prior_weight=options.prior_weight,
        skipped=skipped,
        clips=views.clips,
        without=("audio",) if options.sound == "off" else (),
        on_batch=tell,
    )


def _facts(recognizer: Recognizer, split: Split, options: EvaluateOptions) -> dict[str, Any]:
    described = recognizer.describe()
    precision = described.pop("precision")  # in a report this word is that of the classes
    return {
        "videos": split.title,
        "dataset": split.dataset,
        "fold": split.fold,
        "split": split.split,
        **described,
        "compute_precision": precision,
        "frames": options.frames,
        "tta": options.tta,
        "prior_weight": effective_prior_weight(recognizer.config, options.prior_weight),
        "seed": options.seed,
    }


def _report(table: PredictionTable, unknown: Sequence[Sample], options: EvaluateOptions) -> Report:
    """Scores predictions, and counts the videos whose label the model does not have."""
    report = score(table, resamples=options.resamples, seed=options.seed)
    dropped = Counter(sample.label for sample in unknown)
    return replace(report, dropped=dict(dropped.most_common()))


def _common(folds: Sequence[FoldReport]) -> dict[str, Any]:
    """Returns the facts that are the same in all folds, and the mean of what destroyed time has cost."""
    first, *others = (fold.facts for fold in folds)
    found = {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}
    for key in ("as_recorded", "lost"):
        if key in first:
            parts = [fold.facts[key] for fold in folds]
            found[key] = {name: fmean(part[name] for part in parts) for name in parts[0]}
    return found


def _points(report: Report) -> dict[str, float]:
    return {"uar": 100 * report.uar, "war": 100 * report.war}


def _lost(reports: Sequence[Report]) -> dict[str, float]:
    """Returns the points that are lost against the recording."""
    changed, recorded = (_points(report) for report in reports)
    return {key: recorded[key] - changed[key] for key in changed}
