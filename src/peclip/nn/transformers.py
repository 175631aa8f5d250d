"""The weights of a plain CLIP, with random initial values, under the names of open_clip.

Building them here avoids importing open_clip, which takes longer than predicting a short video. The towers of
`nn.towers` compute with these modules. With the same seed, the values are those of open_clip's `CLIP`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from peclip.nn.clip_block import QuickGELU


class LayerNorm(nn.LayerNorm):
    """A layer norm whose output has the type of its input, also under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., W) to (..., W)."""
        return super().forward(x).to(x.dtype)


class Block(nn.Module):
    """A transformer block: attention and MLP with their norms; `nn.clip_block.ClipBlock` computes it."""

    def __init__(
        self, width: int, heads: int, mlp_ratio: float, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.ln_1 = LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ls_1 = nn.Identity()
        self.ln_2 = LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, hidden), gelu=activation(), c_proj=nn.Linear(hidden, width)
            )
        )
        self.ls_2 = nn.Identity()


class Transformer(nn.Module):
    """The blocks of a tower."""

    def __init__(
        self, width: int, heads: int, layers: int, mlp_ratio: float, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(
            Block(width, heads, mlp_ratio, activation) for _ in range(layers)
        )


class VisionTransformer(nn.Module):
    """The weights of the image encoder."""

    def __init__(
        self,
        embed_dim: int,
        activation: type[nn.Module],
        *,
        image_size: int = 224,
        patch_size: int = 16,
        width: int = 768,
        layers: int = 12,
        head_width: int = 64,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.image_size = (image_size, image_size)
        self.conv1: nn.Module = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        scale = width**-0.5
        tokens = (image_size // patch_size) ** 2 + 1
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(tokens, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, width // head_width, layers, mlp_ratio, activation)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))


class TextTransformer(nn.Module):
    """The weights of the text encoder."""

    attn_mask: Tensor

    def __init__(
        self,
        embed_dim: int,
        activation: type[nn.Module],
        *,
        context_length: int = 77,
        vocab_size: int = 49408,
        width: int = 512,
        heads: int = 8,
        layers: int = 12,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.transformer = Transformer(width, heads, layers, mlp_ratio, activation)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        mask = torch.full((context_length, context_length), float("-inf")).triu_(1)
        self.register_buffer("attn_mask", mask, persistent=False)
        self._initialise(width, layers)

    def _initialise(self, width: int, layers: int) -> None:
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        deep = width**-0.5 * (2 * layers) ** -0.5
        for block in self.transformer.resblocks:
            parts: Any = block
            nn.init.normal_(parts.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(parts.attn.out_proj.weight, std=deep)
            nn.init.normal_(parts.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(parts.mlp.c_proj.weight, std=deep)
        nn.init.normal_(self.text_projection, std=width**-0.5)


class Clip(nn.Module):
    """Both encoders.

    Args:
        embed_dim: D, the width of the features.
        vision_cfg: arguments of `VisionTransformer`.
        text_cfg: arguments of `TextTransformer`.
        quick_gelu: whether the MLPs use `QuickGELU` instead of the exact GELU.
    """

    def __init__(
        self,
        embed_dim: int,
        vision_cfg: Mapping[str, Any],
        text_cfg: Mapping[str, Any],
        quick_gelu: bool = False,
    ) -> None:
        super().__init__()
        activation: type[nn.Module] = QuickGELU if quick_gelu else nn.GELU
        self.visual = VisionTransformer(embed_dim, activation, **vision_cfg)
        self.text = TextTransformer(embed_dim, activation, **text_cfg)
