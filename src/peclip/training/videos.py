"""A split as the dataset that a model reads, in training and in evaluation."""

from __future__ import annotations

from collections.abc import Collection

from peclip.data.animation import AnimatedStills
from peclip.data.dataset import VideoDataset
from peclip.data.samples import Split
from peclip.data.streams.registry import sources_of
from peclip.models.loaded import LoadedModel
from peclip.training.config import TrainConfig


def videos_of(
    split: Split,
    loaded: LoadedModel,
    config: TrainConfig | None = None,
    *,
    clips: int = 1,
    without: Collection[str] = (),
) -> VideoDataset:
    """Returns a split as a dataset for a model; with a training configuration, for training.

    Args:
        split: the videos.
        loaded: the model.
        config: of the training.
        clips: of each video, in evaluation; see `VideoDataset`.
        without: streams that are left out, in evaluation.

    Raises:
        ConfigError: a label is not one of the model's, or a stream is missing from animated stills.
    """
    own = loaded.config
    if config is not None and config.animate is not None:
        return AnimatedStills(
            split,
            own.preprocess,
            own.num_frames,
            seed=config.seed,
            labels=loaded.labels,
            animate=config.animate,
            streams=sources_of(own),
        )
    return VideoDataset(
        split,
        own.preprocess,
        own.num_frames,
        train=config is not None,
        seed=0 if config is None else config.seed,
        labels=loaded.labels,
        augment=None if config is None else config.augment,
        streams={name: one for name, one in sources_of(own).items() if name not in without},
        clips=clips,
    )
