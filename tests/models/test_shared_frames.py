"""Frames that several windows share are encoded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from peclip.models.frozen import FrozenModel
from peclip.models.registry import build_model
from peclip.models.shared_frames import SharedFrames
from peclip.nn.preprocess import Preprocess, as_tensor
from peclip.types import Batch
from peclip.weights.resolve import debug_config

CPU = torch.device("cpu")
PREPROCESS = Preprocess(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def windows(*starts: int, frames: int = 4) -> list[NDArray[np.uint8]]:
    """Returns windows of one random video, which begin at these frames."""
    video = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    return [video[start : start + frames] for start in starts]


def counting(counts: list[int]) -> Callable[[Tensor], list[Tensor]]:
    """Returns an encoder with two views, the sum of a frame's pixels and its negative."""

    def compute(pixels: Tensor) -> list[Tensor]:
        counts.append(len(pixels))
        sums = pixels.flatten(1).double().sum(1, keepdim=True)
        return [sums, -sums]

    return compute


def sums(shown: list[NDArray[np.uint8]]) -> Tensor:
    return torch.tensor([[[float(frame.sum())] for frame in window] for window in shown]).double()


def test_each_frame_is_encoded_once_within_and_across_calls() -> None:
    shared, counts = SharedFrames(), []
    for starts in ((0, 2), (4, 6), (4, 4)):  # frames 0 to 5, 4 to 9
        shown = windows(*starts)
        found, negative = shared.encode(shown, counting(counts))
        assert torch.equal(found, sums(shown))
        assert torch.equal(negative, -sums(shown))
    assert counts == [6, 4]


def test_equal_pixels_of_a_padded_window_are_one_frame_and_one_changed_pixel_is_another() -> None:
    shared, counts = SharedFrames(), []
    (window,) = windows(0)
    padded = window[[0, 1, 1, 1]]
    changed = window.copy()
    changed[0, 0, 0, 0] ^= 1
    for shown in (padded, changed, window.transpose(0, 2, 1, 3)):
        assert torch.equal(shared.encode([shown], counting(counts))[0], sums([shown]))
    assert counts == [2, 3, 4]


def test_memory_is_bounded_and_recently_used_frames_are_kept() -> None:
    shared, counts = SharedFrames(kept_bytes=6 * 16), []  # six frames of two views of 8 bytes
    for start in (0, 2, 6, 4):  # frames 4 and 5 were used last when 6 to 9 pushed 0 to 3 out
        shared.encode(windows(start), counting(counts))
    assert counts == [4, 2, 4]
    assert shared.kept_bytes <= 6 * 16
    shared.encode(windows(0), counting(counts))
    assert counts == [4, 2, 4, 4]
    assert shared.kept_bytes <= 6 * 16


def model_of(architecture: str) -> nn.Module:
    model = build_model(debug_config(architecture)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_shared_frames_give_the_logits_of_separate_windows(
    architecture: str, mirror: bool, precision: str
) -> None:
    model = model_of(architecture)
    model.mirror = mirror
    frozen = FrozenModel(model, CPU, precision)
    for starts in ((0, 2), (2, 4), (4, 6)):
        shown = windows(*starts)
        plain = frozen(Batch(PREPROCESS(as_tensor(np.stack(shown)))))
        found = frozen(frozen.encode(shown, PREPROCESS))
        tolerance = 1e-5 if precision == "fp32" else 0.02 * float(plain.abs().max())
        torch.testing.assert_close(found, plain, rtol=0, atol=tolerance)


def test_the_order_of_shared_frames_matters_to_a_model_of_time() -> None:
    frozen = FrozenModel(model_of("pe-clip"), CPU, "fp32")
    (window,) = windows(0)
    forward = frozen(frozen.encode([window], PREPROCESS))
    backward = frozen(frozen.encode([window[::-1]], PREPROCESS))
    assert (forward - backward).abs().max() > 1e-3


def test_frames_are_encoded_anew_after_the_weights_change() -> None:
    model = model_of("pe-clip")
    frozen, shown = FrozenModel(model, CPU, "fp32"), windows(0)
    before = frozen(frozen.encode(shown, PREPROCESS))
    with torch.no_grad():
        model.vision.positional_embedding.normal_()
    after = frozen(frozen.encode(shown, PREPROCESS))
    assert (after - before).abs().max() > 1e-3
    plain = frozen(Batch(PREPROCESS(as_tensor(np.stack(shown)))))
    torch.testing.assert_close(after, plain, rtol=0, atol=1e-5)


def test_a_model_without_an_encoder_of_frames_and_a_gpu_share_nothing() -> None:
    model = model_of("pe-clip")
    assert FrozenModel(model, CPU, "fp32").shares_frames
    assert not FrozenModel(model, torch.device("cuda"), "fp32").shares_frames
