"""Configuration of FineCLIPER."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from peclip.config import BackboneSizes, ModelConfig, TowerSize
from peclip.labels import MAX_TEXT, check_text
from peclip.models.brick_configs import TemporalHeadConfig

MAX_BOTTLENECK = 16_384
"""Larger than the width of any CLIP tower; `added_parameters` bounds the sum of all adapters."""


class TowerBottlenecks(NamedTuple):
    """One width per parallel adapter and per stream."""

    vision: tuple[int, ...]
    text: tuple[int, ...]


class FineCLIPERConfig(ModelConfig):
    """A FineCLIPER model. Fields cover details that the paper leaves open; see docs/models/finecliper.md.

    The bottlenecks are absolute, and with the defaults the four variants on ViT-B/16 train 13.4, 19.4,
    14.4 and 20.4 million parameters, whereas the paper states 13, 19, 14 and 20.
    """

    architecture: Literal["finecliper"] = "finecliper"
    parts: bool = False
    """Read parsing maps and landmarks of the frames as separate streams (`*` in the paper)."""
    parts_finder: str = "mediapipe"
    """The finder of landmarks and parsing maps, for both training and prediction."""
    captions: bool = False
    """Read a caption of the video through the fine-grained text encoder (`+` in the paper)."""
    positive_text: str = "A person with an expression of {label}"
    negative_text: str = "A person with an expression of no {label}"
    """The negative label text of the paper; its ablation (Table 7) also tries "less" instead of "no"."""
    video_bottleneck: int = Field(192, ge=1, le=MAX_BOTTLENECK)
    """Bottleneck width of the two adapters in every layer of the video encoder."""
    parts_bottleneck: int = Field(80, ge=1, le=MAX_BOTTLENECK)
    """Bottleneck width of the parsing and landmark encoders."""
    label_bottleneck: int = Field(128, ge=1, le=MAX_BOTTLENECK)
    """Bottleneck width of the positive and negative label encoders."""
    caption_bottleneck: int = Field(40, ge=1, le=MAX_BOTTLENECK)
    """Bottleneck width of the fine-grained text encoder."""
    scale: float = Field(0.5, gt=0, le=10)
    """s: scale of the adapter parallel to the MLP (Table 9)."""
    fusion: Literal["adaptive", "fixed"] = "adaptive"
    """Weights of the streams: computed per video by a learned layer, or fixed by `video_weight` (paper,
    Section 4)."""
    video_weight: float = Field(0.5, ge=0, le=1)
    """Weight of the video stream if `fusion="fixed"`; the other streams share the rest."""
    supervision: Literal["labels", "captions"] = "labels"
    """Training signal: labels, or captions alone for zero-shot classification (Table 3)."""
    alignment: float = Field(0.1, ge=0, le=1000)
    """Weight of the loss that aligns videos with captions, relative to the classification loss."""
    temporal_head: TemporalHeadConfig | None = None
    """A transformer over the features of frames, shared by the visual streams, instead of their mean."""

    @model_validator(mode="after")
    def _check_texts(self) -> Self:
        for name in ("positive_text", "negative_text"):
            check_text(name, getattr(self, name), limit=MAX_TEXT)
            if "{label}" not in getattr(self, name):
                raise ValueError(
                    f"{name} must contain {{label}}, the placeholder for the label name"
                )
        if self.supervision == "captions" and not self.captions:
            raise ValueError("supervision=captions requires captions=true")
        return self

    @property
    def bottlenecks(self) -> TowerBottlenecks:
        """The bottleneck widths of the adapters at one position in a layer, by tower."""
        return TowerBottlenecks(
            (self.video_bottleneck, *(self.parts_bottleneck,) * (2 * self.parts)),
            (*(self.label_bottleneck,) * 2, *(self.caption_bottleneck,) * self.captions),
        )

    def added_parameters(self, vision: TowerSize, text: TowerSize) -> int:
        """Returns the number of parameters in the adapters of both towers."""
        places = 2  # in a layer: after the attention, and parallel to the MLP
        return sum(
            places * tower.layers * (2 * tower.width * size + size + tower.width)
            for tower, sizes in zip((vision, text), self.bottlenecks, strict=True)
            for size in sizes
        )

    @property
    def streams(self) -> tuple[str, ...]:
        return ("parts",) * self.parts + ("captions",) * self.captions

    @property
    def learns_from_captions(self) -> bool:
        return self.supervision == "captions"

    @classmethod
    def for_backbone(cls, backbone: str, pretrained: str | None, sizes: BackboneSizes) -> Self:
        """Returns FineCLIPER on a backbone."""
        return cls(
            backbone=backbone,
            pretrained=pretrained,
            quick_gelu=sizes.quick_gelu,
            preprocess=sizes.preprocess,
        )
