"""The training loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from peclip.data.dataset import VideoDataset
from peclip.data.loader import batches_of, epoch_draws, load_batches, reader_errors, share
from peclip.errors import ConfigError, DeviceError, TrainingError
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.scoring import score
from peclip.models.base import ExpressionModel
from peclip.runtime import memory_errors
from peclip.training.checkpointer import Checkpointer
from peclip.training.config import TrainConfig
from peclip.training.distributed import SINGLE, World
from peclip.training.evaluate import evaluate, mean_loss
from peclip.training.learner import Learner
from peclip.training.progress import Hooks, Progress
from peclip.training.running_metrics import RunningMetrics
from peclip.training.teacher import Teacher
from peclip.video.preprocess import Preprocess

_LESS_MEMORY = (
    "Give fewer videos per pass (-b) and more passes per step (--set train.grad_accum=…) in a new run, or "
    "compute activations anew (--set train.checkpoint_activations=true), with which --resume goes on too."
)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training came to. The model holds the weights that were selected."""

    history: tuple[dict[str, Any], ...]
    selected_epoch: int
    """From 1."""
    selected_on: str
    """`val`, `last` or `test`."""
    stopped_early: bool
    operating_point: dict[str, Any] | None = None
    """What was chosen on the validation videos after the training; see `OperatingPoint.to_dict`."""


def train_model(
    model: ExpressionModel,
    data: VideoDataset,
    watched: VideoDataset | None,
    preprocess: Preprocess,
    config: TrainConfig,
    *,
    device: torch.device,
    world: World = SINGLE,
    state_folder: Path | None = None,
    resume: bool = False,
    hooks: Hooks | None = None,
    teacher: Teacher | None = None,
) -> TrainResult:
    """Trains a model, epoch by epoch, and leaves the selected weights in it, in eval mode.

    A training that does not come to its end leaves the weights of its last step.

    Args:
        model: what requires a gradient is trained.
        data: the training videos.
        watched: videos that are evaluated after every epoch and, unless `select_on` is `last`, select it.
        preprocess: of the model.
        config: how.
        device: where.
        world: the processes that train together.
        state_folder: keeps the state after every epoch, for `resume`.
        resume: go on from the state in that folder.
        hooks: what to call on the way.
        teacher: a model to learn from as well.

    Raises:
        ConfigError: the epoch cannot be selected without `watched`, or another training is resumed.
        TrainingError: the loss is not finite, the memory too small, or the state cannot be saved.
        CheckpointError: there is no state to resume.
        DatasetError: a video cannot be read.
    """
    if watched is None and config.select_on != "last":
        raise ConfigError(
            f"select_on is {config.select_on!r}, and no videos were given for it. Give a split, or set "
            "select_on to last."
        )
    hooks = hooks or Hooks()
    forked = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(forked):  # the caller's random numbers are left alone
        torch.manual_seed(config.seed)
        counts = data.class_counts()
        learner = Learner(model.to(device), config, preprocess, device, world, counts, teacher)
        steps = -(-len(data) // (config.batch_size * config.grad_accum))
        progress = Progress(config.epochs, steps, RunningMetrics.empty(len(model.labels)))
        checkpointer = Checkpointer(learner, progress, state_folder, data, watched)
        if resume:
            checkpointer.restore()
        try:
            while not progress.is_complete(config):
                train_one_epoch(learner, data, progress, hooks, checkpointer)
                _close_epoch(learner, watched, preprocess, progress, hooks, checkpointer)
                checkpointer.save()
                hooks.on_epoch(progress)
            learner.settle(progress.best_weights)
        finally:
            learner.eval_mode()
    return TrainResult(
        tuple(progress.history),
        progress.best_epoch or progress.epoch,
        config.select_on,
        progress.has_stopped(config) and progress.epoch < config.epochs,
    )


@reader_errors()
def train_one_epoch(
    learner: Learner,
    data: VideoDataset,
    progress: Progress,
    hooks: Hooks,
    checkpointer: Checkpointer,
) -> None:
    """Trains from the step that an epoch has reached to its end."""
    config, world, epoch = learner.config, learner.world, progress.epoch
    power = config.balance_power if config.balance == "sampling" else 0.0
    draws = epoch_draws(
        data.targets,
        seed=config.seed,
        epoch=epoch,
        balance=power,
        soft_targets=data.soft_targets,
    )
    size = config.batch_size * config.grad_accum
    todo = batches_of(draws, size)[progress.step :]
    passes = [batches_of(step, config.batch_size) for step in todo]
    own = share([videos for step in passes for videos in step], world.rank, world.size)
    pinned = learner.device.type == "cuda"
    loaded = load_batches(data, own, workers=config.workers, pin_memory=pinned)
    learner.training()
    for step, parts in zip(todo, passes, strict=True):
        start, before = time.monotonic(), progress.running_metrics.loss_sum
        with memory_errors(learner.device, _LESS_MEMORY, TrainingError), checkpointer.naming_best():
            progress.rates = learner.step(
                (next(loaded) for _ in parts),
                progress.running_metrics,
                num_videos=len(step),
                epoch=epoch,
                step=progress.step,
                steps_per_epoch=progress.steps,
            )
        progress.loss = (progress.running_metrics.loss_sum - before) / len(step)
        progress.step += 1
        progress.seconds += time.monotonic() - start
        every = config.checkpoint_steps
        if every is not None and progress.step % every == 0 and progress.step < progress.steps:
            checkpointer.save()
        hooks.on_step(progress)


def _evaluate(
    learner: Learner, watched: VideoDataset | None, preprocess: Preprocess, hooks: Hooks
) -> PredictionTable | None:
    if watched is None:
        return None
    hooks.on_phase("validating")
    try:
        return evaluate(
            learner.model,
            watched,
            preprocess,
            device=learner.device,
            precision=learner.precision,
            world=learner.world,
            batch_size=learner.config.batch_size,
            workers=learner.config.workers,
        )
    except DeviceError as error:
        raise TrainingError(f"{error} That takes a new run.") from None


def _close_epoch(
    learner: Learner,
    watched: VideoDataset | None,
    preprocess: Preprocess,
    progress: Progress,
    hooks: Hooks,
    checkpointer: Checkpointer,
) -> None:
    """Evaluates with the weights that count after an epoch, and keeps them if they are the best so far."""
    with learner.evaluating():
        with checkpointer.naming_best():
            table = _evaluate(learner, watched, preprocess, hooks)
        _enter(learner, table, progress, hooks)


def _enter(
    learner: Learner, table: PredictionTable | None, progress: Progress, hooks: Hooks
) -> None:
    """Writes an epoch into the history, and keeps its weights if it is the best so far."""
    metrics, config = progress.running_metrics, learner.config
    entry: dict[str, Any] = {
        "epoch": progress.epoch + 1,
        "step": (progress.epoch + 1) * progress.steps,
        "lr": progress.rates,
        "train": {"loss": metrics.loss, "uar": 100 * metrics.uar, "war": 100 * metrics.war},
        "seconds": round(progress.seconds, 3),
    }
    progress.epoch += 1
    progress.step, progress.seconds = 0, 0.0
    progress.running_metrics = RunningMetrics.empty(len(metrics.counts))
    if table is not None:
        report, loss = score(table, resamples=0), mean_loss(table, learner.model.labels)
        scores = {"loss": loss, "uar": 100 * report.uar, "war": 100 * report.war}
        entry["test" if config.select_on == "test" else "val"] = scores
    progress.history.append(entry)
    if table is not None and config.select_on != "last":
        value = scores[config.select_by]
        if value > progress.best_value:  # of equals the first one, which has learned least by heart
            progress.best_value, progress.best_epoch = value, progress.epoch
            progress.best_weights = learner.weights()
            hooks.on_best(progress)
