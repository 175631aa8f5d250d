"""PE-CLIP: parameter-efficient CLIP for dynamic facial expressions.

Saadi, Hadid, Cunningham, Taleb-Ahmed, El Hillali: "PE-CLIP: A Parameter-Efficient Fine-Tuning of Vision
Language Models for Dynamic Facial Expression Recognition", arXiv 2503.16945 and ACM TOMM, 2026.
docs/models/pe-clip.md maps the paper's symbols to the classes here and lists every deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from peclip.errors import ConfigError
from peclip.labels import LabelSet
from peclip.models.base import ExpressionModel, Output, check_fit, clip_block
from peclip.models.bricks import add_lora, frame_pooling
from peclip.models.descriptions import EXPRESSION, VIDEO, describe
from peclip.models.pe_clip_config import PEClipConfig
from peclip.models.sound_stream import SoundStream, audio_loss, build_sound_stream
from peclip.nn.adapters import Adapter, TemporalDynamicAdapter
from peclip.nn.clip import Backbone, load_backbone
from peclip.nn.clip_block import ClipBlock, Layout
from peclip.nn.frame_encoder import TemporalBlock, encode_frames, encode_videos
from peclip.nn.prompts import CoupledPrompts
from peclip.nn.towers import TextTower, VisionTower
from peclip.types import Batch


class PEClipVisionBlock(TemporalBlock):
    """A layer of the vision tower: `x + ShA(MSA(LN x))`, then `x + TDA(MLP(LN x))` (Figure 2)."""

    def __init__(
        self, block: ClipBlock, shared_adapter: nn.Module, temporal_adapter: nn.Module
    ) -> None:
        super().__init__()
        self.block = block
        self.shared_adapter = shared_adapter
        self.temporal_adapter = temporal_adapter

    def each_frame(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Maps (N, L, W) to the sum after the attention and the output of the MLP, (N, Q, W) each."""
        x = x[:, : layout.wanted] + self.shared_adapter(self.block.attention(x, layout))
        return x, self.block.mlp(x)

    def over_time(self, parts: tuple[Tensor, Tensor], layout: Layout) -> Tensor:
        """Maps the output of `each_frame` for B*T frames, T = `layout.num_frames`, to (B*T, Q, W)."""
        x, mixed = parts
        adapted: Tensor = x + self.temporal_adapter(mixed, layout.num_frames)
        return adapted


class PEClipTextBlock(nn.Module):
    """A layer of the text tower: `x + ShA(MSA(LN x))`, then `x + TA(MLP(LN x))` (Figure 2).

    Without TA, it is also a layer of a vision tower without TDA, in which no step mixes frames.
    """

    def __init__(
        self, block: ClipBlock, shared_adapter: nn.Module, text_adapter: nn.Module
    ) -> None:
        super().__init__()
        self.block = block
        self.shared_adapter = shared_adapter
        self.text_adapter = text_adapter

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Maps (N, L, W) to (N, Q, W)."""
        x = x[:, : layout.wanted] + self.shared_adapter(self.block.attention(x, layout))
        adapted: Tensor = x + self.text_adapter(self.block.mlp(x))
        return adapted


class PEClipModel(ExpressionModel):
    """A frozen CLIP with trained adapters and prompts.

    The feature of a video is pooled from those of its frames, and the logits are cosines with the label
    features, divided by the temperature.

    Args:
        vision: the vision tower, with adapted blocks.
        text: the text tower, with adapted blocks.
        prompts: coupled prompts for both towers, or `None`.
        pooling: maps the features of frames to that of the video; see `peclip.nn.pooling`.
        labels: the classes.
        texts: one text per class.
        temperature: divides the cosines.
        style: of the texts of new labels.
        audio: of the sound, or `None`.
        sentence: for new labels without a text in this style.
    """

    def __init__(
        self,
        vision: VisionTower,
        text: TextTower,
        prompts: CoupledPrompts | None,
        pooling: nn.Module,
        labels: LabelSet,
        texts: Sequence[str],
        temperature: float,
        style: str = "action_units",
        audio: SoundStream | None = None,
        sentence: str = EXPRESSION,
    ) -> None:
        super().__init__()
        self.vision = vision
        self.text = text
        self.prompts = prompts
        self.pooling = pooling
        self.labels = labels
        self.texts = tuple(texts)
        self.temperature = temperature
        self.audio = audio
        self.style, self.sentence = style, sentence

    def describe(self, labels: LabelSet, own: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the texts of labels in the style of this model."""
        return describe(labels, self.style, own, sentence=self.sentence)

    def encode_labels(self) -> Tensor:
        """Returns the text features of the labels, (C, D), unit length."""
        length = 0 if self.prompts is None else self.prompts.length
        prompts: Sequence[Tensor] = () if self.prompts is None else self.prompts()[0]
        tokens, ends = self.text.embed(self.texts, length)
        return F.normalize(self.text(tokens, ends, prompts), dim=-1)

    def forward(self, batch: Batch, label_features: Tensor | None = None) -> Output:
        """Compares the videos of a batch with the labels.

        Args:
            batch: frames (B, T, 3, S, S), or encoded, with sound if the model reads it.
            label_features: output of `encode_labels`, to skip the text tower; computed if `None`.
        """
        if label_features is None:
            label_features = self.encode_labels()
        prompts = self._vision_prompts()
        if batch.encoded:
            features = encode_videos(self.vision, batch.frames, prompts)
        else:
            features = self.vision(batch.frames, prompts)
        output = self.compare(self.pooling(features), label_features)
        return output if self.audio is None else self.audio(output, batch, self.compare)

    def loss(self, output: Output, targets: Tensor) -> Tensor:
        """Returns the cross-entropy of the logits, with that of the video alone if the model reads sound."""
        return super().loss(output, targets) + audio_loss(output, targets)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Computes everything before the first GRU, which reads the frames in their order."""
        return encode_frames(self.vision, frames, self._vision_prompts())

    def _vision_prompts(self) -> Sequence[Tensor]:
        return () if self.prompts is None else self.prompts()[1]

    def encoders(self) -> list[nn.Module]:
        """Returns the vision tower."""
        return [self.vision]

    @property
    def num_tokens(self) -> int:
        """Class token, patches and prompt of a frame."""
        return self.vision.num_tokens + (self.prompts.length if self.prompts else 0)

    @property
    def prompt_depth(self) -> int:
        """Layers with their own prompt."""
        return 0 if self.prompts is None else len(self.prompts.text)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns the parameters of the backbone, ShA, TDA, TA and prompts, and of LoRA, head and audio, if any."""
        places = {
            "shared_adapter": "ShA",
            "temporal_adapter": "TDA",
            "text_adapter": "TA",
            "prompts": "prompts",
            "lora": "LoRA",
            "pooling": "head",
        }
        found: dict[str, list[nn.Parameter]] = {part: [] for part in ("backbone", *places.values())}
        for name, parameter in self.named_parameters():  # a shared adapter appears once
            if name.startswith("audio."):
                continue
            part = next((places[step] for step in name.split(".") if step in places), "backbone")
            found[part].append(parameter)
        optional = ("LoRA", "head")
        kept = {part: found[part] for part in found if found[part] or part not in optional}
        return kept if self.audio is None else kept | self.audio.parameter_groups()

    def checkpoint_activations(self, enabled: bool) -> None:
        """Enables or disables recomputing the activations of both towers in the backward pass."""
        self.vision.checkpoint_activations = self.text.checkpoint_activations = enabled


def build_pe_clip(
    config: PEClipConfig, *, cache_dir: Path | None = None, offline: bool = False
) -> PEClipModel:
    """Builds a PE-CLIP model with pretrained backbone weights and newly initialised adapters and prompts.

    Raises:
        ConfigError: the configuration does not match the backbone.
        WeightsError: the weights of the backbone are unavailable.
    """
    backbone = load_backbone(
        config.backbone, config.pretrained, cache_dir=cache_dir, offline=offline
    )
    _check_fit(config, backbone)
    add_lora(backbone, config.lora)
    _adapt(config, backbone)
    vision, text = backbone.vision, backbone.text
    prompts = None
    if config.prompt_length:
        prompts = CoupledPrompts(
            text.width,
            vision.width,
            config.prompt_length,
            config.prompt_depth,
            half=config.prompt_half,
        )
    sentence = EXPRESSION if config.preprocess.face_crop else VIDEO
    texts = describe(config.label_set, config.descriptions, config.label_texts, sentence=sentence)
    return PEClipModel(
        vision,
        text,
        prompts,
        frame_pooling(config.temporal_head, backbone, config),
        config.label_set,
        texts,
        config.temperature,
        config.descriptions,
        build_sound_stream(config.audio, vision.feature_width, offline=offline),
        sentence,
    )


def _adapt(config: PEClipConfig, backbone: Backbone) -> None:
    """Adds PE-CLIP's adapters to every block of both towers."""
    vision, text = backbone.vision, backbone.text
    shared = _shared_adapters(config, vision.width, len(vision.blocks))
    wide = vision.width // config.adapter_reduction
    layer: dict[str, Callable[[ClipBlock, nn.Module], nn.Module]] = {
        "gru": lambda block, adapter: PEClipVisionBlock(
            block, adapter, TemporalDynamicAdapter(vision.width, wide)
        ),
        "none": lambda block, adapter: PEClipTextBlock(block, adapter, nn.Identity()),
    }
    vision.blocks = nn.ModuleList(
        layer[config.temporal_adapter](clip_block(block), adapter)
        for block, adapter in zip(vision.blocks, shared, strict=True)
    )
    shared = _shared_adapters(config, text.width, len(text.blocks))
    narrow, zero = text.width // config.adapter_reduction, config.adapter_init == "zero"
    textual: dict[str, Callable[[], nn.Module]] = {
        "per_layer": lambda: Adapter(text.width, narrow, zero_init=zero),
        "none": nn.Identity,
    }
    text.blocks = nn.ModuleList(
        PEClipTextBlock(clip_block(block), adapter, textual[config.text_adapter]())
        for block, adapter in zip(text.blocks, shared, strict=True)
    )


def _shared_adapters(config: PEClipConfig, width: int, layers: int) -> list[nn.Module]:
    """Returns the ShA of each layer of a tower; a shared one is the same instance everywhere."""

    def new() -> Adapter:
        zero = config.adapter_init == "zero"
        return Adapter(width, width // config.adapter_reduction, zero_init=zero)

    if config.shared_adapter == "none":
        return [nn.Identity() for _ in range(layers)]
    if config.shared_adapter == "shared":
        return [new()] * layers
    return [new() for _ in range(layers)]


def _check_fit(config: PEClipConfig, backbone: Backbone) -> None:
    check_fit(config, backbone)
    layers = min(len(backbone.vision.blocks), len(backbone.text.blocks))
    if config.prompt_length and config.prompt_depth > layers:
        raise ConfigError(
            f"prompt_depth is {config.prompt_depth}, but the shorter tower of {config.backbone!r} has "
            f"{layers} layers. Set prompt_depth to at most {layers}."
        )
    narrow = min(backbone.vision.width, backbone.text.width)
    if config.adapter_reduction > narrow:
        raise ConfigError(
            f"adapter_reduction is {config.adapter_reduction}, but the narrower tower of "
            f"{config.backbone!r} has width {narrow}. Set adapter_reduction to at most {narrow}."
        )
