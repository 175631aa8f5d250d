from __future__ import annotations

import torch

from peclip.nn.prompts import CoupledPrompts


def test_each_depth_has_a_separate_prompt_and_coupling() -> None:
    prompts = CoupledPrompts(8, 12, length=2, depth=3)
    text, vision = prompts()
    assert [tuple(p.shape) for p in text] == [(2, 8)] * 3
    assert [tuple(p.shape) for p in vision] == [(2, 12)] * 3
    for prompt, coupling, seen in zip(prompts.text, prompts.to_vision, vision, strict=True):
        assert torch.allclose(seen, prompt @ coupling.weight.T + coupling.bias, atol=1e-6)
    assert sum(p.numel() for p in prompts.parameters()) == 3 * (2 * 8 + 8 * 12 + 12)


def test_the_release_rounds_all_but_the_text_prompt_of_the_input() -> None:
    prompts = CoupledPrompts(8, 12, length=2, depth=3, half=True)
    text, vision = prompts()
    assert torch.equal(text[0], prompts.text[0])
    for prompt in [*text[1:], *vision]:
        assert torch.equal(prompt, prompt.half().float())
    assert not torch.equal(text[1], prompts.text[1])
    vision[2].sum().backward()
    assert prompts.text[2].grad is not None, "rounding must not stop the gradient"
