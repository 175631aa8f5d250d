"""Features of the videos that a run was scored on, computed with its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from peclip.data.dataset import Draw
from peclip.data.loader import batches_of, load_batches, reader_errors
from peclip.data.samples import Split
from peclip.errors import ConfigError
from peclip.metrics.embedding import chosen
from peclip.metrics.figures.plot_data import PlotData
from peclip.metrics.video_features import VideoFeatures
from peclip.models.frozen import FrozenModel
from peclip.recognizers.recognizer import Recognizer
from peclip.runs.recipe import read_recipe, run_config
from peclip.runs.run_files import CONFIG
from peclip.runs.run_results import fold_folders
from peclip.runs.splits import read_run_splits
from peclip.runtime import memory_errors, windows_at_once
from peclip.training.collate import to_batch
from peclip.training.videos import videos_of
from peclip.weights.folder import MODEL, last_stage

_WORKERS = 2


def run_features(
    folder: Path,
    data: PlotData,
    *,
    root: Path | None = None,
    device: str = "auto",
    on_batch: Callable[[int, int], None] = lambda done, videos: None,
) -> VideoFeatures:
    """Computes the features of the videos in the predictions of a run.

    Of many videos, `peclip.metrics.embedding.chosen` draws those that are embedded, so that only their features
    are computed.

    Args:
        folder: of a run without folds.
        data: read from the folder.
        root: folder of the data set, if it has moved since the run.
        device: to compute on.
        on_batch: called with the number of videos that are done, and that of all.

    Raises:
        UserError: the run has several folds, no model or no predictions, or the data set cannot be read.
    """
    folder = last_stage(folder)
    if fold_folders(folder):
        raise ConfigError(
            f"{str(folder)!r} has one model per fold, whose features cannot be compared. Pass the folder of "
            "one fold, such as fold-1."
        )
    if data.table is None or not (folder / MODEL).is_dir():
        raise ConfigError(
            f"The run in {str(folder)!r} has no {'predictions' if data.table is None else 'model'} yet. "
            f"Finish it with: peclip train --resume {folder}"
        )
    predicted = _predicted(folder, set(data.table.ids), root)
    samples = predicted.samples
    split = predicted.with_samples(samples[i] for i in chosen(len(samples), seed=data.seed))
    recognizer = Recognizer.from_pretrained(folder / MODEL, device=device, precision="fp32")
    values = features_of(recognizer, split, on_batch)
    kept = "" if len(split) == len(samples) else f" ({len(split):,} of {len(samples):,} videos)"
    return VideoFeatures(
        tuple(sample.id for sample in split.samples),
        tuple(sample.label for sample in split.samples),
        values,
        f"{data.videos}{kept}, {data.model}",
    )


def _predicted(folder: Path, videos: set[str], root: Path | None) -> Split:
    """Returns the videos of the data set that have predictions.

    Raises:
        ConfigError: some of them are missing.
    """
    config = run_config(read_recipe(str(folder / CONFIG)))
    source = config.data if root is None else config.data.model_copy(update={"root": root})
    reported = read_run_splits(source, config.train).reported
    samples = [] if reported is None else [s for s in reported.samples if s.id in videos]
    if reported is None or len(samples) != len(videos):
        raise ConfigError(
            f"{len(samples):,} of the {len(videos):,} videos with predictions are in {source.dataset} in "
            f"{source.root}. Pass the folder that the run was trained with: --data-root DIR"
        )
    return reported.with_samples(samples)


@reader_errors()
@torch.inference_mode()
def features_of(
    recognizer: Recognizer,
    split: Split,
    on_batch: Callable[[int, int], None] = lambda done, videos: None,
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Returns the features of the videos of a split, float32 (N, D), unit length; see `FrozenModel.features`.

    Raises:
        DatasetError: a video cannot be read.
        DeviceError: the memory is too small.
    """
    device, loaded = recognizer.device, recognizer.loaded
    frozen = FrozenModel(loaded.network, device, recognizer.precision)
    draws = [Draw(0, number) for number in range(len(split))]
    batches = batches_of(draws, windows_at_once(device))
    found, done = list[torch.Tensor](), 0
    read = load_batches(videos_of(split, loaded), batches, workers=_WORKERS, pin_memory=False)
    for videos in read:
        assert videos is not None, "a video that cannot be read is an error"
        with memory_errors(device, "Use --device cpu."):
            found.append(frozen.features(to_batch(videos, loaded.preprocess, device)).cpu())
        done += len(videos.indices)
        on_batch(done, len(split))
    return np.asarray(torch.cat(found).numpy(), np.float32)
