"""What a model answers to the videos of a split, the report of it, and the file of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from peclip.data.dataset import Draw, Unreadable, VideoDataset
from peclip.data.loader import batches_of, load_batches, reader_errors, share
from peclip.data.samples import Split
from peclip.errors import ConfigError, DeviceError
from peclip.files import write_rows
from peclip.labels import LabelSet
from peclip.metrics.calibration_error import calibration_error
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.intervals import RESAMPLES
from peclip.metrics.report import Report
from peclip.models.base import ExpressionModel
from peclip.models.frozen import FrozenModel
from peclip.runtime import COMPUTE_IN_FP32, memory_errors
from peclip.training.collate import to_batch
from peclip.training.distributed import SINGLE, World
from peclip.training.frame_orders import View, as_recorded
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


def answer_paths(path: Path, folds: Sequence[int | None]) -> dict[int | None, Path]:
    """Returns where the answers of each fold go: `a.csv`, and with several folds `a-fold-1.csv` and so on."""
    if len(folds) == 1:
        return {folds[0]: path}
    return {fold: path.with_name(f"{path.stem}-fold-{fold}{path.suffix}") for fold in folds}


def write_answers(path: Path, answers: Answers) -> None:
    """Writes the answers to all videos as a `.csv` file that `--predictions` reads.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        write_rows(path, list(answers.rows()))
    except OSError as error:
        raise ConfigError(
            f"The answers cannot be written to {str(path)!r}: {error.strerror}. Give a file in a folder "
            "that exists and can be written."
        ) from None


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
    """Asks a model about every video of a split, as it was recorded; see `evaluate_views`."""
    (answers,) = evaluate_views(
        model,
        dataset,
        preprocess,
        [as_recorded],
        device=device,
        precision=precision,
        world=world,
        batch_size=batch_size,
        workers=workers,
    )
    return answers


@reader_errors()
@torch.inference_mode()
def evaluate_views(
    model: ExpressionModel,
    dataset: VideoDataset,
    preprocess: Preprocess,
    views: Sequence[View],
    *,
    device: torch.device,
    precision: str,
    world: World = SINGLE,
    batch_size: int = 8,
    workers: int = 0,
    seed: int = 0,
    prior_weight: float | None = None,
    skipped: list[Unreadable] | None = None,
    on_batch: Callable[[int], None] = lambda videos: None,
) -> list[Answers]:
    """Asks a model about every video of a split, each one once, whatever the number of ranks.

    Args:
        model: on the device, in eval mode.
        dataset: made with `train=False`.
        preprocess: of the model.
        views: ways to show a video; it is read once for all of them.
        device: of the model.
        precision: `"fp32"`, `"bf16"` or `"fp16"`.
        world: the processes that share the videos.
        batch_size: videos per forward pass of all ranks together.
        workers: processes that read videos, for every rank.
        seed: of views that draw something.
        prior_weight: instead of the model's own.
        skipped: takes the videos that no rank can read, which have no answer then; `None` makes the
            first one an error.
        on_batch: is told how many videos of all ranks are done.

    Returns:
        The answers in every view.

    Raises:
        DatasetError: a video cannot be read.
        DeviceError: the memory is too small, or an answer no number.
    """
    batches = batches_of([Draw(0, number) for number in range(len(dataset))], batch_size)
    own = share(batches, world.rank, world.size)
    samples = dataset.split.samples
    found = torch.zeros(len(views), len(dataset), len(model.labels), device=device)
    frozen = FrozenModel(model, device, precision)
    unreadable: list[Unreadable] | None = None if skipped is None else []

    def ask(videos: Batch) -> Tensor:
        return frozen(videos, prior_weight).softmax(-1)

    loaded = load_batches(
        dataset, own, workers=workers, pin_memory=device.type == "cuda", skipped=unreadable
    )
    for batch, videos in zip(batches, loaded, strict=True):
        if videos is not None:
            ids = [samples[index].id for index in videos.indices.tolist()]
            with memory_errors(device, "Give fewer videos per pass (-b 1)."):
                seen = to_batch(videos, preprocess, device)
                for number, view in enumerate(views):
                    found[number, videos.indices.to(device)] = view(ask, seen, ids, seed)
        on_batch(len(batch))
    # Every row is 0 on all ranks but one, so the sum is exact.
    probabilities = world.sum(found).cpu().double()
    lost = sorted(world.gather(unreadable or []))
    if skipped is not None:
        skipped += lost
    split, kept = _without(dataset.split, lost)
    _check_numbers(probabilities[:, kept], split, precision)
    return [Answers(split, model.labels, part[kept]) for part in probabilities]


def _check_numbers(probabilities: Tensor, split: Split, precision: str) -> None:
    """Raises a DeviceError where an answer is no number: it would count as the first class."""
    broken = (~probabilities.isfinite().all(-1)).any(0).nonzero().flatten().tolist()
    if broken:
        raise DeviceError(
            f"The answers to {len(broken):,} of the {len(split):,} videos of {split.title} are no numbers in "
            f"{precision}, the first one that to {split.samples[broken[0]].id}. {COMPUTE_IN_FP32}"
        )


def _without(split: Split, lost: Sequence[Unreadable]) -> tuple[Split, list[int]]:
    """Returns the videos that could be read, and their numbers."""
    missing = {video for video, _ in lost}
    kept = [number for number in range(len(split)) if number not in missing]
    return split.with_samples(split.samples[number] for number in kept), kept
