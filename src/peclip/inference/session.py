"""Runs one source through a model: pixels in, rows out, as they are computed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peclip.config import MAX_WINDOW_PIXELS, ModelConfig, PredictOptions
from peclip.downloads.direct import open_remote
from peclip.errors import UserError, VideoError, without_frames
from peclip.inference.prefetch import in_turn, run_ahead
from peclip.labels import LabelSet, effective_prior_weight
from peclip.results.prediction import Prediction
from peclip.results.rows import Row, Status, failure_row
from peclip.settings import Settings
from peclip.version import VERSION
from peclip.video.detectors.detector import FaceDetector
from peclip.video.frames import Frames, TensorLike
from peclip.video.interface import VideoReader
from peclip.video.observer import Observation, Observer
from peclip.video.reader import open_video
from peclip.video.sources import is_address
from peclip.video.windows import FaceWindow, cut_windows

Video = str | Path | int | NDArray[np.uint8] | TensorLike | Frames
"""A file, a folder of frames, an http(s) URL, a webcam index, or pixels: numpy uint8 (T, H, W, 3) or torch
uint8 (T, 3, H, W), RGB."""

ScoreFn = Callable[[list[FaceWindow]], list[list[float]]]
"""Windows with crops → probabilities, each in label order."""

_BATCH = 8
_BATCH_PIXELS = MAX_WINDOW_PIXELS
"""Pixels of a batch by default: windows of many or large frames go through the model one by one."""


class Session:
    """Reads one source and yields its rows, once; `prediction()` holds the rows so far.

    Args:
        video: the source.
        score: the model.
        detector: finds faces; `None` takes whole frames.
        config: of the model; determines the crops.
        labels: in the order of the scores.
        model: name and revision of the model in the rows.
        options: windows, faces and decoding.
        settings: cache and network.
        metadata: facts about the model, for `Prediction.metadata`.
        keep_rows: false for endless sources; `prediction()` is then unavailable.
        overlap: decode, detect and predict concurrently, in threads.

    Raises (while iterating):
        VideoError: the source cannot be read at all. An error in the middle ends the rows with one of
            status `decode_error`, and `failure` holds the reason.
    """

    def __init__(
        self,
        video: Video,
        score: ScoreFn,
        detector: FaceDetector | None,
        *,
        config: ModelConfig,
        labels: LabelSet,
        model: tuple[str, str],
        options: PredictOptions,
        settings: Settings,
        metadata: dict[str, Any],
        keep_rows: bool = True,
        overlap: bool = True,
    ) -> None:
        self.source = called(video)
        self.failure: UserError | None = None
        self.position_s = 0.0
        self.duration_s: float | None = None
        self._video, self._score, self._labels = video, score, labels
        self._detector = detector
        self._config, self._options, self._settings = config, options, settings
        self._model, self._revision = model
        self._metadata = metadata
        self._keep_rows = keep_rows
        self._overlap = overlap
        self._downloaded: Path | None = None
        self._left = threading.Event()
        self._rows: list[Row] = []

    def __iter__(self) -> Iterator[Row]:
        """Yields rows in temporal order, as soon as their window is complete."""
        with ExitStack() as stack:
            reader = stack.enter_context(self._open(stack))
            detector = self._detector
            self._describe(reader, detector)
            # While the model predicts, faces are detected in the next frames, decoded in the meantime.
            stage = run_ahead if self._overlap else in_turn
            chunks = stack.enter_context(closing(stage(reader.chunks())))
            made = self._batches(self._windows(chunks, detector))
            for windows in stack.enter_context(closing(stage(made, self._left))):
                yield from self._keep(windows)
            if self.failure is not None:
                yield self.fail(self.failure)

    def rows(self) -> Iterator[Row]:
        """Yields the rows, and one of status `decode_error` if reading fails; `failure` holds the reason.

        Only errors of the source are caught: exceptions of the caller propagate.
        """
        try:
            yield from self
        except UserError as error:
            yield self.fail(error)

    def prediction(self) -> Prediction:
        """Returns the prediction from the rows so far."""
        return Prediction(self.source, self._labels.names, tuple(self._rows), dict(self._metadata))

    def note(self, error: str) -> None:
        """Records in the metadata why the rows end."""
        self._metadata["error"] = error

    def _open(self, stack: ExitStack) -> VideoReader:
        video, options = self._video, self._options
        if isinstance(video, str) and is_address(video):
            video = stack.enter_context(open_remote(video, settings=self._settings, suffix=""))
            self._downloaded = video
        with self._named_as_given():
            return open_video(video, decoder=options.decoder, frame_rate=options.frame_rate)

    @contextmanager
    def _named_as_given(self) -> Iterator[None]:
        """Makes errors name the address instead of the temporary file, which no longer exists."""
        try:
            yield
        except VideoError as error:
            if self._downloaded is None:
                raise
            raise VideoError(str(error).replace(str(self._downloaded), self.source)) from None

    def _describe(self, reader: VideoReader, detector: FaceDetector | None) -> None:
        about = reader.metadata
        self.duration_s = about.duration_s
        self._metadata |= {
            "decoder": about.decoder,
            "face_detector": None if detector is None else detector.name,
            "video": {
                "width": about.width,
                "height": about.height,
                "frame_rate": about.frame_rate,
                "duration_s": about.duration_s,
            },
            "options": self._options.model_dump(exclude={"batch_size", "captions"}),
            "captions": None if self._options.captions is None else str(self._options.captions),
            "prior_weight": effective_prior_weight(self._config, self._options.prior_weight),
            "peclip_version": VERSION,
        }

    def _batches(self, windows: Iterable[list[FaceWindow]]) -> Iterator[list[FaceWindow]]:
        """Batches windows for the model; a webcam's windows do not wait for each other."""
        live = isinstance(self._video, int)
        usual = 1 if live else min(_BATCH, max(1, _BATCH_PIXELS // self._config.window_pixels))
        size = self._options.batch_size or usual
        waiting: list[FaceWindow] = []
        for people in windows:
            waiting += people
            while len(waiting) >= size:
                yield waiting[:size]
                waiting = waiting[size:]
        yield waiting

    def _windows(
        self, chunks: Iterable[Frames], detector: FaceDetector | None
    ) -> Iterator[list[FaceWindow]]:
        preprocess = self._config.preprocess
        observer = Observer(
            detector,
            size=preprocess.image_size,
            margin=preprocess.face_margin,
            shift=preprocess.face_shift,
            align=preprocess.align,
            detect_rate=self._options.detect_rate,
        )
        return cut_windows(
            self._until_failure(
                observer.observe(
                    self._followed(chunks),
                    start=self._options.start,
                    end=math.inf if self._options.end is None else self._options.end,
                )
            ),
            window=self._options.window,
            hop=self._options.hop,
            num_frames=self._config.num_frames,
            size=preprocess.image_size,
        )

    def _followed(self, chunks: Iterable[Frames]) -> Iterator[Frames]:
        """Records the position in the video, for a progress bar; stops when the session is closed."""
        with self._named_as_given():
            for frames in chunks:
                if self._left.is_set():  # a batch may take minutes, and closing waits for it
                    return
                self.position_s = float(frames.timestamps[-1])
                yield frames

    def _until_failure(self, observations: Iterable[Observation]) -> Iterator[Observation]:
        """Ends quietly if decoding fails after the first frames; `failure` keeps the reason."""
        any_frame = False
        try:
            for observation in observations:
                any_frame = True
                yield observation
        except VideoError as error:
            if not any_frame:
                raise
            self.failure = error
        if not any_frame:
            raise VideoError(
                f"{self.source} has no frames between {self._options.start} s and "
                f"{'its end' if self._options.end is None else f'{self._options.end} s'}."
            )

    def _keep(self, windows: list[FaceWindow]) -> Iterator[Row]:
        seen = [window for window in windows if len(window.crops)]
        scores = iter(self._score(seen) if seen else [])
        for window in windows:
            row = self._row(window, next(scores) if len(window.crops) else None)
            self._add(row)
            yield row

    def _row(self, window: FaceWindow, probabilities: list[float] | None) -> Row:
        scores = dict(zip(self._labels, probabilities, strict=True)) if probabilities else {}
        label = max(scores, key=lambda name: scores[name]) if scores else None
        box = window.box
        return Row(
            source=self.source,
            model=self._model,
            model_revision=self._revision,
            track_id=window.track_id,
            window=window.window,
            start_s=window.start_s,
            end_s=window.end_s,
            start_frame=window.start_frame,
            end_frame=window.end_frame,
            num_frames_used=window.num_frames_used,
            n_faces=window.n_faces,
            status=self._status(window),
            label=label,
            score=None if label is None else scores[label],
            scores=scores,
            face_conf=None if box is None or self._detector is None else box.score,
            face_coverage=window.coverage,
            box=None if box is None else (box.x, box.y, box.width, box.height),
        )

    def _status(self, window: FaceWindow) -> Status:
        if window.box is None:
            return "no_face"
        if self._detector is None:
            return "ok"  # the user declares the frame to be a face
        small = window.box.side < self._options.min_face
        if small or window.coverage < self._options.min_coverage:
            return "low_quality"
        return "ok"

    def fail(self, failure: UserError) -> Row:
        """Adds and returns the row that marks the end of reading; earlier rows are kept."""
        self.failure = without_frames(failure)
        self.note(str(failure))
        last = self._rows[-1] if self._rows else None
        row = failure_row(self.source, self._model, self._revision, last)
        self._add(row)
        return row

    def _add(self, row: Row) -> None:
        if not self._keep_rows:
            self._rows.clear()  # except the last one, which holds the position
        self._rows.append(row)


def called(video: Video) -> str:
    """Returns the name of a source in rows: text that any file and any terminal accepts."""
    if not isinstance(video, str | Path | int):
        return "array"
    # A name that is not UTF-8 contains surrogates, which cannot be encoded.
    return str(video).encode("utf-8", "backslashreplace").decode("utf-8")
