"""Finds the window of a video that is to be explained."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Container, Generator, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, cast

from peclip.errors import ConfigError
from peclip.inference.session import Session
from peclip.inference.source import Video
from peclip.predict_options import PredictOptions
from peclip.recognizers.predictor import Predictor
from peclip.results.rows import Row
from peclip.video.windows import FaceWindow

Follow = Callable[[Session], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True, eq=False)
class ChosenWindow:
    """A window of a video."""

    source: str
    """Name of the video."""
    window: FaceWindow
    probabilities: tuple[float, ...]
    """In the order of the labels, as `predict` gives them."""
    times_s: tuple[float, ...]
    """(T,): of the crops."""


def choose_window(
    model: Predictor,
    video: Video,
    at: float | None,
    person: int | None,
    options: PredictOptions,
    label: int | None = None,
    follow: Follow = nullcontext,
) -> ChosenWindow:
    """Predicts a video up to a moment, or the whole of it, and returns one window.

    Args:
        model: predicts the windows.
        video: the source.
        at: seconds; the window with the nearest middle among those that contain it. Without it, the window with the
            highest probability.
        person: id in the rows; by default any, and at a given moment the one with the largest face in the window.
        options: windows, faces and decoding.
        label: index of the label whose probability is to be the highest; by default that of any label.
        follow: is entered with the session while the video is read.

    Raises:
        ConfigError: the source is live, there is no such window, or an option changes rows after the prediction.
        VideoError: the source cannot be read.
    """
    _check(at, options)
    search = _Search(at, person, label)
    score = model.scorer(video, options)

    def watched(windows: list[FaceWindow]) -> list[list[float]]:
        found = score(windows)
        for window, probabilities in zip(windows, found, strict=True):
            search.offer(window, probabilities)
        return found

    session = model.open(video, options, keep_faces=True, score=watched)
    with follow(session):
        rows = _read(session, at)
    best = search.best({row.track_id for row in rows})
    if best is None:
        raise ConfigError(_advice(session.source, at, person, rows))
    faces = session.prediction().faces
    assert faces is not None, "checked by `_read`"
    wanted = set(best.window.crop_frames)
    times = {frame.index: frame.time for frame in faces if frame.index in wanted}
    moments = tuple(times[number] for number in best.window.crop_frames)
    return ChosenWindow(session.source, best.window, best.probabilities, moments)


def _check(at: float | None, options: PredictOptions) -> None:
    if at is not None and not math.isfinite(at):
        raise ConfigError(f"The time to explain is {at} s; use a number of seconds such as 3.2.")
    if options.baseline is not None:
        raise ConfigError(
            f"baseline is {options.baseline!r}, but only the prediction for a single window can be explained, and "
            "a baseline comes from all windows of a person. Remove the option."
        )
    if options.views.number > 1:
        raise ConfigError(
            f"tta is {options.tta}, but one view of a window is explained. Remove the option."
        )


class _Candidate(NamedTuple):
    worth: tuple[float, ...]
    window: FaceWindow
    probabilities: tuple[float, ...]


class _Search:
    """Keeps the best window of each person so far, since windows hold pixels."""

    def __init__(self, at: float | None, person: int | None, label: int | None) -> None:
        self._at, self._person, self._label = at, person, label
        self._best: dict[int, _Candidate] = {}

    def offer(self, window: FaceWindow, probabilities: list[float]) -> None:
        """Takes a window if it is better than the person's others."""
        if self._person not in (None, window.track_id) or not _contains(window, self._at):
            return
        found = _Candidate(self._worth(window, probabilities), window, tuple(probabilities))
        before = self._best.get(window.track_id)
        if before is None or found.worth > before.worth:
            self._best[window.track_id] = found

    def _worth(self, window: FaceWindow, probabilities: list[float]) -> tuple[float, ...]:
        if self._at is None:
            return (max(probabilities) if self._label is None else probabilities[self._label],)
        side = 0.0 if window.box is None else window.box.side
        distance = abs((window.start_s + window.end_s) / 2 - self._at)
        return self._at < window.end_s, -distance, side

    def best(self, people: Container[int]) -> _Candidate | None:
        """Returns the best window of the people who have rows, which `max_people` limits."""
        kept = [found for track, found in self._best.items() if track in people]
        return max(kept, key=lambda found: found.worth, default=None)


def _read(session: Session, at: float | None) -> list[Row]:
    """Reads the rows of a session, until they start after a moment."""
    rows = list[Row]()
    with closing(cast(Generator[Row], iter(session))) as found:
        for row in found:
            rows.append(row)
            if len(rows) == 1 and session.prediction().faces is None:
                raise ConfigError(
                    f"{session.source} is a live source, of which no window can be found again. Record it to a file, "
                    "and explain that."
                )
            if at is not None and row.start_s > at:
                break
    return rows


def _contains(span: FaceWindow | Row, at: float | None) -> bool:
    return at is None or span.start_s <= at <= span.end_s  # the end of the video, too


def _advice(source: str, at: float | None, person: int | None, rows: Iterable[Row]) -> str:
    """Returns an error that names who is visible when."""
    seen = defaultdict[int, list[Row]](list)
    for row in rows:
        if row.scores:
            seen[row.track_id].append(row)
    if not seen:
        until = "" if at is None else f" up to {at:g} s"
        return (
            f"{source} has no face{until}, so there is no prediction to explain. Choose another moment, or pass "
            "--no-face-crop if the video is already cropped to a face."
        )
    visible = ", ".join(
        f"person {track} from {min(r.start_s for r in found):.2f} to {max(r.end_s for r in found):.2f} s"
        for track, found in sorted(seen.items())
    )
    who = "nobody" if person is None else f"no person {person}"
    when = "" if at is None else f" at {at:g} s"
    return f"{source} shows {who}{when}. Visible up to there: {visible}."
