"""Scores the windows of several sources in common batches."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from peclip.inference.session import ScoreFn
from peclip.video.windows import FaceWindow


@dataclass(frozen=True, slots=True)
class _Request:
    windows: list[FaceWindow]
    scores: Future[list[list[float]]] = field(default_factory=Future)


class SharedScorer:
    """A scoring function for several threads, each of which reads one source.

    While one thread waits for a batch, the windows of the others gather, and make up the next batch: no thread waits
    for windows that may never come, and the busier the device is, the larger are its batches.

    Args:
        score: of windows of the same T, whichever source they are from; called by one thread at a time.
        most: windows in a batch, except for a single request of more.
    """

    def __init__(self, score: ScoreFn, most: int) -> None:
        self._score, self._most = score, most
        self._waiting: deque[_Request] = deque()
        self._turn = threading.Lock()

    def __call__(self, windows: list[FaceWindow]) -> list[list[float]]:
        """Returns the probabilities of windows, each in label order; raises what scoring their batch raises."""
        request = _Request(windows)
        self._waiting.append(request)  # atomic
        with self._turn:
            while not request.scores.done():  # otherwise another thread has scored it
                self._score_together(self._next())
        return request.scores.result()

    def _next(self) -> list[_Request]:
        """Takes requests in their order, as many as fit into a batch."""
        taken = [self._waiting.popleft()]
        size = len(taken[0].windows)
        while self._waiting and size + len(self._waiting[0].windows) <= self._most:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].windows)
        return taken

    def _score_together(self, requests: list[_Request]) -> None:
        try:
            scores = iter(self._score([window for one in requests for window in one.windows]))
            for request in requests:
                request.scores.set_result([next(scores) for _ in request.windows])
        except BaseException as error:
            for request in requests:
                if not request.scores.done():
                    request.scores.set_exception(error)
