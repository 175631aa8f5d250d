"""The streams by name: one entry each. `ModelConfig.streams` names the ones that a model reads."""

from __future__ import annotations

from peclip.config import ModelConfig
from peclip.data.streams.audio import AudioSource
from peclip.data.streams.captions import CaptionSource
from peclip.data.streams.parts import PartsSource
from peclip.data.streams.source import StreamSource

STREAMS: dict[str, StreamSource] = {
    "parts": PartsSource(),
    "captions": CaptionSource(),
    "audio": AudioSource(),
}


def sources_of(config: ModelConfig) -> dict[str, StreamSource]:
    """Returns the sources of the streams that a model reads, by name."""
    return {name: STREAMS[name].of(config) for name in config.streams}
