"""Checks of a training run before it starts."""

from __future__ import annotations

from peclip.config import ModelConfig
from peclip.data.samples import Split
from peclip.data.streams.registry import sources_of
from peclip.errors import ConfigError
from peclip.training.config import TrainConfig
from peclip.training.distributed import SINGLE, World


def check_validation(config: TrainConfig, val: Split | None) -> None:
    """Checks that there are validation videos if something is selected on them.

    Raises:
        ConfigError: there are none.
    """
    if val is None and config.select_on != "last":
        raise ConfigError(
            f"select_on is {config.select_on!r}, but no {config.select_on} split was passed. Pass "
            f"a {config.select_on} split, or set select_on to last."
        )
    if val is None and config.calibrate:
        raise ConfigError(
            "calibrate fits the temperature on the validation videos, but there are none. Pass a "
            "validation split, or set calibrate to false."
        )
    if val is None and config.prior == "fit":
        raise ConfigError(
            "train.prior=fit tunes the prior weight on the validation videos, but there are none. "
            "Pass a validation split, or set train.prior to targets."
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
    for source in sources_of(model_config).values():
        source.check(train, [split for split in others if split is not None])
    if model_config.learns_from_captions and _videos_of_a_rank(config, world) < 2:
        raise ConfigError(
            "Training on captions alone contrasts the videos within a batch, but the per-rank "
            f"batch size is 1 (batch_size {config.batch_size}, ranks {world.size}), so the model "
            f"would not learn anything. Use at least -b {2 * world.size}; grad_accum does not "
            "help."
        )
    read = " and ".join(model_config.streams)
    if read and config.mixing.mixup + config.mixing.fmix > 0:
        raise ConfigError(
            f"The model reads {read}, which cannot be mixed. Disable mixup and FMix: --set "
            "train.mixing.mixup=0 --set train.mixing.fmix=0"
        )


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
    return f"The per-rank batch size is 1, so {lost}. Increase the batch size (-b)"


def _videos_of_a_rank(config: TrainConfig, world: World) -> int:
    """Returns the batch size of the first rank, which has the largest."""
    return -(-config.batch_size // world.size)
