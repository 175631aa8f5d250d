"""RandAugment and random erasing against values computed by hand, and one draw per video."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch
from torch import Tensor

from peclip.config import check
from peclip.data.augmentation import NO_AUGMENTATION, Augmentation, AugmentConfig
from peclip.data.augmentation_config import ErasingConfig, RandAugmentConfig
from peclip.data.erasing import Rectangle, draw_rectangle, erase
from peclip.data.rand_augment import OPERATIONS, Operation, apply_operation, draw_operations
from peclip.errors import ConfigError


def video(frames: int = 3, size: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, 3, size, size), generator=generator, dtype=torch.uint8)


def still(frames: int = 4) -> Tensor:
    return video(1).expand(frames, -1, -1, -1).contiguous()


def grey(*levels: int) -> Tensor:
    """Frames of 2x2 pixels; each has the four levels."""
    return torch.tensor(levels, dtype=torch.uint8).view(1, 1, 2, 2).expand(2, 3, 2, 2).contiguous()


def changed(pictures: Tensor, name: str, strength: float) -> list[int]:
    return list(apply_operation(pictures, Operation(name, strength))[0, 0].flatten().tolist())


@pytest.mark.parametrize(
    ("name", "strength", "expected"),
    [
        ("identity", 1.0, [0, 100, 200, 255]),
        ("brightness", 0.5, [0, 145, 255, 255]),  # times 1.45
        ("brightness", -1.0, [0, 10, 20, 25]),  # times 0.1
        ("posterize", 0.5, [0, 100, 200, 252]),  # 2 of 8 bits are cleared
        ("posterize", -1.0, [0, 96, 192, 240]),  # 4 of 8 bits
        ("solarize", 0.5, [0, 100, 55, 0]),  # from 128 on inverted
        ("solarize", 0.0, [0, 100, 200, 255]),  # from 256 on: nothing
        ("colour", 0.7, [0, 100, 200, 255]),  # grey has no colour
    ],
)
def test_operations_by_hand(name: str, strength: float, expected: list[int]) -> None:
    assert changed(grey(0, 100, 200, 255), name, strength) == pytest.approx(expected, abs=1)


def test_contrast_is_measured_over_the_whole_video() -> None:
    """Frames of 0 and 200 have the mean 100: 100 + 1.9 * (0 - 100) is below 0, and 290 above 255."""
    frames = torch.stack([torch.zeros(3, 2, 2), torch.full((3, 2, 2), 200)]).to(torch.uint8)
    more = apply_operation(frames, Operation("contrast", 1.0))
    assert (more[0].unique().tolist(), more[1].unique().tolist()) == ([0], [255])
    less = apply_operation(frames, Operation("contrast", -1.0))  # 100 + 0.1 * (x - 100)
    assert less[0].unique().item() == pytest.approx(90, abs=1)
    assert less[1].unique().item() == pytest.approx(110, abs=1)


def test_auto_contrast_and_equalize_stretch_all_frames_alike() -> None:
    """One frame has levels from 50, the other up to 150: of each alone, both would be from 0 to 255."""
    frames = torch.tensor([[50, 100], [100, 150]], dtype=torch.uint8)
    frames = frames[:, None, None, :].expand(2, 3, 2, 2).contiguous()
    stretched = apply_operation(frames, Operation("auto_contrast", 1.0))
    assert stretched[0, 0, 0].tolist() == pytest.approx([0, 127.5], abs=1)
    assert stretched[1, 0, 0].tolist() == pytest.approx([127.5, 255], abs=1)
    equal = apply_operation(frames, Operation("equalize", 1.0))
    assert equal[0, 0, 0, 1] == equal[1, 0, 0, 0], "one level in two frames"


def test_movements_by_hand() -> None:
    frames = video(2, 20)
    right = apply_operation(frames, Operation("translate_x", 0.5))  # 0.45 * 0.5 * 20 is 4.5: 4
    assert torch.equal(right[..., 4:], frames[..., :-4])
    assert right[0, :, 5, 0].tolist() == [123, 117, 104], "the mean colour comes into view"
    up = apply_operation(frames, Operation("translate_y", -1.0))  # 9 pixels
    assert torch.equal(up[..., :-9, :], frames[..., 9:, :])
    turned = apply_operation(still(2), Operation("rotate", 1.0))
    assert turned[0, :, 0, 0].tolist() == [123, 117, 104], "30 degrees uncover the corners"
    frames = video(2, 21)
    sheared = apply_operation(frames, Operation("shear_x", 1.0))
    assert not torch.equal(sheared[..., 0, :], frames[..., 0, :])
    assert torch.equal(sheared[..., 10, :], frames[..., 10, :]), "the middle row stays"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_the_same_in_all_frames(name: str) -> None:
    for strength in (0.7, -0.7):
        pictures = 40 + still() // 2
        after = apply_operation(pictures, Operation(name, strength))
        assert (after.dtype, after.shape) == (torch.uint8, pictures.shape)
        assert torch.equal(after, after[:1].expand_as(after))
        assert torch.equal(after, pictures) == (name == "identity")


def test_what_is_drawn() -> None:
    config = RandAugmentConfig(operations=4, magnitude=7, magnitude_std=0.5, probability=0.5)
    drawn = [draw_operations(config, Random(seed)) for seed in range(1000)]
    counts = Counter(operation.name for video in drawn for operation in video)
    assert set(counts) == set(OPERATIONS)
    assert sum(counts.values()) == pytest.approx(2000, abs=120), "half of 4 in 1,000 videos"
    strengths = [abs(o.strength) for video in drawn for o in video]
    assert sum(strengths) / len(strengths) == pytest.approx(0.7, abs=0.01)
    assert max(strengths) <= 1
    exact = draw_operations(RandAugmentConfig(operations=3, magnitude=4), Random(1))
    assert [abs(o.strength) for o in exact] == [0.4] * 3
    assert draw_operations(config, Random(5)) == drawn[5], "the generator alone decides"


def test_rectangles_by_hand() -> None:
    config = ErasingConfig(probability=1, area=(0.25, 0.25), ratio=(1, 1))
    rectangle = draw_rectangle(config, 32, Random(0))
    assert rectangle is not None
    assert (rectangle.height, rectangle.width) == (16, 16), "a quarter of the area"
    flat = draw_rectangle(
        ErasingConfig(probability=1, area=(0.04, 0.04), ratio=(4, 4)), 100, Random(0)
    )
    assert flat is not None
    assert (flat.height, flat.width) == (40, 10), "sqrt(0.04 * 4) and sqrt(0.04 / 4)"
    assert draw_rectangle(ErasingConfig(probability=0), 32, Random(0)) is None
    impossible = ErasingConfig(probability=1, area=(0.9, 0.9), ratio=(9, 9))
    assert draw_rectangle(impossible, 32, Random(0)) is None
    for seed in range(200):
        top, left, height, width = draw_rectangle(
            ErasingConfig(probability=1), 32, Random(seed)
        ) or (*(0, 0, 0, 0),)
        assert 0 <= top <= 32 - height < 32
        assert 0 <= left <= 32 - width < 32
    often = sum(draw_rectangle(ErasingConfig(), 32, Random(n)) is not None for n in range(1000))
    assert often == pytest.approx(500, abs=60)


def test_erasing_touches_the_rectangle_alone() -> None:
    frames = video(3, 10)
    erased = erase(frames, Rectangle(2, 3, 4, 5), seed=1)
    inside = torch.zeros(10, 10, dtype=torch.bool)
    inside[2:6, 3:8] = True
    assert torch.equal(erased[..., ~inside], frames[..., ~inside])
    noise = erased[..., inside]
    assert torch.equal(noise, noise[:1].expand_as(noise)), "the same in all frames"
    assert not torch.equal(noise[0], frames[0][..., inside])


STRONG = AugmentConfig(
    rotation=5,
    rand_augment=RandAugmentConfig(operations=4, magnitude=7),
    erasing=ErasingConfig(probability=1),
)


def test_one_draw_for_all_frames_and_for_the_other_pictures_of_a_video() -> None:
    """Pictures of another number, such as two per frame, get the same operations and rectangle."""
    augment, pictures = Augmentation(STRONG, 32), still(4)
    seen = set()
    for seed in range(20):
        frames = augment(pictures, seed)
        assert torch.equal(frames, frames[:1].expand_as(frames))
        others = augment(still(8), seed)[:4].float()
        # Equalising rounds by the number of pixels.
        assert (others - frames).abs().mean() < 4, "streams stay aligned with the frames"
        assert torch.equal(augment(pictures, seed), frames), "the seed alone decides"
        seen.add(frames[0].numpy().tobytes())
    assert len(seen) == 20


def test_switching_them_on_changes_no_other_draw() -> None:
    plain = Augmentation(AugmentConfig(), 32)
    off = AugmentConfig(
        rand_augment=RandAugmentConfig(magnitude=0, operations=1, probability=1e-9),
        erasing=ErasingConfig(probability=0),
    )
    for seed in range(5):
        assert torch.equal(plain(video(), seed), Augmentation(off, 32)(video(), seed))
    assert NO_AUGMENTATION.rand_augment is None
    assert NO_AUGMENTATION.erasing is None


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"rand_augment": {"operations": 0}}, "rand_augment.operations"),
        ({"rand_augment": {"magnitude": 11}}, "rand_augment.magnitude"),
        ({"rand_augment": {"probability": 0}}, "rand_augment.probability"),
        ({"erasing": {"probability": 1.5}}, "erasing.probability"),
        ({"erasing": {"area": (0.5, 0.2)}}, "erasing: area is"),
        ({"erasing": {"ratio": (0, 1)}}, "erasing: ratio is"),
        ({"crop_scale": (0.5, 2)}, "crop_scale is"),
    ],
)
def test_ranges(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check(AugmentConfig, values)
