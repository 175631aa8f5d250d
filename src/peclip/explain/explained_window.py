"""The window that is explained, and the network that explains it: in fp32, with attention weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from peclip import runtime
from peclip.labels import effective_prior_weight, prior_factors
from peclip.models.base import ExpressionModel, Output
from peclip.nn.adapters import TokenGRU
from peclip.nn.attention_maps import RecordingBlock, record_attention
from peclip.nn.lora import merge
from peclip.nn.towers import VisionTower
from peclip.types import Batch, FrameStream, Stream


class View(NamedTuple):
    """The window, or its mirror image, as the network sees it."""

    batch: Batch
    is_mirrored: bool


class ExplainedWindow:
    """A window with everything that a method needs.

    The explained number is the log-odds of the label, log(p / (1 - p)), of the prediction in fp32: with the mirror image
    and the prior of the model, if it has them. Unlike p, it does not flatten out where the model is certain, and unlike
    a logit, it ignores what raises all labels alike.

    Args:
        model: in eval mode; it is not changed.
        batch: B is 1, normalised, with the streams of the model.
        label: index of the explained label.
        frame_numbers: (T,), of the frames in the source, so that copies of a frame are known.
        prior_weight: overrides that of the model.
        has_closed_vocabulary: whether the text encoder knows only the texts of its labels.
    """

    def __init__(
        self,
        model: ExpressionModel,
        batch: Batch,
        label: int,
        frame_numbers: Sequence[int],
        *,
        prior_weight: float | None = None,
        has_closed_vocabulary: bool = False,
    ) -> None:
        self.batch, self.label = batch, label
        self.frame_numbers = tuple(frame_numbers)
        self.has_closed_vocabulary = has_closed_vocabulary
        self.network, self.tower, self.blocks = _recording(model)
        self.forward_passes = self.backward_passes = 0
        with torch.no_grad():
            self.label_features = self.network.encode_labels()
            self._shift = _log_prior(model, prior_weight, self.label_features)

    @property
    def num_frames(self) -> int:
        """T."""
        return self.batch.frames.shape[1]

    @property
    def num_prompts(self) -> int:
        """Prompt tokens at the end of a frame's tokens."""
        return self.network.num_tokens - self.tower.num_tokens

    @property
    def grid(self) -> int:
        """G, rows and columns of patches."""
        return self.tower.grid

    def views(self, batch: Batch) -> list[View]:
        """Returns a window and, if the model averages both, its mirror image."""
        views = [View(batch, False)]
        return [*views, View(batch.mirrored(), True)] if self.network.mirror else views

    def logits(self, view: View) -> Tensor:
        """Returns the logits of one view, (1, C), and counts the pass."""
        self.forward_passes += 1
        with runtime.autocast(self.batch.frames.device, "fp32"):
            output: Output = self.network(view.batch, self.label_features)
        return output.logits.float()

    def log_odds(self, logits: Sequence[Tensor]) -> Tensor:
        """Returns the log-odds of the label from the logits (1, C) of the views."""
        adjusted = torch.stack(list(logits)).mean(0)[0] + self._shift
        others = torch.cat([adjusted[: self.label], adjusted[self.label + 1 :]])
        return adjusted[self.label] - others.logsumexp(0)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Returns the log-odds of the label for another window, such as one with fewer frames."""
        return self.log_odds([self.logits(view) for view in self.views(batch)])

    def gradients(self, of: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns the gradients of a number, and counts the pass; no parameter gets one."""
        self.backward_passes += 1
        return torch.autograd.grad(of, list(inputs))

    def blank(self) -> Tensor:
        """Returns the mean colour of the window, (3, 1, 1), which stands for a part that is not seen."""
        return self.batch.frames.mean((0, 1, 3, 4))[:, None, None]

    def without(self, hidden: Tensor) -> Batch:
        """Returns the window with pixels replaced by its mean colour, in all pictures that the model reads.

        Args:
            hidden: bool (T, S, S), or (1, S, S) for all frames.
        """
        frames = _hide(self.batch.frames, hidden, self.blank())
        streams = {name: self._hide_in(s, hidden) for name, s in self.batch.streams.items()}
        return replace(self.batch, frames=frames, streams=streams)

    def _hide_in(self, stream: Stream, hidden: Tensor) -> Stream:
        """Hides pixels in the pictures of a stream, such as parsing maps, which are drawn over the crop."""
        size = self.batch.frames.shape[-3:]

        def change(values: Tensor) -> Tensor:
            is_picture = values.is_floating_point() and values.shape[-3:] == size
            return _hide(values, hidden, self.blank()) if is_picture else values

        return stream.changed(change) if isinstance(stream, FrameStream) else stream


def _hide(pictures: Tensor, hidden: Tensor, blank: Tensor) -> Tensor:
    """Replaces pixels of (1, T, ..., 3, S, S) that are hidden, bool (T or 1, S, S)."""
    size = hidden.shape[-2:]
    mask = hidden.view(1, len(hidden), *[1] * (pictures.ndim - 4), *size)
    return torch.where(mask, blank, pictures)


def _recording(
    model: ExpressionModel,
) -> tuple[ExpressionModel, VisionTower, list[RecordingBlock]]:
    """Returns a copy of a model whose video encoder records attention, as `FrozenModel` makes one that is packed."""
    (encoder,) = model.encoders()
    assert isinstance(encoder, VisionTower), "every model has the vision tower of CLIP"
    tower, blocks = record_attention(merge(encoder))
    tower.checkpoint_activations = False
    network = model.with_modules({encoder: tower})
    for module in tower.modules():
        if isinstance(module, TokenGRU):
            module.train()  # cuDNN has no gradient otherwise; the output is the same
    return network, tower, blocks


def _log_prior(model: ExpressionModel, given: float | None, like: Tensor) -> Tensor:
    """Returns what predictions add to the logits, (C,)."""
    weight = effective_prior_weight(model, given)
    if model.prior is None or model.label_frequencies is None or weight is None:
        return torch.zeros(len(model.labels), device=like.device)
    factors = prior_factors(model.labels, model.prior, model.label_frequencies, weight)
    # A label that never occurs has the factor 0; differences of infinite log-odds would be NaN.
    return torch.tensor(factors, device=like.device).clamp(min=torch.finfo().tiny).log()
