"""The convolutional stem of small vision towers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from peclip.nn.clip import load_backbone
from peclip.nn.stem import ConvStem, MatrixConv2d, standardize


def stem(**changes: bool) -> ConvStem:
    torch.manual_seed(0)
    return ConvStem([4, 8], [2, 2], [1, 1], width=6, **changes).eval()


def test_a_grid_has_one_place_per_patch() -> None:
    assert stem()(torch.rand(2, 3, 16, 16)).shape == (2, 6, 4, 4)
    uneven = ConvStem([8, 16, 24], [2, 2, 2], [1, 0, 2], 32)
    assert uneven(torch.randn(2, 3, 48, 48)).shape == (2, 32, 6, 6)
    assert load_backbone("nano", None).vision(torch.randn(1, 2, 3, 48, 48)).shape == (1, 2, 192)


@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_kept_as_a_matrix_are_a_convolution(stride: int) -> None:
    torch.manual_seed(0)
    conv, images = MatrixConv2d(3, 5, stride), torch.randn(2, 3, 8, 8)
    assert conv.weight.shape == (5, 27)
    kernels = conv.weight.view(5, 3, 3, 3)
    torch.testing.assert_close(conv(images), F.conv2d(images, kernels, stride=stride, padding=1))


def test_standardized_images_have_no_light_and_no_contrast() -> None:
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    out = standardize(images)
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.zeros(3, dtype=torch.float64))
    assert (out.std((1, 2, 3)) - 1).abs().max() < 0.15
    torch.testing.assert_close(standardize(images + 2), out)
    assert (standardize(2 * images) - out).abs().max() < 0.3  # but for the 0.1 of the deviation
    torch.testing.assert_close(standardize(images[1:2]), out[1:2])


def test_an_image_of_one_grey_stays_quiet() -> None:
    flat = torch.full((1, 3, 8, 8), 0.7)
    flat[0, 0, 0, 0] += 0.01
    assert standardize(flat).abs().max() < 0.11


def test_the_stem_standardizes_only_where_it_is_asked_to() -> None:
    images = torch.rand(2, 3, 16, 16)
    steady, plain = stem(standardize=True), stem()
    torch.testing.assert_close(steady(images + 3), steady(images), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain(standardize(images)), steady(images))
    assert (plain(images + 3) - plain(images)).abs().max() > 0.01
