"""Configurations: frozen, checked, and stored as `config.json` next to the weights."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from peclip.errors import ConfigError
from peclip.labels import EMOTIONS, LabelSet, check_distribution, prior_over
from peclip.literals import DecoderName, DetectorName, TimeOrigin


def default_readers() -> int:
    """Returns the default number of data-loading processes: one per core, up to 4."""
    return min(4, os.cpu_count() or 1)


RESAMPLES = 1000
"""Default number of bootstrap draws for confidence intervals."""

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Config(BaseModel):
    """The base of all configurations: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class PreprocessConfig(Config):
    """How face crops are preprocessed for the vision tower."""

    image_size: int = Field(224, ge=8, le=4096)
    """Side of the square input in pixels."""
    mean: tuple[float, float, float] = _CLIP_MEAN
    """Mean per channel, for pixels from 0 to 1. Defaults to CLIP's; the PE-CLIP release uses 0 (no normalisation)."""
    std: tuple[float, float, float] = _CLIP_STD
    """Standard deviation per channel. Defaults to CLIP's; the PE-CLIP release uses 1."""
    grayscale: bool = False
    """Convert to greyscale, for models trained on grey images."""
    face_margin: float = Field(0.3, ge=-0.5, le=3.0)
    """Total margin added around the detected face (both sides together), as a fraction of its longer side."""
    face_shift: float = Field(0.0, ge=-1.0, le=1.0)
    """Moves the crop down by this fraction of the face's longer side."""
    align: bool = True
    """Rotate the crop so that the eyes are level, if the detector provides them."""

    @field_validator("mean", "std")
    @classmethod
    def _check_finite(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(math.isfinite(number) for number in value):
            raise ValueError("must be three finite numbers")
        return value

    @field_validator("std")
    @classmethod
    def _check_above_zero(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) <= 0:
            raise ValueError("must be three numbers above 0, because pixels are divided by them")
        return value


class ModelConfig(Config):
    """Fields common to the configurations of all models; `architecture` selects the model."""

    architecture: str
    backbone: str = "ViT-B-16-quickgelu"
    """A ViT of open_clip, or one defined by peclip (`nano`, `debug`)."""
    pretrained: str | None = "openai"
    """Weight tag in open_clip; `None` if the checkpoint stores the weights of the backbone."""
    quick_gelu: bool = True
    """Whether the backbone uses QuickGELU; must match the backbone."""
    labels: tuple[str, ...] = Field(EMOTIONS[:7], max_length=1000)
    """Class names in the order of the logits."""
    label_texts: dict[str, str] = {}
    """Custom label texts by label name, instead of the model's own."""
    num_frames: int = Field(16, ge=1, le=1024)
    """Frames per window."""
    temperature: float = Field(0.01, gt=0, le=10)
    """Temperature by which the cosine similarities are divided."""
    mirror: bool = False
    """Average the logits of a window and its mirror image. This makes predictions invariant to flipping,
    but takes twice as long."""
    prior: dict[str, float] | None = None
    """Frequency of each label among the training targets, after class balancing; above 0, with the sum 1."""
    label_frequencies: dict[str, float] | None = None
    """Frequency of each label among the training videos, before class balancing; stored with `prior`."""
    prior_weight: float | None = Field(None, ge=0, le=1)
    """Label prior assumed at prediction time, from `label_frequencies` (0) to a uniform prior (1); see
    `peclip.labels.prior_factors`. If `None`, predictions are not adjusted."""
    preprocess: PreprocessConfig = PreprocessConfig()

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        LabelSet(self.labels)
        self._check_prior()
        unknown = set(self.label_texts) - set(self.labels)
        if unknown:
            raise ValueError(f"label_texts contains {sorted(unknown)}, which are not in labels")
        return self

    def _check_prior(self) -> None:
        stored = {"prior": self.prior, "label_frequencies": self.label_frequencies}
        for name, shares in stored.items():
            if shares is not None:
                check_distribution(name, self.labels, shares)
        missing = [name for name, shares in stored.items() if shares is None]
        if len(missing) == 1:
            raise ConfigError(
                f"{missing[0]} is missing: set both prior and label_frequencies, or neither"
            )
        if missing and self.prior_weight is not None:
            raise ConfigError(
                f"prior_weight is {self.prior_weight}, but the configuration has no prior; "
                "set prior, or set prior_weight to null"
            )

    @property
    def label_set(self) -> LabelSet:
        return LabelSet(self.labels)

    @property
    def streams(self) -> tuple[str, ...]:
        """The inputs that the model reads besides frames; see `peclip.data.streams.registry.STREAMS`."""
        return ()

    @property
    def learns_from_captions(self) -> bool:
        """Whether the model is trained on descriptions alone, without labels."""
        return False

    @property
    def reads_captions(self) -> bool:
        """Whether the model also reads captions of the videos."""
        return "captions" in self.streams

    @classmethod
    @abstractmethod
    def for_backbone(cls, backbone: str, pretrained: str | None, sizes: BackboneSizes) -> Self:
        """Returns the default configuration on a backbone."""

    def derive(self, **changes: Any) -> Self:
        """Returns a checked copy with some fields changed.

        Raises:
            ConfigError: a field is unknown or its value is invalid.
        """
        return check(type(self), self.model_dump() | changes)

    def with_labels(self, labels: Sequence[str], texts: Mapping[str, str]) -> Self:
        """Returns a copy for other labels, with their texts and a prior if none is new (see `prior_over`)."""
        own = {**self.label_texts, **texts}  # labels that remain keep their custom texts
        kept = {name: text for name, text in own.items() if name in labels}
        prior = prior_over(labels, self.prior)
        return self.derive(
            labels=tuple(labels),
            label_texts=kept,
            prior=prior,
            label_frequencies=prior_over(labels, self.label_frequencies),
            prior_weight=self.prior_weight if prior else None,
        )


class BackboneSizes(NamedTuple):
    """Properties of a backbone that a default configuration depends on."""

    layers: int
    """Number of layers of the shorter tower."""
    preprocess: PreprocessConfig
    """Image size and normalisation."""
    quick_gelu: bool


class PredictOptions(Config, use_attribute_docstrings=True):
    """How a video is decoded, searched for faces, and cut into windows.

    Field names are the flags of `peclip predict`, and their docstrings its help; `frame_rate` is `--fps`.
    """

    window: float = Field(1.0, gt=0)
    """Length of a window in seconds; `all` (infinite) treats the whole video as one window."""
    hop: float = Field(0.5, ge=0.001)
    """Seconds between the starts of consecutive windows."""
    start: float = Field(0.0, ge=0)
    """Skip frames before this time, in seconds, as in the rows."""
    end: float | None = Field(None, gt=0)
    """Skip frames after this time, in seconds, as in the rows; by default (`all`), the video is read to the end."""
    time_origin: TimeOrigin = "video"
    """Where time 0 is: at the first frame of the video, or at the start of the container, which matches its
    sound and transcripts of it if the video starts later."""
    face_crop: bool = True
    """Detect and crop faces. Disable this for videos that are already cropped to a face."""
    detector: DetectorName = "auto"
    """Face detector: yunet, haar (OpenCV's Haar cascade), or auto (YuNet, falling back to Haar)."""
    detect_rate: float = Field(10.0, ge=1)
    """Maximum face detection rate in frames per second; `inf` runs the detector on every frame. Face
    positions between two detections are interpolated, and the frames in between are kept in memory until
    the second detection; if these frames exceed 256 MiB, faces are detected earlier."""
    face_threshold: float = Field(0.7, ge=0, le=1)
    """Confidence threshold of the detector; faces below it are ignored."""
    detect_size: int | None = Field(None, ge=64, le=16_384)
    """Longer side in pixels to which frames are scaled for the detector, at least every 0.5 s; smaller while
    the known faces are large enough. By default, so that faces of --min-face pixels are found."""
    max_gap: float = Field(1.0, ge=0)
    """Time out of view after which a returning person gets a new id, unless recognised by appearance."""
    reidentify: bool = True
    """Recognise people by appearance when they return to view and after cuts."""
    max_people: int | None = Field(None, ge=1)
    """Keep only the rows of the N people seen longest, and count the others. The rows of a source are then
    written when it ends; for a live source, the people seen longest so far are kept in each window."""
    min_face: float = Field(24.0, ge=0)
    """Minimum face size in pixels; windows with smaller faces get the status low_quality."""
    min_coverage: float = Field(0.3, ge=0, le=1)
    """Minimum fraction of a window's frames in which the face must be visible; windows below it get the
    status low_quality."""
    decoder: DecoderName = "auto"
    """Video decoder; auto uses torchcodec if FFmpeg is found, otherwise PyAV."""
    frame_rate: float = Field(25.0, gt=0, le=10_000)
    """Frame rate assumed for sources without timestamps (image folders and arrays)."""
    prior_weight: float | None = Field(None, ge=0, le=1)
    """Label prior assumed at prediction time: 0 for the label frequencies of the training videos, 1 for a
    uniform prior, or a value in between to interpolate. Defaults to the value stored in the model."""
    stream_timeout: float = Field(10.0, gt=0, le=86_400)
    """Time without data after which a live source (MJPEG, HLS, RTSP) counts as failed."""
    reconnect: int = Field(0, ge=0)
    """Maximum number of consecutive attempts to reconnect to a live source that failed or ended."""
    captions: Path | None = None
    """Caption file written by `peclip captions`, for models that read captions."""
    batch_size: int | None = Field(None, ge=1)
    """Windows per forward pass; defaults to 8, or to 1 for a live source, so that rows appear immediately."""

    @field_validator("end")
    @classmethod
    def _drop_infinity(cls, value: float | None) -> float | None:
        return None if value == math.inf else value

    @model_validator(mode="after")
    def _check_range(self) -> PredictOptions:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end ({self.end}) must be after start ({self.start})")
        return self


Checked = TypeVar("Checked", bound=Config)


def check(kind: type[Checked], values: Mapping[str, Any]) -> Checked:
    """Makes a configuration from values.

    Raises:
        ConfigError: an unknown field, or an invalid value; the message names the field.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:80]
        given = f" (given: {str(first['input'])[:80]!r})" if field else ""
        message = first["msg"].removeprefix("Value error, ").removesuffix(".")
        raise ConfigError(
            f"{f'Invalid {field}' if field else 'Invalid configuration'}: {message}{given}."
        ) from None


class Difference(NamedTuple):
    """A setting that has changed; as text, for example, `window 1.0 instead of 2.0`."""

    name: str
    """Dotted if nested."""
    before: Any
    """The stored value, `None` if missing."""
    now: Any

    def __str__(self) -> str:
        return f"{self.name} {self.before!r} instead of {self.now!r}"


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, ignored: Collection[str] = ()
) -> list[Difference]:
    """Compares stored settings with the current ones.

    Args:
        before: the stored ones; may be nested.
        now: the present ones; may be nested.
        ignored: dotted names that may differ.

    Returns:
        The changed settings, in the order of the present ones; a missing one equals `None`.
    """
    was, now = flatten(before), flatten(now)
    names = [name for name in {**now, **was} if name not in ignored]
    return [
        Difference(name, was.get(name), now.get(name))
        for name in names
        if was.get(name) != now.get(name)
    ]


def flatten(values: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Returns nested values on one level: `{"lr": {"adapters": 1}}` has the key `lr.adapters`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = flatten(value, separator)
            found |= {f"{key}{separator}{name}": leaf for name, leaf in inner.items()}
        else:
            found[key] = value
    return found
