"""Where, from attention: gradient-weighted rollout (see `peclip.nn.attention_maps.rollout`).

The rollout of a frame follows its tokens through the layers to its class token. The gradient of the log-odds passes
through everything, including the adapters and, over time, their GRUs; but what a GRU carries from a patch to the same
place in a later frame is not followed, and counts for the later frame. One pass forwards and one backwards; two
forwards for a model that averages mirror images.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Finding
from peclip.explain.layout import as_array, as_maps
from peclip.models.base import ExpressionModel
from peclip.nn.attention_maps import rollout
from peclip.nn.towers import VisionTower

UNIT = "gradient-weighted attention"


def find_attention(window: ExplainedWindow) -> Finding:
    """Returns the rollout of the frames of the video, (T, G, G)."""
    before, frames = window.forward_passes, window.num_frames
    # Without a gradient of the pixels, layers whose weights are frozen would have none.
    pixels = window.batch.frames.detach().requires_grad_()
    views = window.views(replace(window.batch, frames=pixels))
    logits: list[Tensor] = []
    weights: list[Tensor] = []
    for view in views:
        logits.append(window.logits(view))
        weights += [block.weights for block in window.blocks if block.weights is not None]
    gradients = window.gradients(window.log_odds(logits), weights)
    layers, maps = len(window.blocks), []
    for number, view in enumerate(views):
        inside = slice(number * layers, (number + 1) * layers)
        patches = rollout(
            [layer.detach()[:frames] for layer in weights[inside]],
            [layer[:frames] for layer in gradients[inside]],
            window.num_prompts,
            window.network.prompt_depth,
        )
        maps.append(as_maps(patches, view))
    for block in window.blocks:
        block.weights = None  # the graph would stay in memory
    return Finding(
        "rollout",
        window.forward_passes - before,
        1,
        maps=as_array(torch.stack(maps).mean(0)),
        unit=UNIT,
    )


def missing_in(model: ExpressionModel) -> str | None:
    """Returns what the method needs and a model lacks: a class token that is the feature of a frame."""
    pooled = any(isinstance(t, VisionTower) and t.pool.reads_all for t in model.encoders())
    return (
        "its backbone pools all patches of a frame and has no class token to follow"
        if pooled
        else None
    )
