"""The blocks of the towers, plain and as the models adapt them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from peclip.models.registry import build_model
from peclip.nn import clip_block
from peclip.nn.clip_block import Layout
from peclip.nn.towers import VisionTower
from peclip.weights.resolve import debug_config


def tower_of(architecture: str) -> VisionTower:
    """Returns the vision tower of `debug` with the adapters of a model, all weights random."""
    torch.manual_seed(0)
    tower = build_model(debug_config(architecture)).vision
    assert isinstance(tower, VisionTower)
    for parameter in tower.parameters():
        nn.init.normal_(parameter, std=0.2)
    return tower


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
@pytest.mark.parametrize("wanted", [1, 3])
def test_wanted_tokens_are_those_of_the_whole(architecture: str, wanted: int) -> None:
    tower = tower_of(architecture).double()
    x = torch.randn(6, 5, tower.width, dtype=torch.float64)
    layout = Layout(num_frames=3, groups=(6,))
    for block in (tower.blocks[0], tower.blocks[0].block):
        whole = block(x, layout)
        assert whole.shape == x.shape
        torch.testing.assert_close(block(x, layout._replace(wanted=wanted)), whole[:, :wanted])


def test_a_mask_is_cut_to_the_wanted_tokens() -> None:
    block = tower_of("pe-clip").double().blocks[0].block
    x = torch.randn(2, 4, 64, dtype=torch.float64)
    layout = Layout(mask=torch.full((4, 4), float("-inf"), dtype=torch.float64).triu(1))
    torch.testing.assert_close(block(x, layout._replace(wanted=2)), block(x, layout)[:, :2])
    torch.testing.assert_close(
        block(x[:, :2], layout._replace(mask=layout.mask[:2, :2])), block(x, layout)[:, :2]
    )


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
def test_the_last_block_computes_the_class_token_alone(architecture: str) -> None:
    tower = tower_of(architecture)
    asked: list[int | None] = []
    for block in tower.blocks:
        block.register_forward_pre_hook(lambda module, given: asked.append(given[1].wanted))
    tower(torch.rand(2, 3, 3, 32, 32), groups=(2,))
    assert asked == [None] * (len(tower.blocks) - 1) + [1]


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
def test_parts_and_prompts_in_place_change_nothing(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = tower_of(architecture).double()
    frames = torch.rand(2, 5, 3, 32, 32, dtype=torch.float64)
    prompts = [torch.randn(2, tower.width, dtype=torch.float64) for _ in tower.blocks]
    whole = tower(
        frames, prompts, groups=(2,)
    ).detach()  # with gradients: nothing in parts, nothing in place
    calls: list[int] = []
    tower.blocks[0].block.block.mlp.register_forward_hook(lambda m, x, y: calls.append(len(y)))
    kept = [prompt.clone() for prompt in prompts]
    three = 3 * (len(tower.positional_embedding) + 2) * 4 * tower.width * whole.element_size()
    for size in (1, three):
        monkeypatch.setattr(clip_block, "_PART_BYTES", size)
        with torch.inference_mode():
            torch.testing.assert_close(tower(frames, prompts, groups=(2,)), whole)
    assert calls == [1] * 10 + [3, 3, 3, 1]
    assert all(torch.equal(a, b) for a, b in zip(prompts, kept, strict=True))
