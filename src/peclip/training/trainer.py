"""The training loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from peclip.config import ModelConfig
from peclip.data.dataset import Draw, VideoDataset
from peclip.data.loader import VideoLoader, batches_of, epoch_draws, reader_errors, share
from peclip.data.samples import Split
from peclip.errors import DeviceError, TrainingError
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.scoring import score
from peclip.models.loaded import LoadedModel
from peclip.runtime import memory_errors
from peclip.training.checkpointer import Checkpointer
from peclip.training.config import TrainConfig
from peclip.training.evaluate import evaluate, mean_loss
from peclip.training.learner import Learner
from peclip.training.progress import Hooks, Progress
from peclip.training.running_metrics import RunningMetrics
from peclip.training.runtime import Runtime
from peclip.training.teacher import Teacher

_LESS_MEMORY = (
    "Use a smaller batch size (-b) with gradient accumulation (--set train.grad_accum=…) in a new run, or "
    "recompute activations (--set train.checkpoint_activations=true), which also works with --resume."
)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a training. The network holds the selected weights."""

    config: ModelConfig
    """Of the trained model."""
    history: tuple[dict[str, Any], ...]
    selected_epoch: int
    """From 1."""
    selected_on: str
    """`val`, `last` or `test`."""
    stopped_early: bool
    operating_point: dict[str, Any] | None = None
    """The operating point chosen on the validation videos after training; see `OperatingPoint.to_dict`."""


def train_model(
    loaded: LoadedModel,
    data: VideoDataset,
    watched: Split | None,
    config: TrainConfig,
    runtime: Runtime,
    *,
    state_folder: Path | None = None,
    resume: bool = False,
    hooks: Hooks | None = None,
    teacher: Teacher | None = None,
) -> TrainResult:
    """Trains a model and leaves it in eval mode, with the selected weights (if interrupted, the last ones).

    Args:
        loaded: the network; all parameters that require a gradient are trained.
        data: the training videos.
        watched: videos evaluated after every epoch; used to select the epoch unless `select_on` is `last`.
        config: the settings.
        runtime: the device, precision and processes.
        state_folder: stores the state after every epoch, for `resume`.
        resume: continue from the state in that folder.
        hooks: called during training.
        teacher: for knowledge distillation.

    Raises:
        ConfigError: the state belongs to a different training.
        TrainingError: the loss is not finite, memory runs out, or the state cannot be saved.
        CheckpointError: there is no state to resume.
        DatasetError: a video cannot be read.
    """
    assert watched is not None or config.select_on == "last", "see check_validation"
    forked = [runtime.device] if runtime.device.type == "cuda" else []
    with torch.random.fork_rng(forked):  # the caller's random state is unchanged
        torch.manual_seed(config.seed)
        loaded.network.to(runtime.device)
        learner = Learner(loaded, config, runtime, data.class_counts(), teacher)
        steps = -(-len(data) // (config.batch_size * config.grad_accum))
        progress = Progress(config.epochs, steps, RunningMetrics.empty(len(loaded.labels)))
        checkpointer = Checkpointer(learner, progress, state_folder, data, watched)
        if resume:
            checkpointer.restore()
        _train_epochs(learner, (data, watched), progress, hooks or Hooks(), checkpointer)
    return TrainResult(
        loaded.config,
        tuple(progress.history),
        progress.best_epoch or progress.epoch,
        config.select_on,
        progress.has_stopped(config) and progress.epoch < config.epochs,
    )


def _train_epochs(
    learner: Learner,
    splits: tuple[VideoDataset, Split | None],
    progress: Progress,
    hooks: Hooks,
    checkpointer: Checkpointer,
) -> None:
    """Trains the remaining epochs, and ends with the selected weights."""
    data, watched = splits
    pinned = learner.runtime.device.type == "cuda"
    loader = VideoLoader(data, workers=learner.runtime.workers, pin_memory=pinned)
    try:
        while not progress.is_complete(learner.config):
            draws = training_draws(data, learner.config, progress.epoch)
            train_one_epoch(learner, loader, draws, progress, hooks, checkpointer)
            _close_epoch(learner, watched, progress, hooks, checkpointer)
            checkpointer.save()
            hooks.on_epoch(progress)
        learner.settle(progress.best_weights)
    finally:
        learner.eval_mode()


def training_draws(data: VideoDataset, config: TrainConfig, epoch: int) -> list[Draw]:
    """Returns the videos of an epoch in order, balanced as configured."""
    return epoch_draws(
        data.targets,
        seed=config.seed,
        epoch=epoch,
        balance=config.balance_power if config.balance == "sampling" else 0.0,
        soft_targets=data.soft_targets,
    )


@reader_errors()
def train_one_epoch(
    learner: Learner,
    loader: VideoLoader,
    draws: list[Draw],
    progress: Progress,
    hooks: Hooks,
    checkpointer: Checkpointer,
) -> None:
    """Trains from the current step to the end of the epoch, whose videos are `draws`."""
    config, world, epoch = learner.config, learner.runtime.world, progress.epoch
    size = config.batch_size * config.grad_accum
    todo = batches_of(draws, size)[progress.step :]
    passes = [batches_of(step, config.batch_size) for step in todo]
    own = share([videos for step in passes for videos in step], world.rank, world.size)
    loaded = loader.read(own)
    learner.training()
    for step, parts in zip(todo, passes, strict=True):
        start, before = time.monotonic(), progress.running_metrics.loss_sum
        with (
            memory_errors(learner.runtime.device, _LESS_MEMORY, TrainingError),
            checkpointer.naming_best(),
        ):
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


def _evaluate(learner: Learner, watched: Split | None, hooks: Hooks) -> PredictionTable | None:
    if watched is None:
        return None
    on_batch = hooks.follow("validating", len(watched))
    try:
        return evaluate(learner.loaded, watched, learner.runtime, on_batch)
    except DeviceError as error:
        raise TrainingError(f"{error} Changing this option requires a new run.") from None


def _close_epoch(
    learner: Learner,
    watched: Split | None,
    progress: Progress,
    hooks: Hooks,
    checkpointer: Checkpointer,
) -> None:
    """Evaluates the weights after an epoch, and keeps them if they are the best so far."""
    with learner.evaluating():
        with checkpointer.naming_best():
            table = _evaluate(learner, watched, hooks)
        _enter(learner, table, progress, hooks)


def _enter(
    learner: Learner, table: PredictionTable | None, progress: Progress, hooks: Hooks
) -> None:
    """Appends an epoch to the history, and keeps its weights if it is the best so far."""
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
        if value > progress.best_value:  # of ties the first one, which is the least overfitted
            progress.best_value, progress.best_epoch = value, progress.epoch
            progress.best_weights = learner.weights()
            hooks.on_best(progress)
