"""A server that plays an OpenAI-compatible endpoint."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from endpoints import Endpoint


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("NO_PROXY", "*")
    with Endpoint() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
