"""Mixup and FMix against their equations."""

from __future__ import annotations

from random import Random

import pytest
import torch
import torch.nn.functional as F

from peclip.training.config import MixingConfig
from peclip.training.mixing import fmix, fourier_mask, mix, mixup
from peclip.types import Batch


def batch() -> Batch:
    return Batch(torch.randn(4, 3, 3, 16, 16), torch.eye(5)[[0, 1, 2, 4]])


def test_mixup_by_hand() -> None:
    plain = batch()
    mixed = mixup(plain, torch.tensor([1, 0, 3, 2]), 0.7)
    assert torch.allclose(mixed.frames[2], 0.7 * plain.frames[2] + 0.3 * plain.frames[3])
    assert mixed.targets is not None
    assert mixed.targets[0].tolist() == pytest.approx([0.7, 0.3, 0, 0, 0])
    logits = torch.randn(4, 5)
    first, second = torch.tensor([0, 1, 2, 4]), torch.tensor([1, 0, 4, 2])
    both = 0.7 * F.cross_entropy(logits, first) + 0.3 * F.cross_entropy(logits, second)
    assert F.cross_entropy(logits, mixed.targets) == pytest.approx(both.item(), abs=1e-6)


def test_fmix_shows_one_of_two_videos_in_every_pixel_of_all_frames() -> None:
    plain = batch()
    mask = fourier_mask((16, 16), 0.4, 3.0, seed=5)
    mixed = fmix(plain, torch.tensor([1, 0, 3, 2]), mask)
    inside = mask.bool()
    assert torch.equal(mixed.frames[0][..., inside], plain.frames[0][..., inside])
    assert torch.equal(mixed.frames[0][..., ~inside], plain.frames[1][..., ~inside])
    share = round(0.4 * 256) / 256
    assert mixed.targets is not None
    assert mixed.targets[0].tolist() == pytest.approx([share, 1 - share, 0, 0, 0])


def test_masks_are_few_large_blots() -> None:
    def edges(mask: torch.Tensor) -> float:
        return float((mask[1:] != mask[:-1]).float().mean())

    smooth = fourier_mask((64, 64), 0.5, 3.0, seed=1)
    assert set(smooth.unique().tolist()) == {0.0, 1.0}
    assert smooth.mean() == 0.5
    assert torch.equal(smooth, fourier_mask((64, 64), 0.5, 3.0, seed=1))
    assert edges(smooth) < 0.1 < edges(fourier_mask((64, 64), 0.5, 0.0, seed=1))
    assert fourier_mask((5, 8), 1.0, 3.0, seed=1).mean() == 1


def test_how_often_what_happens() -> None:
    plain = batch()
    counts = {"none": 0, "mixup": 0, "fmix": 0}
    for seed in range(600):
        mixed = mix(plain, MixingConfig(), Random(seed))
        assert mixed.targets is not None
        assert mixed.targets.sum(1).tolist() == pytest.approx([1] * 4)
        if mixed is plain:
            counts["none"] += 1
            continue
        draw = Random(seed).random()
        counts["mixup" if draw < 0.4 else "fmix"] += 1
        if draw < 0.4:
            shares = {round(x, 4) for x in mixed.targets.flatten().tolist()} - {0.0, 1.0}
            assert all(0.2999 <= share <= 0.7001 for share in shares)
    assert counts["mixup"] == pytest.approx(240, abs=45)
    assert counts["fmix"] == pytest.approx(180, abs=45)


def test_the_same_random_gives_the_same_batch() -> None:
    plain = batch()
    one, other = (mix(plain, MixingConfig(mixup=0, fmix=1), Random("3:1:2")) for _ in range(2))
    assert torch.equal(one.frames, other.frames)
    alone = Batch(plain.frames[:1], plain.targets[:1] if plain.targets is not None else None)
    mixed = mix(alone, MixingConfig(mixup=1, fmix=0), Random(0))
    assert torch.allclose(mixed.frames, alone.frames), "a video alone meets itself"
