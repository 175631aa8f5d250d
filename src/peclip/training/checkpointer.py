"""Saves and restores the state of a training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from peclip.data.dataset import VideoDataset
from peclip.data.samples import Split
from peclip.errors import ConfigError, TrainingError
from peclip.labels import LabelSet
from peclip.text.comparison import differences
from peclip.training.config import TrainConfig
from peclip.training.learner import Learner
from peclip.training.progress import Progress
from peclip.training.running_metrics import RunningMetrics
from peclip.training.state import best_weights, load_state, save_state, valid_content

MAY_CHANGE = {"workers", "patience", "checkpoint_steps", "checkpoint_activations"}
"""Fields that do not affect the weights, so that a resumed training may change them."""


class Checkpointer:
    """Saves and restores a training.

    Args:
        learner: the learner to save.
        progress: the current position.
        folder: of the state; `None` saves nothing.
        data: the training videos, which must be the same when it is resumed.
        watched: the validation videos, which must also be the same: epochs are compared by their scores.
    """

    def __init__(
        self,
        learner: Learner,
        progress: Progress,
        folder: Path | None,
        data: VideoDataset,
        watched: Split | None,
    ) -> None:
        self._learner, self._progress = learner, progress
        self._folder = folder
        self._identity = _identity(data, watched, learner)

    def save(self) -> None:
        """Writes the state on the first rank, if there is a folder."""
        if self._folder is None or not self._learner.runtime.world.is_main:
            return
        progress = {
            name: value for name, value in vars(self._progress).items() if name != "running_metrics"
        }
        state = {
            "identity": self._identity,
            "learner": self._learner.to_state(),
            "progress": progress,
            # The key used in existing state files.
            "running_metrics": self._progress.running_metrics.to_state(),
            "rng": torch.get_rng_state(),
        }
        save_state(state, self._folder)

    def restore(self) -> None:
        """Reads the state into the learner and the progress.

        Raises:
            ConfigError: it belongs to another training; the message names the differences.
        """
        assert self._folder is not None, "the caller names the folder"
        state = load_state(self._folder)
        with valid_content(self._folder):
            before = state["identity"]
            before |= {"settings": _completed(before["settings"])}
            changed = differences(before, self._identity)
        if changed:
            names = ", ".join(f"different {what.name}" for what in changed)
            raise ConfigError(
                f"The state in {str(self._folder)!r} belongs to a run with {names}. To resume, the "
                "videos must have the same names, labels and captions, and only the settings "
                f"{', '.join(sorted(MAY_CHANGE))} may change. Resume it with its original "
                "settings, or start a new run in another folder."
            )
        with valid_content(self._folder):
            self._learner.load_state(state["learner"])
            vars(self._progress).update(
                state["progress"],
                running_metrics=RunningMetrics.from_state(state["running_metrics"]),
            )
            torch.set_rng_state(state["rng"])

    @contextmanager
    def naming_best(self) -> Iterator[None]:
        """Adds the path of the best weights, if any were saved, to an error that ends the training."""
        try:
            yield
        except TrainingError as error:
            kept = self._progress.best_epoch is not None  # else they belong to an earlier training
            raise TrainingError(f"{error}{best_weights(self._folder) if kept else ''}") from None


def _identity(data: VideoDataset, watched: Split | None, learner: Learner) -> dict[str, str]:
    """Returns everything that must not change when a training is resumed, by its name in messages."""
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in learner.trained.items()]
    network = "\n".join([str(data.num_frames), learner.runtime.precision, *shapes])
    labels = learner.model.labels
    return {
        "videos to train on": _hash(_listing(data.split, labels)),
        "videos to validate on": "none" if watched is None else _hash(_listing(watched, labels)),
        "settings": learner.config.model_dump_json(exclude=MAY_CHANGE),
        "network or precision": _hash(network),
    }


def _completed(settings: str) -> str:
    """Returns saved settings with the defaults of fields that are newer, which leave the training as it was."""
    try:
        known = TrainConfig.model_validate_json(settings)
    except ValueError:  # a field was removed
        return settings
    return known.model_dump_json(exclude=MAY_CHANGE)


def _listing(split: Split, labels: LabelSet) -> str:
    """Returns a line for each video, with its target, caption and, if it has one, soft target."""
    return "\n".join(
        f"{sample.id} {labels.index(sample.label)} {sample.caption}"
        + (f" {sample.soft_target}" if sample.soft_target else "")
        for sample in split.samples
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
