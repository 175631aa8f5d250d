"""A model with fixed weights, which caches everything that depends only on them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from peclip.labels import prior_factors
from peclip.models.base import ExpressionModel, Output
from peclip.models.shared_frames import SharedFrames
from peclip.nn.lora import merge
from peclip.nn.lowered import can_lower, lower
from peclip.nn.packed import pack
from peclip.nn.preprocess import Preprocess
from peclip.nn.prompts import ComputedPrompts, CoupledPrompts
from peclip.runtime import autocast, compute_type
from peclip.types import Batch


class FrozenModel:
    """Computes logits of videos, and caches the label features, the packed weights and recent frames.

    The cache is rebuilt if a weight changes in place, its data are replaced (`weight.data = …`), or the label texts or
    the temperature change. Changes made through `.data` or NumPy in place, which torch does not count, are not noticed.

    Args:
        model: on the device, in eval mode.
        device: of the computation.
        precision: `"fp32"`, `"tf32"`, `"bf16"` or `"fp16"`.
    """

    def __init__(self, model: ExpressionModel, device: torch.device, precision: str) -> None:
        self._model = model
        self._device = device
        self._precision = precision
        self._stamp, self._held = _stamp(model), _data_of(model)
        self._shift: tuple[tuple[float, ...], Tensor] | None = None

    def __reduce__(self) -> tuple[type[FrozenModel], tuple[object, ...]]:
        """Copies and pickles only the arguments, because packed weights support neither."""
        return FrozenModel, (self._model, self._device, self._precision)

    @property
    def network(self) -> ExpressionModel:
        """The model with computed prompts, merged LoRA, and packed or lowered encoders where they are faster.

        Everything else is shared with the model. It is not for training.
        """
        self._forget_the_past()
        return self._network

    @property
    def shares_frames(self) -> bool:
        """Whether `encode` is available and saves time; on a GPU, batches of equal size are faster."""
        return self._model.shares_frames and self._device.type == "cpu"

    @torch.inference_mode()
    def encode(self, windows: Sequence[NDArray[np.uint8]], preprocess: Preprocess) -> Batch:
        """Returns windows as an encoded batch, in which no recent frame is computed again.

        Args:
            windows: crops, uint8 (T, S, S, 3) each.
            preprocess: of the model.
        """
        self._forget_the_past()

        def views(crops: Tensor) -> list[Tensor]:
            frames = preprocess(crops.to(self._device))
            shown = [frames, frames.flip(-1)] if self._model.mirror else [frames]
            with autocast(self._device, self._precision):
                return [self._network.encode_frames(view) for view in shown]

        encoded = self._frames.encode(windows, views)
        mirrored = encoded[1] if self._model.mirror else None
        return Batch(encoded[0], encoded=True, mirror_encoded=mirrored)

    @property
    def label_features(self) -> Tensor:
        """Output of `encode_labels` in fp32, computed once for all predictions."""
        self._forget_the_past()
        return self._label_features

    def _forget_the_past(self) -> None:
        if (now := _stamp(self._model)) != self._stamp:
            self._stamp, self._held = now, _data_of(self._model)
            for name in ("_network", "_label_features", "_frames"):
                self.__dict__.pop(name, None)

    @cached_property
    def _network(self) -> ExpressionModel:
        replaced: dict[nn.Module, nn.Module] = {}
        lowered = can_lower(self._device, dtype := compute_type(self._precision))
        for child in self._model.children():
            if isinstance(child, CoupledPrompts):
                replaced[child] = ComputedPrompts(child, dtype if lowered else torch.float32)
        for encoder in self._model.encoders():
            merged = merge(encoder)
            replaced[encoder] = (
                lower(merged, dtype) if lowered else pack(merged, self._device, self._precision)
            )
        return self._model.with_modules(replaced)

    @cached_property
    def _frames(self) -> SharedFrames:
        return SharedFrames()

    @cached_property
    def _label_features(self) -> Tensor:
        # Independent of the caller's autocast: bf16 training may use a frozen model.
        with torch.inference_mode(), autocast(self._device, "fp32"):
            return self._model.encode_labels()

    @torch.inference_mode()
    def __call__(self, batch: Batch, prior_weight: float | None = None) -> Tensor:
        """Returns the logits (B, C) of a batch on the device, fp32, whose softmax is the prediction.

        In this order: the model's logits, which are cosines divided by the temperature; their mean over
        a window and its mirror image, with `mirror`; plus the logarithms of `prior_factors`.

        Args:
            batch: on the device.
            prior_weight: overrides the model's; without a prior it has no effect.
        """
        logits = [output.logits.float() for output in self._outputs(batch)]
        weight = self._model.prior_weight if prior_weight is None else prior_weight
        return self._adjust(torch.stack(logits).mean(0), weight)

    @torch.inference_mode()
    def features(self, batch: Batch) -> Tensor:
        """Returns the video features (B, D) of a batch on the device, fp32, unit length.

        With `mirror`, they are the mean over the videos and their mirror images, which gives the mean logits.
        """
        views = [output.video_features.float() for output in self._outputs(batch)]
        return F.normalize(torch.stack(views).mean(0), dim=-1)

    def _outputs(self, batch: Batch) -> list[Output]:
        """Returns the output for a batch and, with `mirror`, for its mirror images."""
        self._forget_the_past()
        features = self._label_features
        views = [batch, batch.mirrored()] if self._model.mirror else [batch]
        with autocast(self._device, self._precision):
            return [self._network(view, features) for view in views]

    def _adjust(self, logits: Tensor, weight: float | None) -> Tensor:
        """Adjusts logits (B, C) to other label frequencies than those of the training targets."""
        prior, frequencies = self._model.prior, self._model.label_frequencies
        if prior is None or frequencies is None or weight is None:
            return logits
        factors = tuple(prior_factors(self._model.labels, prior, frequencies, weight))
        if self._shift is None or self._shift[0] != factors:
            self._shift = factors, torch.tensor(factors).log().to(logits.device)
        return logits + self._shift[1]


def _stamp(model: ExpressionModel) -> tuple[object, ...]:
    """Returns texts, temperature, and the addresses and version counters of a model's tensors."""
    tensors = (*model.parameters(), *model.buffers())
    versions = (0 if tensor.is_inference() else tensor._version for tensor in tensors)
    return model.texts, model.temperature, *(tensor.data_ptr() for tensor in tensors), *versions


def _data_of(model: ExpressionModel) -> list[Tensor]:
    """Returns a model's data, which must be held so that new data cannot have the same address."""
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
