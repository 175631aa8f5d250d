"""The streams by name: one entry each. `ModelConfig.streams` names the ones that a model reads."""

from __future__ import annotations

from peclip.data.streams.captions import CaptionSource
from peclip.data.streams.parts import PartsSource
from peclip.data.streams.source import StreamSource

STREAMS: dict[str, StreamSource] = {"parts": PartsSource(), "captions": CaptionSource()}
