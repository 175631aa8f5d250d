"""Takes the towers that open_clip builds apart, whatever library they are from.

What peclip cannot adapt is rejected with the reason, so that no unknown layer is silently left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from torch import nn

from peclip.nn.token_pooling import ClassToken, MeanToken, Pooling
from peclip.nn.tower_parts import TextParts, TextPooling, UnsupportedTower, VisionParts


def vision_parts(visual: nn.Module) -> VisionParts:
    """Takes an image encoder apart.

    Raises:
        UnsupportedTower: it is not a vision transformer that can be adapted.
    """
    if hasattr(visual, "trunk"):
        from peclip.nn.timm_towers import timm_vision_parts  # importing timm takes a second

        return timm_vision_parts(visual)
    parts: Any = visual
    if not hasattr(visual, "transformer"):
        raise UnsupportedTower(
            f"its image encoder ({type(visual).__name__}) is convolutional and has no transformer blocks"
        )
    if getattr(visual, "attn_pool", None) is not None:
        raise UnsupportedTower("its image encoder pools for a text decoder (CoCa)")
    if not getattr(parts.transformer, "batch_first", True):
        raise UnsupportedTower("its blocks expect the batch in the second dimension")
    pool, ln_post = _pooling(parts)
    return VisionParts(
        _side(parts.image_size),
        parts.conv1,
        parts.class_embedding,
        parts.positional_embedding,
        parts.ln_pre,
        _checked(parts.transformer.resblocks),
        pool,
        ln_post,
        parts.proj,
    )


def text_parts(text: nn.Module) -> TextParts:
    """Takes a text encoder apart; open_clip's CLIP without `custom_text` is its own.

    Raises:
        UnsupportedTower: it is not a transformer of open_clip, or it appends a class token.
    """
    parts: Any = text
    if not hasattr(text, "positional_embedding"):
        raise UnsupportedTower(f"its text encoder is a {type(text).__name__}")
    if getattr(text, "cls_emb", None) is not None:
        raise UnsupportedTower("its text encoder appends a class token (CoCa)")
    projection, bias = parts.text_projection, None
    if isinstance(projection, nn.Linear):
        bias, projection = projection.bias, nn.Parameter(projection.weight.detach().T.contiguous())
    pooling: Any = getattr(text, "pool_type", getattr(text, "text_pool_type", "argmax"))
    if pooling not in get_args(TextPooling):
        raise UnsupportedTower(f"the pooling {pooling!r} of its text encoder is unknown")
    return TextParts(
        parts.token_embedding,
        parts.positional_embedding,
        _checked(parts.transformer.resblocks),
        parts.ln_final,
        projection,
        bias,
        parts.attn_mask,
        pooling,
        int(getattr(text, "eos_id", getattr(text, "text_eos_id", 2))),
    )


def _pooling(parts: Any) -> tuple[Pooling, nn.Module]:
    """Returns the pooling of a vision transformer of open_clip or of peclip, and the norm after it."""
    kind = getattr(parts, "pool_type", "tok")
    if kind == "tok":
        return ClassToken(), parts.ln_post
    if kind != "avg":
        raise UnsupportedTower(f"the pooling {kind!r} of its image encoder gives no single feature")
    if parts.final_ln_after_pool:
        return MeanToken(nn.Identity(), first=1), parts.ln_post
    return MeanToken(parts.ln_post, first=1), nn.Identity()


def _side(size: Any) -> int:
    rows, columns = size
    if rows != columns:
        raise UnsupportedTower(f"its images are {columns}x{rows} pixels, and crops are square")
    return int(rows)


def _checked(blocks: Sequence[nn.Module]) -> Sequence[nn.Module]:
    """Checks that blocks have the layout of open_clip, with torch's attention."""
    for block in blocks:
        attention = getattr(block, "attn", None)
        if not isinstance(attention, nn.MultiheadAttention) or hasattr(block, "ln_attn"):
            raise UnsupportedTower(f"its blocks have an unknown attention ({type(block).__name__})")
    return blocks
