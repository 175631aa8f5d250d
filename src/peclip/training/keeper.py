"""Keeping the state of a training, and going on from it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from peclip.data.dataset import VideoDataset
from peclip.errors import ConfigError
from peclip.training.checkpoint import load_state, save_state
from peclip.training.learner import Learner
from peclip.training.progress import Progress
from peclip.training.tally import Tally

_MAY_CHANGE = {"workers", "patience", "checkpoint_steps", "checkpoint_activations"}
"""Fields that do not decide any weight, so that a resumed training may have others."""


class Keeper:
    """Saves and restores a training.

    Args:
        learner: what learns.
        progress: how far it is.
        folder: of the state; `None` keeps nothing.
        data: the training videos, which must be the same when it is resumed.
    """

    def __init__(
        self, learner: Learner, progress: Progress, folder: Path | None, data: VideoDataset
    ) -> None:
        self._learner, self._progress = learner, progress
        self._folder = folder
        self._identity = _identity(data, learner)

    def save(self) -> None:
        """Writes the state, if there is a folder and this is the first rank."""
        if self._folder is None or not self._learner.world.is_main:
            return
        progress = {name: value for name, value in vars(self._progress).items() if name != "tally"}
        state = {
            "identity": self._identity,
            "learner": self._learner.to_state(),
            "progress": progress,
            "tally": self._progress.tally.to_state(),
            "rng": torch.get_rng_state(),
        }
        save_state(state, self._folder)

    def restore(self) -> None:
        """Reads the state into the learner and the progress."""
        assert self._folder is not None, "the caller names the folder"
        state = load_state(self._folder)
        if state["identity"] != self._identity:
            raise ConfigError(
                f"The state in {str(self._folder)!r} is of a training with other videos, labels or "
                f"settings, another network or precision; only {', '.join(sorted(_MAY_CHANGE))} may change. Resume it with its own, or "
                "start anew in another folder."
            )
        self._learner.load_state(state["learner"])
        vars(self._progress).update(state["progress"], tally=Tally.from_state(state["tally"]))
        torch.set_rng_state(state["rng"])


def _identity(data: VideoDataset, learner: Learner) -> str:
    """Returns what must not change between the parts of a training: videos, configuration, network."""
    videos = "\n".join(
        f"{s.id} {t} {s.caption}" for s, t in zip(data.split.samples, data.targets, strict=True)
    )
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in learner.learned.items()]
    network = "\n".join([str(data.num_frames), learner.precision, *shapes])
    decisive = learner.config.model_dump_json(exclude=_MAY_CHANGE)
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (videos, network)]
    return f"{' '.join(hashes)} {decisive}"
