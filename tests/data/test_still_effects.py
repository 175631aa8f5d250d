"""Covered, coarse, streaked faces, and what lies outside the picture: each alone, all frames alike."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from no_animation import STILL
from numpy.typing import NDArray

from peclip.config import PreprocessConfig
from peclip.data import Sample, Split
from peclip.data.animation import AnimatedStills
from peclip.data.animation_config import AnimateConfig
from peclip.data.dataset import Draw
from peclip.data.still_effects import degrade, line_kernel, move, occlude
from peclip.labels import LabelSet

SIDE = 48
Frames = NDArray[np.uint8]


def noise(seed: int = 0) -> Frames:
    """A picture with energy at every frequency, (S, S, 3)."""
    return np.random.default_rng(seed).integers(40, 216, (SIDE, SIDE, 3), dtype=np.uint8)


def calm(**changes: object) -> AnimateConfig:
    return STILL.model_copy(update=changes)


def high_frequencies(frames: Frames) -> float:
    """Returns the share of the energy above a quarter of the sampling rate, the mean left out."""
    grey = frames.mean(-1)
    spectrum = np.abs(np.fft.fft2(grey - grey.mean((1, 2), keepdims=True))) ** 2
    places = np.abs(np.fft.fftfreq(SIDE))
    high = np.maximum(places[:, None], places[None]) > 0.25
    return float(spectrum[:, high].sum() / spectrum.sum())


EFFECTS = ("occlude", "border", "motion", "resolution")


def window(config: AnimateConfig, seed: int = 0, frames: int = 3) -> Frames:
    random = np.random.default_rng(seed)
    return degrade(
        move(occlude([noise()] * frames, config, random), config, random), config, random
    )


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_that_is_off_draws_nothing(effect: str) -> None:
    """What is drawn for everything else stays the same, whatever the ranges of the effect."""
    ranges = {"motion_length": 0.5, "resolution_range": (1, 2)}
    plain, other = AnimateConfig(), AnimateConfig().model_copy(update=ranges)
    assert getattr(plain, effect) == 0.0
    for seed in range(5):
        assert np.array_equal(window(plain, seed), window(other, seed))
    random = np.random.default_rng(0)
    before = random.bit_generator.state
    frames = [noise()]
    assert occlude(frames, plain, random) is frames
    assert random.bit_generator.state == before


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_keeps_the_shape_and_is_reproducible(effect: str) -> None:
    config = calm(**{effect: 1.0, "shift": 0.3, "drift": 0.0})
    made = window(config, 7)
    assert made.shape == (3, SIDE, SIDE, 3)
    assert made.dtype == np.uint8
    assert np.array_equal(made, window(config, 7))
    assert not np.array_equal(made, window(config, 8))
    assert all(np.array_equal(frame, made[0]) for frame in made), "the same in all frames"
    assert len({window(config, seed).tobytes() for seed in range(20)}) > 10


@pytest.mark.parametrize("effect", EFFECTS)
def test_probabilities_are_checked(effect: str) -> None:
    # Shifted, so that what lies outside the picture is seen.
    config = calm(**{effect: 0.3, "shift": 0.3, "drift": 0.0, "resolution_range": (8, 20)})
    plain = calm(shift=0.3, drift=0.0)
    changed = 0
    for seed in range(300):
        random, same = np.random.default_rng(seed), np.random.default_rng(seed)
        if effect == "occlude":
            changed += not np.array_equal(occlude([noise()], config, random)[0], noise())
        elif effect == "border":
            changed += not np.array_equal(
                move([noise()], config, random), move([noise()], plain, same)
            )
        else:
            frames = noise()[None]
            changed += not np.array_equal(
                degrade(frames, config, random), degrade(frames, plain, same)
            )
    assert 60 < changed < 120


def test_fewer_pixels_have_less_detail() -> None:
    """A side of 12 of 48 pixels cannot hold what is finer than an eighth of the sampling rate."""
    original = high_frequencies(noise()[None])
    shares = []
    for side in (40, 24, 12):
        config = calm(resolution=1.0, resolution_range=(side, side))
        shares.append(np.mean([high_frequencies(window(config, seed)) for seed in range(8)]))
    assert original > shares[0] > shares[1] > shares[2]
    assert original > 0.6
    assert shares[2] < 0.05
    large = calm(resolution=1.0, resolution_range=(SIDE, 64))
    assert np.array_equal(window(large)[0], noise()), "there is nothing to shrink"


def test_resolution_is_drawn_evenly_on_a_logarithmic_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sides: list[int] = []
    resize = cv2.resize

    def noted(frame: Frames, size: tuple[int, int], **how: int) -> Frames:
        if how["interpolation"] == cv2.INTER_AREA:
            sides.append(size[0])
        else:
            assert how["interpolation"] in (cv2.INTER_LINEAR, cv2.INTER_CUBIC)
        return resize(frame, size, **how)

    monkeypatch.setattr(cv2, "resize", noted)
    config = calm(resolution=1.0, resolution_range=(10, 40))
    for seed in range(200):
        window(config, seed, frames=1)
    assert (min(sides), max(sides)) == (10, 40)
    assert 18 <= np.median(sides) <= 22, "the geometric mean of 10 and 40 is 20"


@pytest.mark.parametrize(
    ("length", "angle", "expected"),
    [
        (1.0, 0.3, [[1.0]]),
        (3.0, 0.0, [[0, 0, 0], [1, 1, 1], [0, 0, 0]]),
        (3.0, np.pi / 2, [[0, 1, 0], [0, 1, 0], [0, 1, 0]]),
        (2.0, 0.0, [[0, 0, 0], [1, 1, 1], [0, 0, 0]]),
    ],
)
def test_the_line_of_motion_blur(length: float, angle: float, expected: list[list[float]]) -> None:
    """The pixels that it crosses are those of the line, and they share a weight of 1."""
    kernel = line_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1.0)
    assert ((kernel > 0.05) == np.array(expected, bool)).all()
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6), "it pulls to neither side"


def test_a_line_across_the_pixels() -> None:
    kernel = line_kernel(7.0, np.pi / 4)
    assert kernel.shape == (7, 7)
    assert np.allclose(kernel, kernel.T, atol=1e-6)
    assert np.diag(kernel).sum() > 0.6
    assert np.fliplr(kernel)[np.abs(np.subtract.outer(range(7), range(7))) < 1].sum() < 0.3


def test_motion_blurs_along_one_line_alone() -> None:
    """Along the rows, differences between rows stay and differences within rows shrink."""
    horizontal = cv2.filter2D(noise(), -1, line_kernel(7, 0.0)).astype(float)
    within, between = (np.abs(np.diff(horizontal, axis=axis)).mean() for axis in (1, 0))
    assert within < 0.6 * between
    assert high_frequencies(window(calm(motion=1.0, motion_length=0.2))) < high_frequencies(
        noise()[None]
    )


def test_pixels_outside_the_image_are_padded() -> None:
    """Shrunk to a half, a picture of 100 has room around it: 100 by its edge, or black."""
    grey = np.full((SIDE, SIDE, 3), 100, np.uint8)
    grey[8:40, 8:40] = 180  # so that edge (100), mean and black differ
    config = calm(border=1.0, shift=0.5, drift=0.0)
    mean = round(float(grey.mean()))
    corners: dict[str, int] = {"edge or reflection": 0, "mean": 0, "black": 0}
    for seed in range(300):
        moved = move([grey] * 2, config, np.random.default_rng(seed))
        assert np.array_equal(moved[0], moved[1])
        values = set(np.unique(moved[0]).tolist())
        if 0 in values:
            corners["black"] += 1
        elif values & {mean - 1, mean, mean + 1} and len(values) > 2:
            corners["mean"] += 1
        else:
            corners["edge or reflection"] += 1
    assert all(60 < number < 140 for number in corners.values()), corners
    replicated = move([grey], calm(shift=0.5, drift=0.0), np.random.default_rng(0))
    assert replicated.min() >= 100


def test_eyes_or_mouth_are_covered() -> None:
    """One area of one colour, over a quarter of the face at most, above or below its middle."""
    face = noise()
    above = below = dark = 0
    for seed in range(200):
        frames = [face, face // 2]
        covered = occlude(frames, calm(occlude=1.0), np.random.default_rng(seed))
        assert np.array_equal(frames[0], noise()), "the still that is kept stays as it is"
        hidden = (covered[0] != face).any(-1)
        rows, columns = np.nonzero(hidden)
        colour = np.unique(covered[0][hidden].reshape(-1, 3), axis=0)
        assert len(colour) == 1
        assert np.array_equal(covered[1][rows, columns], covered[0][rows, columns])
        assert 0.02 < hidden.mean() < 0.35
        above += rows.mean() < 0.5 * SIDE
        below += rows.mean() > 0.6 * SIDE
        dark += colour.max() <= 50
        assert 0.3 * SIDE < columns.mean() < 0.7 * SIDE
    assert above + below == 200
    assert 70 < above < 130
    assert 70 < dark < 130


def test_a_cover_moves_with_the_face(tmp_path: Path) -> None:
    """It is put on before the window moves, and windows of a data set have it."""
    labels = LabelSet(("happiness", "neutral"))
    path = tmp_path / "0.png"
    cv2.imwrite(str(path), np.full((SIDE, SIDE, 3), 200, np.uint8))
    split = Split("stills", None, "train", (Sample(path, "happiness", "0"),), labels)
    size = PreprocessConfig(image_size=SIDE)
    centres = []
    for shift in (0.0, 0.2):
        config = calm(occlude=1.0, shift=shift, drift=1.0)
        data = AnimatedStills(split, size, 6, seed=4, labels=labels, animate=config)
        crops = data.item(Draw(0, 0)).crops.float().mean(1)
        hidden = (crops - 200).abs() > 20
        assert hidden.flatten(1).any(1).all()
        rows = torch.stack([frame.nonzero().float().mean(0) for frame in hidden])
        centres.append(float((rows[0] - rows[-1]).abs().max()))
    assert centres[0] == 0.0
    assert centres[1] > 0.5
