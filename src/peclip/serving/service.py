"""What the routes need: the predictions, the worker process, and what connects them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from peclip.literals import Precision
from peclip.serving.jobs import SOURCE, JobStore, PredictionJob
from peclip.serving.limits import MAX_ASKED, ServeOptions, Timeouts
from peclip.serving.metrics import Metrics, resident_bytes
from peclip.serving.supervisor import Event, Supervisor

DIED = (
    "The worker process ended while it read this video, which may be damaged or need too much memory. "
    "Convert it, or submit it again."
)
_BUSY = "The server is busy. Try again in a second."
_LOOK_S = 1.0
"""Between two searches for what has expired or stalled."""


class BusyError(Exception):
    """The server cannot take this now; it may be tried again."""


class Service:
    """The state of a server, of its event loop only.

    Args:
        options: limits.
        model: name of the model.
        device: of the model.
        precision: of the model.
        timeouts: how long it waits.
    """

    def __init__(
        self,
        options: ServeOptions,
        *,
        model: str,
        device: str = "auto",
        precision: Precision = "auto",
        timeouts: Timeouts | None = None,
    ) -> None:
        self.options, self.timeouts = options, timeouts or Timeouts()
        self.metrics = Metrics()
        self.folder = Path(tempfile.mkdtemp(prefix="peclip-serve-"))
        self.jobs = JobStore(
            self.folder,
            queue=options.queue,
            at_once=options.jobs,
            keep=options.keep,
            on_delete=self._forget,
        )
        self.worker = Supervisor(
            {
                "model": model,
                "device": device,
                "precision": precision,
                "jobs": options.jobs,
                "max_bytes": options.max_bytes,
                "max_pixels": options.max_pixels,
                "max_seconds": options.max_seconds,
                "allow_private": options.allow_private,
                "download_s": self.timeouts.download,
                "folder": str(self.folder),
            },
            folder=str(self.folder),
            on_event=self._take,
            on_death=self._recover,
            start_s=self.timeouts.start,
        )
        self._asked: dict[str, asyncio.Future[Event]] = {}
        self._numbers = itertools.count()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the worker process, and deletes all files in the end.

        Raises:
            UserError: the model cannot be loaded.
        """
        ticking: asyncio.Task[None] | None = None
        try:
            await self.worker.start()
            ticking = asyncio.create_task(self._tick())
            yield
        finally:
            if ticking is not None:
                ticking.cancel()
            self.jobs.close()
            await self.worker.stop()
            self.remove_files()

    def remove_files(self) -> None:
        """Deletes everything that was received or computed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def submit(self, job: PredictionJob) -> None:
        """Queues a prediction."""
        self.jobs.submit(job)
        self._start_waiting()

    async def still(self, path: Path, name: str) -> Event:
        """Predicts a picture, and returns the event with its rows.

        Raises:
            BusyError: too many stills wait, or the worker process is not ready.
        """
        folder = str(path.parent)
        seconds = self.timeouts.still
        return await self._ask("still", seconds, path=str(path), folder=folder, name=name)

    async def explain(
        self, job: PredictionJob, output: Path, *, at: float | None, person: int | None
    ) -> str | None:
        """Explains a moment of a video; returns what went wrong.

        Raises:
            BusyError: too many stills and explanations wait, or the worker process is not ready.
        """
        event = await self._ask(
            "explain",
            self.timeouts.explanation,
            job=job.id,
            name=job.name,
            folder=str(job.folder),
            output=str(output),
            options=job.options,
            at=at,
            person=person,
        )
        error: str | None = event["error"]
        return error

    def check_free(self) -> None:
        """Checks that a still or an explanation can be computed now.

        Raises:
            BusyError: it cannot.
        """
        if len(self._asked) >= MAX_ASKED or not self.worker.ready:
            raise BusyError(_BUSY)

    async def _ask(self, what: str, seconds: float, **values: Any) -> Event:
        """Sends a request to the worker, and returns the event that ends it."""
        self.check_free()
        number = f"{what}-{next(self._numbers)}"
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            self.worker.send({"do": what, "id": number, **values})
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise BusyError("The server took too long. Try again later.") from None
        finally:
            self._asked.pop(number, None)

    async def overlay(self, job: PredictionJob) -> str | None:
        """Writes the overlay of a prediction unless it exists; returns what went wrong.

        Raises:
            BusyError: the worker process is not ready.
        """
        if job.overlay is None:
            if not self.worker.ready:
                raise BusyError(_BUSY)
            job.overlay = asyncio.get_running_loop().create_future()
            self.worker.send(
                {"do": "overlay", "id": job.id, "folder": str(job.folder), "name": job.name}
            )
        return await asyncio.shield(job.overlay)

    def gauges(self) -> dict[tuple[str, str], float]:
        """Returns values for `Metrics.text`."""
        found = {
            ("peclip_predictions", f'state="{state}"'): float(self.jobs.count(state))
            for state in ("queued", "running", "done", "failed")
        }
        found["peclip_worker_up", ""] = float(self.worker.ready)
        found["peclip_worker_restarts_total", ""] = float(self.worker.restarts)
        for name, pid in (("server", os.getpid()), ("worker", self.worker.pid)):
            if (size := resident_bytes(pid)) is not None:
                found["peclip_resident_memory_bytes", f'process="{name}"'] = size
        return found

    def _start_waiting(self) -> None:
        if not self.worker.ready:
            return
        for job in self.jobs.startable():
            self.worker.send(
                {
                    "do": "predict",
                    "id": job.id,
                    "path": None if job.path is None else str(job.path),
                    "address": job.address,
                    "name": job.name,
                    "folder": str(job.folder),
                    "options": job.options,
                }
            )

    def _take(self, event: Event) -> None:
        """Handles an event of the worker."""
        if event["event"] in ("still", "explain"):
            if event["event"] == "still":
                self.metrics.add("peclip_stills_total")
            future = self._asked.get(event["id"])
            if future is not None and not future.done():
                future.set_result(event)
            return
        job = self.jobs.find(event["id"])
        if job is not None:  # otherwise it was deleted in the meantime
            self._update(job, event)

    def _update(self, job: PredictionJob, event: Event) -> None:
        kind = event["event"]
        if kind == "overlay":
            if job.overlay is not None and not job.overlay.done():
                job.overlay.set_result(event["error"])
            return
        if job.state != "running":
            return
        if kind == "row":
            self._add_row(job, event["row"])
        elif kind == "opened":
            job.video = event["video"]
        elif kind == "fetched":
            job.path = job.folder / SOURCE  # the worker has no say in which files are sent
        elif kind == "progress":
            position = event["position_s"]
            if position is not None and position <= job.position_s:
                return
            job.position_s = position or 0.0
        elif kind == "done":
            job.people = event["people"]
            self._finish(job, event["error"])
        job.progressed = self.jobs.clock()
        job.touch()

    def _add_row(self, job: PredictionJob, row: dict[str, Any]) -> None:
        try:
            job.rows.add(json.dumps(row).encode())
            self.metrics.add("peclip_rows_total")
        except OSError as error:
            self.worker.send({"do": "forget", "id": job.id})
            problem = f"The server cannot store the rows: {error.strerror or error}"
            self._finish(job, f"{problem}. Free up disk space there, and submit the video again.")

    def _finish(self, job: PredictionJob, error: str | None) -> None:
        self.jobs.finish(job, error)
        self.metrics.add("peclip_predictions_total", labels=f'state="{job.state}"')
        self.metrics.add("peclip_video_seconds_total", job.position_s)
        self._start_waiting()

    def _forget(self, job: PredictionJob) -> None:
        if job.state == "cancelled":
            self.metrics.add("peclip_predictions_total", labels='state="cancelled"')
        if job.overlay is not None and not job.overlay.done():
            job.overlay.set_result("The prediction was deleted.")
        self.worker.send({"do": "forget", "id": job.id})

    def _recover(self) -> None:
        """Fails what the worker process was doing when it ended."""
        for job in self.jobs:
            if job.overlay is not None and not job.overlay.done():
                job.overlay.set_result(DIED)
            if job.state == "running":
                self._finish(job, DIED)
        for future in self._asked.values():
            if not future.done():
                future.set_result({"error": DIED, "rows": [], "video": {}})

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self.jobs.expire()
            if self.jobs.stalled(self.timeouts.stalled):
                self.worker.kill()
            self._start_waiting()
