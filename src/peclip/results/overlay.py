"""Writes a video with the boxes, ids, labels and probabilities of a prediction.

The video is decoded a second time, so that frames are not kept in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError, VideoError
from peclip.files import replacing
from peclip.literals import Blur
from peclip.results.face_blur import blur_faces, bridged
from peclip.results.face_tags import Tag, TagPainter
from peclip.results.figures import OVERLAY_ENDINGS
from peclip.results.frame_rows import NearestRows, faces_of
from peclip.results.interface import LoggedResult
from peclip.video.face_log import LoggedFace, LoggedFrame
from peclip.video.faces import Image
from peclip.video.frames import Frames, TensorLike
from peclip.video.interface import VideoMetadata
from peclip.video.reader import open_video
from peclip.video.sources import is_address
from peclip.video.writers.sound import Sound, open_sound
from peclip.video.writers.video_file import VideoFile, time_steps

Video = str | Path | NDArray[np.uint8] | TensorLike | Frames


@dataclass(frozen=True, slots=True)
class _Overlay:
    """What is drawn on the frames of one prediction."""

    rows: NearestRows
    painter: TagPainter
    blur: Blur | None
    shown: Collection[int]
    """Ids of the people who are not blurred with `blur="others"`."""

    def draw(self, image: Image, frame: LoggedFrame, faces: Iterable[LoggedFace]) -> None:
        """Draws on a frame in place."""
        if self.blur is not None:
            others = (face for face in faces if self.blur == "all" or not self._is_shown(face))
            blur_faces(image, [face.box for face in others])
        named = [(face.track_id, face.box) for face in frame.faces if face.track_id is not None]
        tags = [
            Tag(track, box, self.rows.at(track, frame)) for track, box in sorted(named, key=_id)
        ]
        self.painter.draw(image, tags)

    def _is_shown(self, face: LoggedFace) -> bool:
        return face.track_id in self.shown


def render_overlay(
    prediction: LoggedResult,
    path: str | Path,
    *,
    video: Video | None = None,
    blur: Blur | None = None,
    on_frame: Callable[[float], None] | None = None,
) -> None:
    """Writes an MP4 video of a prediction, with the times and the sound of its source.

    Args:
        prediction: with the faces of each frame.
        path: a `.mp4` file; it appears when it is complete.
        video: the source, if it cannot be opened by its name: pixels, or a file that has been moved.
        blur: make the faces of others than the main person, or of all people, unrecognisable.
        on_frame: called with the time of each frame in seconds.

    Raises:
        ConfigError: the extension, `blur` or the source is unsupported, the prediction has no faces per
            frame, or the file cannot be written.
        VideoError: the source cannot be read.
    """
    path = Path(path)
    check_overlay(path)
    source = _source(prediction, video)
    if isinstance(source, Path) and os.path.realpath(source) == os.path.realpath(path):
        raise ConfigError(f"The video {str(path)!r} is its own source. Choose another file.")
    _check_blur(blur, prediction.metadata)
    log, options = faces_of(prediction), prediction.metadata["options"]
    with ExitStack() as stack:
        decoder, rate = options["decoder"], options["frame_rate"]
        reader = stack.enter_context(open_video(source, decoder=decoder, frame_rate=rate))
        about = reader.metadata
        painter = TagPainter(prediction.labels, (about.width, about.height))
        overlay = _Overlay(NearestRows(prediction.rows), painter, blur, _shown(prediction))
        logged = _with_faces(log)
        first = next(logged)
        origin, end = _range(first[0], options, about)
        sound = open_sound(source, origin=origin, end=end)
        if sound is not None:
            stack.enter_context(sound)
        pairs = stack.enter_context(closing(_paired(reader.chunks(), first, logged)))
        with _new_file(path, about, time_steps(source), sound) as file:
            for image, time, frame, faces in pairs:
                overlay.draw(image, frame, faces)
                file.write(image, time + about.start_s - origin, frame.duration)
                if on_frame is not None:
                    on_frame(frame.time)


@contextmanager
def _new_file(
    path: Path, about: VideoMetadata, steps: int | None, sound: Sound | None
) -> Iterator[VideoFile]:
    """Opens the file of an overlay, which appears when it is complete.

    Raises:
        ConfigError: it cannot be written.
    """
    size = about.width, about.height
    try:
        with (
            replacing(path) as partial,
            VideoFile(partial, size, frame_rate=about.frame_rate, steps=steps, sound=sound) as file,
        ):
            yield file
    except OSError as error:
        raise ConfigError(
            f"The video {str(path)!r} cannot be written: {error.strerror or error}. Choose a "
            "file in an existing, writable folder."
        ) from None


def check_overlay(path: Path) -> None:
    """Checks the extension of a video before anything is computed.

    Raises:
        ConfigError: it is unsupported.
    """
    if path.suffix.lower() not in OVERLAY_ENDINGS:
        raise ConfigError(
            f"Cannot infer the video format of {path.name!r} from its extension; use "
            f"{', '.join(OVERLAY_ENDINGS)}."
        )


def _check_blur(blur: str | None, metadata: Any) -> None:
    if blur is not None and blur not in get_args(Blur):
        raise ConfigError(f"Unknown blur {blur!r}; use {', '.join(map(repr, get_args(Blur)))}.")
    if blur is not None and metadata["face_detector"] is None:
        raise ConfigError(
            "Faces cannot be blurred, because the prediction was made without face detection. Predict the video "
            "with face detection (--face-crop)."
        )


def _source(prediction: LoggedResult, video: Video | None) -> Video:
    """Returns what to decode."""
    if video is None and prediction.source == "array":
        raise ConfigError(
            "The prediction was made from pixels, which it does not keep. Pass them again: "
            "prediction.render(path, video=pixels)."
        )
    source = prediction.source if video is None else video
    if isinstance(source, str) and is_address(source):
        raise ConfigError(
            f"A video cannot be written for the URL {source!r}, which would have to be read twice. "
            "Download the file and predict it."
        )
    if video is None and prediction.metadata["decoder"] == "camera":
        raise ConfigError(
            f"A video cannot be written for the webcam {source}, which cannot be read twice. "
            "Record it first, for example with ffmpeg, and predict the recording."
        )
    return Path(source) if isinstance(source, str) else source


def _shown(prediction: LoggedResult) -> set[int]:
    """Returns the ids of the people who are not others: the main one, or all that --max-people keeps."""
    if prediction.metadata["options"].get("max_people") is not None:
        return set(prediction.tracks)
    main = prediction.main_track
    return set() if main is None else {main.track_id}


def _range(first: LoggedFrame, options: Any, about: VideoMetadata) -> tuple[float, float]:
    """Returns the time of the container that is 0 in the video, and where its sound ends.

    The former is 0 unless the beginning is skipped, so that the video starts as its source.
    """
    counted_from = about.start_s if options["time_origin"] == "container" else 0.0
    origin = first.time - counted_from + about.start_s if first.index > 0 else 0.0
    if options["end"] is None:
        return origin, float("inf")
    return origin, options["end"] - counted_from + about.start_s - origin


def _with_faces(
    log: Iterable[LoggedFrame],
) -> Iterator[tuple[LoggedFrame, Collection[LoggedFace]]]:
    """Yields each frame, and the faces that may be blurred in it."""
    frames, again = tee(log)
    for frame, faces in zip(frames, bridged(again), strict=True):
        yield frame, faces.values()


def _paired(
    chunks: Iterable[Frames],
    first: tuple[LoggedFrame, Collection[LoggedFace]],
    logged: Iterator[tuple[LoggedFrame, Collection[LoggedFace]]],
) -> Generator[tuple[Image, float, LoggedFrame, Collection[LoggedFace]], None, None]:
    """Yields the frames of the log with their pixels and their times from the first frame.

    Ends where the video cannot be read further, which ended the rows, too.
    """
    current, index = first, 0
    try:
        for frames in chunks:
            for image, time in zip(frames.data, frames.timestamps.tolist(), strict=True):
                if index == current[0].index:
                    yield np.array(image), time, *current
                    following = next(logged, None)
                    if following is None:
                        return
                    current = following
                index += 1
    except VideoError:
        if current is first:
            raise


def _id(named: tuple[int, Any]) -> int:
    return named[0]
