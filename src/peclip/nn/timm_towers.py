"""Takes image encoders of timm apart: the ViTs of SigLIP, MobileCLIP-B, EVA-CLIP and Perception Encoder.

The weights are those of the timm model; the modules become those of `peclip.nn.canonical_block`. Only classes whose
forward pass is repeated here are accepted: a subclass may compute something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.layers import (
    Attention,
    AttentionPoolLatent,
    AttentionRope,
    BatchNormAct2d,
    GluMlp,
    HybridEmbed,
    LayerScale,
    Mlp,
    PatchEmbed,
    SwiGLU,
)
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block, VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from torch import Tensor, nn

from peclip.nn.canonical_block import (
    Attention as CanonicalAttention,
)
from peclip.nn.canonical_block import (
    CanonicalBlock,
    ChannelScale,
    Gate,
    Rotary,
    canonical_activation,
    canonical_norm,
    folded,
    gated_mlp,
    joined,
    linear,
    plain_mlp,
)
from peclip.nn.token_pooling import AttentionToken, ClassToken, MeanToken, Pooling
from peclip.nn.tower_parts import UnsupportedTower, VisionParts


def timm_vision_parts(visual: nn.Module) -> VisionParts:
    """Takes open_clip's `TimmModel` apart.

    Raises:
        UnsupportedTower: a layer is unknown.
    """
    model: Any = visual
    trunk = model.trunk
    if type(trunk) not in (VisionTransformer, Eva):
        raise UnsupportedTower(f"its image encoder is a {type(trunk).__name__}, not a plain ViT")
    if getattr(trunk, "reg_token", None) is not None:
        raise UnsupportedTower("its image encoder has register tokens")
    if trunk.pos_embed is None or trunk.dynamic_img_size:
        raise UnsupportedTower("its image encoder has no learned positions of a fixed size")
    rotary = _rotary(trunk)
    pool, ln_post = _pooling(trunk)
    projection, bias = _projection(trunk.head, model.head)
    rows, columns = trunk.patch_embed.grid_size
    if rows != columns:
        raise UnsupportedTower("its patches do not form a square")
    return VisionParts(
        int(trunk.patch_embed.img_size[0]),
        _patches(trunk.patch_embed),
        None if trunk.cls_token is None else nn.Parameter(trunk.cls_token.detach()[0, 0]),
        nn.Parameter(trunk.pos_embed.detach()[0]),
        canonical_norm(trunk.norm_pre),
        [_block(block, rotary) for block in trunk.blocks],
        pool,
        ln_post,
        projection,
        bias,
    )


def _patches(embed: Any) -> nn.Module:
    """Returns the module that maps images to a grid of patches."""
    if type(embed) is PatchEmbed and isinstance(embed.norm, nn.Identity):
        patches: nn.Module = embed.proj
        return patches
    stem: Any = getattr(embed, "backbone", None)
    if type(embed) is not HybridEmbed or type(stem) is not ConvStem:
        kind = type(embed if stem is None else stem).__name__
        raise UnsupportedTower(f"the stem of its image encoder ({kind}) is unknown")
    layers: list[nn.Module] = []
    for layer in stem:
        normed = isinstance(layer.bn, BatchNormAct2d)
        if layer.aa is not None or not (normed or not len(layer.bn)):
            raise UnsupportedTower("the stem of its image encoder has an unknown layer")
        layers.append(folded(layer.conv, layer.bn) if normed else layer.conv)
        if normed and not isinstance(layer.bn.act, nn.Identity):
            layers.append(canonical_activation(layer.bn.act))
    if not isinstance(embed.proj, nn.Identity):
        layers.append(embed.proj)
    return nn.Sequential(*layers)


def _rotary(trunk: Any) -> Rotary | None:
    rope = getattr(trunk, "rope", None)
    if rope is None:
        return None
    if trunk.rope_mixed:
        raise UnsupportedTower("its rotary positions are learned for each layer")
    has_size = hasattr(rope, "feat_shape")
    table: Tensor = rope.get_embed() if has_size else rope.get_embed(trunk.patch_embed.grid_size)
    sine, cosine = table.chunk(2, dim=-1)
    halves = bool(trunk.blocks[0].attn.rotate_half)
    return Rotary(sine, cosine, trunk.num_prefix_tokens, halves=halves)


def _pooling(trunk: Any) -> tuple[Pooling, nn.Module]:
    """Returns the pooling, and the norm after it."""
    before, after = canonical_norm(trunk.norm), canonical_norm(trunk.fc_norm)
    if trunk.global_pool == "token":
        if not isinstance(before, nn.Identity) and not isinstance(after, nn.Identity):
            raise UnsupportedTower("its image encoder has two norms around its pooling")
        return ClassToken(), after if isinstance(before, nn.Identity) else before
    skips = type(trunk) is VisionTransformer and not trunk.pool_include_prefix
    if trunk.global_pool == "avg" and (skips or type(trunk) is Eva):
        return MeanToken(before, trunk.num_prefix_tokens), after
    if trunk.global_pool == "map" and type(trunk.attn_pool) is AttentionPoolLatent:
        first = trunk.num_prefix_tokens if skips else 0
        return AttentionToken(before, trunk.attn_pool, first), after
    raise UnsupportedTower(f"the pooling {trunk.global_pool!r} of its image encoder is unknown")


def _projection(head: nn.Module, more: Any) -> tuple[nn.Parameter | None, nn.Parameter | None]:
    """Returns matrix and bias of the head of the trunk or of open_clip, of which one at most is a layer."""
    layers = [layer for layer in (head, *more) if not isinstance(layer, nn.Identity | nn.Dropout)]
    if not layers:
        return None, None
    if len(layers) > 1 or not isinstance(layers[0], nn.Linear):
        raise UnsupportedTower("its features are projected by more than one matrix")
    return nn.Parameter(layers[0].weight.detach().T.contiguous()), layers[0].bias


def _block(block: Any, rotary: Rotary | None) -> nn.Module:
    kinds: dict[type, Callable[[Any], tuple[list[nn.Module], list[nn.Module]]]] = {
        Block: lambda b: ([b.norm1, b.norm2], [_scale(b.ls1), _scale(b.ls2)]),
        EvaBlock: lambda b: ([b.norm1, b.norm2], [_scale(b.gamma_1), _scale(b.gamma_2)]),
        EvaBlockPostNorm: lambda b: ([nn.Identity(), nn.Identity()], [b.norm1, b.norm2]),
    }
    if type(block) not in kinds:
        raise UnsupportedTower(f"its blocks ({type(block).__name__}) are unknown")
    (first, second), (scale, other) = kinds[type(block)](block)
    return CanonicalBlock(
        (canonical_norm(first), canonical_norm(second)),
        _attention(block.attn, rotary),
        _mlp(block.mlp),
        (canonical_norm(scale), canonical_norm(other)),
    )


def _scale(scale: Any) -> nn.Module:
    if scale is None or isinstance(scale, nn.Identity):
        return nn.Identity()
    if isinstance(scale, LayerScale):
        return ChannelScale(scale.gamma)
    if isinstance(scale, nn.Parameter):
        return ChannelScale(scale)
    raise UnsupportedTower(f"the scale of its branches ({type(scale).__name__}) is unknown")


def _attention(attention: Any, rotary: Rotary | None) -> nn.Module:
    kind = type(attention)
    if kind not in (Attention, AttentionRope, EvaAttention):
        raise UnsupportedTower(f"its attention ({kind.__name__}) is unknown")
    if (
        getattr(attention, "gate", None) is not None
        or getattr(attention, "num_kv_groups", 1) != 1
        or not isinstance(attention.q_norm, nn.Identity)
        or attention.head_dim * attention.num_heads != attention.proj.in_features
        or attention.proj.in_features != attention.proj.out_features
    ):
        raise UnsupportedTower(
            "its attention has a gate, norms of queries, or heads of another width"
        )
    if attention.qkv is None:
        three = [attention.q_proj, attention.k_proj, attention.v_proj]
        weight = joined([layer.weight for layer in three])
        biases = [layer.bias for layer in three]
    else:
        weight, biases = attention.qkv.weight, [attention.qkv.bias]
        if getattr(attention, "q_bias", None) is not None:
            biases = [attention.q_bias, attention.k_bias, attention.v_bias]
    inner = None if isinstance(attention.norm, nn.Identity) else canonical_norm(attention.norm)
    turn = rotary if kind is not Attention else None
    return CanonicalAttention(
        weight, _bias(biases, weight), attention.proj, attention.num_heads, turn, inner
    )


def _bias(biases: list[Tensor | None], weight: Tensor) -> nn.Parameter:
    """Returns the biases of queries, keys and values, with zeros for those that do not exist."""
    if len(biases) == 1 and isinstance(biases[0], nn.Parameter):
        return biases[0]
    size = len(weight) // len(biases)
    return joined([weight.new_zeros(size) if bias is None else bias for bias in biases])


def _mlp(mlp: Any) -> nn.Module:
    if type(mlp) is Mlp:
        return plain_mlp(mlp.fc1, mlp.act, mlp.norm, mlp.fc2)
    if type(mlp) is GluMlp:
        gate = Gate(mlp.act, gate_last=mlp.gate_last)
        return gated_mlp(mlp.fc1, gate, mlp.norm, mlp.fc2)
    if type(mlp) is SwiGLU:
        biases = [mlp.fc1_g.bias, mlp.fc1_x.bias]
        both = linear(
            joined([mlp.fc1_g.weight, mlp.fc1_x.weight]),
            None if biases[0] is None else joined(biases),
        )
        return gated_mlp(both, Gate(mlp.act, gate_last=False), mlp.norm, mlp.fc2)
    raise UnsupportedTower(f"its MLPs ({type(mlp).__name__}) are unknown")
