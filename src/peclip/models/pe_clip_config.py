"""Configuration of PE-CLIP, and of CLIP itself and of LoRA alone as a PE-CLIP without adapters and prompts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from peclip.config import BackboneSizes, ModelConfig, SoundFormat
from peclip.models.audio_config import AudioConfig
from peclip.models.brick_configs import LoraConfig, TemporalHeadConfig

_LONGEST_TEXT = 32
"""Tokens of the longest text with Action Units, in CLIP's encoding and with a prompt."""


class PEClipConfig(ModelConfig):
    """A PE-CLIP model. The defaults are the released layout, with the corrections of docs/models/pe-clip.md."""

    architecture: Literal["pe-clip"] = "pe-clip"
    descriptions: str = "action_units"
    """Style of the label texts: `action_units`, `sentences` or `names`."""
    adapter_reduction: int = Field(8, ge=1, le=10_000)
    """Reduction factor: the bottleneck width of an adapter is the width of its tower divided by it (paper, Table
    9)."""
    shared_adapter: Literal["per_layer", "shared", "none"] = "per_layer"
    """ShA: one adapter per layer (release, 9.4 M parameters), one per tower, shared by its layers (7.0 M),
    or none."""
    temporal_adapter: Literal["gru", "none"] = "gru"
    """TDA in the vision tower; none for an ablation."""
    text_adapter: Literal["per_layer", "none"] = "per_layer"
    """TA in the text tower; none for an ablation."""
    adapter_init: Literal["zero", "default"] = "zero"
    """Initialisation of the up-projections of ShA and TA: zero (so that adapters start as the identity), or
    PyTorch's default (release)."""
    prompt_length: int = Field(2, ge=0, le=64)
    """Number of tokens in a learned prompt; 0 disables prompts (ablation)."""
    prompt_depth: int = Field(9, ge=1, le=1000)
    """Number of layers with their own prompt, including the first."""
    prompt_half: bool = False
    """Round the prompts to fp16, like the release; set by `peclip convert`."""
    lora: LoraConfig | None = None
    """LoRA in the blocks of CLIP, beside the adapters and prompts or, with these disabled, instead of them."""
    temporal_head: TemporalHeadConfig | None = None
    """A transformer over the features of frames, instead of their mean."""
    audio: AudioConfig | None = None
    """The stream that reads the sound of a video; `null` for the frames alone."""

    @model_validator(mode="after")
    def _check_audio(self) -> Self:
        if self.audio is not None and self.audio.weights is None and self.pretrained is not None:
            raise ValueError(
                "audio.weights is null, so the checkpoint would have to store the audio encoder, but only those that store "
                "the backbone too (pretrained: null) do. Set audio.weights to a hub repository or a folder"
            )
        return self

    @property
    def streams(self) -> tuple[str, ...]:
        return () if self.audio is None else ("audio",)

    @property
    def sound(self) -> SoundFormat | None:
        return None if self.audio is None else self.audio.sound

    def self_contained(self) -> Self:
        """Returns the configuration of a checkpoint that stores all weights, the audio encoder's included."""
        stored = None if self.audio is None else {**self.audio.model_dump(), "weights": None}
        return self.derive(pretrained=None, audio=stored)

    @classmethod
    def for_backbone(cls, backbone: str, pretrained: str | None, sizes: BackboneSizes) -> Self:
        """Returns PE-CLIP on a backbone; prompts cannot be deeper than its towers, nor texts longer than its context."""
        return cls(
            descriptions="action_units" if sizes.context >= _LONGEST_TEXT else "sentences",
            backbone=backbone,
            pretrained=pretrained,
            quick_gelu=sizes.quick_gelu,
            prompt_depth=min(9, sizes.layers),
            preprocess=sizes.preprocess,
        )


class PlainClipConfig(PEClipConfig):
    """CLIP itself, the zero-shot baseline: a PE-CLIP without adapters and prompts, and stored as one."""

    shared_adapter: Literal["per_layer", "shared", "none"] = "none"
    temporal_adapter: Literal["gru", "none"] = "none"
    text_adapter: Literal["per_layer", "none"] = "none"
    prompt_length: int = Field(0, ge=0, le=64)


class LoraClipConfig(PlainClipConfig):
    """CLIP with LoRA alone: a PE-CLIP without adapters and prompts, and stored as one."""

    lora: LoraConfig | None = LoraConfig()
