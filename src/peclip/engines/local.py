"""Reads sources in this process: sequentially, or for a GPU several at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from peclip.engines.base import Engine, Job, Pool, Reading, fingerprint
from peclip.engines.read_ahead import read_ahead
from peclip.inference.session import ScoreFn, Session
from peclip.inference.shared_scorer import SharedScorer
from peclip.video.sources import Source


class _Local:
    def __init__(self, job: Job) -> None:
        self._recognizer, self._options = job.load(), job.options
        self._keep_rows, self._keep_faces = job.keep_rows, job.keep_faces
        self.stop = threading.Event()
        """Set when no more rows are wanted."""

    @property
    def labels(self) -> Sequence[str]:
        return self._recognizer.labels.names

    def describe(self) -> dict[str, Any]:
        return self._recognizer.describe()

    def fingerprint(self) -> dict[str, Any]:
        return fingerprint(self._recognizer, self._options)

    def read(self, sources: Sequence[Source]) -> Iterator[Reading]:
        at_once = self._sources_at_once(sources)
        if at_once == 1:
            yield from map(self._open, sources)
            return
        model = self._recognizer
        # Without streams, scores do not depend on the source.
        score = SharedScorer(
            model.scorer("", self._options),
            self._options.batch_size or model.windows_at_once,
        )
        start = partial(self._open, score=score)
        yield from read_ahead(sources, start, at_once=at_once, stop=self.stop)

    def _open(self, source: Source, *, score: ScoreFn | None = None) -> Session:
        return self._recognizer.open(
            source.location,
            self._options,
            keep_rows=self._keep_rows,
            keep_faces=self._keep_faces,
            score=score,
        )

    def _sources_at_once(self, sources: Sequence[Source]) -> int:
        """Returns how many sources are read at the same time: 1 if some may be live, or have other streams."""
        files = all(isinstance(source.location, Path) for source in sources)
        if not files or self._recognizer.config.streams:
            return 1
        return min(len(sources) or 1, self._recognizer.sources_at_once)


@contextmanager
def open_local(job: Job) -> Iterator[Engine]:
    """Loads the model in this process; readings and rows come in order, as they are computed.

    Raises:
        ConfigError: the model is unknown.
        UserError: the model cannot be loaded.
    """
    assert job.pool == Pool(), "only the ray engine has workers"
    engine = _Local(job)
    try:
        yield engine
    finally:
        engine.stop.set()
