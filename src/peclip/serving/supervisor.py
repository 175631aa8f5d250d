"""Starts the worker process, talks to it, and replaces it when it has died."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from peclip.errors import DeviceError, UserError, cause

logger = logging.getLogger(__name__)

_LINE_BYTES = 2**25
"""Of an event: a row of a model with thousands of labels is long."""
_PAUSE_S = 1.0
"""Before another process is started, after one could not load the model."""

Event = dict[str, Any]


class Supervisor:
    """The worker process and its successors.

    Args:
        settings: its first line of input; see `worker.Worker`.
        folder: for its temporary files.
        on_event: called with each event.
        on_death: called when a process has ended although it should not have.
        start_s: seconds in which it must load the model.
    """

    def __init__(
        self,
        settings: Event,
        *,
        folder: str,
        on_event: Callable[[Event], None],
        on_death: Callable[[], None],
        start_s: float,
    ) -> None:
        self._settings, self._folder, self._start_s = settings, folder, start_s
        self._on_event, self._on_death = on_event, on_death
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.model: Event | None = None
        """Facts about the model, once it was loaded."""
        self.ready = False
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Process id of the current process."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Starts the first process, and waits until it has loaded the model.

        Raises:
            UserError: the model cannot be loaded; its exit code is that of the cause.
        """
        await self._load()
        self._task = asyncio.create_task(self._watch())

    def send(self, request: Event) -> None:
        """Sends a request; without a process, it is lost like the process."""
        if self.ready and self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def kill(self) -> None:
        """Ends the process at once; another one takes its place."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """Ends the process for good."""
        self.ready = False
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._end()

    async def _load(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "peclip.serving.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            env={**os.environ, "TMPDIR": self._folder, "OMP_WAIT_POLICY": "PASSIVE"},
            start_new_session=True,  # Ctrl-C ends the server, which then ends it
        )
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(self._settings).encode() + b"\n")
            async with asyncio.timeout(self._start_s):
                event = await self._next()
        except TimeoutError:
            await self._end()
            raise DeviceError(
                f"The model was not loaded within {self._start_s:g} s. Try again, or use a smaller one."
            ) from None
        except BaseException:
            await self._end()
            raise
        if event is None or event["event"] != "ready":
            await self._end()
            raise _unusable(event)
        self.model, self.ready = event["model"], True

    async def _next(self) -> Event | None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
            return dict(json.loads(line)) if line else None
        except ValueError as error:  # too long, or no JSON: the process is no longer what it was
            logger.error("The worker process sent an invalid event: %s", error)
            return None

    async def _watch(self) -> None:
        while True:
            while (event := await self._next()) is not None and self._handles(event):
                pass
            self.ready = False
            await self._end()
            logger.error("The worker process ended; starting another one.")
            self.restarts += 1
            self._on_death()
            await self._reload()

    def _handles(self, event: Event) -> bool:
        """Passes an event on; returns False if it makes no sense, since the process is then not to be trusted."""
        try:
            self._on_event(event)
        except Exception as error:
            logger.error("The worker process sent an invalid event: %s", cause(error))
            return False
        return True

    async def _reload(self) -> None:
        while True:
            try:
                await self._load()
                return
            except UserError as error:
                logger.error("%s", error)
                await asyncio.sleep(_PAUSE_S)

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        self.kill()
        await process.wait()
        self._process = None


def _unusable(event: Event | None) -> UserError:
    """Returns why the worker cannot be used."""
    if event is None:
        return DeviceError(
            "The worker process ended while it loaded the model. Check the memory of this machine, or "
            "use a smaller model."
        )
    error = UserError(str(event["message"]))
    error.exit_code = int(event["exit_code"])
    return error
