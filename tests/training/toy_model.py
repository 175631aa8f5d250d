"""A third model and a third stream, each as a module and one entry: see test_extending.py."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.config import BackboneSizes, ModelConfig
from peclip.data.samples import Sample
from peclip.data.streams.source import Picked, StreamSource, VideoStream
from peclip.labels import LabelSet
from peclip.models.base import ExpressionModel, Output
from peclip.types import Batch, FrameStream
from peclip.video.windows import FaceWindow

WIDTH = 8


class ToyConfig(ModelConfig):
    """A model that looks at the mean colour of a video and, if asked to, at its mean depth."""

    architecture: Literal["toy"] = "toy"
    depth: bool = False

    @property
    def streams(self) -> tuple[str, ...]:
        return ("depth",) * self.depth

    @classmethod
    def fitted(cls, backbone: str, pretrained: str | None, sizes: BackboneSizes) -> Self:
        return cls(
            backbone=backbone,
            pretrained=None,
            quick_gelu=sizes.quick_gelu,
            preprocess=sizes.preprocess,
        )


class ToyModel(ExpressionModel):
    """Keeps every batch with depth that arrives in `forward`."""

    seen: ClassVar[list[Batch]] = []

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.labels = config.label_set
        self.texts = self.describe(self.labels, config.label_texts)
        self.temperature = config.temperature
        self.project = nn.Linear(3 + config.depth, WIDTH)

    def describe(self, labels: LabelSet, own: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(own.get(name, name) for name in labels)

    def encode_labels(self) -> Tensor:
        seeds = [zlib.crc32(text.encode()) for text in self.texts]
        drawn = [torch.randn(WIDTH, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return F.normalize(torch.stack(drawn), dim=-1)

    def forward(self, batch: Batch, label_features: Tensor | None = None) -> Output:
        if label_features is None:
            label_features = self.encode_labels()
        values = batch.frames.mean((1, 3, 4))
        if (depth := batch.streams.get("depth")) is not None:
            assert isinstance(depth, DepthStream)
            self.seen.append(batch)
            values = torch.cat([values, depth.maps.mean((1, 2, 3))[:, None] / 255], dim=1)
        return self.compare(self.project(values), label_features)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"adapters": list(self.project.parameters())}

    def checkpoint_activations(self, enabled: bool) -> None:
        pass

    def encoders(self) -> list[nn.Module]:
        return []

    @property
    def num_tokens(self) -> int:
        return 1


def build(config: ToyConfig, *, cache_dir: Path | None = None, offline: bool = False) -> ToyModel:
    return ToyModel(config)


@dataclass(frozen=True, eq=False)
class DepthStream(FrameStream):
    """float (B, T, S, S)."""

    maps: Tensor

    def mirrored(self) -> Self:
        return replace(self, maps=self.maps.flip(-1))


class DepthSource(StreamSource):
    """Reads `depth.npy`, uint8 (frames, S, S), in training; in prediction the depth of a pixel is 255 minus its red."""

    per_frame = True

    def load(self, sample: Sample, picked: Picked) -> DepthStream:
        maps = torch.from_numpy(np.load(sample.source / "depth.npy")[picked.numbers])
        pictures = picked.augment(maps[:, None].expand(-1, 3, -1, -1))
        return DepthStream(pictures[None, :, 0].float())

    def predictor(self, config: ModelConfig) -> VideoStream:
        return lambda source, options: depth_of


def depth_of(windows: Sequence[FaceWindow]) -> DepthStream:
    red = torch.stack([torch.as_tensor(window.crops)[:, 0] for window in windows])
    return DepthStream(255 - red.float())
