"""A run in one YAML file: the base model, its changed fields, the data, the training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator

from peclip.config import Config, ModelConfig, check
from peclip.data.config import DataConfig
from peclip.errors import ConfigError
from peclip.models.registry import read_config
from peclip.text.bounds import read_text
from peclip.text.parsing import parse_yaml
from peclip.training.config import TrainConfig
from peclip.training.trackers import check_names

Values = dict[str, Any]


class RunConfig(Config):
    """A run. Recipes, `config.yaml` of a run folder and `--set` have these fields."""

    base: str = "ViT-B-16-quickgelu/openai"
    """The model to start from, named as for `-m`."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Fields of its configuration to change, e.g. `temporal_adapter: none`."""
    data: DataConfig
    """Its split is always train; the others are found automatically."""
    all_folds: bool = False
    """Train one model per fold, and report their mean."""
    train: TrainConfig = TrainConfig()
    report_to: tuple[str, ...] = ()
    """Experiment trackers: tensorboard, wandb, mlflow, trackio."""

    @field_validator("model")
    @classmethod
    def _check_model(cls, changes: dict[str, Any]) -> dict[str, Any]:
        if given := sorted({"prior", "label_frequencies", "prior_weight"} & set(changes)):
            raise ValueError(
                f"{' and '.join(given)} cannot be set here, because training computes the prior; "
                "set train.prior instead"
            )
        return changes

    @field_validator("report_to")
    @classmethod
    def _check_trackers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_names(names)
        return names


def recipe_names() -> list[str]:
    """Returns the names of the recipes included in peclip."""
    return sorted(
        file.name.removesuffix(".yaml")
        for file in _shipped().iterdir()
        if file.name.endswith(".yaml")
    )


def read_recipe(name: str) -> Values:
    """Reads a recipe by its name, or a custom YAML file.

    Raises:
        ConfigError: the recipe is unknown, or is not a YAML mapping.
    """
    file = Path(name)
    if file.suffix.lower() in (".yaml", ".yml"):
        try:
            text = read_text(file)
        except ConfigError as error:
            raise ConfigError(f"The recipe {name!r} {error}.") from None
    elif name in recipe_names():
        text = _shipped().joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"Unknown recipe {name!r}; choose one of {', '.join(recipe_names())}, or pass a .yaml "
            "file."
        )
    try:
        values = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"The recipe {name!r} {error}.") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(
            f"The recipe {name!r} must be a mapping with fields such as base, model, data and "
            "train."
        )
    return values


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Values:
    """Returns nested values with changes applied; both arguments are unchanged."""
    result = dict(values)
    for key, value in changes.items():
        inner = result.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        result[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def assignment(text: str) -> Values:
    """Reads `train.lr.adapters=1e-4` as nested values.

    Raises:
        ConfigError: the text does not have this form.
    """
    path, equals, value = text.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names) or (len(names) < 2 and names[0] not in RunConfig.model_fields):
        raise ConfigError(
            f"Invalid --set {text!r}: use SECTION.FIELD=VALUE, such as train.epochs=3 or "
            f"model.temporal_adapter=none. The sections are {', '.join(RunConfig.model_fields)}."
        )
    try:
        nested: Any = parse_yaml(value)
    except ConfigError as error:
        raise ConfigError(f"The value of --set {text!r} {error}; quote it.") from None
    for name in reversed(names):
        nested = {name: nested}
    return dict(nested)


def run_config(values: Mapping[str, Any]) -> RunConfig:
    """Checks the values of a run.

    Raises:
        ConfigError: a field is unknown, missing, or invalid; the message names it.
    """
    data = values.get("data")
    given = data if isinstance(data, Mapping) else {}
    for field, flag in (("dataset", "--dataset"), ("root", "--data-root")):
        if given.get(field) is None:
            raise ConfigError(f"{flag} is required; pass it, or set data.{field} in the recipe.")
    return check(RunConfig, values)


def model_config(base: ModelConfig, changes: Mapping[str, Any]) -> ModelConfig:
    """Returns the configuration of a model with some fields changed, nested ones too.

    Raises:
        ConfigError: a field is unknown, or its value is invalid.
    """
    try:
        return read_config(merged(base.model_dump(), changes))
    except ConfigError as error:
        raise ConfigError(f"The model settings are invalid: {error}") from None


def to_yaml(config: RunConfig) -> str:
    """Returns the text of `config.yaml`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _shipped() -> Any:
    return resources.files("peclip.runs") / "recipes"
