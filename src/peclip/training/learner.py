"""A model that learns: one step of the optimiser, and all of its state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from peclip.data.dataset import Videos
from peclip.errors import TrainingError
from peclip.models.base import ExpressionModel
from peclip.models.descriptions import describe
from peclip.runtime import autocast, choose_precision, compiler_errors, training_kernels
from peclip.training.collate import to_batch
from peclip.training.config import TrainConfig
from peclip.training.distributed import World
from peclip.training.ema import Ema
from peclip.training.mixing import mix
from peclip.training.optim import make_optimizers, set_learning_rates
from peclip.training.running_metrics import RunningMetrics
from peclip.training.teacher import Teacher
from peclip.types import Batch
from peclip.video.preprocess import Preprocess

_MOST_SKIPPED = 20
"""Steps in a row without a finite gradient in fp16; the scaler has then divided by 2 to the power of them."""


class Learner:
    """Has a model, its optimiser and, if asked for, the average of its weights.

    Args:
        model: on its device; what requires a gradient is trained, nothing else.
        config: of the training.
        preprocess: of the model.
        device: of the model.
        world: the processes that train together; all begin with the weights of the first.
        class_counts: (C,), training videos of each class, for the weights of `balance="loss"`.
        teacher: whose predictions become a part of the targets.

    Raises:
        ConfigError: several processes are to train a backbone that keeps statistics of its batches.
    """

    def __init__(
        self,
        model: ExpressionModel,
        config: TrainConfig,
        preprocess: Preprocess,
        device: torch.device,
        world: World,
        class_counts: Tensor,
        teacher: Teacher | None = None,
    ) -> None:
        self.model, self.config, self.device, self.world = model, config, device, world
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        world.copy_from_main(tensor.data for tensor in self.trained.values())
        self.optimizers = make_optimizers(model, config)
        self.precision = choose_precision(config.precision, device)
        self._skipped = 0
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        # It makes its scale when it first scales, and a rank without videos has nothing to scale.
        self._scaler.scale(torch.zeros((), device=device))
        self._ema = None if config.ema is None else Ema(self.trained, config.ema)
        self._preprocess = preprocess
        self._weights = class_weights(class_counts, config).to(device)
        self._teacher = teacher
        self._texts = model.texts
        self._styles = [
            describe(model.labels, style, model.own_texts) for style in config.text_styles
        ]
        if config.compile:
            # On a CPU in bf16 a teacher answers by packed encoders instead, which are not compiled.
            for module in (*model.encoders(), *(teacher.model.encoders() if teacher else ())):
                module.compile()

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
            running_metrics: what is seen is added to it.
            num_videos: of this step, over all passes and ranks.
            epoch: from 0.
            step: within the epoch, from 0.
            steps_per_epoch: of this epoch and every other.

        Returns:
            The learning rates by part.

        Raises:
            TrainingError: the loss or the gradient is not finite; the weights are still those before.
        """
        now = epoch * steps_per_epoch + step
        rates = set_learning_rates(self.optimizers, self.config, now, steps_per_epoch)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        num_classes = len(self.model.labels)
        seen = torch.zeros(1 + num_classes**2, device=self.device)
        self._draw_texts(Random(f"{self.config.seed}:{epoch}:{step}:texts"))
        for number, videos in enumerate(passes):
            if videos is not None:
                random = Random(f"{self.config.seed}:{epoch}:{step}:{number}:mix")
                seen += self._backward(videos, random, num_videos)
        self.world.sum_gradients(self.trained.values())
        loss_sum, *counts = self.world.sum(seen).tolist()
        self._check(loss_sum, "loss", epoch, step, rates)
        self._update(epoch, step, rates)
        running_metrics.add(loss_sum, np.array(counts, np.int64).reshape(num_classes, num_classes))
        return rates

    def _backward(self, videos: Videos, random: Random, num_videos: int) -> Tensor:
        """Adds the gradients of a pass; returns its summed loss and its counts in one row."""
        targets = videos.targets.to(self.device)
        num_classes = len(self.model.labels)
        soft_targets = videos.soft_targets.to(self.device)
        read = to_batch(videos, self._preprocess, self.device, soft_targets)
        batch = mix(read, self.config.mixing, random)
        assert batch.targets is not None, "a mixed batch has targets"
        kernels = training_kernels(self.device, self.precision, self.model.num_tokens)
        # Backwards too: activations that are checkpointed are computed anew there, by the same kernels.
        with kernels, compiler_errors():
            with autocast(self.device, self.precision):
                output = self.model(batch)
                loss = self.model.loss(output, self._soften(batch, batch.targets))
            if self.config.spread:
                loss = loss + self.config.spread * mean_squared_cosine(output.label_features)
            total = loss.float() * len(targets)
            self._scaler.scale(total / num_videos).backward()  # type: ignore[no-untyped-call]
        cells = targets * num_classes + output.logits.detach().argmax(-1)
        counts = torch.bincount(cells, minlength=num_classes**2).float()
        return torch.cat([total.detach().view(1), counts])

    def _soften(self, batch: Batch, targets: Tensor) -> Tensor:
        """Spreads a part of every target over all classes, asks the teacher, then weighs the classes."""
        smoothing = self.config.label_smoothing
        targets = (1 - smoothing) * targets + smoothing / targets.shape[-1]
        if self._teacher is not None:
            targets = self._teacher.soften(batch, targets)
        return targets * self._weights

    def _draw_texts(self, random: Random) -> None:
        """Describes every label in a style of its own for the next step, where there are several."""
        if self._styles:
            ways = zip(*self._styles, strict=True)
            self.model.texts = tuple(random.choice(texts) for texts in ways)

    def _update(self, epoch: int, step: int, rates: Mapping[str, float]) -> None:
        for optimizer in self.optimizers:
            self._scaler.unscale_(optimizer)
        longest = self.config.clip_grad or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), longest)
        # In fp16 such a step is left out, and the scaler scales less, which helps within a few steps or never. All
        # optimisers leave it out: the norm is of all gradients, and clipping has spread it over them.
        self._skipped = self._skipped + 1 if not math.isfinite(norm.item()) else 0
        if self._skipped > (_MOST_SKIPPED if self.precision == "fp16" else 0):
            self._check(norm.item(), "gradient", epoch, step, rates)
        if not self._skipped:
            for optimizer in self.optimizers:
                self._scaler.step(optimizer)
            # AdamW in one pass over the weights does not count that it has changed them.
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
                f"The {what} is {value} in step {step + 1} of epoch {epoch + 1} (learning rates: {used}; "
                f"{self.precision}). The weights are those before this step. Lower the learning rates "
                "(--set train.lr.adapters=…), clip gradients (--set train.clip_grad=1) or compute in "
                "fp32 (--precision fp32) in a new run."
            )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Holds the weights that count for as long as the block runs: the averages, if there are any."""
        self.eval_mode()
        if self._ema is None:
            yield
        else:
            with self._ema.in_place():
                yield

    def eval_mode(self) -> None:
        """Puts the model into the state in which it answers, with texts of its own."""
        self.model.eval()
        self.model.checkpoint_activations(False)
        self.model.texts = self._texts

    def training(self) -> None:
        """Puts what is trained into training mode, which cuDNN's GRU needs; what is frozen has none."""
        self.model.eval()
        self.model.checkpoint_activations(self.config.checkpoint_activations)
        for module in self.model.modules():
            if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
                module.training = True

    def weights(self) -> dict[str, Tensor]:
        """Returns a copy of the weights that are in the model now, on the CPU."""
        return {name: t.detach().to("cpu", copy=True) for name, t in self.trained.items()}

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Puts weights into the model."""
        for name, tensor in self.trained.items():
            tensor.copy_(weights[name])

    def settle(self, selected: Mapping[str, Tensor] | None) -> None:
        """Ends the training with the selected weights, or with those that count now."""
        if selected is None:
            with self.evaluating():
                selected = self.weights()
        self.load_weights(selected)

    def to_state(self) -> dict[str, Any]:
        """Returns everything that a later step depends on."""
        return {
            "weights": self.weights(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self._scaler.state_dict(),
            "skipped": self._skipped,
            "ema": None if self._ema is None else self._ema.averages,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `to_state` returned."""
        self.load_weights(state["weights"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._scaler.load_state_dict(state["scaler"])
        self._skipped = state["skipped"]
        if self._ema is not None:
            self._ema.load(state["ema"])


def mean_squared_cosine(features: Tensor) -> Tensor:
    """Returns how alike different rows of (C, D), unit length, are: 0 where all are orthogonal."""
    cosines = features.float() @ features.float().T
    count = len(features)
    return (cosines - torch.diag(cosines.diagonal())).square().sum() / (count * (count - 1))


def class_weights(counts: Tensor, config: TrainConfig) -> Tensor:
    """Returns the weight of every class in the loss, (C,): all 1, or the rarer the more.

    Args:
        counts: (C,), training videos of each class; with soft targets the expected number.
        config: says by `balance` which.

    `balance="loss"` weighs a class of n of N videos by N / (K n), K classes occurring: a weight of 1 in
    the mean over the videos.
    """
    present = counts > 0
    weights = torch.ones(len(counts))
    if config.balance == "loss":
        weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
