"""Configurations: frozen, checked, and stored as `config.json` next to the weights."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
    model_validator,
)

from peclip.errors import ConfigError
from peclip.labels import (
    EMOTIONS,
    MAX_LABELS,
    MAX_TEXT,
    LabelSet,
    check_prior,
    check_text,
    prior_over,
)
from peclip.literals import BaselineName, FaceMeasure
from peclip.text.bounds import is_encodable


def default_readers() -> int:
    """Returns the default number of data-loading processes: one per core, up to 4."""
    return min(4, os.cpu_count() or 1)


MAX_WORKERS = 256
"""Processes that read videos."""
MAX_SECONDS = 1e9
"""Latest supported time in a video: 32 years."""
RESAMPLES = 1000
"""Default number of bootstrap draws for confidence intervals."""

MAX_WINDOW_PIXELS = 2**25
"""Total pixels in a window: 400 MB in fp32. 16 frames of 224x224 pixels have 2**19.6."""

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Config(BaseModel):
    """The base of all configurations: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @field_validator("*")
    @classmethod
    def _check_encodable(cls, value: Any) -> Any:
        if not is_encodable(value):
            raise ValueError(
                "contains an unpaired surrogate, which cannot be written to a file; remove it"
            )
        return value


class PreprocessConfig(Config):
    """How face crops, or whole frames, are preprocessed for the vision tower."""

    face_crop: bool = True
    """Whether the model reads face crops. If false, predictions use whole frames by default, without face detection."""
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
        if not all(abs(number) <= 1000 for number in value):  # a NaN fails as well
            raise ValueError("must be three numbers from -1000 to 1000")
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
    """A model of open_clip with a ViT, or one defined by peclip (`nano`, `debug`)."""
    pretrained: str | None = "openai"
    """Weight tag in open_clip, or a file (`file:PATH`, `hub:OWNER/NAME/FILE`); `None` if the checkpoint stores the
    weights of the backbone."""
    quick_gelu: bool = True
    """Whether the backbone uses QuickGELU; must match the backbone."""
    labels: tuple[str, ...] = Field(EMOTIONS[:7], max_length=MAX_LABELS)
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
    """Frequency of each label among the training targets, after class balancing. The values are above 0 and sum to
    1; `None` if not stored."""
    label_frequencies: dict[str, float] | None = None
    """Frequency of each label among the training videos, before class balancing; stored with `prior`."""
    prior_weight: float | None = Field(None, ge=0, le=1)
    """Label prior assumed at prediction time, from `label_frequencies` (0) to a uniform prior (1); see
    `peclip.labels.prior_factors`. If `None`, predictions are not adjusted."""
    face_ranges: dict[FaceMeasure, tuple[FiniteFloat | None, FiniteFloat | None]] = {}
    """Lowest and highest values among the faces the model was trained on, for each measured property: `size`
    (longer side of the face in pixels), `sharpness`, `brightness`, `yaw` and `roll` (absolute, in degrees)."""
    baselines: dict[BaselineName, dict[str, FiniteFloat]] = {}
    """For each kind of baseline, the median of the centred log-probabilities by label over the faces that the model was
    calibrated on; see `peclip.inference.baseline`."""
    preprocess: PreprocessConfig = PreprocessConfig()

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        LabelSet(self.labels)
        check_prior(self.labels, self)
        for name, values in self.baselines.items():
            if set(values) != set(self.labels):
                raise ValueError(f"baselines.{name} must have one value for each of the labels")
        for measure, (low, high) in self.face_ranges.items():
            if low is not None and high is not None and low > high:
                raise ValueError(f"face_ranges.{measure} is from {low} to {high}; swap the values")
        unknown = set(self.label_texts) - set(self.labels)
        if unknown:
            raise ValueError(f"label_texts contains {sorted(unknown)}, which are not in labels")
        for text in self.label_texts.values():
            check_text("The label text", " ".join(text.split()), limit=MAX_TEXT)
        if (size := self.window_pixels) > MAX_WINDOW_PIXELS:
            raise ValueError(
                f"num_frames is {self.num_frames} and image_size is {self.preprocess.image_size}, so a window "
                f"has {size:,} pixels; use at most {MAX_WINDOW_PIXELS:,}"
            )
        return self

    @property
    def window_pixels(self) -> int:
        """Number of pixels in the input of one window."""
        return self.num_frames * self.preprocess.image_size**2

    @property
    def label_set(self) -> LabelSet:
        return LabelSet(self.labels)

    @property
    def streams(self) -> tuple[str, ...]:
        """The inputs that the model reads besides frames; see `peclip.data.streams.registry.STREAMS`."""
        return ()

    @property
    def sound(self) -> SoundFormat | None:
        """The sound that the model reads; `None` if it reads none."""
        return None

    @property
    def learns_from_captions(self) -> bool:
        """Whether the model is trained on descriptions alone, without labels."""
        return False

    @property
    def reads_captions(self) -> bool:
        """Whether the model also reads captions of the videos."""
        return "captions" in self.streams

    def added_parameters(self, vision: TowerSize, text: TowerSize) -> int:
        """Returns the number of parameters that this configuration adds, before any is allocated."""
        return 0

    @classmethod
    @abstractmethod
    def for_backbone(cls, backbone: str, pretrained: str | None, sizes: BackboneSizes) -> Self:
        """Returns the default configuration on a backbone."""

    def self_contained(self) -> Self:
        """Returns the configuration of a checkpoint that stores all weights, so that none are downloaded."""
        return self.derive(pretrained=None)

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
            baselines=self.baselines if set(labels) == set(self.labels) else {},
        )


class SoundFormat(NamedTuple):
    """The sound that a model reads, mono."""

    rate: int
    """Samples per second."""
    seconds: float
    """Longest sound of a window; of a longer one, the middle is read."""


class TowerSize(NamedTuple):
    """The size of a CLIP tower."""

    layers: int
    width: int


class BackboneSizes(NamedTuple):
    """Properties of a backbone that a default configuration depends on."""

    layers: int
    """Number of layers of the shorter tower."""
    preprocess: PreprocessConfig
    """Image size and normalisation."""
    quick_gelu: bool
    context: int = 77
    """Longest text in tokens, with those before and after it."""


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
        given = f" (given: {_excerpt(first['input'])!r})" if field else ""
        message = first["msg"].removeprefix("Value error, ").removesuffix(".")
        raise ConfigError(
            f"{f'Invalid {field}' if field else 'Invalid configuration'}: {message}{given}."
        ) from None


def _excerpt(value: Any) -> str:
    try:
        return str(value)[:80]
    except ValueError:  # an integer with more than 4,300 digits
        return "an integer with too many digits"
