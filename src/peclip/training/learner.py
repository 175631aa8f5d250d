"""A model in training: one optimiser step, and the complete state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from peclip.data.dataset import Videos
from peclip.errors import TrainingError
from peclip.models.descriptions import describe
from peclip.models.loaded import LoadedModel
from peclip.nn.gru import compile_encoder
from peclip.nn.lowered import can_lower, lower_frozen
from peclip.runtime import (
    autocast,
    compiler_errors,
    compute_type,
    fp32_products,
    on_device,
    training_kernels,
)
from peclip.training.collate import to_batch
from peclip.training.config import TrainConfig
from peclip.training.ema import Ema
from peclip.training.mixing import mix
from peclip.training.optim import make_optimizers, set_learning_rates
from peclip.training.running_metrics import RunningMetrics
from peclip.training.runtime import Runtime
from peclip.training.teacher import Teacher
from peclip.types import Batch

_MOST_SKIPPED = 20
"""Consecutive fp16 steps with non-finite gradients before giving up; the scaler halves its scale at each."""


class Learner:
    """Holds a model, its optimiser and, optionally, the average of its weights.

    Args:
        loaded: on its device; exactly the parameters that require a gradient are trained.
        config: of the training.
        runtime: of the training; all its processes start with the weights of the first rank.
        class_counts: (C,), training videos of each class, for the weights of `balance="loss"`.
        teacher: a model whose predictions become part of the targets.

    Raises:
        ConfigError: a backbone with batch statistics is trained in several processes.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        config: TrainConfig,
        runtime: Runtime,
        class_counts: Tensor,
        teacher: Teacher | None = None,
    ) -> None:
        model, device = loaded.network, runtime.device
        self.loaded, self.config, self.runtime = loaded, config, runtime
        self.model, self._device, self._precision = model, device, runtime.precision
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        runtime.world.copy_from_main(tensor.data for tensor in self.trained.values())
        self.optimizers = make_optimizers(model, config)
        self._skipped = 0
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision == "fp16")
        # The scale is created lazily at the first scaling, which a rank without videos never reaches.
        self._scaler.scale(torch.zeros((), device=device))
        self._ema = None if config.ema is None else Ema(self.trained, config.ema)
        self._weights = class_weights(class_counts, config).to(device)
        self._teacher = teacher
        self._network, dtype = model, compute_type(self._precision)
        if can_lower(device, dtype):
            self._network = lower_frozen(model, dtype)
        self._texts = model.texts
        described = partial(describe, own=model.own_texts, sentence=model.sentence)
        self._styles = [described(model.labels, style) for style in config.text_styles]
        if config.compile:
            # On a CPU in bf16 a teacher uses packed encoders instead, which are not compiled.
            taught = teacher.encoders() if teacher else []
            for module in (*self._network.encoders(), *taught):
                compile_encoder(module)

    def step(
        self,
        passes: Iterable[Videos | None],
        running_metrics: RunningMetrics,
        *,
        num_videos: int,
        epoch: int,
        step: int,
        steps_per_epoch: int,
    ) -> dict[str, float]:
        """Takes one step: forward and backward passes, then the optimiser.

        Args:
            passes: this rank's videos of every pass, `None` where it has none.
            running_metrics: updated with this step.
            num_videos: in this step, over all passes and ranks.
            epoch: from 0.
            step: within the epoch, from 0.
            steps_per_epoch: the same for all epochs.

        Returns:
            The learning rates by part.

        Raises:
            TrainingError: the loss or the gradient is not finite; the weights are unchanged.
        """
        now = epoch * steps_per_epoch + step
        rates = set_learning_rates(self.optimizers, self.config, now, steps_per_epoch)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        num_classes = len(self.model.labels)
        seen = torch.zeros(1 + num_classes**2, device=self._device)
        self._draw_texts(Random(f"{self.config.seed}:{epoch}:{step}:texts"))
        rank = self.runtime.world.rank
        # Dropout draws from torch's generator: its state must not depend on where a run was interrupted.
        torch.manual_seed(Random(f"{self.config.seed}:{epoch}:{step}:{rank}:drop").getrandbits(63))
        for number, videos in enumerate(passes):
            if videos is not None:
                random = Random(f"{self.config.seed}:{epoch}:{step}:{number}:mix")
                seen += self._backward(videos, random, num_videos)
        self.runtime.world.sum_gradients(self.trained.values())
        norm = self._clip()
        # The only value that waits for the device, so that it always has work but once per step.
        norm_now, loss_sum, *counts = torch.cat([norm, self.runtime.world.sum(seen)]).tolist()
        self._check(loss_sum, "loss", epoch, step, rates)
        self._update(norm_now, epoch, step, rates)
        running_metrics.add(loss_sum, np.array(counts, np.int64).reshape(num_classes, num_classes))
        return rates

    def _backward(self, videos: Videos, random: Random, num_videos: int) -> Tensor:
        """Adds the gradients of a pass; returns its summed loss and its counts in one row."""
        targets = on_device(videos.targets, self._device)
        num_classes = len(self.model.labels)
        soft_targets = on_device(videos.soft_targets, self._device)
        read = to_batch(videos, self.loaded.preprocess, self._device, soft_targets)
        batch = mix(read, self.config.mixing, random)
        assert batch.targets is not None, "a mixed batch has targets"
        kernels = training_kernels(self._device, self._precision, self.model.num_tokens)
        products = fp32_products(self._device, self._precision)
        # Including backward: checkpointed activations are recomputed there, by the same kernels.
        with kernels, products, compiler_errors():
            with autocast(self._device, self._precision):
                output = self._network(batch)
                loss = self._network.loss(output, self._soften(batch, batch.targets))
            if self.config.spread:
                loss = loss + self.config.spread * mean_squared_cosine(output.label_features)
            total = loss.float() * len(targets)
            self._scaler.scale(total / num_videos).backward()  # type: ignore[no-untyped-call]
        cells = targets * num_classes + output.logits.detach().argmax(-1)
        # As `bincount`, which waits for the device to learn the length of its result.
        counts = total.new_zeros(num_classes**2).scatter_add_(
            0, cells, torch.ones_like(cells, dtype=total.dtype)
        )
        return torch.cat([total.detach().view(1), counts])

    def _soften(self, batch: Batch, targets: Tensor) -> Tensor:
        """Smooths the targets, mixes in the teacher's predictions, then applies class weights."""
        smoothing = self.config.label_smoothing
        targets = (1 - smoothing) * targets + smoothing / targets.shape[-1]
        if self._teacher is not None:
            targets = self._teacher.soften(batch, targets)
        return targets * self._weights

    def _draw_texts(self, random: Random) -> None:
        """Draws a text style for every label for the next step, if there are several."""
        if self._styles:
            ways = zip(*self._styles, strict=True)
            self._network.texts = tuple(random.choice(texts) for texts in ways)

    def _clip(self) -> Tensor:
        """Unscales and clips the gradients; returns their norm before that, (1,), on the device."""
        for optimizer in self.optimizers:
            self._scaler.unscale_(optimizer)
        longest = self.config.clip_grad or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), longest)
        return norm.view(1).float()

    def _update(self, norm: float, epoch: int, step: int, rates: Mapping[str, float]) -> None:
        # In fp16 such a step is skipped and the scale is reduced, which helps within a few steps or never. All
        # optimisers skip it: the norm is of all gradients, and clipping has spread it over them.
        self._skipped = self._skipped + 1 if not math.isfinite(norm) else 0
        if self._skipped > (_MOST_SKIPPED if self._precision == "fp16" else 0):
            self._check(norm, "gradient", epoch, step, rates)
        if not self._skipped:
            for optimizer in self.optimizers:
                self._scaler.step(optimizer)
            # Fused AdamW does not increment the version counter of the weights.
            torch.autograd.graph.increment_version(list(self.trained.values()))
        self._scaler.update()
        if self._ema is not None:
            self._ema.update()

    def _check(
        self, value: float, what: str, epoch: int, step: int, rates: Mapping[str, float]
    ) -> None:
        if not math.isfinite(value):
            used = ", ".join(f"{part} {rate:.2g}" for part, rate in rates.items())
            raise TrainingError(
                f"The {what} is {value} in step {step + 1} of epoch {epoch + 1} (learning rates: "
                f"{used}; {self._precision}). The weights before this step are kept. Start a new "
                "run with lower learning rates (--set train.lr.adapters=…), gradient clipping "
                "(--set train.clip_grad=1) or fp32 (--precision fp32)."
            )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Uses the evaluation weights during the block: the averages, if there are any."""
        self.eval_mode()
        if self._ema is None:
            yield
        else:
            with self._ema.in_place():
                yield

    def eval_mode(self) -> None:
        """Puts the model into eval mode, with the texts of its style."""
        self.model.eval()
        self.model.checkpoint_activations(False)
        self.model.drop_path(0.0)
        self.model.texts = self._texts

    def training(self) -> None:
        """Puts trained modules into training mode, as cuDNN's GRU requires; frozen ones stay in eval mode."""
        self._network.eval()
        self._network.checkpoint_activations(self.config.checkpoint_activations)
        self._network.drop_path(self.config.drop_path)
        for module in self._network.modules():
            if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
                module.training = True

    def weights(self) -> dict[str, Tensor]:
        """Returns a copy of the current weights on the CPU."""
        return {name: t.detach().to("cpu", copy=True) for name, t in self.trained.items()}

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Loads weights into the model."""
        for name, tensor in self.trained.items():
            tensor.copy_(weights[name])

    def settle(self, selected: Mapping[str, Tensor] | None) -> None:
        """Ends the training with the selected weights, or with the evaluation weights."""
        if selected is None:
            with self.evaluating():
                selected = self.weights()
        self.load_weights(selected)

    def to_state(self) -> dict[str, Any]:
        """Returns the complete training state."""
        return {
            "weights": self.weights(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self._scaler.state_dict(),
            "skipped": self._skipped,
            "ema": None if self._ema is None else self._ema.averages,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores the state from `to_state`."""
        self.load_weights(state["weights"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._scaler.load_state_dict(state["scaler"])
        self._skipped = state["skipped"]
        if self._ema is not None:
            self._ema.load(state["ema"])


def mean_squared_cosine(features: Tensor) -> Tensor:
    """Returns the similarity of different rows of (C, D), unit length: 0 if all are orthogonal."""
    cosines = features.float() @ features.float().T
    count = len(features)
    return (cosines - torch.diag(cosines.diagonal())).square().sum() / (count * (count - 1))


def class_weights(counts: Tensor, config: TrainConfig) -> Tensor:
    """Returns the weight of every class in the loss, (C,): all 1, or larger for rare classes.

    Args:
        counts: (C,), training videos of each class; with soft targets the expected number.
        config: `balance` selects the weighting.

    `balance="loss"` weighs a class of n of N videos by N / (K n), with K occurring classes: the mean weight
    over the videos is 1.
    """
    present = counts > 0
    weights = torch.ones(len(counts))
    if config.balance == "loss":
        weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
