"""The audio encoders by name, read from the JSON files in `audio_encoders`, without importing torch or transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

from peclip.errors import ConfigError

AudioKind = Literal["clap", "hubert", "wav2vec2", "wavlm"]
"""Families of encoders in `transformers`."""


class AudioPreset(NamedTuple):
    """The architecture of an audio encoder, and the sound that it reads."""

    kind: AudioKind
    sizes: Mapping[str, Any]
    """Fields of its configuration class in `transformers` that differ from the defaults of the class."""
    rate: int
    """Samples per second."""
    weights: str | None = None
    """Hub repository with its published weights; `None` for random ones."""
    normalize: bool = False
    """Whether samples are standardised to mean 0 and variance 1."""
    mel: Literal["htk", "slaney"] | None = None
    """Scale of the log-mel spectrogram that it reads; `None` if it reads samples."""


@cache
def audio_preset(name: str) -> AudioPreset:
    """Returns the audio encoder of a name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in audio_encoders():
        raise ConfigError(
            f"Unknown audio encoder {name[:80]!r}; choose one of {', '.join(audio_encoders())}. For weights of the same "
            "architecture, set audio.weights to their hub repository or folder."
        )
    file = _folder() / f"{name}.json"
    return AudioPreset(**json.loads(file.read_text(encoding="utf-8")))


@cache
def audio_encoders() -> tuple[str, ...]:
    """Returns the names of all audio encoders."""
    names = (file.name for file in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def _folder() -> Any:
    return resources.files("peclip.nn") / "audio_encoders"
