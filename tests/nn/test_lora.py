"""LoRA is its equation, changes nothing at first, and is merged without a trace."""

from __future__ import annotations

import open_clip
import pytest
import torch

from peclip.nn.clip_block import ClipBlock, Layout
from peclip.nn.lora import LoraBlock, LowRank, merge
from peclip.nn.towers import VisionTower

ALL = ("q", "k", "v", "out", "fc1", "fc2")
WIDTH, HIDDEN, LAYERS = 48, 96, 3


def tower() -> VisionTower:
    """The vision tower of a small random CLIP, built by open_clip."""
    vision = {"image_size": 32, "patch_size": 16, "width": WIDTH, "layers": LAYERS}
    text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}
    sizes = {"head_width": 16, "mlp_ratio": HIDDEN / WIDTH}
    clip = open_clip.CLIP(20, {**vision, **sizes}, text)
    return VisionTower(clip.visual).requires_grad_(False)


def add(target: VisionTower, matrices: tuple[str, ...] = ALL, *, trained: bool = True) -> None:
    blocks = [LoraBlock(block, matrices, 4, 8.0) for block in target.blocks]
    target.blocks = torch.nn.ModuleList(blocks)
    if trained:
        for module in target.modules():
            if isinstance(module, LowRank):
                torch.nn.init.normal_(module.up, std=0.1)


def test_an_update_is_the_papers_equation() -> None:
    update, x = LowRank(6, 5, rank=2, alpha=3.0), torch.randn(4, 6)
    assert torch.equal(update(x), torch.zeros(4, 5)), "B is zero"
    torch.nn.init.normal_(update.up)
    product = 3.0 / 2 * update.up @ update.down  # alpha / r * B A
    torch.testing.assert_close(update(x), x @ product.T)
    torch.testing.assert_close(update.matrix(), product)


def test_dropout_is_of_the_input_and_only_in_training() -> None:
    update = LowRank(1, 1, rank=1, alpha=1.0, dropout=0.25)
    with torch.no_grad():
        update.down.fill_(2.0)
        update.up.fill_(3.0)
    x = torch.ones(10_000, 1)
    values, counts = update(x).unique(return_counts=True)
    assert values.tolist() == [0.0, 8.0]  # 2 * 3 / 0.75
    assert counts[0] / len(x) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(update.eval()(x), torch.full((10_000, 1), 6.0))


@pytest.mark.parametrize(
    ("matrices", "expected"),
    [
        (ALL, 3 * 4 * (4 * (48 + 48) + 2 * (48 + 96))),
        (("q", "v"), 3 * 4 * 2 * (48 + 48)),
        (("fc2",), 3 * 4 * (96 + 48)),
    ],
)
def test_the_count_is_rank_times_inputs_and_outputs(
    matrices: tuple[str, ...], expected: int
) -> None:
    changed = tower()
    add(changed, matrices)
    assert sum(p.numel() for p in changed.parameters() if p.requires_grad) == expected


def test_an_untrained_tower_is_plain_clip() -> None:
    changed, frames = tower(), torch.randn(2, 3, 3, 32, 32)
    before = changed(frames)
    add(changed, trained=False)
    torch.testing.assert_close(changed(frames), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("matrices", [ALL, ("q",), ("k", "fc1"), ("v", "out"), ("fc2",)])
def test_merged_is_the_same_and_a_plain_tower(matrices: tuple[str, ...]) -> None:
    changed, frames = tower(), torch.randn(2, 3, 3, 32, 32)
    plain = changed(frames)
    before = [p.clone() for p in changed.parameters()]
    add(changed, matrices)
    expected = changed(frames)
    assert (expected - plain).abs().max() > 1e-3
    merged = merge(changed)
    assert [type(block) for block in merged.blocks] == [ClipBlock] * LAYERS
    torch.testing.assert_close(merged(frames), expected, rtol=0, atol=1e-5)
    # The tower itself still has its frozen weights, and the copy shares those without an update.
    torch.testing.assert_close(changed(frames), expected, rtol=0, atol=0)
    frozen = [p for p in changed.parameters() if not p.requires_grad]
    assert all(torch.equal(*pair) for pair in zip(frozen, before, strict=True))
    shared = {id(p) for p in frozen} & {id(p) for p in merged.parameters()}
    own = {"q": 1, "k": 1, "v": 1, "out": 2, "fc1": 3, "fc2": 4}
    assert len(frozen) - len(shared) == LAYERS * len({own[name] for name in matrices})
    assert not any(p.requires_grad for p in merged.parameters())


def test_without_updates_nothing_is_copied() -> None:
    plain = tower()
    assert merge(plain) is plain


def test_rows_of_the_projection_have_their_own_updates() -> None:
    """The last block projects the queries of the class token alone."""
    changed = tower().double()
    add(changed, ("q", "k"))
    block = changed.blocks[0].double()
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    whole = block.project(x, slice(None))
    for rows in (slice(WIDTH), slice(WIDTH, None), slice(WIDTH, 2 * WIDTH)):
        torch.testing.assert_close(block.project(x, rows), whole[..., rows])
    torch.testing.assert_close(block(x, Layout(wanted=1)), block(x)[:, :1])
