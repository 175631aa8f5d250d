"""The models by the name of their architecture: one entry each. Nothing here imports torch before `build_model`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple

from peclip.config import ModelConfig, check
from peclip.errors import ConfigError
from peclip.models.fine_cliper_config import FineCLIPERConfig
from peclip.models.pe_clip_config import LoraClipConfig, PEClipConfig, PlainClipConfig
from peclip.text.bounds import check_bounds
from peclip.text.parsing import parse_json

if TYPE_CHECKING:
    from peclip.models.base import ExpressionModel  # imports torch


class Architecture(NamedTuple):
    """The components of a model. Code is referenced as `module:object` and imported when it is needed."""

    config: type[ModelConfig]
    build: str
    """Function that builds the network from the configuration."""
    recognizer: str = "peclip.recognizers.recognizer:Recognizer"
    """The public class of the model: `Recognizer`, or a subclass."""


ARCHITECTURES: dict[str, Architecture] = {
    "pe-clip": Architecture(
        PEClipConfig, "peclip.models.pe_clip:build_pe_clip", "peclip.recognizers.pe_clip:PEClip"
    ),
    "finecliper": Architecture(
        FineCLIPERConfig,
        "peclip.models.fine_cliper:build_fine_cliper",
        "peclip.recognizers.fine_cliper:FineCLIPER",
    ),
}

DEFAULT = "pe-clip"
"""The architecture of an untrained model without a prefix, and of a configuration that does not name one."""

VARIANTS: dict[str, type[ModelConfig]] = {"clip": PlainClipConfig, "lora": LoraClipConfig}
"""Other default configurations of these architectures."""


def untrained_configs() -> dict[str, type[ModelConfig]]:
    """Returns the configurations by the prefix, before the colon, in the name of an untrained model."""
    return {name: architecture.config for name, architecture in ARCHITECTURES.items()} | VARIANTS


def build_model(
    config: ModelConfig, *, cache_dir: Path | None = None, offline: bool = False
) -> ExpressionModel:
    """Builds the network that a configuration describes, with its backbone's weights loaded."""
    build = resolve_name(ARCHITECTURES[config.architecture].build)
    model: ExpressionModel = build(config, cache_dir=cache_dir, offline=offline)
    model.mirror, model.own_texts = config.mirror, config.label_texts
    model.prior, model.label_frequencies = config.prior, config.label_frequencies
    model.prior_weight = config.prior_weight
    return model


def read_config(content: Mapping[str, Any] | str) -> ModelConfig:
    """Reads a model configuration from a mapping or JSON text.

    Raises:
        ConfigError: not JSON, an unknown field, or an invalid value; the message names the field.
    """
    try:
        values = parse_json(content) if isinstance(content, str) else content
        check_bounds(values)
    except ConfigError as error:
        raise ConfigError(f"The model configuration {error}.") from None
    if not isinstance(values, Mapping):
        raise ConfigError("The model configuration must be a JSON object.")
    architecture = values.get("architecture", DEFAULT)
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise ConfigError(
            f"Invalid architecture: {str(architecture)[:80]!r}; choose {' or '.join(ARCHITECTURES)}."
        )
    return check(ARCHITECTURES[architecture].config, values)
