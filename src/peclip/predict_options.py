"""The options of a prediction: how a video is decoded, searched for faces, and cut into windows."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from peclip.config import MAX_SECONDS, Config, ModelConfig
from peclip.errors import ConfigError
from peclip.labels import effective_prior_weight
from peclip.literals import BaselineName, DecoderName, DetectorName, SoundUse, TimeOrigin
from peclip.text.views import Views, ViewsText, parse_views


class PredictOptions(Config, use_attribute_docstrings=True):
    """How a video is decoded, searched for faces, and cut into windows.

    Field names are the flags of `peclip predict`, and their docstrings its help; `frame_rate` is `--fps`.
    """

    window: float = Field(1.0, gt=0)
    """Length of a window in seconds; `all` (infinite) treats the whole video as one window."""
    hop: float = Field(0.5, ge=0.001, le=MAX_SECONDS)
    """Seconds between the starts of consecutive windows."""
    start: float = Field(0.0, ge=0, le=MAX_SECONDS)
    """Skip frames before this time in seconds; the time origin is the same as in the rows."""
    end: float | None = Field(None, gt=0)
    """Skip frames after this time in seconds; by default (`all`), the video is read to the end."""
    time_origin: TimeOrigin = "video"
    """What time 0 refers to: the first frame of the video, or the start of the container, so that times match
    the audio and transcripts even if the video starts later."""
    face_crop: bool | None = None
    """Detect and crop faces. Disable this for videos that are already cropped to a face, and for recognition of
    anything but faces. By default, as the model was trained."""
    detector: DetectorName = "auto"
    """Face detector: yunet, haar (OpenCV's Haar cascade), or auto (YuNet, falling back to Haar)."""
    detect_rate: float = Field(10.0, ge=1)
    """Maximum face detection rate in frames per second; `inf` runs the detector on every frame. Face
    positions between two detections are interpolated, and the frames in between are kept in memory until
    the second detection; if these frames exceed 256 MiB, faces are detected earlier. Up to 10, every other
    detection is left out while all faces move evenly."""
    face_threshold: float = Field(0.7, ge=0, le=1)
    """Confidence threshold of the detector; faces below it are ignored."""
    detect_size: int | None = Field(None, ge=64, le=16_384)
    """Longer side in pixels to which frames are scaled for face detection. This size is used at least every
    0.5 s, and a smaller one in between for known faces that are large enough. By default, it is chosen so that
    faces of --min-face pixels are detected."""
    full_search: bool = False
    """Detect faces in the whole of every frame that is passed to the detector, at the full size. By default, this
    happens every 0.5 s, and in between, known faces are detected in the regions around them."""
    max_gap: float = Field(1.0, ge=0, le=MAX_SECONDS)
    """Maximum time out of view; a person who returns later gets a new id, unless recognised by appearance."""
    reidentify: bool = True
    """Recognise people by appearance when they return to view and after cuts."""
    max_people: int | None = Field(None, ge=1, le=1_000_000)
    """Keep only the rows of the N people seen longest; the omitted rows are counted. A source's rows are then
    written when it ends; for a live source, each window keeps the people seen longest so far."""
    min_face: float = Field(24.0, ge=0, le=100_000)
    """Minimum face size in pixels; windows with smaller faces get the status low_quality."""
    min_coverage: float = Field(0.3, ge=0, le=1)
    """Minimum fraction of a window's frames in which the face must be visible; windows below it get the
    status low_quality."""
    min_score: float = Field(0.0, ge=0, le=1)
    """Minimum probability of a label; `ok` windows below it get the status uncertain and no label, but keep
    their probabilities."""
    baseline: BaselineName | None = None
    """Take each person's own baseline off the logits: the median over the most neutral fifth of the windows
    (neutral) or over all (median). Needs 10 windows per person; rows are then written when a source ends."""
    decoder: DecoderName = "auto"
    """Video decoder; auto is PyAV. torchcodec requires an installed FFmpeg, and is no faster."""
    frame_rate: float = Field(25.0, gt=0, le=10_000)
    """Frame rate assumed for sources without timestamps (image folders and arrays)."""
    prior_weight: float | None = Field(None, ge=0, le=1)
    """Label prior assumed at prediction time: 0 for the label frequencies of the training videos, 1 for a
    uniform prior, or a value in between to interpolate. Defaults to the value stored in the model."""
    stream_timeout: float = Field(10.0, gt=0, le=86_400)
    """Maximum time without data before a live source (MJPEG, HLS, RTSP) counts as failed."""
    reconnect: int = Field(0, ge=0, le=1_000_000)
    """Maximum number of consecutive attempts to reconnect to a live source that failed or ended."""
    tta: ViewsText = "none"
    """Test-time augmentation: views of each window whose probabilities are averaged, such as flip or
    clips=2,crops=2,flip (8 views, so 8 times the computation)."""
    captions: Path | None = None
    """Caption file written by `peclip captions`, for models that read captions."""
    sound: SoundUse = "single"
    """Windows whose sound is used by models that read it: those that show one person (single), all (everyone), or
    none (off). Everyone visible in a window shares its sound: who speaks is not known."""
    batch_size: int | None = Field(None, ge=1, le=10_000)
    """Windows per forward pass; defaults to 8 (on a GPU to up to 64), or to 1 for a live source, so that rows
    appear immediately."""

    @field_validator("end")
    @classmethod
    def _drop_infinity(cls, value: float | None) -> float | None:
        return None if value == math.inf else value

    @property
    def views(self) -> Views:
        """The views that `tta` names."""
        return parse_views(self.tta)

    @model_validator(mode="after")
    def _check_range(self) -> PredictOptions:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end ({self.end}) must be after start ({self.start})")
        return self

    def crops_faces(self, config: ModelConfig) -> bool:
        """Returns whether faces are cropped in predictions with a model."""
        return config.preprocess.face_crop if self.face_crop is None else self.face_crop

    def prior_weight_for(self, model: str, config: ModelConfig) -> float | None:
        """Returns the prior weight of predictions with a model; `None` does not adjust them.

        Raises:
            ConfigError: captions, sound or a prior weight were given, but the model does not use them.
        """
        if self.captions is not None and not config.reads_captions:
            raise ConfigError(
                f"{model} does not read captions, but {str(self.captions)!r} was passed. Remove the "
                "captions, or use a model trained with captions."
            )
        if self.sound != "single" and config.sound is None:
            raise ConfigError(
                f"{model} does not read sound, but sound={self.sound} was passed. Remove the option, or "
                "use a model trained with sound."
            )
        return effective_prior_weight(config, self.prior_weight)
