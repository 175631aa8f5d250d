"""Log-mel spectrograms against a direct computation, and against the extractor of CLAP."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import ClapFeatureExtractor

from peclip.nn.log_mel import LogMel, mel_filters


def direct(samples: np.ndarray, filters: np.ndarray, window: int, hop: int) -> np.ndarray:
    """The formula in the docstring, term by term."""
    padded = np.pad(samples, window // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    rows = []
    for frame in range(1 + len(samples) // hop):
        part = padded[frame * hop : frame * hop + window] * hann
        k, i = np.arange(window // 2 + 1)[:, None], np.arange(window)[None]
        energy = np.abs((part * np.exp(-2j * np.pi * k * i / window)).sum(1)) ** 2
        rows.append(10 * np.log10(np.maximum(1e-10, energy @ filters)))
    return np.stack(rows)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_the_spectrogram_is_the_documented_formula(scale: str) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 500)
    sizes = {"rate": 8000, "window": 64, "hop": 50, "bands": 6, "lowest": 50, "highest": 3500}
    mine = LogMel(scale, **sizes)(torch.tensor(samples)[None].float())  # type: ignore[arg-type]
    filters = mel_filters(scale, 6, 8000, 64, 50, 3500)  # type: ignore[arg-type]
    assert mine.shape == (1, 11, 6)
    np.testing.assert_allclose(mine[0].numpy(), direct(samples, filters, 64, 50), atol=1e-3)


def test_a_filter_by_hand() -> None:
    """Two filters from 0 to 1000 Hz on Slaney's scale, which is linear there: their corners are every 333.3 Hz."""
    filters = mel_filters("slaney", 2, 2000, 20, 0, 1000)  # bins every 100 Hz
    third = 1000 / 3
    height = 2 / (2 * third)  # of a triangle of width 667 Hz and area 1
    assert filters.shape == (11, 2)
    assert filters[:, 0] == pytest.approx(
        [height * max(0, 1 - abs(100 * k - third) / third) for k in range(11)]
    )
    assert filters[:, 1] == pytest.approx(
        [height * max(0, 1 - abs(100 * k - 2 * third) / third) for k in range(11)]
    )
    top = mel_filters("htk", 1, 16_000, 16, 0, 8000)
    corner = 700 * (10 ** (math.log10(1 + 8000 / 700) / 2) - 1)  # half way in mel
    assert top[1] == pytest.approx([1000 / corner])


def test_silence_is_the_floor() -> None:
    assert (LogMel("htk")(torch.zeros(1, 4800)) == -100).all()


@pytest.mark.parametrize(("scale", "truncation"), [("htk", "fusion"), ("slaney", "rand_trunc")])
def test_it_is_what_clap_was_trained_on(scale: str, truncation: str) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 480_000).astype(np.float32)
    extractor = ClapFeatureExtractor(frequency_min=50, truncation=truncation)
    known = extractor(samples, sampling_rate=48_000, return_tensors="np")["input_features"][0, 0]
    mine = LogMel(scale)(torch.from_numpy(samples)[None])[0]  # type: ignore[arg-type]
    np.testing.assert_allclose(mine.numpy(), known, atol=1e-3)
