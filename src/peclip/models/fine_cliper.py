"""FineCLIPER: multi-modal fine-grained CLIP for dynamic facial expressions.

Chen, Huang, Dong, Zheng, Shao: "FineCLIPER: Multi-modal Fine-grained CLIP for Dynamic Facial Expression
Recognition with AdaptERs", arXiv 2407.02157, ACM MM 2024. Its code was not released:
docs/models/finecliper.md lists which details are from the paper, which are inferred, and from what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.data.streams.captions import CaptionStream
from peclip.data.streams.parts import PartsStream
from peclip.errors import ConfigError
from peclip.labels import LabelSet, canonical
from peclip.models.base import ExpressionModel, Output, check_fit, clip_block
from peclip.models.bricks import frame_pooling
from peclip.models.fine_cliper_block import FineCLIPERBlock
from peclip.models.fine_cliper_config import FineCLIPERConfig
from peclip.nn.clip import load_backbone
from peclip.nn.contrast import align, polarity_cosines
from peclip.nn.frame_encoder import encode_frames
from peclip.nn.fusion import AdaptiveWeights, FixedWeights
from peclip.nn.towers import TextTower, VisionTower
from peclip.runtime import on_device
from peclip.types import Batch


@dataclass(frozen=True, slots=True, eq=False)
class StreamOutput(Output):
    """Output of FineCLIPER for a batch, per stream: video, parsing, landmarks, caption."""

    cosines: Tensor
    """(B, M, C): positive minus negative, of the M streams."""
    weights: Tensor
    """(B, M): rows sum to one; 0 for missing streams."""
    caption_features: Tensor | None
    """(B, D), unit length."""
    captions: tuple[str, ...]
    """The captions behind the features."""


class FineCLIPERModel(ExpressionModel):
    """A frozen CLIP with an adapted encoder for every stream of a video, and for both polarities of a label.

    Args:
        vision: the tower whose blocks have adapters for each visual stream, the video first.
        text: the tower whose blocks have adapters for positive texts, negative texts and captions.
        weights: of the streams.
        pooling: maps the features of a stream's frames to that of the video; see `peclip.nn.pooling`.
        labels: the classes.
        own_texts: custom positive texts by label name.
        positive_text: template for the other labels; contains `{label}`.
        negative_text: template for all labels; contains `{label}`.
        temperature: divides the cosines.
        reads_captions: whether the text tower has adapters for captions.
        from_captions: whether it is trained on captions alone, so that labels are encoded as captions.
        alignment: weight of the loss that aligns videos with captions, relative to the classification loss.
    """

    def __init__(
        self,
        vision: VisionTower,
        text: TextTower,
        weights: nn.Module,
        pooling: nn.Module,
        *,
        labels: LabelSet,
        own_texts: Mapping[str, str],
        positive_text: str,
        negative_text: str,
        temperature: float,
        reads_captions: bool,
        from_captions: bool,
        alignment: float,
    ) -> None:
        super().__init__()
        self.vision, self.text, self.weights, self.pooling = vision, text, weights, pooling
        self.labels = labels
        self.positive_text, self.negative_text = positive_text, negative_text
        self.texts = self.describe(labels, own_texts)
        self.temperature = temperature
        self.reads_captions = reads_captions
        self.from_captions = from_captions
        self.alignment = alignment

    def describe(self, labels: LabelSet, own: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the positive text of every label."""
        template = self.positive_text
        return tuple(own.get(canonical(n)) or template.replace("{label}", n) for n in labels)

    def encode_labels(self) -> Tensor:
        """Returns the features of the positive and of the negative texts, (2, C, D), unit length.

        With training on captions alone, the label encoders are untrained: both texts then go through the
        fine-grained encoder, with which the videos were aligned.
        """
        count = len(self.labels)
        negatives = [self.negative_text.replace("{label}", name) for name in self.labels]
        tokens, ends = self.text.embed([*self.texts, *negatives])
        groups = (0, 0, 2 * count) if self.from_captions else (count, count, 0)
        features = self.text(tokens, ends, groups=groups[: 3 if self.reads_captions else 2])
        return F.normalize(features, dim=-1).view(2, count, -1)

    def forward(self, batch: Batch, label_features: Tensor | None = None) -> StreamOutput:
        """Compares the streams of videos with both polarities of the labels.

        Args:
            batch: frames, with parts and captions if the model reads them. A missing stream (no face
                found, or no caption) gets weight 0.
            label_features: output of `encode_labels`, to skip the text tower; computed if `None`.

        Raises:
            ConfigError: the model reads parts, but the batch has none.
        """
        if label_features is None:
            label_features = self.encode_labels()
        visual, present = self._visual_streams(batch)
        spoken = batch.streams.get("captions")
        missing = len(visual) if self.reads_captions else 0
        texts = spoken.texts if isinstance(spoken, CaptionStream) else ("",) * missing
        captions = self._encode_captions(texts)
        with torch.autocast(batch.frames.device.type, enabled=False):  # cosines in fp32
            dtype = torch.promote_types(visual.dtype, torch.float32)
            features = F.normalize(visual.to(dtype), dim=-1)  # (B, M, D)
            if self.reads_captions:
                known = on_device(torch.tensor([bool(text) for text in texts]), present.device)
                described = torch.zeros_like(features[:, 0])
                if captions is not None:
                    # Numbers, not `known`, for whose length torch would wait for the device.
                    numbers = torch.tensor([n for n, text in enumerate(texts) if text])
                    spoken_by = on_device(numbers, present.device)
                    described[spoken_by] = F.normalize(captions.to(dtype), dim=-1)
                features = torch.cat([features, described[:, None]], dim=1)
                present = torch.cat([present, known[:, None]], dim=1)
            weights = self.weights(features, present)
            cosines = polarity_cosines(features, label_features.to(dtype))
            logits = (weights[..., None] * cosines).sum(1) / self.temperature
            seen = visual.shape[1]
            video = F.normalize((weights[:, :seen, None] * features[:, :seen]).sum(1), dim=-1)
        return StreamOutput(
            logits,
            video,
            label_features[0],
            cosines=cosines,
            weights=weights,
            caption_features=features[:, -1] if captions is not None else None,
            captions=texts,
        )

    def _visual_streams(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the features of the visual streams, (B, M, D), and which are present, bool (B, M)."""
        size, num_frames = batch.frames.shape[:2]
        done, streams = ([batch.frames], []) if batch.encoded else ([], [batch.frames])
        found = [torch.ones(size, num_frames, dtype=torch.bool, device=batch.frames.device)]
        if self.num_visual > 1:
            parts = batch.streams.get("parts")
            if not isinstance(parts, PartsStream):
                raise ConfigError(
                    "This model requires parsing maps and landmarks, but the videos have none. "
                    "Extract them with: peclip data prepare --parts mediapipe"
                )
            streams += list(parts.pictures.unbind(2))
            found += [parts.found] * (self.num_visual - 1)
        if streams:
            groups = [0 if batch.encoded else size, *[size] * (self.num_visual - 1)]
            done.append(self.vision(torch.cat(streams), groups=groups))
        features = torch.cat(done)  # (M*B, T, D)
        pooled = self.pooling(features, torch.cat(found))
        present = torch.stack([frames.any(1) for frames in found], dim=1)
        return pooled.view(self.num_visual, size, -1).transpose(0, 1), present

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Returns the features of frames, (N, D): nothing is computed over time."""
        return encode_frames(self.vision, frames, (), [len(frames)] + [0] * (self.num_visual - 1))

    def _encode_captions(self, texts: Sequence[str]) -> Tensor | None:
        """Returns the features of the existing captions, not normalised, or `None` without any."""
        known = [text for text in texts if text]
        if not self.reads_captions or not known:
            return None
        tokens, ends = self.text.embed(known, cut=True)
        features: Tensor = self.text(tokens, ends, groups=(0, 0, len(known)))
        return features

    def loss(self, output: Output, targets: Tensor) -> Tensor:
        """Returns the cross-entropy of the labels, and the loss that aligns videos with their captions.

        Training on captions alone uses only the second, and ignores the targets.
        """
        assert isinstance(output, StreamOutput), "the output of another model"
        aligned = align(
            output.video_features, output.caption_features, output.captions, self.temperature
        )
        if self.from_captions:
            return aligned
        return super().loss(output, targets) + self.alignment * aligned

    @property
    def num_visual(self) -> int:
        """Visual streams, the video included."""
        block = self.vision.blocks[0]
        assert isinstance(block, FineCLIPERBlock), "both towers are adapted"
        return len(block.beside_mlp.adapters)

    @property
    def stream_names(self) -> tuple[str, ...]:
        """The M streams, in the order of `StreamOutput.weights`."""
        visual = ("video", "parsing", "landmarks")[: self.num_visual]
        return (*visual, *("captions",) * self.reads_captions)

    def encoders(self) -> list[nn.Module]:
        """Returns the vision tower."""
        return [self.vision]

    @property
    def num_tokens(self) -> int:
        """Class token and patches of a frame."""
        return self.vision.num_tokens

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns the parameters of the backbone, of what was added for each stream, and of the temporal head."""
        streams = {
            "vision": ("video", "parsing", "landmarks"),
            "text": ("positive", "negative", "captions"),
        }
        found: dict[str, list[nn.Parameter]] = {
            part: []
            for part in ("backbone", *streams["vision"], *streams["text"], "fusion", "head")
        }
        for name, parameter in self.named_parameters():
            steps = name.split(".")
            part = {"weights": "fusion", "pooling": "head"}.get(steps[0], "backbone")
            if "adapters" in steps:
                part = streams[steps[0]][int(steps[steps.index("adapters") + 1])]
            found[part].append(parameter)
        return {part: parameters for part, parameters in found.items() if parameters}

    def checkpoint_activations(self, enabled: bool) -> None:
        """Enables or disables recomputing the activations of both towers in the backward pass."""
        self.vision.checkpoint_activations = self.text.checkpoint_activations = enabled


def build_fine_cliper(
    config: FineCLIPERConfig, *, cache_dir: Path | None = None, offline: bool = False
) -> FineCLIPERModel:
    """Builds a FineCLIPER model with pretrained backbone weights and newly initialised adapters.

    Raises:
        ConfigError: the configuration does not match the backbone.
        WeightsError: the weights of the backbone are unavailable.
    """
    backbone = load_backbone(
        config.backbone, config.pretrained, cache_dir=cache_dir, offline=offline
    )
    check_fit(config, backbone)
    widths = config.bottlenecks
    for tower, sizes in ((backbone.vision, widths.vision), (backbone.text, widths.text)):
        tower.blocks = nn.ModuleList(
            FineCLIPERBlock(clip_block(block), tower.width, sizes, config.scale)
            for block in tower.blocks
        )
    width = backbone.vision.feature_width
    names = ["video", "parsing", "landmarks"][: len(widths.vision)] + ["captions"] * config.captions
    weights: dict[str, Callable[[], nn.Module]] = {
        "adaptive": lambda: AdaptiveWeights(width, names),
        "fixed": lambda: FixedWeights(config.video_weight),
    }
    return FineCLIPERModel(
        backbone.vision,
        backbone.text,
        weights[
            config.fusion if len(names) > 1 else "fixed"
        ](),  # nothing to weigh, nothing to train
        frame_pooling(config.temporal_head, backbone, config),
        labels=config.label_set,
        own_texts=config.label_texts,
        positive_text=config.positive_text,
        negative_text=config.negative_text,
        temperature=config.temperature,
        reads_captions=config.captions,
        from_captions=config.supervision == "captions",
        alignment=config.alignment,
    )
