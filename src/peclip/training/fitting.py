"""Training from splits, and predicting splits; used by `Recognizer.fit` and `peclip train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from peclip.config import ModelConfig
from peclip.data.animation import AnimatedStills
from peclip.data.dataset import VideoDataset
from peclip.data.samples import Split
from peclip.data.splits import carve_validation
from peclip.data.with_parts import VideosWithParts
from peclip.errors import ConfigError, DatasetError
from peclip.metrics.prediction_table import PredictionTable
from peclip.models.base import ExpressionModel
from peclip.nn.preprocess import Preprocess
from peclip.nn.stem import stems_of
from peclip.runtime import choose_precision
from peclip.training.calibration import OperatingPoint, operating_point
from peclip.training.config import TrainConfig
from peclip.training.distributed import SINGLE, World
from peclip.training.evaluate import evaluate, to_tensors
from peclip.training.prior import target_shares
from peclip.training.progress import Hooks, Progress
from peclip.training.state import BEST, STATES, writing
from peclip.training.teacher import Teacher, load_teacher
from peclip.training.trainer import TrainResult, train_model
from peclip.video.parts import parts_path
from peclip.weights.checkpoint import save_model


def fit(
    model: ExpressionModel,
    model_config: ModelConfig,
    preprocess: Preprocess,
    splits: tuple[Split, Split | None],
    config: TrainConfig,
    *,
    device: torch.device,
    world: World = SINGLE,
    run_dir: str | Path | None = None,
    resume: bool = False,
    hooks: Hooks | None = None,
) -> tuple[TrainResult, ModelConfig]:
    """Trains a model in place on `splits`, (training, selection); see `train_model`.

    Without a second split, a part of the first is held out for it, if the epoch is selected on it.

    Returns:
        The result of the training, and the model's new configuration.
    """
    if resume and run_dir is None:
        raise ConfigError("resume needs run_dir, the folder of the saved state; give it.")
    train, val = splits
    if val is None and config.select_on == "val":
        train, val = carve_validation(train, config.val_fraction, config.seed)
    _check_validation(config, val)
    check_streams(model_config, config, train, val, world=world)
    model_config = begin_training(model, model_config, config)
    data = videos_of(train, model, model_config, config)
    prior = None if config.prior == "none" else target_shares(data, model.labels, config)
    teacher = _load_teacher(config, model, model_config, device)
    folder = None if run_dir is None else Path(run_dir)
    hooks = hooks or Hooks()
    told = hooks.on_best

    def on_best(progress: Progress) -> None:
        if folder is not None and world.is_main:
            with writing(folder):
                save_model(model, model_config, folder / BEST)
        told(progress)

    result = train_model(
        model,
        data,
        None if val is None else videos_of(val, model, model_config),
        preprocess,
        config,
        device=device,
        world=world,
        state_folder=None if folder is None else folder / STATES,
        resume=resume,
        hooks=replace(hooks, on_best=on_best),
        teacher=teacher,
    )
    model.prior, model_config = prior, model_config.derive(prior=prior)
    if val is None or not (config.calibrate or config.prior == "fit"):
        return result, model_config
    point = choose_point(model, model_config, preprocess, val, config, device, world)
    model.temperature *= point.temperature
    model.prior_weight = point.prior_weight
    chosen = {"temperature": model.temperature, "prior_weight": model.prior_weight}
    told_point = point.to_dict(val.title)
    return replace(result, operating_point=told_point), model_config.derive(**chosen)


def _load_teacher(
    config: TrainConfig, model: ExpressionModel, model_config: ModelConfig, device: torch.device
) -> Teacher | None:
    if config.teacher is None:
        return None
    precision = choose_precision(config.precision, device)
    return load_teacher(config.teacher, model.labels, model_config, device, precision)


def _check_validation(config: TrainConfig, val: Split | None) -> None:
    """Checks that there are validation videos where something is chosen on them."""
    if val is None and config.calibrate:
        raise ConfigError(
            "calibrate fits the temperature on validation videos, but there are none. Give a split to "
            "select on, or set calibrate to false."
        )
    if val is None and config.prior == "fit":
        raise ConfigError(
            "train.prior=fit chooses the prior weight on validation videos, but there are none. Give a split "
            "to select on, or set train.prior to targets."
        )


def choose_point(
    model: ExpressionModel,
    model_config: ModelConfig,
    preprocess: Preprocess,
    val: Split,
    config: TrainConfig,
    device: torch.device,
    world: World = SINGLE,
) -> OperatingPoint:
    """Chooses prior weight and temperature of a trained model whose prior weight is still 0."""
    table = evaluate_split(
        model,
        model_config,
        preprocess,
        val,
        device=device,
        precision=choose_precision(config.precision, device),
        world=world,
        batch_size=config.batch_size,
        workers=config.workers,
    )
    return operating_point(
        *to_tensors(table, model.labels),
        model_config.prior if config.prior == "fit" else None,
        cost=config.prior_cost,
        calibrate=config.calibrate,
    )


def check_streams(
    model_config: ModelConfig,
    config: TrainConfig,
    train: Split,
    *others: Split | None,
    world: World = SINGLE,
) -> None:
    """Checks that the model's inputs besides frames exist and can be learned from.

    Raises:
        ConfigError: no training video has a caption, parts or captions would have to be mixed, or training
            is contrastive with a per-rank batch size of 1.
        DatasetError: videos have no parts.
    """
    if model_config.reads_captions and not train.num_captions:
        raise ConfigError(
            "The model reads captions, but no training video has one. Make them with peclip captions and give "
            "the file with --captions, or set model.captions to false."
        )
    if model_config.learns_from_captions and _videos_of_a_rank(config, world) < 2:
        raise ConfigError(
            "Learning from captions alone contrasts the videos of a batch, but the per-rank batch size is 1 "
            f"(batch_size {config.batch_size}, ranks {world.size}), so nothing would be learned. "
            f"Give at least -b {2 * world.size}; grad_accum does not help."
        )
    if model_config.reads_parts:
        for split in (train, *others):
            _check_parts(split)
    also = {"parts": model_config.reads_parts, "captions": model_config.reads_captions}
    read = " and ".join(name for name, reads in also.items() if reads)
    if read and config.mixing.mixup + config.mixing.fmix > 0:
        raise ConfigError(
            f"The model reads {read}, which cannot be mixed. Disable mixing: "
            "--set train.mixing.mixup=0 --set train.mixing.fmix=0"
        )


def _videos_of_a_rank(config: TrainConfig, world: World) -> int:
    """Returns the batch size of the first rank, which has the largest."""
    return -(-config.batch_size // world.size)


def batch_size_warning(
    model_config: ModelConfig, config: TrainConfig, world: World = SINGLE
) -> str | None:
    """Returns a warning if a per-rank batch size of 1 silently disables a part of the training."""
    if _videos_of_a_rank(config, world) > 1:
        return None
    off = {
        "mixup and FMix have no effect": config.mixing.mixup + config.mixing.fmix > 0,
        "captions are not aligned with their videos": model_config.reads_captions,
    }
    if not any(off.values()):
        return None
    lost = " and ".join(what for what, is_off in off.items() if is_off)
    return f"Per-rank batch size is 1: {lost}. Increase the batch size (-b)"


def _check_parts(split: Split | None) -> None:
    samples = split.samples if split is not None else ()
    bare = [sample for sample in samples if not parts_path(sample.source).exists()]
    if split is not None and bare:
        raise DatasetError(
            f"{len(bare):,} of the {len(split):,} videos of {split.title} have no parts, the first one "
            f"{bare[0].id}. Make them with: peclip data prepare --parts mediapipe"
        )


def begin_training(
    model: ExpressionModel, model_config: ModelConfig, config: TrainConfig
) -> ModelConfig:
    """Makes the backbone trainable if it has a learning rate, and freezes it otherwise.

    The base model's prior is removed, because it does not describe the targets of this training.

    Returns:
        The configuration of a model whose weights may differ from the published ones.
    """
    trained = config.lr.backbone > 0
    for parameter in model.parameter_groups()["backbone"]:
        parameter.requires_grad_(trained)
    if config.stem.frozen:
        for stem in stems_of(model):
            for parameter in stem.trunk(config.stem.frozen):
                parameter.requires_grad_(False)
    model.prior, model.prior_weight = None, 0.0
    model_config = model_config.derive(prior=None, prior_weight=0.0)
    return model_config.derive(pretrained=None) if trained else model_config


def evaluate_split(
    model: ExpressionModel,
    model_config: ModelConfig,
    preprocess: Preprocess,
    split: Split,
    *,
    device: torch.device,
    precision: str,
    world: World = SINGLE,
    batch_size: int = 8,
    workers: int = 0,
) -> PredictionTable:
    """Returns a model's predictions for a split, whose labels must be labels of the model."""
    return evaluate(
        model,
        videos_of(split, model, model_config),
        preprocess,
        device=device,
        precision=precision,
        world=world,
        batch_size=batch_size,
        workers=workers,
    )


def videos_of(
    split: Split,
    model: ExpressionModel,
    model_config: ModelConfig,
    config: TrainConfig | None = None,
) -> VideoDataset:
    """Returns a split as a dataset for a model; with a training configuration, for training.

    Raises:
        ConfigError: a label is not one of the model's.
    """
    if config is not None and config.animate is not None:
        if model_config.reads_parts:
            raise ConfigError(
                "The model reads parts, but windows made from stills have none. Remove animate, "
                "or set model.parts to false."
            )
        return AnimatedStills(
            split,
            model_config.preprocess,
            model_config.num_frames,
            seed=config.seed,
            labels=model.labels,
            animate=config.animate,
        )
    kind = VideosWithParts if model_config.reads_parts else VideoDataset
    return kind(
        split,
        model_config.preprocess,
        model_config.num_frames,
        train=config is not None,
        seed=0 if config is None else config.seed,
        labels=model.labels,
        augment=None if config is None else config.augment,
    )
