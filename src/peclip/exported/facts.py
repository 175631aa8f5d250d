"""What the file of an exported model states about it: one JSON object, written by `peclip export`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, model_validator

from peclip.config import BackboneSizes, Config, ModelConfig, check
from peclip.errors import CheckpointError, ConfigError
from peclip.labels import MAX_TEXT, check_text
from peclip.text.bounds import MAX_CHARACTERS
from peclip.text.parsing import parse_json

_MAX_FACT = 1000


def _check_fact(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    check_text("The text", value, limit=_MAX_FACT)
    return value


Fact = Annotated[str, AfterValidator(_check_fact)]
"""A text that can be printed and is not empty."""


class ExportedConfig(ModelConfig):
    """The fields that all architectures share: those of a network's construction are not needed any more."""

    architecture: Fact
    backbone: Fact = ModelConfig.model_fields["backbone"].default
    pretrained: Fact | None = ModelConfig.model_fields["pretrained"].default

    @classmethod
    def for_backbone(cls, backbone: str, pretrained: str | None, sizes: BackboneSizes) -> Self:
        """Raises a ConfigError: the network is fixed."""
        raise ConfigError("An exported model cannot be built on another backbone.")


class ExportedFacts(Config):
    """Everything that predictions with an exported model need besides its logits."""

    format_version: Literal[1] = 1
    """Version of these facts."""
    name: Fact
    """Of the model that was exported; the model name in the rows."""
    revision: Annotated[str, AfterValidator(lambda text: text and _check_fact(text))] = ""
    """Of that model, if it is from a hub repository."""
    licence: Fact = "unknown"
    """Licence of the weights, from the model card."""
    peclip_version: Fact
    """The version that wrote the file."""
    texts: dict[str, str]
    """The text whose features stand for each label."""
    config: ExportedConfig
    """Labels, frames, preprocessing, crop geometry, prior, face ranges and baselines."""

    @model_validator(mode="after")
    def _check_texts(self) -> Self:
        if set(self.texts) != set(self.config.labels):
            raise ValueError("texts must have one text for each of the labels")
        for label, text in self.texts.items():
            if not text.strip():
                raise ValueError(f"the text of {label!r} is empty")
            check_text("The label text", " ".join(text.split()), limit=MAX_TEXT)
        return self

    @classmethod
    def of(cls, config: ModelConfig, **facts: Any) -> Self:
        """Makes the facts about a model with a network.

        Raises:
            ConfigError: a fact is invalid.
        """
        shared = config.model_dump(include=set(ExportedConfig.model_fields))
        return check(cls, {"config": shared, **facts})

    @classmethod
    def read(cls, text: str, file: str) -> Self:
        """Reads the JSON in a file that need not be trusted.

        Raises:
            CheckpointError: it is too long, not JSON, or not such an object.
        """
        try:
            if len(text) > MAX_CHARACTERS:
                raise ConfigError(f"is longer than {MAX_CHARACTERS:,} characters")
            values = parse_json(text)
        except ConfigError as error:
            raise CheckpointError(f"The metadata in {file!r} {error}.") from None
        if not isinstance(values, dict):
            raise CheckpointError(f"The metadata in {file!r} must be a JSON object.")
        try:
            return check(cls, values)
        except ConfigError as error:
            raise CheckpointError(f"The metadata in {file!r} cannot be used: {error}") from None
