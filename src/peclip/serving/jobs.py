"""Predictions of videos: a bounded queue, their states, and their end."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from peclip.serving.limits import MAX_FINISHED
from peclip.serving.row_log import RowLog

State = Literal["receiving", "queued", "running", "done", "failed", "cancelled"]
FINAL = frozenset({"done", "failed", "cancelled"})
SOURCE = "source"
"""Name of the video in the folder of its prediction, before its suffix."""


class QueueFullError(Exception):
    """As many videos wait as may."""


@dataclass(eq=False)
class PredictionJob:
    """One video; only the event loop of the server changes it."""

    id: str
    """Cannot be guessed: whoever knows it may read and delete the prediction."""
    folder: Path
    rows: RowLog
    created: float
    """Seconds since the epoch."""
    state: State = "receiving"
    name: str = "video"
    options: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    address: str | None = None
    error: str | None = None
    video: dict[str, Any] | None = None
    """Width, height and duration, once the video was opened."""
    position_s: float = 0.0
    people: list[int] = field(default_factory=list)
    """Whom there are pictures of."""
    progressed: float = 0.0
    """When it last got further, on the clock of the store."""
    finished: float | None = None
    """On the clock of the store."""
    overlay: asyncio.Future[str | None] | None = None
    """Its error, once an overlay was asked for and is complete."""
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in FINAL

    def touch(self) -> None:
        """Wakes up everyone who waits for a change."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self, seconds: float) -> bool:
        """Waits for a change; returns False if the time is over before."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await asyncio.wait_for(future, seconds)
            return True
        except TimeoutError:
            return False
        finally:  # also when the client has gone
            self._waiting = [one for one in self._waiting if one is not future]


class JobStore:
    """All predictions of a server.

    Args:
        folder: has one folder per prediction.
        queue: maximum number that wait, including those whose upload has not ended.
        at_once: maximum number that run.
        keep: seconds after which a finished one is deleted.
        on_delete: called before one is deleted.
        clock: in seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        queue: int,
        at_once: int,
        keep: float,
        on_delete: Callable[[PredictionJob], None] = lambda job: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._queue, self._at_once, self._keep = folder, queue, at_once, keep
        self._on_delete, self.clock = on_delete, clock
        self._jobs: dict[str, PredictionJob] = {}
        self.closing = False
        """Whether the server ends; streams of events then end as well."""

    def __iter__(self) -> Iterator[PredictionJob]:
        return iter(list(self._jobs.values()))

    def get(self, name: str) -> PredictionJob | None:
        """Returns a prediction that has been submitted."""
        job = self._jobs.get(name)
        return None if job is None or job.state == "receiving" else job

    def find(self, name: str) -> PredictionJob | None:
        """Returns a prediction in any state, for events of the worker."""
        return self._jobs.get(name)

    def count(self, *states: State) -> int:
        """Returns the number of predictions in some states."""
        return sum(job.state in states for job in self._jobs.values())

    def receive(self) -> PredictionJob:
        """Reserves a place in the queue, and creates a folder for the upload.

        Raises:
            QueueFullError: there is no place.
        """
        if self.count("receiving", "queued") >= self._queue:
            raise QueueFullError
        self._make_room()
        name = secrets.token_urlsafe(16)
        folder = self._folder / name
        folder.mkdir(mode=0o700, parents=True)
        job = PredictionJob(name, folder, RowLog(folder / "rows.jsonl"), time.time())
        self._jobs[name] = job
        return job

    def submit(self, job: PredictionJob) -> None:
        """Puts a prediction whose video is complete into the queue."""
        job.state = "queued"
        job.touch()

    def startable(self) -> list[PredictionJob]:
        """Returns the predictions to start now, and counts them as running."""
        free = self._at_once - self.count("running")
        found = [job for job in self._jobs.values() if job.state == "queued"][: max(0, free)]
        for job in found:
            job.state, job.progressed = "running", self.clock()
            job.touch()
        return found

    def finish(self, job: PredictionJob, error: str | None = None) -> None:
        """Sets the final state; the rows so far are kept."""
        if not job.is_final:
            job.state = "done" if error is None else "failed"
            job.error, job.finished = error, self.clock()
            job.touch()

    def delete(self, job: PredictionJob) -> None:
        """Cancels a prediction if it has not ended, and deletes it with its files."""
        if self._jobs.pop(job.id, None) is None:
            return
        if not job.is_final:
            job.state = "cancelled"
        self._on_delete(job)
        shutil.rmtree(job.folder, ignore_errors=True)
        job.touch()

    def expire(self) -> None:
        """Deletes what has been kept long enough."""
        now = self.clock()
        for job in self:
            if job.finished is not None and now - job.finished >= self._keep:
                self.delete(job)

    def stalled(self, seconds: float) -> list[PredictionJob]:
        """Returns the running predictions that have not got further for some time."""
        now = self.clock()
        return [job for job in self if job.state == "running" and now - job.progressed >= seconds]

    def close(self) -> None:
        """Ends streams of events."""
        self.closing = True
        for job in self:
            job.touch()

    def _make_room(self) -> None:
        finished = [job for job in self if job.finished is not None]
        finished.sort(key=lambda job: job.finished or 0.0)
        for job in finished[: max(0, len(finished) - MAX_FINISHED + 1)]:
            self.delete(job)


def about(job: PredictionJob) -> dict[str, Any]:
    """Returns the state of a prediction as the API reports it."""
    duration = None if job.video is None else job.video["duration_s"]
    progress = 1.0 if job.state == "done" else None
    if progress is None and duration:
        progress = min(1.0, job.position_s / duration)
    return {
        "id": job.id,
        "state": job.state,
        "name": job.name,
        "error": job.error,
        "created": job.created,
        "options": job.options,
        "video": job.video,
        "position_s": round(job.position_s, 3),
        "progress": None if progress is None else round(progress, 4),
        "num_rows": len(job.rows),
        "people": job.people,
    }
