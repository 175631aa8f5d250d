"""The computation that an exported file holds: from the pixels of windows to logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from peclip.errors import ConfigError
from peclip.models.loaded import LoadedModel
from peclip.nn.lora import merge
from peclip.types import Batch


class WindowLogits(nn.Module):
    """Computes the logits of windows as `FrozenModel` does, without the prior.

    The label features are constants, so the text encoder is not part of it, and the normalisation of pixels is
    included.

    Args:
        loaded: in eval mode on the CPU, in fp32; it reads nothing but frames.

    Raises:
        ConfigError: the model reads other inputs.
    """

    label_features: Tensor

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        if streams := loaded.config.streams:
            raise ConfigError(
                f"This model reads {' and '.join(streams)} besides frames, which cannot be exported. "
                "Export a model that reads frames only (parts=false, captions=false, audio=null)."
            )
        merged = {encoder: merge(encoder) for encoder in loaded.network.encoders()}
        self.network = loaded.network.with_modules(merged)
        self.preprocess = loaded.preprocess
        self.window_shape = (
            loaded.config.num_frames,
            loaded.preprocess.image_size,
            loaded.preprocess.image_size,
            3,
        )
        with torch.no_grad():
            features = loaded.network.encode_labels()
        self.register_buffer("label_features", features)

    def forward(self, crops: Tensor) -> Tensor:
        """Maps crops, uint8 (B, T, S, S, 3), RGB, to logits (B, C)."""
        frames: Tensor = self.preprocess(crops.movedim(-1, -3))
        mirror = self.network.mirror
        views = torch.cat([frames, frames.flip(-1)]) if mirror else frames
        logits: Tensor = self.network(Batch(views), self.label_features).logits
        return logits.view(2, -1, logits.shape[1]).mean(0) if mirror else logits
