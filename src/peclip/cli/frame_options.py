"""Checks of `--save-video`, `--blur-others`, `--blur-all` and `--per-frame`, before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from peclip.errors import ConfigError
from peclip.literals import Blur, EngineName
from peclip.predict_options import PredictOptions

if TYPE_CHECKING:
    from peclip.engines.base import Engine, Job
    from peclip.video.sources import Source


def chosen_blur(
    video: Path | None, options: PredictOptions, *, others: bool, everyone: bool
) -> Blur | None:
    """Returns whose faces are made unrecognisable.

    Raises:
        ConfigError: both options are set, there is no video, or faces are not detected.
    """
    if not others and not everyone:
        return None
    given = "--blur-others" if others else "--blur-all"
    if others and everyone:
        raise ConfigError("--blur-all includes --blur-others; use only one of them.")
    if video is None:
        raise ConfigError(
            f"{given} requires a video; add --save-video FILE.mp4, or remove {given}."
        )
    if options.face_crop is False:
        raise ConfigError(
            f"{given} requires face detection, which --no-face-crop disables; remove one of them."
        )
    return "others" if others else "all"


def check_faces_found(job: Job, engine: Engine) -> None:
    """Checks that faces are detected, so that they can be made unrecognisable.

    Raises:
        ConfigError: the model reads whole frames.
    """
    if job.options.face_crop is None and not engine.describe()["preprocessing"]["face_crop"]:
        raise ConfigError(
            f"{job.model!r} reads whole frames, so no faces are detected that could be made unrecognisable. Add "
            "--face-crop, or remove --blur-others and --blur-all."
        )


def check_frame_outputs(
    video: Path | None,
    per_frame: Path | None,
    sources: Sequence[Source],
    engine: EngineName,
    *,
    resume: bool,
) -> None:
    """Checks that the sources can be drawn and written per frame.

    Raises:
        ConfigError: a source is live, cannot be read twice for a video, or the engine keeps no faces.
    """
    given = "--per-frame" if video is None else "--save-video"
    if video is None and per_frame is None:
        return
    if engine != "local":
        raise ConfigError(
            f"{given} requires the faces in each frame, which --engine {engine} does not send back. "
            f"Use --engine local, or remove {given}."
        )
    if per_frame is not None and resume:
        raise ConfigError(
            "A run with --per-frame cannot be resumed, because that file is complete only at the end. "
            "Remove --resume, or run --per-frame on the remaining sources."
        )
    for source in sources:
        _check_source(source.location, video, per_frame)


def _check_source(location: object, video: Path | None, per_frame: Path | None) -> None:
    from peclip.downloads.address import without_password
    from peclip.video.sources import is_address, is_live_address

    address = location if isinstance(location, str) and is_address(location) else None
    if isinstance(location, int) or (address is not None and is_live_address(address)):
        given = "--per-frame" if video is None else "--save-video"
        raise ConfigError(
            f"{given} requires a file, because its rows are written at the end of a source; got the live "
            f"source {without_password(str(location))}. Record it first, for example with ffmpeg, "
            "and predict the recording."
        )
    if video is not None and address is not None:
        raise ConfigError(
            "--save-video requires a file, because the source is read twice; got the URL "
            f"{without_password(address)}. Download the file and predict it."
        )
