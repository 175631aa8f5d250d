"""Attention weights are those of the fused kernel, and their rollout is the one computed by hand."""

from __future__ import annotations

import pytest
import torch

from peclip.models.registry import build_model
from peclip.nn.attention_maps import RecordingBlock, record_attention, rollout
from peclip.nn.clip_block import ClipBlock
from peclip.types import Batch
from peclip.weights.resolve import debug_config


@pytest.mark.parametrize("architecture", ["pe-clip", "finecliper"])
def test_a_recording_copy_computes_the_same(architecture: str) -> None:
    model = build_model(debug_config(architecture)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2)
        frames = torch.randn(2, 3, 3, 32, 32)
        before = model(Batch(frames)).video_features
        copied, blocks = record_attention(model.vision)
        original, model.vision = model.vision, copied
        after = model(Batch(frames)).video_features
    assert torch.allclose(before, after, atol=1e-5)
    assert [type(block) for block in blocks] == [RecordingBlock] * 2
    tokens = model.num_tokens
    assert [tuple(block.weights.shape) for block in blocks] == [
        (6, 2, tokens, tokens),
        (6, 2, 1, tokens),  # of the last layer, only the class token is used
    ]
    for block in blocks:
        assert torch.allclose(block.weights.sum(-1), torch.ones(()))
    assert not any(isinstance(module, RecordingBlock) for module in original.modules())
    own = {id(parameter) for parameter in original.parameters()}
    assert {id(parameter) for parameter in copied.parameters()} == own


def test_a_mask_is_applied() -> None:
    block = RecordingBlock(ClipBlock(torch.nn.Identity()))
    q, k, v = (torch.randn(1, 1, 3, 4) for _ in range(3))
    mask = torch.full((3, 3), float("-inf")).triu(1)
    mixed = block.mix(q, k, v, mask)
    assert block.weights.triu(1).abs().max() == 0
    assert torch.allclose(mixed, ClipBlock.mix(block, q, k, v, mask), atol=1e-6)


def test_the_rollout_by_hand() -> None:
    """Tokens: class, one patch, one prompt. G is 1, so that M = A / m, and m = 1 is the largest row."""
    first = torch.tensor([[[[0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.5, 0.5, 0.0]]]])
    second = torch.tensor([[[[0.1, 0.4, 0.5]]]])
    # R1 = I + M1 has the patch column (0.5, 1.6, 0.5);
    # R2 = R1[class] + M2 R1 = 0.5 + 0.1 * 0.5 + 0.4 * 1.6 + 0.5 * 0.5 = 1.44
    ones = [torch.ones_like(first), torch.ones_like(second)]
    found = rollout([first, second], ones, num_prompts=1, prompt_depth=1)
    assert found.tolist() == [[pytest.approx(1.44)]]
    # A new prompt before the second layer has seen no patch: 1.44 - 0.5 * 0.5
    found = rollout([first, second], ones, num_prompts=1, prompt_depth=2)
    assert found.tolist() == [[pytest.approx(1.19)]]
    # The scale of the gradient does not matter, and opposing attention counts as none.
    found = rollout([first, second], [7 * g for g in ones], num_prompts=1, prompt_depth=2)
    assert found.tolist() == [[pytest.approx(1.19)]]
    found = rollout([first, second], [-g for g in ones], num_prompts=1, prompt_depth=2)
    assert found.tolist() == [[0.0]]


def test_heads_are_averaged_after_the_gradient() -> None:
    """Two heads: the one that opposes does not cancel the one that supports."""
    weights = torch.tensor([[[[0.5, 0.5]], [[0.5, 0.5]]]])
    gradients = torch.tensor([[[[0.0, 1.0]], [[0.0, -1.0]]]])
    # M = (0.5 + 0) / 2 = 0.25 for the patch, which is also the largest row sum: 0.25 / 0.25
    assert rollout([weights], [gradients], 0, 0).tolist() == [[1.0]]
