"""The animation of stills with every change switched off: tests switch on the one they look at."""

from __future__ import annotations

from peclip.data.animation_config import AnimateConfig

STILL = AnimateConfig(
    rotation=0,
    scale=0,
    stretch=0,
    shift=0,
    jitter=0,
    flip=0,
    contrast=0,
    brightness=0,
    blur=0,
    compression=0,
    noise=0,
    erase=0,
)
"""Nothing moves and nothing fades."""
