"""Measures one contender of a comparison: zero-shot, as a linear probe, or after the training of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from peclip.data import Split, carve_validation
from peclip.errors import ConfigError
from peclip.metrics.prediction_file import read_predictions
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.scoring import score
from peclip.recognizers.recognizer import Recognizer
from peclip.runs.comparison_config import ComparisonConfig, Contender
from peclip.runs.leakage import known_warning
from peclip.runs.measured_contender import Cost, Measured
from peclip.runs.one_fold import FoldListener, RunContext, run_fold
from peclip.runs.recipe import RunConfig
from peclip.runs.run_features import features_of
from peclip.runs.run_files import PREDICTIONS
from peclip.runs.run_results import training_minutes
from peclip.runs.splits import RunSplits
from peclip.runs.warm_start import base_recognizer
from peclip.runtime import choose_precision, device_name
from peclip.training.evaluate import evaluate
from peclip.training.linear_probe import LinearProbe, choose_probe
from peclip.training.runtime import Runtime
from peclip.types import Batch

_TIMED = 3
"""Predictions of one window that are timed, after one that is not."""


@dataclass(frozen=True)
class ComparisonContext:
    """The device and folder of a comparison, and who follows it."""

    folder: Path
    device: torch.device
    command: str = ""
    overwrite: bool = False
    resume: bool = False
    listen: FoldListener | None = None
    """Follows trainings."""
    on_batch: Callable[[str, int, int], None] = lambda title, done, videos: None
    """Follows evaluations: title, videos done, videos in all."""


def measure(
    contender: Contender, config: ComparisonConfig, splits: RunSplits, context: ComparisonContext
) -> Measured:
    """Trains a contender, unless it is evaluated zero-shot, and predicts the test videos.

    Raises:
        UserError: the model cannot be loaded or trained, or a video cannot be read.
    """
    run = config.run_of(contender)
    if contender.training in ("adapters", "lora"):
        table, cost, facts = _trained(run, contender, context)
    else:
        labels = splits.train.labels
        recognizer, fresh = base_recognizer(run, labels, context.device)
        if fresh:
            raise ConfigError(
                f"{contender.base!r} has no {fresh[0]} that fits {', '.join(f'model.{name}' for name in run.model)}, "
                f"so that it would be evaluated with random values. Remove these settings, or start from another model."
            )
        find = _probed if contender.training == "linear" else _evaluated
        table, cost, facts = find(recognizer, run, contender, splits, context)
    assert splits.test is not None, "checked by `compare_models`"
    doubt = known_warning(contender.base, splits.test, run.data)
    if doubt is not None:
        facts["warning"] = doubt
    seed = run.train.seed
    report = score(table, resamples=config.resamples, seed=seed)
    return Measured(contender, report, table, cost, facts)


_Found = tuple[PredictionTable, Cost, dict[str, object]]


def _evaluated(
    recognizer: Recognizer,
    run: RunConfig,
    contender: Contender,
    splits: RunSplits,
    context: ComparisonContext,
) -> _Found:
    assert splits.test is not None
    tell, done = _teller(contender, splits.test, context), 0

    def on_batch(videos: int) -> None:
        nonlocal done
        done += videos
        tell(done, len(splits.test or ()))

    runtime = Runtime.of(run.train, context.device)
    table = evaluate(recognizer.loaded, splits.test, runtime, on_batch)
    return table, cost_of(recognizer, trained=0, train_s=None), {}


def _probed(
    recognizer: Recognizer,
    run: RunConfig,
    contender: Contender,
    splits: RunSplits,
    context: ComparisonContext,
) -> _Found:
    """Fits a linear classifier to the features of the training videos."""
    assert splits.test is not None
    train, val = splits.train, splits.val
    if val is None:  # a run that keeps its last epoch has none
        train, val = carve_validation(train, run.train.val_fraction, run.train.seed)
    names = splits.train.labels

    def read(split: Split) -> tuple[Tensor, Tensor]:
        features = features_of(recognizer, split, _teller(contender, split, context))
        classes = [names.index(sample.label) for sample in split.samples]
        return torch.from_numpy(features), torch.tensor(classes)

    start = time.monotonic()
    probe: LinearProbe = choose_probe(read(train), read(val), len(names))
    seconds = time.monotonic() - start
    found = probe.probabilities(read(splits.test)[0])
    samples = splits.test.samples
    table = PredictionTable.most_likely(
        [s.id for s in samples], [s.label for s in samples], names.names, found.numpy()
    )
    return (
        table,
        cost_of(recognizer, trained=probe.num_parameters, train_s=seconds, added=True),
        {"penalty": probe.penalty},
    )


def _trained(run: RunConfig, contender: Contender, context: ComparisonContext) -> _Found:
    """Trains a run in the folder of the comparison, or resumes it."""
    folder = context.folder / contender.folder_name / contender.training
    place = RunContext(
        folder, context.device, command=context.command, resume=folder.exists(), overwrite=False
    )
    report = run_fold(run, place, context.listen)
    precision = choose_precision(run.train.precision, context.device)
    recognizer = Recognizer.from_pretrained(folder, device=str(context.device), precision=precision)  # type: ignore[arg-type]
    own = sum(p.numel() for p in recognizer.model.parameters() if p.requires_grad)
    if run.train.lr.backbone > 0:
        own = sum(p.numel() for p in recognizer.model.parameters())
    seconds = 60 * training_minutes(folder)
    facts: dict[str, object] = {"epoch": report.selected_epoch}
    if report.warning is not None:
        facts["warning"] = report.warning
    cost = cost_of(recognizer, trained=own, train_s=seconds)
    return read_predictions(folder / PREDICTIONS), cost, facts


def cost_of(
    recognizer: Recognizer, *, trained: int, train_s: float | None, added: bool = False
) -> Cost:
    """Measures the time of a window, and counts parameters.

    Args:
        recognizer: the model.
        trained: number of trained parameters.
        train_s: seconds of training.
        added: whether the trained parameters are not those of the model.
    """
    total = sum(parameter.numel() for parameter in recognizer.model.parameters())
    return Cost(
        trained=trained,
        total=total + trained * added,
        window_s=seconds_per_window(recognizer),
        train_s=None if train_s is None else round(train_s, 3),
        device=device_name(recognizer.device),
        precision=recognizer.precision,
    )


def seconds_per_window(recognizer: Recognizer) -> float | None:
    """Times the prediction of one window: the median of three, after one that loads everything.

    Returns:
        Seconds on the device, without decoding; `None` for a model that reads more than frames.
    """
    config = recognizer.config
    if config.streams:
        return None
    side = config.preprocess.image_size
    batch = Batch(torch.zeros(1, config.num_frames, 3, side, side, device=recognizer.device))
    taken = list[float]()
    for _ in range(1 + _TIMED):
        start = time.monotonic()
        recognizer.probabilities(batch)  # as numbers, so that it waits for a GPU
        taken.append(time.monotonic() - start)
    return round(median(taken[1:]), 6)


def _teller(
    contender: Contender, split: Split, context: ComparisonContext
) -> Callable[[int, int], None]:
    title = f"{contender.base}, {contender.training}, {split.split}"
    return partial(context.on_batch, title)
