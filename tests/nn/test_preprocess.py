from __future__ import annotations

import numpy as np
import pytest
import torch
from operations import Operations

from peclip.errors import ConfigError
from peclip.nn.preprocess import Preprocess, as_tensor, stack_on


def test_pixels_are_scaled_and_normalised() -> None:
    crops = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    x = Preprocess(4, (0.5, 0.1, 0.0), (0.25, 0.5, 2.0))(crops)
    assert x.dtype == torch.float32
    assert x.shape == (2, 3, 4, 4)
    assert x[0, :, 0, 0].tolist() == pytest.approx([-2.0, 0.2, 0.5])


def test_pixels_become_a_tensor_without_a_copy() -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    x = as_tensor(pixels)
    assert x.shape == (2, 3, 4, 5)
    assert x[1, 2, 3, 0] == pixels[1, 3, 0, 2] == 60 + 3 * 15 + 2
    assert np.shares_memory(x.numpy(), pixels)


def test_grey_is_the_luma_in_all_channels() -> None:
    crops = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 2, 2)
    x = Preprocess(2, (0, 0, 0), (1, 1, 1), grayscale=True)(crops)
    assert x[:, 0, 0].tolist() == pytest.approx([0.299] * 3)


def test_leading_dimensions_are_kept_and_do_not_mix() -> None:
    crops = torch.randint(0, 256, (2, 5, 3, 4, 4), dtype=torch.uint8)
    preprocess = Preprocess(4, (0.5,) * 3, (0.5,) * 3)
    assert torch.equal(preprocess(crops)[1, 3], preprocess(crops[1, 3]))


def test_another_size_is_an_error() -> None:
    with pytest.raises(ConfigError, match="32x32 pixels; got 4x4"):
        Preprocess(32, (0,) * 3, (1,) * 3)(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_windows_are_stacked_with_channels_before_rows() -> None:
    windows = [np.full((2, 4, 5, 3), level, np.uint8) for level in (1, 2)]
    windows[1][1, 3, 0, 2] = 9
    stacked = stack_on(torch.device("cpu"), windows)
    assert stacked.shape == (2, 2, 3, 4, 5)
    assert (stacked[0, 0, 0, 0, 0], stacked[1, 1, 2, 3, 0]) == (1, 9)


@pytest.mark.parametrize("grayscale", [False, True])
def test_constants_are_copied_to_a_device_once(*, grayscale: bool) -> None:
    preprocess = Preprocess(2, (0.5,) * 3, (0.5,) * 3, grayscale=grayscale)
    crops = torch.zeros(1, 3, 2, 2, dtype=torch.uint8, device="meta")
    with torch.inference_mode(), Operations() as first:
        preprocess(crops)
    assert first.count("_to_copy") == 3
    with Operations() as later:
        later_batch = preprocess(crops)
    assert later.count("_to_copy") == 0
    assert not later_batch.is_inference()  # training may follow a prediction
