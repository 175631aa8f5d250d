"""Mixup and FMix: combine two videos of a batch, and their targets.

The cross-entropy is linear in the target, so a loss of the mixed target is the mixed loss of the two.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import torch
from torch import Tensor

from peclip.runtime import on_device
from peclip.training.config import MixingConfig
from peclip.types import Batch


def mix(batch: Batch, config: MixingConfig, random: Random) -> Batch:
    """Applies mixup, FMix or neither to a batch, depending on one random draw.

    Args:
        batch: with targets.
        config: the probabilities.
        random: ranks with the same generator mix their videos in the same way.
    """
    draw = random.random()
    if draw < config.mixup:
        low, high = config.mixup_range
        share = random.betavariate(config.mixup_alpha, config.mixup_alpha)
        return mixup(batch, partners(batch, random), min(max(share, low), high))
    if draw < config.mixup + config.fmix:
        share = random.betavariate(config.fmix_alpha, config.fmix_alpha)
        size = (batch.frames.shape[-2], batch.frames.shape[-1])
        mask = fourier_mask(size, share, config.fmix_decay, random.getrandbits(63))
        return fmix(batch, partners(batch, random), mask)
    return batch


def partners(batch: Batch, random: Random) -> Tensor:
    """Returns the partner of each video, int64 (B,); some may be their own partner."""
    order = list(range(batch.frames.shape[0]))
    random.shuffle(order)
    return on_device(torch.tensor(order), batch.frames.device)


def mixup(batch: Batch, order: Tensor, share: float) -> Batch:
    """Blends videos (Zhang et al., 2018, "mixup"): `share * x + (1 - share) * x[order]`."""
    assert batch.targets is not None, "videos without targets are not mixed"
    return replace(
        batch,
        frames=share * batch.frames + (1 - share) * batch.frames[order],
        targets=share * batch.targets + (1 - share) * batch.targets[order],
    )


def fmix(batch: Batch, order: Tensor, mask: Tensor) -> Batch:
    """Joins videos along a mask (Harris et al., 2020, "FMix"), the same one for all frames.

    Args:
        batch: frames (B, T, 3, S, S).
        order: the partners, visible where the mask is 0.
        mask: (S, S) of 0 and 1; its mean is the first video's share of the target.
    """
    assert batch.targets is not None, "videos without targets are not mixed"
    share = float(mask.mean())
    mask = on_device(mask.to(batch.frames.dtype), batch.frames.device)
    return replace(
        batch,
        frames=mask * batch.frames + (1 - mask) * batch.frames[order],
        targets=share * batch.targets + (1 - share) * batch.targets[order],
    )


def fourier_mask(size: tuple[int, int], share: float, decay: float, seed: int) -> Tensor:
    """Returns a binary mask (H, W) with a few large blobs, of which a fraction `share` is 1.

    Noise in the frequency domain is divided by the frequency to the power `decay`; the brightest pixels
    of its picture are the mask.
    """
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    vertical = torch.fft.fftfreq(height)[:, None]
    horizontal = torch.fft.rfftfreq(width)[None, :]
    frequency = (vertical**2 + horizontal**2).sqrt().clamp(min=1 / max(height, width))
    noise = torch.randn(*frequency.shape, 2, generator=generator)
    spectrum = torch.view_as_complex(noise) / frequency**decay
    picture = torch.fft.irfft2(spectrum, s=(height, width)).flatten()
    mask = torch.zeros(height * width)
    mask[picture.argsort(descending=True)[: round(share * mask.numel())]] = 1
    return mask.view(height, width)
