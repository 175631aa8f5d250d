"""Runs one source through a model: pixels in, rows out, as they are computed."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

from peclip.config import MAX_WINDOW_PIXELS, ModelConfig
from peclip.errors import InternalError, PEClipError, UserError, VideoError, without_frames
from peclip.inference.baseline import Baseline
from peclip.inference.longest_seen import LongestSeen
from peclip.inference.prefetch import frames_ahead, in_turn, run_ahead
from peclip.inference.source import OpenedSource, Video
from peclip.inference.source_name import called
from peclip.inference.window_row import window_row
from peclip.inference.window_sound import WindowSound
from peclip.labels import LabelSet, effective_prior_weight
from peclip.predict_options import PredictOptions
from peclip.results.prediction import Prediction
from peclip.results.rows import Row, failure_row
from peclip.settings import Settings
from peclip.version import VERSION
from peclip.video.detectors.detector import FaceDetector
from peclip.video.face_log import FaceLog
from peclip.video.frames import Frames
from peclip.video.interface import VideoReader
from peclip.video.observer import Observation, Observer
from peclip.video.windows import FaceWindow, cut_windows

ScoreFn = Callable[[list[FaceWindow]], list[list[float]]]
"""Windows with crops → probabilities, each in label order."""

BATCH = 8
_WINDOW_PIXELS = MAX_WINDOW_PIXELS // BATCH
"""Default number of pixels for each window of a batch: fewer windows with many or large frames are processed together."""

logger = logging.getLogger(__name__)


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
        keep_faces: keep the faces of each frame for `Prediction.faces`, except for live sources.
        overlap: decode, detect and predict concurrently, in threads.
        windows_at_once: default size of a batch.
        name: of the source in rows and errors, if not that of the file.

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
        keep_faces: bool = False,
        overlap: bool = True,
        windows_at_once: int = BATCH,
        name: str | None = None,
    ) -> None:
        self.source = called(video) if name is None else name
        self._opened = OpenedSource(video, options, settings, name)
        self.failure: PEClipError | None = None
        self.position_s, self._offset_s = 0.0, 0.0
        self.duration_s: float | None = None
        self._score, self._labels, self._detector = score, labels, detector
        self._config, self._options, self._metadata = config, options, metadata
        self._model, self._revision = model
        self._keep_rows, self._live = keep_rows, False
        self._overlap, self._at_once = overlap, windows_at_once
        self._left = threading.Event()
        self._rows: list[Row] = []
        self._faces = FaceLog() if keep_faces else None
        self._ids: dict[int, int] = {}
        self._longest = LongestSeen(options.max_people)
        self._baseline = Baseline(options.baseline, config, min_score=options.min_score)
        self._sound = WindowSound(config.sound, options.sound, self.source)

    def __iter__(self) -> Iterator[Row]:
        """Yields rows in temporal order, as soon as their window is complete."""
        with ExitStack() as stack:
            reader = stack.enter_context(self._opened.open(stack))
            detector = self._detector
            self._describe(reader, detector)
            self._sound.open(self._opened.file, reader.metadata.start_s - self._offset_s, stack)
            # While the model predicts, faces are detected in the next frames, decoded in the meantime.
            stage = run_ahead if self._overlap else in_turn
            # One frame at a time, since several are copied into one array.
            ahead = frames_ahead(reader.metadata.width, reader.metadata.height)
            chunks = stack.enter_context(closing(stage(reader.chunks(1), ahead=ahead)))
            made = self._batches(self._windows(chunks, detector))
            batches = stack.enter_context(closing(stage(made, self._left)))
            stack.callback(reader.stop)  # first of all, since the stages wait for their items
            for windows in batches:
                yield from self._keep(windows)
            yield from self._rest()
            if self.failure is not None:
                yield self.fail(self.failure)

    def rows(self) -> Iterator[Row]:
        """Yields the rows, and a row with status `decode_error` if reading fails; `failure` then holds the reason.

        A bug in peclip also counts as a failure (an `InternalError`), so that a run's other sources are still
        read. Exceptions raised by the caller propagate.
        """
        try:
            yield from self
        except UserError as error:
            logger.debug("%s", error, exc_info=error)
            yield from self._rest()
            yield self.fail(error)
        except Exception as error:
            logger.debug("a bug in peclip", exc_info=error)
            yield self.fail(InternalError.of(self.source, error))

    def prediction(self) -> Prediction:
        """Returns the prediction from the rows so far."""
        metadata = self._metadata | self._longest.metadata | self._baseline.metadata
        metadata |= self._sound.metadata
        rows = tuple(self._rows)
        if self._faces is not None:
            named = {row.track_id for row in rows}
            self._faces.name({track: n for track, n in self._ids.items() if n in named})
        return Prediction(self.source, self._labels.names, rows, metadata, faces=self._faces)

    def stop(self) -> None:
        """Ends the rows soon; other threads may call it."""
        self._left.set()

    def note(self, error: str) -> None:
        """Records in the metadata why the rows end."""
        self._metadata["error"] = error

    def _describe(self, reader: VideoReader, detector: FaceDetector | None) -> None:
        about = reader.metadata
        self.duration_s, self._live = about.duration_s, about.live
        if about.live:
            self._faces = None  # the source may never end
            self._baseline.check_live(self.source)
        self._longest.live = about.live
        self._offset_s = about.start_s if self._options.time_origin == "container" else 0.0
        self._metadata |= {
            "decoder": about.decoder,
            "face_detector": None if detector is None else detector.name,
            "video": {
                "width": about.width,
                "height": about.height,
                "frame_rate": about.frame_rate,
                "duration_s": about.duration_s,
                "start_s": about.start_s,
            },
            "options": self._options.model_dump(exclude={"batch_size", "captions"}),
            "captions": None if self._options.captions is None else str(self._options.captions),
            "prior_weight": effective_prior_weight(self._config, self._options.prior_weight),
            "peclip_version": VERSION,
        }

    def _batches(self, windows: Iterable[list[FaceWindow]]) -> Iterator[list[FaceWindow]]:
        """Batches windows for the model; those of a live source do not wait for each other."""
        own = self._config.window_pixels * self._options.views.clips
        fitting = min(self._at_once, max(1, self._at_once * _WINDOW_PIXELS // own))
        size = self._options.batch_size or (1 if self._live else fitting)
        waiting: list[FaceWindow] = []
        for people in windows:
            waiting += map(self._sound.add_to, self._longest.kept(people))
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
            full_search=self._options.full_search,
            detect_size=self._options.detect_size,
            min_face=self._options.min_face,
            max_gap=self._options.max_gap,
            reidentify=self._options.reidentify,
        )
        observed = observer.observe(
            self._followed(chunks),
            start=self._options.start,
            end=math.inf if self._options.end is None else self._options.end,
        )
        return cut_windows(
            self._until_failure(observed),
            window=self._options.window,
            hop=self._options.hop,
            num_frames=self._config.num_frames,
            size=preprocess.image_size,
            clips=self._options.views.clips,
            ids=self._ids,
        )

    def _followed(self, chunks: Iterable[Frames]) -> Iterator[Frames]:
        """Counts times from their origin, and records the position; stops when the session is closed."""
        with self._opened.errors():
            for frames in chunks:
                if self._left.is_set():  # a batch may take minutes, and closing waits for it
                    return
                self.position_s = float(frames.timestamps[-1])
                yield replace(frames, timestamps=frames.timestamps + self._offset_s)

    def _until_failure(self, observations: Iterable[Observation]) -> Iterator[Observation]:
        """Ends quietly if decoding fails after the first frames; `failure` keeps the reason."""
        any_frame = False
        try:
            for observation in observations:
                any_frame = True
                if self._faces is not None:
                    self._faces.add(observation)
                yield observation
        except VideoError as error:
            if not any_frame:
                raise
            self.failure = error
        if not any_frame:
            raise VideoError(
                f"{self.source} has no frames between {self._options.start} s and "
                f"{'the end' if self._options.end is None else f'{self._options.end} s'}"
                f"{f'; they start at {self._offset_s:.2f} s' if self._offset_s else ''}."
            )

    def _keep(self, windows: list[FaceWindow]) -> Iterator[Row]:
        seen = [window for window in windows if len(window.crops)]
        scores = iter(self._score(seen) if seen else [])
        for window in windows:
            row = self._row(window, next(scores) if len(window.crops) else None)
            for kept in self._longest.hold(row):
                yield from map(self._add, self._baseline.hold(kept))

    def _rest(self) -> Iterator[Row]:
        for row in self._longest.rest():
            yield from map(self._add, self._baseline.hold(row))
        yield from map(self._add, self._baseline.rest())

    def _row(self, window: FaceWindow, probabilities: list[float] | None) -> Row:
        return window_row(
            window,
            dict(zip(self._labels, probabilities, strict=True)) if probabilities else {},
            source=self.source,
            model=(self._model, self._revision),
            options=self._options,
            ranges=self._config.face_ranges,
            detected=self._detector is not None,
        )

    def fail(self, failure: PEClipError) -> Row:
        """Adds and returns the row that marks the end of reading; earlier rows are kept."""
        self.failure = without_frames(failure)
        self.note(str(failure))
        last = self._rows[-1] if self._rows else None
        return self._add(failure_row(self.source, self._model, self._revision, last))

    def _add(self, row: Row) -> Row:
        if not self._keep_rows:
            self._rows.clear()  # except the last one, which holds the position
        self._rows.append(row)
        return row
