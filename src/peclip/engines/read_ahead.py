"""Reads several sources at the same time, in threads, whose windows share the batches of one model."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from typing import cast

from peclip.engines.base import Reading
from peclip.errors import InternalError, PEClipError
from peclip.inference.source_name import called
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.video.sources import Source

_MOST_ROWS = 1000
"""Rows of a source that wait for the sources before it; then its reading pauses."""
_AHEAD = 4
"""Sources that have been begun, or are complete, for each that is read at a time: a long one holds up the output,
and the device should not run out of work."""
_LOOK_S = 0.1
"""Time after which a full queue looks whether its rows are still wanted."""


class AheadReading:
    """The reading of a source in another thread; its rows come in their order.

    Args:
        name: of the source.
        start: opens the source, in that thread.
    """

    def __init__(self, name: str, start: Callable[[], Reading]) -> None:
        self.source = name
        self._start = start
        self._rows: queue.Queue[Row | BaseException | None] = queue.Queue(_MOST_ROWS)
        self._opened = threading.Event()
        self._reading: Reading | None = None

    def fill(self, stop: threading.Event) -> None:
        """Reads the source, in this thread, until its end or until nobody wants the rest."""
        try:
            if stop.is_set():
                return
            self._reading = self._start()
            self._opened.set()
            with closing(cast(Generator[Row], self._reading.rows())) as rows:
                for row in rows:
                    self._put(row, stop)
                    if stop.is_set():
                        return
            self._put(None, stop)
        except BaseException as error:
            self._put(error, stop)
        finally:
            self._opened.set()

    def _put(self, item: Row | BaseException | None, stop: threading.Event) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                self._rows.put(item, timeout=_LOOK_S)
                return

    def rows(self) -> Iterator[Row]:
        """Yields the rows as the other thread makes them; an error of the source is a row."""
        while (item := self._rows.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    @property
    def position_s(self) -> float:
        """Time up to which the source was decoded, in seconds."""
        return 0.0 if self._reading is None else self._reading.position_s

    @property
    def duration_s(self) -> float | None:
        """Length of the source in seconds, if it is known."""
        return None if self._reading is None else self._reading.duration_s

    @property
    def failure(self) -> PEClipError | None:
        """Why the source could not be read, or not to its end."""
        return None if self._reading is None else self._reading.failure

    def note(self, error: str) -> None:
        """Records in the metadata why the rows end."""
        self._opened_reading().note(error)

    def prediction(self) -> Prediction:
        """Returns the prediction from the rows so far, if they are kept."""
        return self._opened_reading().prediction()

    def _opened_reading(self) -> Reading:
        self._opened.wait()
        if self._reading is None:
            raise InternalError(f"{self.source} was not opened.")
        return self._reading


def read_ahead(
    sources: Sequence[Source],
    start: Callable[[Source], Reading],
    *,
    at_once: int,
    stop: threading.Event,
) -> Iterator[Reading]:
    """Yields the readings of sources in their order, while the next ones are read in threads.

    Args:
        sources: that end; a camera would be read without anybody who wants its rows yet.
        start: opens a source.
        at_once: sources that are read at the same time.
        stop: ends all threads once set, for instance because the caller was interrupted.
    """
    coming = iter(sources)
    begun: deque[AheadReading] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="peclip-source") as pool:

        def begin(count: int) -> None:
            for source in itertools.islice(coming, count):
                reading = AheadReading(called(source.location), partial(start, source))
                begun.append(reading)
                pool.submit(reading.fill, stop)

        try:
            begin(at_once * _AHEAD)
            while begun:
                yield begun.popleft()
                begin(1)
        finally:
            stop.set()  # and the pool waits for its threads
