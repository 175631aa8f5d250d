"""What a model answers to the videos of a split, and the report of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from peclip.data.dataset import Draw, VideoDataset
from peclip.data.loader import batches_of, load_batches, share
from peclip.data.samples import Split
from peclip.devices import autocast
from peclip.labels import LabelSet
from peclip.metrics import RESAMPLES, ConfusionMatrix, Report, calibration_error
from peclip.models.base import ExpressionModel
from peclip.training.distributed import SINGLE, World
from peclip.types import Batch
from peclip.video.preprocess import Preprocess


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Probabilities for every video of a split, in its order; every rank has all of them."""

    split: Split
    labels: LabelSet
    """Of the model, in the order of the columns."""
    probabilities: Tensor
    """float64 (N, C) on the CPU."""

    @property
    def names(self) -> list[str]:
        """The answer to every video."""
        return [self.labels.names[i] for i in self.probabilities.argmax(-1).tolist()]

    @property
    def loss(self) -> float:
        """Mean negative log-probability of the targets."""
        own = self.probabilities.gather(1, self.targets[:, None])
        return float(-own.clamp(min=1e-12).log().mean())

    @property
    def targets(self) -> Tensor:
        """The class of every video, int64 (N,)."""
        return torch.tensor([self.labels.index(sample.label) for sample in self.split.samples])

    def report(self, *, resamples: int = RESAMPLES, seed: int = 0) -> Report:
        """Returns WAR, UAR and all the rest; labels are compared by name."""
        targets = [sample.label for sample in self.split.samples]
        right = [a == b for a, b in zip(targets, self.names, strict=True)]
        return Report.of(
            ConfusionMatrix.of(self.labels, targets, self.names),
            ece=calibration_error(self.probabilities.max(-1).values.numpy(), right),
            resamples=resamples,
            seed=seed,
        )

    def rows(self) -> Iterator[dict[str, str | float]]:
        """Yields one row per video: source, target, label and `prob_<label>`."""
        for sample, label, row in zip(
            self.split.samples, self.names, self.probabilities.tolist(), strict=True
        ):
            scores = zip(self.labels, row, strict=True)
            yield {
                "source": sample.id,
                "target": sample.label,
                "label": label,
                **{f"prob_{name}": score for name, score in scores},
            }


@torch.inference_mode()
def evaluate(
    model: ExpressionModel,
    dataset: VideoDataset,
    preprocess: Preprocess,
    *,
    device: torch.device,
    precision: str,
    world: World = SINGLE,
    batch_size: int = 8,
    workers: int = 0,
) -> Answers:
    """Asks a model about every video of a split, each one once, whatever the number of ranks.

    Args:
        model: on the device, in eval mode.
        dataset: made with `train=False`.
        preprocess: of the model.
        device: of the model.
        precision: `"fp32"`, `"bf16"` or `"fp16"`.
        world: the processes that share the videos.
        batch_size: videos per forward pass of all ranks together.
        workers: processes that read videos, for every rank.

    Raises:
        DatasetError: a video cannot be read.
    """
    draws = [Draw(0, number) for number in range(len(dataset))]
    batches = share(batches_of(draws, batch_size), world.rank, world.size)
    found = torch.zeros(len(dataset), len(model.labels), device=device)
    with autocast(device, precision):
        label_features = model.encode_labels()
    for videos in load_batches(dataset, batches, workers=workers, pin_memory=device.type == "cuda"):
        if videos is None:
            continue
        frames = preprocess(videos.crops.to(device, non_blocking=True))
        with autocast(device, precision):
            logits = model(Batch(frames), label_features).logits
        found[videos.indices.to(device)] = logits.float().softmax(-1)
    # Every row is 0 on all ranks but one, so the sum is exact.
    return Answers(dataset.split, model.labels, world.sum(found).cpu().double())
