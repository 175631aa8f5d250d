"""When and where PE-CLIP adapts over time: the dynamic scaling of its temporal adapters.

Each TDA multiplies what its GRU computed for a token by `relu(scale(norm(x)))`, one number per token and frame: the
paper's "informative temporal features" (Saadi et al., 2025, section 3.2). It is read with hooks, and averaged over the
layers. It does not depend on the label, and says how much of the GRU's output is let through, not what that does to the
prediction. The last layer has only the class token, if that is the feature. One pass, two for a model that averages
mirror images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Finding
from peclip.explain.layout import as_array, as_maps
from peclip.models.base import ExpressionModel
from peclip.nn.adapters import TemporalDynamicAdapter

UNIT = "dynamic scale of the temporal adapters"
REMARK = "The scales do not depend on the label."


def find_scales(window: ExplainedWindow) -> Finding:
    """Returns the mean scale of each frame, (T,), over tokens and layers, and that of each patch, (T, G, G)."""
    before = window.forward_passes
    found: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(output[..., 0].relu())  # (T, L)

    frames, maps = [], []
    for view in window.views(window.batch):
        found.clear()
        handles = [adapter.scale.register_forward_hook(keep) for adapter in _adapters(window.tower)]
        try:
            with torch.no_grad():
                window.logits(view)
        finally:
            for handle in handles:
                handle.remove()
        frames.append(torch.stack([scales.mean(1) for scales in found]).mean(0))
        end = window.tower.num_tokens
        first = end - window.grid**2
        inner = [as_maps(scales[:, first:end], view) for scales in found if scales.shape[1] >= end]
        if inner:  # a tower of one layer has only class tokens
            maps.append(torch.stack(inner).mean(0))
    return Finding(
        "dynamic-scale",
        window.forward_passes - before,
        frames=as_array(torch.stack(frames).mean(0)),
        maps=as_array(torch.stack(maps).mean(0)) if maps else None,
        unit=UNIT,
        is_directed=False,
        remark=REMARK,
    )


def _adapters(network: nn.Module) -> list[TemporalDynamicAdapter]:
    modules = network.modules()
    return [module for module in modules if isinstance(module, TemporalDynamicAdapter)]


def missing_in(network: ExpressionModel) -> str | None:
    """Returns why the method cannot explain a model."""
    return None if _adapters(network) else "the model has no temporal dynamic adapters"
