"""The main user-facing class: a model that is loaded by name, predicts, trains and is saved."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Self, cast

import torch

from peclip import runtime
from peclip.downloads.hub import push_folder
from peclip.errors import ConfigError
from peclip.labels import LabelSet, canonical
from peclip.literals import Precision
from peclip.models.registry import ARCHITECTURES, DEFAULT
from peclip.nn.backbone_config import has_closed_vocabulary
from peclip.recognizers.predictor import Predictor
from peclip.settings import Settings, load_settings
from peclip.training.config import TrainConfig
from peclip.weights.checkpoint import load_model, save_model
from peclip.weights.folder import Checkpoint
from peclip.weights.model_card import write_card
from peclip.weights.resolve import resolve

if TYPE_CHECKING:
    from peclip.data.samples import Split
    from peclip.training.progress import Hooks
    from peclip.training.trainer import TrainResult

log = logging.getLogger("peclip")


class Recognizer(Predictor):
    """A model that is loaded by name, predicts videos, trains and is saved. Arguments are those of `Predictor`."""

    architecture: str | None = None
    """The architecture that this class loads; `None` takes any."""

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        revision: str | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        predicting: bool = True,
    ) -> Self:
        """Loads a model by name; `Recognizer` itself returns the class of the model's architecture.

        Args:
            name: `None` or `"nano"` (embedded), `"ViT-B-16-quickgelu/openai"` or another open_clip ViT
                and weight tag, a directory, a hub repository `"owner/name[@revision]"`, or `"debug"`.
            revision: of a hub repository.
            device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:N"` or `"mps"`.
            precision: `"auto"`, `"fp32"`, `"tf32"` (CUDA), `"bf16"` or `"fp16"`.
            predicting: false to let `"auto"` choose as for training and evaluation: fp32 on every CPU.

        Raises:
            ConfigError: the name is unknown, or it is a model of another class.
            WeightsError: the weights are not cached and cannot be downloaded, or do not fit.
            DeviceError: the device or precision is unavailable.
        """
        chosen, settings = runtime.choose_device(device), load_settings()
        computed = runtime.choose_precision(precision, chosen, predicting=predicting)
        kind = cls.architecture or DEFAULT
        checkpoint = resolve(name, settings=settings, revision=revision, architecture=kind)
        return cls.from_checkpoint(checkpoint, chosen, computed, settings)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, device: torch.device, precision: str, settings: Settings
    ) -> Self:
        """Loads a model from a resolved checkpoint; `Recognizer` returns the class of its architecture.

        Raises:
            ConfigError: it is a model of another class.
            WeightsError: the weights are not cached and cannot be downloaded, or do not fit.
        """
        config = checkpoint.config
        if cls.architecture not in (None, config.architecture):
            raise ConfigError(
                f"{checkpoint.name!r} is a {config.architecture} model, but {cls.__name__} loads "
                f"only {cls.architecture} models. Load it with peclip.load({checkpoint.name!r})."
            )
        kind = cls
        if cls is Recognizer:
            kind = cast(type[Self], recognizer_class(config.architecture))
        return kind(
            load_model(checkpoint, settings=settings),
            config,
            name=checkpoint.name,
            revision=checkpoint.revision,
            device=device,
            precision=precision,
        )

    def with_labels(self, labels: Sequence[str] | Mapping[str, str]) -> Self:
        """Returns a recognizer with the same weights and other labels (zero-shot).

        Args:
            labels: names, or names with custom texts; labels without one keep the model's text.

        Raises:
            ConfigError: fewer than two names, or a name twice.
        """
        chosen = LabelSet.of(labels)
        given = labels if isinstance(labels, Mapping) else {}
        own = {canonical(name): text for name, text in given.items() if text}
        config = self.config.with_labels(chosen.names, own)
        relabelled = type(self)(
            self.model.with_labels(chosen, config.label_texts),
            config,
            name=self.name,
            revision=self.revision,
            device=self.device,
            precision=self.precision,
        )
        if has_closed_vocabulary(config.backbone):
            self._warn_of_new_texts(relabelled.texts)
        return relabelled

    def _warn_of_new_texts(self, texts: Mapping[str, str]) -> None:
        """Warns if the text encoder, which knows only this model's texts, has not learned some texts."""
        new = [name for name, text in texts.items() if text not in self.texts.values()]
        if new:
            log.warning(
                "The text encoder of %s has learned only its own labels (%s), so its scores for %s "
                "are unreliable unless it is trained on them. Use its labels, or a model with the "
                "text encoder of CLIP, such as clip:ViT-B-16-quickgelu/openai.",
                self.name,
                ", ".join(self.labels),
                ", ".join(new),
            )

    def fit(
        self,
        train: Split,
        val: Split | None = None,
        config: TrainConfig | None = None,
        *,
        run_dir: str | Path | None = None,
        resume: bool = False,
        hooks: Hooks | None = None,
        report_to: Sequence[str] = (),
    ) -> TrainResult:
        """Trains adapters and prompts in place, and keeps the selected epoch; the name is marked as trained.

        Args:
            train: its labels must be labels of this model (see `with_labels`).
            val: selects the epoch; by default held out from `train`.
            config: settings; the defaults nearly match PE-CLIP's, see `peclip.training.config`.
            run_dir: stores `checkpoints/last`, the state, and `checkpoints/best`, a model.
            resume: continue from the state in `run_dir`.
            hooks: called after steps and epochs.
            report_to: experiment trackers, e.g. `["tensorboard"]`; needs `run_dir`.

        Raises:
            UserError: a label is unknown, a video unreadable, the loss not finite, or the disk full.
        """
        from peclip.training import checks, fitting, reporting, state  # predicting needs none
        from peclip.training.runtime import Runtime

        config = config or TrainConfig()
        told = {"model": self.config.model_dump(), "train": config.model_dump()}
        if (said := checks.batch_size_warning(self.config, config)) is not None:
            log.warning(said)
        claim = nullcontext() if run_dir is None else state.claimed(Path(run_dir))
        with claim, reporting.following(report_to, run_dir, told, hooks, resume=resume) as followed:
            # Before training, so that an interrupted model is not mistaken for the published one.
            self.loaded = fitting.begin_training(self.loaded, config)
            done = f", trained on {train.title}"
            self.name, self.revision = self.name.removesuffix(done) + done, ""
            result = fitting.fit(
                self.loaded,
                (train, val),
                config,
                Runtime.of(config, self.device),
                run_dir=run_dir,
                resume=resume,
                hooks=followed,
            )
            self.loaded = replace(self.loaded, config=result.config)
        return result

    def save_pretrained(
        self, directory: str | Path, *, full: bool = False, name: str | None = None
    ) -> None:
        """Writes the model to a directory: trained weights and the name of the backbone.

        Args:
            directory: created if needed; an existing README.md is kept.
            full: also store the backbone, so that loading needs no download.
            name: the name in the model card; by default the directory's.

        Raises:
            ConfigError: the directory cannot be written.
        """
        folder = Path(directory)
        save_model(self.model, self.config, folder, full=full)
        trained = any(parameter.requires_grad for parameter in self.model.parameters())
        write_card(folder, name, self.config, self.model.texts, full=full, trained=trained)

    def push_to_hub(
        self, repo_id: str, *, private: bool = True, full: bool = False, message: str = "Add model"
    ) -> str:
        """Uploads the model to a hub repository, private by default; returns its URL.

        Raises:
            WeightsError: offline, or the upload failed.
        """
        with tempfile.TemporaryDirectory() as directory:
            self.save_pretrained(directory, full=full, name=repo_id)
            return push_folder(
                Path(directory), repo_id, private=private, message=message, settings=load_settings()
            )


def recognizer_class(architecture: str) -> type[Recognizer]:
    """Returns the public class of an architecture."""
    kind: type[Recognizer] = resolve_name(ARCHITECTURES[architecture].recognizer)
    return kind
