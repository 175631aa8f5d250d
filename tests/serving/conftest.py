"""Servers that several tests share, because loading a model takes seconds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peclip.serving.limits import ServeOptions, Timeouts

if TYPE_CHECKING:
    from prediction_server import PredictionServer


def _has(*packages: str) -> bool:
    return all(importlib.util.find_spec(name) for name in packages)


# The extra `web`, and what only the tests need.
collect_ignore = (
    []
    if _has("fastapi", "uvicorn", "python_multipart", "httpx")
    else [
        *("test_api.py", "test_hostile.py", "test_page.py", "test_security.py"),
        "test_uploads.py",
    ]
)
collect_ignore += [] if _has("playwright") else ["test_page.py"]


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
    from prediction_server import prediction_server

    options = ServeOptions(max_upload=1, max_seconds=30, max_pixels=640 * 480, queue=4)
    timeouts = Timeouts(headers=1.0, body_pause=1.0, stalled=600.0)
    with prediction_server(options, timeouts=timeouts) as found:
        yield found


@pytest.fixture(scope="session")
def video(astronaut: Path) -> bytes:
    return astronaut.read_bytes()
