"""Predictions of a model for the videos of a split."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from peclip.data.dataset import Draw, Unreadable, Videos
from peclip.data.loader import batches_of, load_batches, reader_errors, share
from peclip.data.samples import Split
from peclip.errors import DeviceError
from peclip.labels import LabelSet
from peclip.metrics.prediction_table import PredictionTable
from peclip.models.frozen import FrozenModel
from peclip.models.loaded import LoadedModel
from peclip.runtime import COMPUTE_IN_FP32, memory_errors, on_device
from peclip.training.collate import to_batch
from peclip.training.frame_orders import View, as_recorded
from peclip.training.runtime import Runtime
from peclip.training.videos import videos_of
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


def evaluate(loaded: LoadedModel, split: Split, runtime: Runtime) -> PredictionTable:
    """Returns the predictions for every video of a split, as it was recorded; see `evaluate_views`."""
    (table,) = evaluate_views(loaded, split, runtime, [as_recorded])
    return table


@reader_errors()
@torch.inference_mode()
def evaluate_views(
    loaded: LoadedModel,
    split: Split,
    runtime: Runtime,
    views: Sequence[View],
    *,
    seed: int = 0,
    prior_weight: float | None = None,
    skipped: list[Unreadable] | None = None,
    clips: int = 1,
    without: Collection[str] = (),
    on_batch: Callable[[int], None] = lambda videos: None,
) -> list[PredictionTable]:
    """Predicts every video of a split once, whatever the number of ranks.

    Args:
        loaded: on the device, in eval mode.
        split: its labels must be labels of the model.
        runtime: of the computation.
        views: ways to show a video, which is read once.
        seed: of views that draw something.
        prior_weight: instead of the model's own.
        skipped: receives unreadable videos, which get no prediction; `None`: the first is an error.
        clips: of each video, which the views receive one after the other.
        without: streams that the model does not get.
        on_batch: called with the number of videos that all ranks have done.

    Returns:
        The predictions in every view, the videos in the order of the split; every rank has all of them.

    Raises:
        UserError: a label is not one of the model's, a video cannot be read, the memory is too small, or a prediction is
            NaN or infinite.
    """
    found = torch.zeros(len(views), len(split), len(loaded.labels), device=runtime.device)
    predict = _predictor(loaded, runtime, prior_weight)
    unreadable = None if skipped is None else list[Unreadable]()
    for count, videos in _read(split, loaded, runtime, unreadable, clips, without):
        if videos is not None:
            ids = [split.samples[index].id for index in videos.indices.tolist()]
            with memory_errors(runtime.device, "Use a smaller batch size (-b 1)."):
                seen = to_batch(videos, loaded.preprocess, runtime.device)
                shown = torch.stack([view(predict, seen, ids, seed) for view in views])
            found[:, on_device(videos.indices, runtime.device)] = shown
        on_batch(count)
    found = runtime.world.sum(found)  # every row is 0 on all ranks but one, so the sum is exact
    lost = sorted(runtime.world.gather(unreadable or []))
    if skipped is not None:
        skipped += lost
    return _tables(split, lost, loaded.labels, found.cpu().double(), runtime.precision)


def _predictor(
    loaded: LoadedModel, runtime: Runtime, prior_weight: float | None
) -> Callable[[Batch], Tensor]:
    """Returns what maps a batch to probabilities (B, C)."""
    frozen = FrozenModel(loaded.network, runtime.device, runtime.precision)
    return lambda videos: frozen(videos, prior_weight).softmax(-1)


def _tables(
    split: Split, lost: Sequence[Unreadable], labels: LabelSet, found: Tensor, precision: str
) -> list[PredictionTable]:
    """Returns the predictions of every view, found (V, N, C), without the videos that were not read."""
    split, kept = _without(split, lost)
    _check_numbers(found[:, kept], split, precision)
    return [_table(split, labels, probabilities[kept]) for probabilities in found]


def _read(
    split: Split,
    loaded: LoadedModel,
    runtime: Runtime,
    unreadable: list[Unreadable] | None,
    clips: int,
    without: Collection[str],
) -> Iterator[tuple[int, Videos | None]]:
    """Yields for every batch its size over all ranks, and the videos of this rank."""
    world = runtime.world
    batches = batches_of([Draw(0, number) for number in range(len(split))], runtime.batch_size)
    own = share(batches, world.rank, world.size)
    # A still takes a fiftieth of the time that nano takes for it, so more workers would only wait.
    stills = runtime.device.type == "cpu" and all(s.num_frames == 1 for s in split.samples)
    read = load_batches(
        videos_of(split, loaded, clips=clips, without=without),
        own,
        workers=min(runtime.workers, 1) if stills else runtime.workers,
        pin_memory=runtime.device.type == "cuda",
        skipped=unreadable,
    )
    yield from zip(map(len, batches), read, strict=True)


def _table(split: Split, labels: LabelSet, probabilities: Tensor) -> PredictionTable:
    ids, targets = [s.id for s in split.samples], [s.label for s in split.samples]
    return PredictionTable.most_likely(ids, targets, labels.names, probabilities.numpy())


def _check_numbers(probabilities: Tensor, split: Split, precision: str) -> None:
    """Raises a DeviceError where a prediction is NaN or infinite: it would count as the first class."""
    broken = (~probabilities.isfinite().all(-1)).any(0).nonzero().flatten().tolist()
    if broken:
        raise DeviceError(
            f"The predictions for {len(broken):,} of the {len(split):,} videos in {split.title} "
            f"are NaN or infinite in {precision}; the first such video is "
            f"{split.samples[broken[0]].id}. {COMPUTE_IN_FP32}"
        )


def _without(split: Split, lost: Sequence[Unreadable]) -> tuple[Split, list[int]]:
    """Returns the videos that could be read, and their numbers."""
    missing = {video for video, _ in lost}
    kept = [number for number in range(len(split)) if number not in missing]
    return split.with_samples(split.samples[number] for number in kept), kept
