"""Configuration of the audio stream of a model."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from peclip.config import Config, SoundFormat
from peclip.errors import ConfigError
from peclip.nn.audio_config import AudioPreset, audio_preset


class AudioConfig(Config):
    """How a model reads the sound of a video; see docs/models/audio.md."""

    encoder: str = "clap-htsat-fused"
    """Architecture of the audio encoder, such as `clap-htsat-fused`, `hubert-base`, `wav2vec2-base` or
    `wavlm-base-plus`."""
    weights: str | None = Field(None, max_length=1000)
    """Weights of the encoder: a hub repository `owner/name[@revision]` or a folder, with safetensors; by default the
    published ones. `None` if the checkpoint stores them."""
    fusion: Literal["concatenation", "adaptive"] = "concatenation"
    """Whether the features of video and sound are concatenated, or averaged with learned weights (FineCLIPER)."""
    layers: Literal["last", "weighted"] = "last"
    """Which layers of the encoder are read: the last one, or all, with learned weights (not with CLAP)."""
    lora_rank: int = Field(8, ge=0, le=256)
    """Rank of LoRA in the encoder; 0 keeps the encoder as it is."""
    lora_alpha: float = Field(32.0, gt=0, le=10_000)
    """LoRA's updates are scaled by lora_alpha / lora_rank."""
    seconds: float = Field(10.0, ge=0.2, le=10.0)
    """Longest sound of a window; of a longer one, the middle is read."""
    video_loss: float = Field(0.5, ge=0, le=1000)
    """Weight of the loss of the prediction without sound, so that the model also learns to predict videos without."""

    @model_validator(mode="before")
    @classmethod
    def _name_weights(cls, values: Any) -> Any:
        """Names the published weights, so that a configuration states which ones were used."""
        if not isinstance(values, dict) or "weights" in values:
            return values
        encoder = values.get("encoder", cls.model_fields["encoder"].default)
        return {**values, "weights": _preset(encoder).weights}

    @field_validator("encoder")
    @classmethod
    def _check_encoder(cls, name: str) -> str:
        _preset(name)
        return name

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        if self.layers == "weighted" and self.preset.kind == "clap":
            raise ValueError("layers=weighted is not supported for CLAP; use layers=last")
        return self

    @property
    def preset(self) -> AudioPreset:
        """The architecture of the encoder."""
        return audio_preset(self.encoder)

    @property
    def sound(self) -> SoundFormat:
        """The sound that the encoder reads."""
        return SoundFormat(self.preset.rate, self.seconds)


def _preset(name: Any) -> AudioPreset:
    try:
        return audio_preset(str(name))
    except ConfigError as error:
        raise ValueError(str(error)) from None
