"""The decoders that tests can use on this machine: torchcodec needs an FFmpeg, PyAV brings its own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from peclip.video.readers import torchcodec

PROBLEM = torchcodec.load_problem()
DECODERS = ("pyav",) if PROBLEM else ("torchcodec", "pyav")

each_decoder = pytest.mark.parametrize("decoder", DECODERS)
needs_torchcodec = pytest.mark.skipif(
    PROBLEM is not None, reason=f"needs torchcodec with an installed FFmpeg: {PROBLEM}"
)


def each_with_torchcodec(name: str, values: Iterable[object]) -> pytest.MarkDecorator:
    """Parametrizes a test that needs torchcodec; without it, the whole test is one skip."""
    if PROBLEM is None:
        return pytest.mark.parametrize(name, values)
    return pytest.mark.parametrize(name, [pytest.param(None, id="all", marks=needs_torchcodec)])
