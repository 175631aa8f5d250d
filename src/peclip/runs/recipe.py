"""All that decides a run, in one YAML file: the base model, what differs from it, the data, the training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator

from peclip.config import Config, ModelConfig, check, read_config
from peclip.data.config import DataConfig
from peclip.errors import ConfigError
from peclip.training.config import TrainConfig
from peclip.training.trackers import check_names

Values = dict[str, Any]


class RunConfig(Config):
    """A run. Recipes, `config.yaml` of a run folder and `--set` have these fields."""

    base: str = "ViT-B-16-quickgelu/openai"
    """The model to start from, as `-m` names it."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Fields of its configuration that are changed, e.g. `temporal_adapter: none`."""
    data: DataConfig
    """Its split is always train; the others are found."""
    all_folds: bool = False
    """One model per fold, and the mean of their reports."""
    train: TrainConfig = TrainConfig()
    report_to: tuple[str, ...] = ()
    """Experiment trackers: tensorboard, wandb, mlflow, trackio."""

    @field_validator("model")
    @classmethod
    def _check_model(cls, changes: dict[str, Any]) -> dict[str, Any]:
        if given := sorted({"prior", "prior_weight"} & set(changes)):
            raise ValueError(
                f"{' and '.join(given)} cannot be set here: a training makes the prior of its model, "
                "see train.prior"
            )
        return changes

    @field_validator("report_to")
    @classmethod
    def _check_trackers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_names(names)
        return names


def recipe_names() -> list[str]:
    """Returns the recipes that come with peclip."""
    return sorted(
        file.name.removesuffix(".yaml")
        for file in _shipped().iterdir()
        if file.name.endswith(".yaml")
    )


def read_recipe(name: str) -> Values:
    """Reads a recipe by its name, or a YAML file of one's own.

    Raises:
        ConfigError: there is no such recipe, or it is not YAML of a mapping.
    """
    file = Path(name)
    if file.suffix.lower() in (".yaml", ".yml"):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The recipe {name!r} cannot be read: {error}.") from None
    elif name in recipe_names():
        text = _shipped().joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"No recipe goes by {name!r}; choose one of {', '.join(recipe_names())}, or give a .yaml file."
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"The recipe {name!r} is not YAML: {reason}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"The recipe {name!r} must hold the fields base, model, data and train.")
    return values


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Values:
    """Returns nested values with some of them changed; neither of the two is."""
    result = dict(values)
    for key, value in changes.items():
        inner = result.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        result[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def assignment(text: str) -> Values:
    """Reads `train.lr.adapters=1e-4` as nested values.

    Raises:
        ConfigError: it has not this form.
    """
    path, equals, value = text.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names) or (len(names) < 2 and names[0] not in RunConfig.model_fields):
        raise ConfigError(
            f"--set takes SECTION.FIELD=VALUE, such as train.epochs=3 or model.temporal_adapter=none, and "
            f"{text!r} was given. Sections are {', '.join(RunConfig.model_fields)}."
        )
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"The value of --set {text!r} is not YAML; put it into quotes.") from None
    for name in reversed(names):
        nested = {name: nested}
    return dict(nested)


def run_config(values: Mapping[str, Any]) -> RunConfig:
    """Checks the values of a run.

    Raises:
        ConfigError: a field is unknown, missing, or not accepted; the message names it.
    """
    data = values.get("data")
    given = data if isinstance(data, Mapping) else {}
    for field, flag in (("dataset", "--dataset"), ("root", "--data-root")):
        if given.get(field) is None:
            raise ConfigError(
                f"A run needs {flag}, and none was given (in a recipe: data.{field})."
            )
    return check(RunConfig, values)


def model_config(base: ModelConfig, changes: Mapping[str, Any]) -> ModelConfig:
    """Returns the configuration of a model with some fields changed, nested ones too.

    Raises:
        ConfigError: a field is unknown, or its value is not accepted.
    """
    try:
        return read_config(merged(base.model_dump(), changes))
    except ConfigError as error:
        raise ConfigError(f"The changes of the model do not fit: {error}") from None


def to_yaml(config: RunConfig) -> str:
    """Returns the text of `config.yaml`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _shipped() -> Any:
    return resources.files("peclip.runs") / "recipes"
