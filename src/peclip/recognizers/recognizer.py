"""The main user-facing class: a model that is loaded by name and predicts videos."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from peclip import runtime
from peclip.config import ModelConfig, PredictOptions
from peclip.data.samples import Split
from peclip.downloads.hub import push_folder
from peclip.errors import ConfigError
from peclip.inference.session import ScoreFn, Session, Video
from peclip.labels import LabelSet, canonical, effective_prior_weight
from peclip.literals import Precision
from peclip.models.base import ExpressionModel
from peclip.models.frozen import FrozenModel
from peclip.nn.preprocess import Preprocess, as_tensor
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.settings import Settings, load_settings
from peclip.training.config import TrainConfig
from peclip.training.fitting import batch_size_warning, begin_training, fit
from peclip.training.progress import Hooks
from peclip.training.reporting import following
from peclip.training.trainer import TrainResult
from peclip.types import Batch
from peclip.video.faces import FaceDetector, load_detector
from peclip.video.reader import check_decoder
from peclip.video.windows import FaceWindow
from peclip.weights.checkpoint import Checkpoint, load_model, save_model
from peclip.weights.model_card import write_card
from peclip.weights.resolve import resolve

DEFAULT_OPTIONS = PredictOptions()
log = logging.getLogger("peclip")


class Recognizer:
    """Wraps a model and turns videos into predictions. Methods combine a few steps, which are also public.

    Args:
        model: the network, in eval mode.
        config: its configuration.
        name: the model name in the rows.
        revision: the model revision in the rows.
        device: of the computation.
        precision: `"fp32"`, `"bf16"` or `"fp16"`.
    """

    architecture: str | None = None
    """The architecture that this class loads; `None` takes any."""

    def __init__(
        self,
        model: ExpressionModel,
        config: ModelConfig,
        *,
        name: str = "unnamed",
        revision: str = "",
        device: torch.device,
        precision: str,
    ) -> None:
        self.model = model.to(device)
        self.config = config
        self.name = name
        self.revision = revision
        self.device = device
        self.precision = precision
        p = config.preprocess
        self.preprocess = Preprocess(p.image_size, p.mean, p.std, grayscale=p.grayscale)
        self._frozen = FrozenModel(self.model, device, precision)
        self._detectors: dict[tuple[str, float], FaceDetector] = {}

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        revision: str | None = None,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> Self:
        """Loads a model by name.

        Args:
            name: `None` or `"nano"` (embedded), `"ViT-B-16-quickgelu/openai"` or another open_clip ViT
                and weight tag, a directory, a hub repository `"owner/name[@revision]"`, or `"debug"`.
            revision: of a hub repository.
            device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:N"` or `"mps"`.
            precision: `"auto"`, `"fp32"`, `"bf16"` or `"fp16"`.

        Raises:
            ConfigError: the name is unknown, or it is a model of another class.
            WeightsError: the weights are not cached and cannot be downloaded, or do not fit.
            DeviceError: the device or precision is unavailable.
        """
        chosen, settings = runtime.choose_device(device), load_settings()
        computed = runtime.choose_precision(precision, chosen)
        kind = cls.architecture or "pe-clip"
        checkpoint = resolve(name, settings=settings, revision=revision, architecture=kind)
        return cls.from_checkpoint(checkpoint, chosen, computed, settings)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, device: torch.device, precision: str, settings: Settings
    ) -> Self:
        """Loads a model from a resolved checkpoint.

        Raises:
            ConfigError: it is a model of another class.
            WeightsError: the weights are not cached and cannot be downloaded, or do not fit.
        """
        config = checkpoint.config
        if cls.architecture not in (None, config.architecture):
            raise ConfigError(
                f"{checkpoint.name!r} is a {config.architecture} model, and {cls.__name__} loads "
                f"{cls.architecture}. Use peclip.load({checkpoint.name!r})."
            )
        return cls(
            load_model(checkpoint, settings=settings),
            config,
            name=checkpoint.name,
            revision=checkpoint.revision,
            device=device,
            precision=precision,
        )

    @property
    def labels(self) -> LabelSet:
        """The classes, in the order of the logits."""
        return self.model.labels

    @property
    def texts(self) -> dict[str, str]:
        """The text that describes each label."""
        return dict(zip(self.model.labels, self.model.texts, strict=True))

    def predict(self, video: Video, options: PredictOptions = DEFAULT_OPTIONS) -> Prediction:
        """Recognises the expressions of everyone in a video.

        Args:
            video: a file, a folder of frames, an address, a webcam index, or pixels (see `Video`).
            options: windows, faces and decoding.

        Raises:
            VideoError: the source cannot be read.
        """
        session = self.open(video, options)
        for _ in session:
            pass
        return session.prediction()

    def stream(self, video: Video, options: PredictOptions = DEFAULT_OPTIONS) -> Iterator[Row]:
        """Yields rows as they are computed, with constant memory; for long videos and webcams.

        Raises:
            VideoError: the source cannot be read.
        """
        yield from self.open(video, options, keep_rows=False)

    def open(
        self, video: Video, options: PredictOptions = DEFAULT_OPTIONS, *, keep_rows: bool = True
    ) -> Session:
        """Returns the session of a source: iterate over its rows, then call `prediction()`."""
        return Session(
            video,
            self.scorer(video, options),
            self.detector(options),
            config=self.config,
            labels=self.labels,
            model=(self.name, self.revision),
            options=options,
            settings=load_settings(),
            metadata=self.describe(),
            keep_rows=keep_rows,
            overlap=runtime.stages_overlap(self.device),
        )

    def prepare(self, options: PredictOptions) -> None:
        """Loads everything that prediction needs, so that errors are raised before a source is opened.

        Raises:
            UserError: something cannot be loaded, or an option does not fit the model.
        """
        check_decoder(options.decoder)
        self.detector(options)
        self.scorer("", options)

    def scorer(self, video: Video, options: PredictOptions) -> ScoreFn:
        """Returns the function that scores the windows of a video.

        Raises:
            ConfigError: captions or a prior weight were given, but the model does not use them.
        """
        if options.captions is not None:
            given = f"{self.name} reads no captions, but {str(options.captions)!r} was given"
            raise ConfigError(f"{given}. Remove it, or use a model trained with captions.")
        weight = effective_prior_weight(self.config, options.prior_weight)
        return lambda windows: self.answer(self.batch(windows), weight)

    def detector(self, options: PredictOptions) -> FaceDetector | None:
        """Returns the face detector for some options, loaded once; `None` for whole frames.

        Raises:
            WeightsError: YuNet was requested but is unavailable.
        """
        if not options.face_crop:
            return None
        if (key := (options.detector, options.face_threshold)) not in self._detectors:
            self._detectors[key] = load_detector(
                options.detector, settings=load_settings(), threshold=options.face_threshold
            )
        return self._detectors[key]

    def batch(self, windows: Sequence[FaceWindow]) -> Batch:
        """Returns windows as model input."""
        crops = torch.stack([as_tensor(window.crops) for window in windows])
        return Batch(self.preprocess(crops.to(self.device)))

    def score(self, windows: Sequence[FaceWindow]) -> list[list[float]]:
        """Returns the probabilities of windows of the same T, each in the order of the labels."""
        return self.answer(self.batch(windows))

    def answer(self, batch: Batch, weight: float | None = None) -> list[list[float]]:
        """Returns the probabilities of a batch on the device, with a prior weight, in label order."""
        with runtime.memory_errors(self.device, "Use a smaller batch size (-b 1)."):
            return runtime.as_numbers(self._frozen(batch, weight).softmax(-1), self.precision)

    def label_features(self) -> Tensor:
        """Returns the text features (C, D), of FineCLIPER (2, C, D), computed once for a set of labels."""
        return self._frozen.label_features

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
        return type(self)(
            self.model.with_labels(chosen, config.label_texts),
            config,
            name=self.name,
            revision=self.revision,
            device=self.device,
            precision=self.precision,
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
        config = config or TrainConfig()
        told = {"model": self.config.model_dump(), "train": config.model_dump()}
        if (said := batch_size_warning(self.config, config)) is not None:
            log.warning(said)
        with following(report_to, run_dir, told, hooks, resume=resume) as followed:
            # Before training, so that an interrupted model is not mistaken for the published one.
            self.config = begin_training(self.model, self.config, config)
            done = f", trained on {train.title}"
            self.name, self.revision = self.name.removesuffix(done) + done, ""
            result, self.config = fit(
                self.model,
                self.config,
                self.preprocess,
                (train, val),
                config,
                device=self.device,
                run_dir=run_dir,
                resume=resume,
                hooks=followed,
            )
        return result

    def describe(self) -> dict[str, Any]:
        """Returns a report's facts about the model: name, device, precision, preprocessing, texts."""
        return {
            "model": self.name,
            "model_revision": self.revision,
            "architecture": self.config.architecture,
            "backbone": self.config.backbone,
            "device": runtime.device_name(self.device),
            "precision": self.precision,
            **self.config.model_dump(include={"num_frames", "prior", "prior_weight"}),
            "preprocessing": self.config.preprocess.model_dump(),
            "label_texts": self.texts,
        }

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
