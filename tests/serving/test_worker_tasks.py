"""What the worker process does, without a process."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

import pytest
from http_server import FakeServer, Reply

from peclip.engines.base import Job
from peclip.serving.worker_tasks import Worker


class Events:
    """Keeps events instead of writing them."""

    def __init__(self) -> None:
        self.sent: queue.Queue[tuple[str, str, dict[str, Any]]] = queue.Queue()

    def send(self, event: str, name: str = "", **values: Any) -> None:
        self.sent.put((event, name, values))


@pytest.mark.slow
def test_what_waits_for_a_cancelled_download_has_not_stalled(
    astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, released = threading.Event(), threading.Event()

    def respond(request: Any) -> Reply:
        asked.set()
        released.wait()
        return Reply(astronaut.read_bytes())

    settings = {"jobs": 1, "max_bytes": 10**6, "max_pixels": 10**6, "max_seconds": 60.0}
    settings |= {"allow_private": True, "download_s": 60.0}
    events = Events()
    worker = Worker(Job("debug", "cpu", "fp32").load(), settings, events)
    monkeypatch.delenv("PECLIP_OFFLINE")  # only now, since the worker loads a detector
    request = {"do": "predict", "path": None, "name": "a.mp4", "options": {}}
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    server = FakeServer(respond)
    with server.running():
        address = f"{server.address}/a.mp4"
        worker.handle({**request, "id": "first", "address": address, "folder": str(folders[0])})
        assert asked.wait(60)
        worker.handle({"do": "forget", "id": "first"})
        second = {**request, "id": "second", "path": str(astronaut), "folder": str(folders[1])}
        worker.handle(second)
        worker.report()
        expected = [("progress", name, {"position_s": None}) for name in ("first", "second")]
        assert [events.sent.get_nowait() for _ in range(2)] == expected
        released.set()
        names = set()
        while (event := events.sent.get(timeout=60))[0] != "done":
            names.add(event[1])
        assert (event[1], event[2]["error"], names) == ("second", None, {"second"})
        assert not [*folders[0].iterdir()]
    worker.close()
