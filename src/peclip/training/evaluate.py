"""What a model predicts for the videos of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from peclip.data.dataset import Draw, Unreadable, VideoDataset
from peclip.data.loader import batches_of, load_batches, reader_errors, share
from peclip.data.samples import Split
from peclip.errors import DeviceError
from peclip.labels import LabelSet
from peclip.metrics.prediction_table import PredictionTable
from peclip.models.base import ExpressionModel
from peclip.models.frozen import FrozenModel
from peclip.nn.preprocess import Preprocess
from peclip.runtime import COMPUTE_IN_FP32, memory_errors
from peclip.training.collate import to_batch
from peclip.training.distributed import SINGLE, World
from peclip.training.frame_orders import View, as_recorded
from peclip.types import Batch


def to_tensors(table: PredictionTable, labels: LabelSet) -> tuple[Tensor, Tensor]:
    """Returns the probabilities, float64 (N, C), and the classes of the targets, int64 (N,), on the CPU.

    Args:
        table: the predictions of a model.
        labels: of the model.
    """
    assert table.probabilities is not None
    classes = [labels.index(target) for target in table.targets]
    return torch.from_numpy(table.probabilities), torch.tensor(classes)


def mean_loss(table: PredictionTable, labels: LabelSet) -> float:
    """Returns the mean negative log-probability of the targets."""
    probabilities, classes = to_tensors(table, labels)
    own = probabilities.gather(1, classes[:, None])
    return float(-own.clamp(min=1e-12).log().mean())


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
) -> PredictionTable:
    """Returns the predictions for every video of a split, as it was recorded; see `evaluate_views`."""
    (table,) = evaluate_views(
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
    return table


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
) -> list[PredictionTable]:
    """Predicts every video of a split, each one once, whatever the number of ranks.

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
        skipped: takes the videos that no rank can read, which have no prediction then; `None` makes the
            first one an error.
        on_batch: is told how many videos of all ranks are done.

    Returns:
        The predictions in every view, the videos in the order of the split; every rank has all of them.

    Raises:
        DatasetError: a video cannot be read.
        DeviceError: the memory is too small, or a prediction is NaN or infinite.
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
    return [_table(split, model.labels, part[kept]) for part in probabilities]


def _table(split: Split, labels: LabelSet, probabilities: Tensor) -> PredictionTable:
    ids, targets = [s.id for s in split.samples], [s.label for s in split.samples]
    return PredictionTable.most_likely(ids, targets, labels.names, probabilities.numpy())


def _check_numbers(probabilities: Tensor, split: Split, precision: str) -> None:
    """Raises a DeviceError where a prediction is NaN or infinite: it would count as the first class."""
    broken = (~probabilities.isfinite().all(-1)).any(0).nonzero().flatten().tolist()
    if broken:
        raise DeviceError(
            f"The predictions for {len(broken):,} of the {len(split):,} videos of {split.title} are NaN or infinite in "
            f"{precision}, the first one that for {split.samples[broken[0]].id}. {COMPUTE_IN_FP32}"
        )


def _without(split: Split, lost: Sequence[Unreadable]) -> tuple[Split, list[int]]:
    """Returns the videos that could be read, and their numbers."""
    missing = {video for video, _ in lost}
    kept = [number for number in range(len(split)) if number not in missing]
    return split.with_samples(split.samples[number] for number in kept), kept
