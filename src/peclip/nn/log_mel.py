"""Log-mel spectrograms: the energy of a sound in overlapping frames and in bands as wide as the ear separates them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_FLOOR = 1e-10
"""Least energy, -100 dB."""


class LogMel(nn.Module):
    """Computes log-mel spectrograms as CLAP reads them.

    With the Hann window `h` of n samples, frame `t` in the middle of which is sample `t * hop` (the ends are
    reflected), and triangular filters `M`::

        S[t, k] = |sum_i h[i] x[t * hop - n/2 + i] exp(-2 pi j i k / n)|^2
        Y[t, m] = 10 log10(max(1e-10, sum_k S[t, k] M[k, m]))

    The defaults are CLAP's (Wu et al., ICASSP 2023, arXiv 2211.06687).

    Args:
        scale: of the filters, see `mel_filters`.
        rate: samples per second.
        window: n, samples in a frame.
        hop: samples from one frame to the next.
        bands: number of filters.
        lowest: hertz at which the first filter begins.
        highest: hertz at which the last filter ends.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        scale: Literal["htk", "slaney"],
        *,
        rate: int = 48_000,
        window: int = 1024,
        hop: int = 480,
        bands: int = 64,
        lowest: float = 50.0,
        highest: float = 14_000.0,
    ) -> None:
        super().__init__()
        self.hop = hop
        filters = mel_filters(scale, bands, rate, window, lowest, highest)
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", torch.tensor(filters).float(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Maps samples (B, N) to spectrograms (B, 1 + N // hop, bands) in decibels, at least in fp32."""
        with torch.autocast(samples.device.type, enabled=False):
            size = len(self.window)
            waves = torch.stft(
                samples.float(), size, self.hop, window=self.window, return_complex=True
            )
            energy = waves.abs().square().transpose(1, 2) @ self.filters
            return 10 * energy.clamp(min=_FLOOR).log10()


def mel_filters(
    scale: Literal["htk", "slaney"],
    bands: int,
    rate: int,
    window: int,
    lowest: float,
    highest: float,
) -> NDArray[np.float64]:
    """Returns triangular filters, float64 (window // 2 + 1, bands), evenly spaced on a mel scale.

    `htk`: mel(f) = 2595 log10(1 + f / 700), and every filter has a height of 1. `slaney`: mel(f) = 3 f / 200 up to
    1000 Hz and 15 + 27 log(f / 1000) / log(6.4) above, and every filter has an area of 1 (in hertz).
    """
    to_mel, to_hertz = _SCALES[scale]
    corners = to_hertz(np.linspace(to_mel(lowest), to_mel(highest), bands + 2))
    hertz = np.linspace(0, rate / 2, window // 2 + 1)[:, None]
    rising = (hertz - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - hertz) / np.diff(corners)[1:]
    filters: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return filters * (2 / (corners[2:] - corners[:-2])) if scale == "slaney" else filters


def _slaney_mel(hertz: float) -> float:
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _slaney_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = 1000 * np.exp((mel - 15) * math.log(6.4) / 27)
    return np.where(mel < 15, 200 * mel / 3, above)


_Scale = tuple[Callable[[float], float], Callable[[NDArray[np.float64]], NDArray[np.float64]]]
_SCALES: dict[str, _Scale] = {
    "htk": (lambda f: 2595 * math.log10(1 + f / 700), lambda mel: 700 * (10 ** (mel / 2595) - 1)),
    "slaney": (_slaney_mel, _slaney_hertz),
}
