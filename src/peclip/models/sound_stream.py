"""The audio stream of a model: its encoder, and the predictions with and without sound (docs/models/audio.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.data.streams.audio import AudioStream
from peclip.models.audio_config import AudioConfig
from peclip.models.base import Output
from peclip.nn.audio_encoder import build_audio_encoder
from peclip.nn.audio_fusion import AudioFusion
from peclip.runtime import on_device
from peclip.types import Batch


@dataclass(frozen=True, slots=True, eq=False)
class SoundOutput(Output):
    """Output of a model that reads sound."""

    video_logits: Tensor
    """(B, C), of the video alone; those of a video without sound equal `logits`."""
    video_loss: float
    """Weight of their loss."""


class SoundStream(nn.Module):
    """Fuses the feature of a video with that of its sound.

    Args:
        fusion: of the two features.
        video_loss: weight of the loss of the prediction without sound.
    """

    def __init__(self, fusion: AudioFusion, video_loss: float) -> None:
        super().__init__()
        self.fusion, self.video_loss = fusion, video_loss

    def forward(
        self, output: Output, batch: Batch, compare: Callable[[Tensor, Tensor], Output]
    ) -> Output:
        """Returns the output with sound: exactly that of the video alone for videos without.

        Args:
            output: of the video alone.
            batch: the videos; without the stream `audio`, the output is unchanged.
            compare: features (B, D) and label features → output.
        """
        sound = batch.streams.get("audio")
        if not isinstance(sound, AudioStream):
            return output
        fused = compare(
            self.fusion(output.video_features, sound.samples, sound.lengths), output.label_features
        )
        heard = torch.tensor([length > 0 for length in sound.lengths])[:, None]
        known = on_device(heard, fused.logits.device)
        return SoundOutput(
            torch.where(known, fused.logits, output.logits),
            torch.where(known, fused.video_features, output.video_features),
            output.label_features,
            video_logits=output.logits,
            video_loss=self.video_loss,
        )

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns the parameters of the frozen encoder, and those that are added to it."""
        frozen = self.fusion.encoder.frozen_parameters()
        known = {id(parameter) for parameter in frozen}
        added = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return {"audio encoder": frozen, "audio": added}


def audio_loss(output: Output, targets: Tensor) -> Tensor | float:
    """Returns the weighted cross-entropy of the videos alone; 0 for a model that reads no sound."""
    if not isinstance(output, SoundOutput):
        return 0.0
    return output.video_loss * F.cross_entropy(output.video_logits, targets)


def build_sound_stream(
    config: AudioConfig | None, width: int, *, offline: bool = False
) -> SoundStream | None:
    """Builds the audio stream of a model, or `None` without one.

    Args:
        config: of the stream.
        width: D, of the feature of a video.
        offline: never download.

    Raises:
        MissingExtraError: `transformers` is not installed.
        WeightsError: the weights of the encoder are unavailable, or do not fit.
    """
    if config is None:
        return None
    encoder = build_audio_encoder(
        config.preset,
        config.weights,
        lora=(config.lora_rank, config.lora_alpha) if config.lora_rank else None,
        weighted=config.layers == "weighted",
        offline=offline,
    )
    return SoundStream(AudioFusion(encoder, width, config.fusion), config.video_loss)
