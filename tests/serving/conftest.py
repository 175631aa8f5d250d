"""Servers that several tests share, because loading a model takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install 'peclip[web]'")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
pytest.importorskip("httpx")

from prediction_server import PredictionServer, prediction_server

from peclip.serving.limits import ServeOptions, Timeouts


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The worker process of a shared server starts before the variables of a test are set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PECLIP_OFFLINE", "1")
        patch.setenv("PECLIP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def server(offline: None) -> Iterator[PredictionServer]:
    """A server with small limits."""
    options = ServeOptions(max_upload=1, max_seconds=30, max_pixels=640 * 480, queue=4)
    timeouts = Timeouts(headers=1.0, body_pause=1.0, stalled=600.0)
    with prediction_server(options, timeouts=timeouts) as found:
        yield found


@pytest.fixture(scope="session")
def video(astronaut: Path) -> bytes:
    return astronaut.read_bytes()
