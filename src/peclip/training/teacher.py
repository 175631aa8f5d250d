"""Knowledge distillation from a trained model (Hinton et al., 2015, "Distilling the Knowledge")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from peclip.config import ModelConfig
from peclip.errors import ConfigError
from peclip.models.base import ExpressionModel
from peclip.models.frozen import FrozenModel
from peclip.models.loaded import LoadedModel
from peclip.settings import load_settings
from peclip.training.config import TeacherConfig
from peclip.training.runtime import Runtime
from peclip.types import Batch
from peclip.weights.checkpoint import load_model
from peclip.weights.folder import Checkpoint
from peclip.weights.resolve import resolve


class Teacher:
    """Mixes a teacher's predictions for the student's input videos into the targets.

    The cross-entropy is linear in the target, so this is the sum of the loss against the labels and the
    one against the teacher's distribution, with the weights `1 - share` and `share`.

    Args:
        model: on its device, in eval mode.
        columns: the index of each student label among the teacher's.
        config: share and temperature.
        runtime: of the training.
    """

    def __init__(
        self,
        model: ExpressionModel,
        columns: Sequence[int],
        config: TeacherConfig,
        runtime: Runtime,
    ) -> None:
        self.model = model
        self._frozen = FrozenModel(model, runtime.device, runtime.precision)
        self._columns = torch.tensor(columns, device=runtime.device)
        self._config = config

    def encoders(self) -> list[nn.Module]:
        """Returns what may be compiled: on CUDA the video encoders that are used, and elsewhere those of the model."""
        on_cuda = self._columns.device.type == "cuda"
        return (self._frozen.network if on_cuda else self.model).encoders()

    @torch.no_grad()
    def soften(self, batch: Batch, targets: Tensor) -> Tensor:
        """Mixes the teacher's distribution into targets (B, C).

        It is the same as in prediction, including its mirror image and prior.
        """
        logits = self._frozen(batch)
        predictions = (logits / self._config.temperature).softmax(-1)[:, self._columns]
        softened: Tensor = targets + self._config.share * (predictions - targets)
        return softened


def find_teacher(config: TeacherConfig, student: ModelConfig) -> Checkpoint:
    """Finds the teacher of a student.

    Raises:
        ConfigError: its labels, its preprocessing or its inputs do not match the student's.
        UserError: it cannot be found.
    """
    checkpoint = resolve(config.model, settings=load_settings())
    known, labels = checkpoint.config.label_set, student.label_set
    if set(known) != set(labels):
        raise ConfigError(
            f"The teacher {config.model!r} has the labels {', '.join(known)}, but the student has "
            f"{', '.join(labels)}. Use a teacher with the labels of the student."
        )
    if checkpoint.config.preprocess != student.preprocess:
        raise ConfigError(
            f"The preprocessing of the teacher {config.model!r} differs from the student's, but "
            "both receive the same frames. Use a teacher with the same preprocess settings in "
            "its config.json."
        )
    if lacking := " and ".join(
        name for name in checkpoint.config.streams if name not in student.streams
    ):
        raise ConfigError(
            f"The teacher {config.model!r} reads {lacking}, but the student does not, so these "
            f"inputs would be missing. Use a teacher that does not read {lacking}, or a student "
            "that does."
        )
    return checkpoint


def load_teacher(config: TeacherConfig, student: LoadedModel, runtime: Runtime) -> Teacher:
    """Loads the teacher.

    Raises:
        ConfigError: as `find_teacher`.
        UserError: it cannot be found or loaded.
    """
    checkpoint = find_teacher(config, student.config)
    model = load_model(checkpoint, settings=load_settings())
    model = model.to(runtime.device).requires_grad_(False)
    known = checkpoint.config.label_set
    return Teacher(model, [known.index(name) for name in student.labels], config, runtime)
