"""A run in one YAML file: the base model, its changed fields, the data, the training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator, model_validator

from peclip.config import Config, ModelConfig, check
from peclip.data.config import DataConfig
from peclip.errors import ConfigError
from peclip.models.registry import read_config
from peclip.text.bounds import read_text
from peclip.text.comparison import flatten
from peclip.text.parsing import parse_yaml
from peclip.training.config import TrainConfig
from peclip.training.trackers import check_names

Values = dict[str, Any]


class StageConfig(Config):
    """A stage of a run: the fields that differ from those of the run."""

    name: str = Field(pattern="^[a-z][a-z0-9_-]{0,39}$")
    """Names its folder, and the stage in `--set stages.NAME.FIELD=VALUE`."""
    base: str | None = None
    """The model to start from; by default, that of the stage before or, in the first stage, that of the run."""
    model: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    """If it names a data set, it takes nothing from the data of the run."""
    train: dict[str, Any] = Field(default_factory=dict)


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
    stages: tuple[StageConfig, ...] = Field((), max_length=100)
    """Trainings one after the other, each from the model of the one before; see `stage_config`."""

    @model_validator(mode="after")
    def _check_stages(self) -> RunConfig:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages have the names {', '.join(names)}; give each another name")
        return self

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


def changed(values: Mapping[str, Any], text: str) -> Values:
    """Returns the values of a run with an assignment applied, such as `stages.stills.train.epochs=1`.

    Raises:
        ConfigError: the text does not have the form of an assignment, or there is no such stage.
    """
    change = assignment(text)
    named = change.get("stages")
    if not isinstance(named, Mapping):
        return merged(values, change)
    stages = [dict(stage) for stage in values.get("stages") or () if isinstance(stage, Mapping)]
    places = {stage.get("name"): place for place, stage in enumerate(stages)}
    for name, fields in named.items():
        if name not in places:
            known = f"the stages are {', '.join(map(str, places))}" if places else "there are none"
            raise ConfigError(
                f"Invalid --set {text!r}: no stage is called {name!r}; {known}. Use "
                "stages.NAME.FIELD=VALUE."
            )
        if not isinstance(fields, Mapping):
            raise ConfigError(f"Invalid --set {text!r}: use stages.{name}.FIELD=VALUE.")
        stages[places[name]] = merged(stages[places[name]], fields)
    return {**values, "stages": stages}


def check_reach(config: RunConfig, given: Mapping[str, Any]) -> None:
    """Checks that no stage overrides a field of the run that was given on the command line.

    Args:
        config: of the run.
        given: nested fields of the run, without stages.

    Raises:
        ConfigError: it would have no effect on a stage.
    """
    for name in flatten(given):
        part, _, _ = name.partition(".")
        stages = config.stages[:1] if part == "base" else config.stages
        if part == "data":  # it is not meant for stages with another data set, unless all have one
            stages = tuple(s for s in stages if "dataset" not in s.data) or stages
        deaf = [
            stage
            for stage in stages
            if _sets(stage, name) or (part == "data" and "dataset" in stage.data)
        ]
        if deaf:
            use = " or ".join(f"--set stages.{stage.name}.{name}=…" for stage in deaf)
            raise ConfigError(
                f"{name} was given, but the stage {deaf[0].name} of the recipe sets it, so it would "
                f"have no effect there. Use {use} instead."
            )


def _sets(stage: StageConfig, name: str) -> bool:
    """Returns whether a stage sets a field, a part of it, or something that contains it."""
    own = flatten(stage.model_dump(exclude_none=True, exclude={"name"}))
    return any(f"{one}.".startswith(f"{name}.") or f"{name}.".startswith(f"{one}.") for one in own)


def stage_config(config: RunConfig, number: int, before: str) -> RunConfig:
    """Returns the configuration of a stage as that of a run.

    Fields of the stage replace those of the run. Data of another data set take nothing from the run's. Only the last
    stage trains all folds.

    Args:
        config: of the run.
        number: of the stage, from 0.
        before: the model that the stage starts from, unless it names another.

    Raises:
        ConfigError: a field is unknown, missing, or invalid; the message names the stage.
    """
    stage = config.stages[number]
    values = config.model_dump(exclude={"stages"})
    if "dataset" in stage.data:
        if stage.data.get("root") is None:
            raise ConfigError(
                f"The data of the stage {stage.name} has no root. Pass --set "
                f"stages.{stage.name}.data.root=DIR, or set it in the recipe."
            )
        values["data"] = {}
    values = merged(values, stage.model_dump(include={"model", "data", "train"}))
    values["base"] = stage.base or before
    values["all_folds"] = config.all_folds and number == len(config.stages) - 1
    try:
        return run_config(values)
    except ConfigError as error:
        raise ConfigError(f"Stage {stage.name}: {error}") from None


def run_config(values: Mapping[str, Any]) -> RunConfig:
    """Checks the values of a run, and of its stages.

    Raises:
        ConfigError: a field is unknown, missing, or invalid; the message names it.
    """
    data = values.get("data")
    given = data if isinstance(data, Mapping) else {}
    for field, flag in (("dataset", "--dataset"), ("root", "--data-root")):
        if given.get(field) is None:
            raise ConfigError(f"{flag} is required; pass it, or set data.{field} in the recipe.")
    config = check(RunConfig, values)
    for number in range(len(config.stages)):
        stage_config(config, number, config.base)
    return config


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
