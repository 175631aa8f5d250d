"""Windows out of stills: what is the same in all frames, what moves, and what the label is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from no_animation import STILL

from peclip.config import PreprocessConfig, check
from peclip.data import Sample, Split
from peclip.data.animation import AnimatedStills, expression_weights
from peclip.data.animation_config import AnimateConfig
from peclip.data.dataset import Draw, Item
from peclip.data.still_effects import degrade, move
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet

LABELS = LabelSet(("happiness", "neutral"))


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Four white smiles and four black neutral faces."""
    samples = []
    for number in range(8):
        label = LABELS.names[number % 2]
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((40, 40, 3), 255 * (label == "happiness"), np.uint8))
        samples.append(Sample(path, label, str(number)))
    return Split("stills", None, "train", tuple(samples), LABELS)


def windows(split: Split, config: AnimateConfig, frames: int = 8, seed: int = 0) -> AnimatedStills:
    size = PreprocessConfig(image_size=32)
    return AnimatedStills(split, size, frames, seed=seed, labels=LABELS, animate=config)


def item(data: AnimatedStills, draw: Draw) -> Item:
    found = data[draw]
    assert isinstance(found, Item)
    return found


def textured(seed: int = 0) -> np.ndarray:
    picture = np.random.default_rng(seed).integers(60, 190, (12, 12, 3), dtype=np.uint8)
    return cv2.resize(picture, (48, 48), interpolation=cv2.INTER_CUBIC)


def test_weights_by_hand() -> None:
    assert expression_weights(4, 1.0, 0.3).tolist() == [1, 1, 1, 1]
    assert expression_weights(4, 0.5, 0.0).tolist() == [1, 1, 0, 0]
    assert expression_weights(4, 0.5, 1.0).tolist() == [0, 0, 1, 1]
    assert expression_weights(4, 0.5, 0.25).tolist() == [0.5, 1, 0.5, 0]
    assert expression_weights(1, 0.4, 0.5).tolist() == pytest.approx([0.4])


@pytest.mark.parametrize("share", [0.03, 0.31, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("place", [0.0, 0.37, 1.0])
def test_weights_add_up_to_the_share(share: float, place: float) -> None:
    weights = expression_weights(7, share, place)
    assert weights.sum() == pytest.approx(7 * share)
    assert weights.min() >= 0
    assert weights.max() <= 1 + 1e-12


def test_a_part_of_the_window_is_expressive(split: Split) -> None:
    """White frames between black ones, the share within its range, the label unchanged."""
    data = windows(split, STILL.model_copy(update={"partial": 1.0, "share": (0.25, 0.75)}))
    shares = []
    for epoch in range(30):
        window, target, *_ = item(data, Draw(epoch, 0))
        assert target == 0
        lit = window.float().mean((1, 2, 3)) / 255
        shares.append(float(lit.mean()))
        inside = np.flatnonzero(lit.numpy() > 0.02)
        assert len(inside) == inside[-1] - inside[0] + 1, "the expression comes once"
    assert min(shares) >= 0.24
    assert max(shares) <= 0.76
    assert max(shares) - min(shares) > 0.3
    neutral, target, *_ = item(data, Draw(0, 1))
    assert (float(neutral.float().mean()), target) == (0.0, 1)


def test_a_change_of_face_does_not_reveal_the_label(split: Split, tmp_path: Path) -> None:
    """Neutral windows have a part between frames of another neutral face as often as the others."""
    shades = [
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((40, 40, 3), 30 * i, np.uint8))
        for i in (1, 3, 5, 7)
    ]
    assert all(shades)
    data = windows(split, STILL.model_copy(update={"partial": 0.5, "share": (0.4, 0.6)}))
    mixed = {0: 0, 1: 0}
    for epoch in range(200):
        for video in (0, 1):
            window, target, *_ = item(data, Draw(epoch, video))
            assert target == video
            mixed[video] += int(window.float().mean((1, 2, 3)).std() > 1)
    assert 70 < mixed[0] < 130
    assert 45 < mixed[1] < 105, "a quarter of them is beside the same face"


def test_a_still_is_decoded_once(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    data = windows(split, STILL.model_copy(update={"partial": 1.0, "share": (0.5, 0.5)}))
    read: list[Path] = []
    crops = data.crops
    monkeypatch.setattr(
        data, "crops", lambda path, choose: read.append(path) or crops(path, choose)
    )
    first = item(data, Draw(0, 0)).crops
    for epoch in range(20):
        item(data, Draw(epoch, 0))
    assert len(read) == len(set(read)) <= 5, "the smile, and the four neutral faces"
    assert torch.equal(item(data, Draw(0, 0)).crops, first), "what is kept is not written to"


def test_a_faint_expression_is_neutral(split: Split) -> None:
    data = windows(split, STILL.model_copy(update={"faint": 1.0, "faint_share": (0.05, 0.1)}))
    window, target, soft, *_ = item(data, Draw(0, 0))
    assert target == 1
    assert soft.tolist() == [0, 1]
    assert 0.04 < float(window.float().mean()) / 255 < 0.11


def test_votes_are_of_what_is_seen(split: Split) -> None:
    """A window has the votes of its still, unless the expression is too short to count."""
    first, *others = split.samples
    voted = replace(first, soft_target=(("happiness", 0.6), ("neutral", 0.4)))
    soft = split.with_samples([voted, *others])
    partial = windows(soft, STILL.model_copy(update={"partial": 1.0}))
    assert item(partial, Draw(0, 0)).target == 0
    assert item(partial, Draw(0, 0)).soft_target.tolist() == pytest.approx([0.6, 0.4])
    assert item(partial, Draw(0, 2)).soft_target.tolist() == [1, 0]
    faint = windows(soft, STILL.model_copy(update={"faint": 1.0, "faint_share": (0.05, 0.1)}))
    assert item(faint, Draw(0, 0)).target == 1
    assert item(faint, Draw(0, 0)).soft_target.tolist() == [0, 1]


def test_disabled_movement_leaves_the_still_unchanged(split: Split) -> None:
    frames = [textured()] * 5
    random = np.random.default_rng(0)
    moved = degrade(move(frames, STILL, random), STILL, random)
    assert all(np.array_equal(frame, frames[0]) for frame in moved)
    window = item(windows(split, STILL), Draw(0, 0)).crops
    assert window.shape == (8, 3, 32, 32)
    assert torch.equal(window, torch.full_like(window, 255))


def test_movement_is_small_and_smooth() -> None:
    """Neighbouring frames differ less than the ends of a window, and drift 0 gives identical frames."""
    config = STILL.model_copy(update={"rotation": 20.0, "scale": 0.2, "shift": 0.1, "drift": 1.0})
    steps, ends = [], []
    for seed in range(20):
        moved = move([textured(seed)] * 9, config, np.random.default_rng(seed)).astype(float)
        steps.append(np.abs(np.diff(moved, axis=0)).mean())
        ends.append(np.abs(moved[-1] - moved[0]).mean())
    assert np.mean(steps) < 0.5 * np.mean(ends)
    frozen = config.model_copy(update={"drift": 0.0})
    moved = move([textured()] * 4, frozen, np.random.default_rng(1))
    assert all(np.array_equal(frame, moved[0]) for frame in moved)
    assert not np.array_equal(moved[0], textured()), "the still is shifted, then constant"


def test_a_mirror_image() -> None:
    mirrored = move([textured()], STILL.model_copy(update={"flip": 1.0}), np.random.default_rng(0))
    assert np.array_equal(mirrored[0], textured()[:, ::-1])


@pytest.mark.parametrize("change", ["blur", "compression", "noise", "erase"])
def test_each_fault_changes_the_picture(change: str) -> None:
    frames = np.stack([textured()] * 3)
    config = STILL.model_copy(update={change: 1.0})
    changed = degrade(frames, config, np.random.default_rng(0))
    assert changed.shape == frames.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, frames)
    assert np.abs(changed.astype(int) - frames).mean() < 40


def test_only_seed_epoch_and_still_decide(split: Split) -> None:
    config = AnimateConfig(partial=1.0)  # the pictures are plain: only onset and light can differ
    data, again = windows(split, config), windows(split, config)
    first = item(data, Draw(3, 2))
    item(again, Draw(0, 0))  # what came before does not matter
    assert torch.equal(first.crops, item(again, Draw(3, 2)).crops)
    assert not torch.equal(first.crops, item(data, Draw(4, 2)).crops)
    other = windows(split, config, seed=1)
    assert not torch.equal(first.crops, item(other, Draw(3, 2)).crops)


def test_without_a_neutral_still(split: Split) -> None:
    smiles = split.with_samples(s for s in split.samples if s.label == "happiness")
    assert item(windows(smiles, AnimateConfig()), Draw(0, 0)).target == 0
    with pytest.raises(DatasetError, match=r"no still labelled neutral.*train\.animate\.partial=0"):
        windows(smiles, AnimateConfig(partial=0.5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": (0.5, 0.4)}, "two numbers"),
        ({"share": (0.0, 0.4)}, "two numbers"),
        ({"partial": 0.7, "faint": 0.4}, "at most 1"),
        ({"faint": 0.1, "share": (0.1, 1.0)}, "must not overlap"),
        ({"rotate": 3}, "rotate"),
        ({"resolution_range": (40, 20)}, r"resolution_range is \(40, 20\).*in ascending order"),
        ({"resolution_range": (0, 20)}, r"\(0, 20\).*from 1 to 4096"),
    ],
)
def test_invalid_animation_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(AnimateConfig, values)


def test_a_neutral_face_around_an_expression_is_the_same_person_where_one_is_known(
    tmp_path: Path,
) -> None:
    greys = {"smile of A": 250, "A": 100, "B": 20, "smile of C": 250}
    samples = []
    for name, grey in greys.items():
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), np.full((40, 40, 3), grey, np.uint8))
        label = "happiness" if name.startswith("smile") else "neutral"
        samples.append(Sample(path, label, name, subject=name[-1]))
    people = Split("stills", None, "train", tuple(samples), LABELS)
    half = STILL.model_copy(update={"partial": 1.0, "share": (0.5, 0.5)})
    data = windows(people, half)
    around = {
        video: {
            int(grey)
            for e in range(20)
            for grey in data.item(Draw(e, video)).crops.unique().tolist()
        }
        for video in range(4)
    }
    assert 100 in around[0]  # A has a neutral still, which is taken
    assert 20 not in around[0]
    assert {100, 20} <= around[3]  # C has none: anyone's
    assert {100, 20} <= around[1] & around[
        2
    ]  # the only neutral still of a person is not its own other
