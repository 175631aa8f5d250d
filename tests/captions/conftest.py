"""A server that plays an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_endpoint import Endpoint


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("NO_PROXY", "*")
    endpoint = Endpoint()
    with endpoint.running():
        yield endpoint
