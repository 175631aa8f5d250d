"""Configuration of a comparison of several models on one data set."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import sha256
from typing import NamedTuple, Self

import yaml
from pydantic import Field, model_validator

from peclip.config import RESAMPLES, Config, ModelConfig
from peclip.errors import ConfigError
from peclip.literals import ShortTraining
from peclip.models.registry import VARIANTS, untrained_configs
from peclip.runs.recipe import RunConfig, Values, merged
from peclip.settings import load_settings
from peclip.weights.resolve import resolve

_LONGEST = 100
_PLAIN = re.compile(rf"[\w-]{{1,{_LONGEST}}}", re.ASCII)
_SPECIAL = re.compile(r"[^\w.-]+", re.ASCII)

_ZERO_SHOT = {*ModelConfig.model_fields, "descriptions"}
"""Fields of a model that do not concern what is trained."""


class Contender(NamedTuple):
    """A model and its training; measured once, even if several names lead to it."""

    base: str
    """Name of the model, as for `-m`."""
    training: ShortTraining

    @property
    def folder_name(self) -> str:
        """The base as the name of a folder, which is never one such as `..`."""
        if _PLAIN.fullmatch(self.base):
            return self.base
        plain = _SPECIAL.sub("_", self.base)[:_LONGEST].lstrip(".")
        return f"{plain}-{sha256(self.base.encode(errors='replace')).hexdigest()[:6]}"


class ComparisonConfig(Config):
    """Which models are compared, and how they are trained."""

    models: tuple[str, ...] = Field(min_length=1)
    """Names as for `-m`."""
    training: ShortTraining = "linear"
    """What is trained beside the zero-shot evaluation."""
    run: RunConfig
    """The data, the changed fields of each model, and the training; `base` has no effect."""
    resamples: int = Field(RESAMPLES, ge=0, le=1_000_000)
    """Number of bootstrap samples for intervals, and of draws for p-values; 0 disables both."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not all(self.models):
            raise ValueError("a name is empty; separate the names by single commas")
        twice = [name for name, count in Counter(self.models).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is given twice; name every model once")
        if self.run.all_folds:
            raise ValueError("a comparison has one fold; set a fold number instead of all")
        if self.run.stages:
            raise ValueError(
                "a comparison trains in one stage; choose a recipe without stages, or compare the finished runs "
                "with train=none"
            )
        if self.run.train.select_on == "test" or not self.run.train.test:
            raise ValueError(
                "a comparison selects on validation videos and reports on test videos; remove "
                "train.select_on=test and train.test=false"
            )
        return self

    def run_of(self, contender: Contender) -> RunConfig:
        """Returns the run that trains a contender or, without training, that describes its model."""
        changes: Values = dict(self.run.model)
        if contender.training in ("none", "linear"):
            changes = {name: value for name, value in changes.items() if name in _ZERO_SHOT}
        elif contender.training == "lora" and not contender.base.startswith("lora:"):
            changes = merged({"lora": {}}, changes)
        return self.run.model_copy(update={"base": contender.base, "model": changes})

    def to_yaml(self) -> str:
        """Returns the text of the file in the folder of a comparison."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def contenders_of(name: str, training: ShortTraining) -> list[Contender]:
    """Returns the zero-shot contender of a model, and the trained one.

    An untrained model is evaluated zero-shot as CLIP itself. A saved model is evaluated as it is.

    Raises:
        UserError: there is no such model, or it cannot be trained in this way.
    """
    untrained = resolve(name, settings=load_settings()).tensors is None
    prefix, colon, rest = name.partition(":")
    has_prefix = bool(colon) and prefix in untrained_configs()
    bare = rest if has_prefix else name
    zero = Contender(f"clip:{bare}" if untrained else name, "none")
    if training == "none":
        return [zero]
    if training == "linear":
        return [zero, Contender(zero.base, "linear")]
    if not untrained:
        return [zero, Contender(name, training)]
    if training == "lora" and has_prefix and prefix not in ("pe-clip", *VARIANTS):
        raise ConfigError(
            f"{name!r} cannot be trained with LoRA, which {prefix} does not have. Remove {prefix}:, or use "
            "--train adapters."
        )
    if training == "lora":
        return [zero, Contender(f"lora:{bare}", training)]
    return [zero, Contender(bare if prefix == "clip" and has_prefix else name, training)]
