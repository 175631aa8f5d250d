"""Reads sources sequentially in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peclip.engines.base import Engine, Job, Pool, Reading, fingerprint
from peclip.errors import ConfigError
from peclip.video.sources import Source


class _Local:
    def __init__(self, job: Job) -> None:
        self._recognizer, self._options = job.load(), job.options
        self._keep_rows, self._keep_faces = job.keep_rows, job.keep_faces

    @property
    def labels(self) -> Sequence[str]:
        return self._recognizer.labels.names

    def describe(self) -> dict[str, Any]:
        return self._recognizer.describe()

    def fingerprint(self) -> dict[str, Any]:
        return fingerprint(self._recognizer, self._options)

    def read(self, sources: Sequence[Source]) -> Iterator[Reading]:
        for source in sources:
            yield self._recognizer.open(
                source.location,
                self._options,
                keep_rows=self._keep_rows,
                keep_faces=self._keep_faces,
            )


@contextmanager
def open_local(job: Job) -> Iterator[Engine]:
    """Loads the model in this process; sources are read in order, rows are yielded as they are computed.

    Raises:
        ConfigError: worker options were given, or the model is unknown.
        UserError: the model cannot be loaded.
    """
    if job.pool != Pool():
        raise ConfigError(
            "--workers, --worker-cpus and --worker-gpus require --engine ray; add it, or remove "
            "these options."
        )
    yield _Local(job)
