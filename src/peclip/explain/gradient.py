"""When and where, to first order: gradient x input.

The input is the tokens of a frame before the first block, minus those of a frame of the window's mean colour::

    I_t = sum over tokens l and channels of  dF/dx_tl * (x_tl - blank_l)

F is the log-odds. At pixels the product would be useless for `nano`, whose stem standardises every frame: a function
that ignores the scale of its input has a gradient perpendicular to it (Euler's theorem), so every frame would get 0.
Tokens of different frames have not been mixed before the first block. It takes one pass forwards and one backwards,
and one more forwards for a model that averages mirror images; the blank frame passes the patch embedding only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Finding
from peclip.explain.layout import as_array, as_maps

UNIT = "gradient x input, of the log-odds"


def find_gradient(window: ExplainedWindow) -> Finding:
    """Returns the products of each frame, (T,), and of each patch, (T, G, G)."""
    before, frames = window.forward_passes, window.num_frames
    tokens: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tokens.append(arguments[0].detach().requires_grad_())
        return (tokens[-1], *arguments[1:])

    views = window.views(window.batch)
    handle = window.tower.blocks[0].register_forward_pre_hook(keep)
    try:
        logits = [window.logits(view) for view in views]
    finally:
        handle.remove()
    gradients = window.gradients(window.log_odds(logits), tokens)
    blank = _blank_tokens(window)
    products = [
        (g * (x[:, : blank.shape[1]] - blank))[:frames].sum(-1).detach()
        for x, g in zip(tokens, (g[:, : blank.shape[1]] for g in gradients), strict=True)
    ]
    maps = [as_maps(p[:, 1:], view) for p, view in zip(products, views, strict=True)]
    return Finding(
        "gradient",
        window.forward_passes - before,
        1,
        frames=as_array(torch.stack([p.sum(1) for p in products]).sum(0)),
        maps=as_array(torch.stack(maps).sum(0)),
        unit=UNIT,
    )


@torch.no_grad()
def _blank_tokens(window: ExplainedWindow) -> Tensor:
    """Returns the class token and the patches of a frame of the mean colour, (1, 1 + G * G, W)."""
    frame = window.blank().expand(window.batch.frames.shape[-3:])
    return window.tower.embed(frame[None], ())
