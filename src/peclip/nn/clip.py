"""CLIP from open_clip, as two towers that accept prompts and other blocks.

This is the only file that imports open_clip. A tower takes over the parts of an open_clip model and
drops the original, so that no weight is registered twice. What comes from here is frozen: whatever a
model adds afterwards requires a gradient, and `requires_grad` is the only record of what trains.
"""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import open_clip
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from peclip.errors import CheckpointError, ConfigError, WeightsError

OPENAI_MEAN: tuple[float, ...] = open_clip.OPENAI_DATASET_MEAN
OPENAI_STD: tuple[float, ...] = open_clip.OPENAI_DATASET_STD

_FULL_VOCABULARY = 49408


class ClipBlock(nn.Module):
    """A uniform view of an open_clip block: its two branches, with the residual left to the caller.

    Towers call a block as `block(x, num_frames, mask)`; a model may put any module of that form in its
    place. On its own this is the plain CLIP block.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention branch `MSA(LN x)`, (N, L, W) to (N, L, W).

        open_clip calls `nn.MultiheadAttention` without weights, and that runs
        `scaled_dot_product_attention`.
        """
        block: Any = self.block
        attended: Tensor = block.ls_1(block.attention(q_x=block.ln_1(x), attn_mask=mask))
        return attended

    def mlp(self, x: Tensor) -> Tensor:
        """MLP branch `MLP(LN x)`, (N, L, W) to (N, L, W)."""
        block: Any = self.block
        mixed: Tensor = block.ls_2(block.mlp(block.ln_2(x)))
        return mixed

    def forward(self, x: Tensor, num_frames: int = 1, mask: Tensor | None = None) -> Tensor:
        """Maps (N, L, W) to (N, L, W); a plain block does not look at `num_frames`."""
        x = x + self.attention(x, mask)
        return x + self.mlp(x)


class ConvStem(nn.Module):
    """Three strided convolutions with residual refinement in place of the patch projection.

    A small ViT that is trained from scratch learns far better behind a convolutional stem (Xiao et al.,
    2021, "Early Convolutions Help Transformers See Better"). There is no normalisation layer here:
    batch norms of the training are folded into the convolutions, so that a frozen stem has no state.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for after in channels:
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
            layers += [ResidualConv(after)]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, 3, S, S) to a grid (N, W, S/8, S/8) for three stages."""
        grid: Tensor = self.layers(x)
        return grid


class ResidualConv(nn.Module):
    """`x + conv(gelu(conv(x)))`, then GELU: one refinement step of the stem."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C, H, W)."""
        y: Tensor = self.activation(x + self.second(self.activation(self.first(x))))
        return y


class VisionTower(nn.Module):
    """The image encoder of CLIP, applied to every frame of a video."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.image_size = int(visual.image_size[0])
        self.width = int(visual.class_embedding.shape[0])
        self.patch_embedding: nn.Module = visual.conv1
        self.class_embedding: nn.Parameter = visual.class_embedding
        self.positional_embedding: nn.Parameter = visual.positional_embedding
        self.ln_pre: nn.Module = visual.ln_pre
        self.blocks = nn.ModuleList(ClipBlock(block) for block in visual.transformer.resblocks)
        self.ln_post: nn.Module = visual.ln_post
        self.projection: nn.Parameter = visual.proj

    def forward(self, frames: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
        """Encodes the frames of videos.

        Args:
            frames: (B, T, 3, S, S), normalised.
            prompts: one (P, W) per layer from the first on; they stand behind the patches, without a
                position, and each replaces the one before it.

        Returns:
            Features of the frames, (B, T, D), not normalised.
        """
        num_frames = frames.shape[1]
        x = self.patch_embedding(frames.flatten(0, 1)).flatten(2).transpose(1, 2)  # (B*T, L, W)
        start = self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([start, x], dim=1) + self.positional_embedding.to(x.dtype)
        if prompts:
            x = torch.cat([x, prompts[0].to(x.dtype).expand(x.shape[0], -1, -1)], dim=1)
        x = self.ln_pre(x)
        for depth, block in enumerate(self.blocks):
            if 0 < depth < len(prompts):
                prompt = prompts[depth].to(x.dtype).expand(x.shape[0], -1, -1)
                x = torch.cat([x[:, : -prompt.shape[1]], prompt], dim=1)
            x = block(x, num_frames, None)
        features = self.ln_post(x[:, 0]) @ self.projection
        return features.unflatten(0, (-1, num_frames))


class TextTower(nn.Module):
    """The text encoder of CLIP, with room for prompts behind the start token."""

    causal_mask: Tensor

    def __init__(self, text: nn.Module, tokenizer: SimpleTokenizer) -> None:
        super().__init__()
        parts: Any = text
        self.tokenizer = tokenizer
        self.width = int(parts.token_embedding.weight.shape[1])
        self.token_embedding: nn.Embedding = parts.token_embedding
        self.positional_embedding: nn.Parameter = parts.positional_embedding
        self.blocks = nn.ModuleList(ClipBlock(block) for block in parts.transformer.resblocks)
        self.ln_final: nn.Module = parts.ln_final
        self.projection: nn.Parameter = parts.text_projection
        self.register_buffer("causal_mask", parts.attn_mask, persistent=False)

    def embed(self, texts: Sequence[str], prompt_length: int = 0) -> tuple[Tensor, Tensor]:
        """Turns texts into token embeddings without positions.

        The sequence is cut behind the longest text: the mask is causal, so what stands behind the end
        token never reaches it, and the features stay exactly the same.

        Args:
            texts: C texts.
            prompt_length: places kept free behind the start token for a prompt.

        Returns:
            Embeddings (C, L, W) and the places of the end tokens (C,).

        Raises:
            ConfigError: a text does not fit the context of the text encoder.
        """
        context = self.positional_embedding.shape[0]
        start, end = self.tokenizer.all_special_ids
        rows = []
        for text in texts:
            row = [start, *[0] * prompt_length, *self.tokenizer.encode(text), end]
            if len(row) > context:
                raise ConfigError(
                    f"The text {text[:40]!r}… has {len(row)} tokens with its prompt; the text encoder "
                    f"takes {context}. Shorten the description."
                )
            rows.append(row)
        longest = max(len(row) for row in rows)
        device = self.token_embedding.weight.device
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        ends = torch.tensor([len(row) - 1 for row in rows], device=device)
        return self.token_embedding(tokens), ends

    def forward(self, tokens: Tensor, ends: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
        """Encodes embedded texts.

        Args:
            tokens: (C, L, W) from `embed`.
            ends: (C,), places of the end tokens.
            prompts: one (P, W) per layer from the first on, put behind the start token.

        Returns:
            Features (C, D), not normalised.
        """
        length = tokens.shape[1]
        x = _put_prompt(tokens, prompts[0]) if prompts else tokens
        x = x + self.positional_embedding[:length].to(x.dtype)
        mask = self.causal_mask[:length, :length]
        for depth, block in enumerate(self.blocks):
            if 0 < depth < len(prompts):
                x = _put_prompt(x, prompts[depth])
            x = block(x, 1, mask)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), ends])
        return x @ self.projection


def _put_prompt(x: Tensor, prompt: Tensor) -> Tensor:
    """Replaces the tokens behind the start token of (C, L, W) by a prompt (P, W)."""
    prompt = prompt.to(x.dtype).expand(x.shape[0], -1, -1)
    return torch.cat([x[:, :1], prompt, x[:, 1 + prompt.shape[1] :]], dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A frozen CLIP: two towers and the activation that its weights were trained with."""

    vision: VisionTower
    text: TextTower
    quick_gelu: bool


def load_backbone(
    name: str, pretrained: str | None, *, cache_dir: Path | None = None, offline: bool = False
) -> Backbone:
    """Builds a frozen CLIP.

    Args:
        name: a ViT of open_clip (`"ViT-B-16-quickgelu"`), or `"nano"` or `"debug"` of peclip.
        pretrained: a weight tag of open_clip (`"openai"`), or `None` for random weights.
        cache_dir: where open_clip keeps its downloads; its own default if `None`.
        offline: never download.

    Raises:
        ConfigError: the name or the tag is not known, the model is no plain ViT, or its activation is
            not the one that the weights were trained with.
        WeightsError: the weights are not cached and cannot be downloaded.
    """
    config = backbone_config(name)
    if pretrained is not None:
        _check_tag(name, pretrained, quick_gelu=bool(config.get("quick_gelu", False)))
    model = _build(name, config)
    if pretrained is not None:
        _load_weights(model, name, pretrained, cache_dir, offline)
    model.requires_grad_(False)
    text = model if isinstance(model, open_clip.CLIP) else model.text
    return Backbone(
        VisionTower(model.visual),
        TextTower(text, _tokenizer(config["text_cfg"])),
        quick_gelu=bool(config.get("quick_gelu", False)),
    )


def backbone_config(name: str) -> dict[str, Any]:
    """Returns the sizes of a backbone in open_clip's form, from peclip's own files or open_clip's.

    Raises:
        ConfigError: the name is not known, or is not a ViT with a plain text transformer.
    """
    own = resources.files("peclip.nn") / "backbones" / f"{name}.json"
    if name in own_backbones():
        return dict(json.loads(own.read_text(encoding="utf-8")))
    config: dict[str, Any] | None = open_clip.get_model_config(name) if name else None
    if config is None:
        close = [known for known in open_clip.list_models() if known.startswith("ViT-B")]
        raise ConfigError(
            f"The backbone {name!r} is not known. Accepted are {', '.join(own_backbones())} and the "
            f"ViT models of open_clip, such as {', '.join(close[:4])}."
        )
    vision, text = config["vision_cfg"], config["text_cfg"]
    if (
        "timm_model_name" in vision
        or "hf_model_name" in text
        or "hf_tokenizer_name" in text
        or "multimodal_cfg" in config
        or not isinstance(vision["layers"], int)
    ):
        raise ConfigError(
            f"The backbone {name!r} is not a plain CLIP ViT; PE-CLIP adapts CLIP's own transformers. "
            "Choose for instance ViT-B-16-quickgelu, ViT-B-32-quickgelu or ViT-L-14-quickgelu."
        )
    return copy.deepcopy(config)


def own_backbones() -> tuple[str, ...]:
    """Returns the names of the backbones that peclip defines itself."""
    files = (resources.files("peclip.nn") / "backbones").iterdir()
    return tuple(
        sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))
    )


def _build(name: str, config: dict[str, Any]) -> Any:
    config = copy.deepcopy(config)
    stem = config.pop("stem", None)
    custom_text = config.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)
    visual = model.visual
    if (
        not isinstance(visual, VisionTransformer)
        or visual.attn_pool is not None
        or visual.pool_type != "tok"
        or not visual.transformer.batch_first
    ):
        raise ConfigError(
            f"The backbone {name!r} does not pool its class token as CLIP does; choose another ViT."
        )
    if stem is not None:
        visual.conv1 = ConvStem(stem, visual.class_embedding.shape[0])
    return model


def _check_tag(name: str, tag: str, *, quick_gelu: bool) -> None:
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise ConfigError(
            f"The weights {tag!r} are not known for the backbone {name!r}; known are "
            f"{', '.join(tags) or 'none'}."
        )
    trained_with = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))
    if trained_with != quick_gelu:
        # open_clip only warns here, and the features are then silently wrong.
        other = name.removesuffix("-quickgelu") if quick_gelu else f"{name}-quickgelu"
        raise ConfigError(
            f"The weights {tag!r} were trained with {'QuickGELU' if trained_with else 'GELU'}, and "
            f"{name!r} has {'QuickGELU' if quick_gelu else 'GELU'}. Use {other}/{tag}."
        )


def _load_weights(model: Any, name: str, tag: str, cache_dir: Path | None, offline: bool) -> None:
    weights = open_clip.get_pretrained_cfg(name, tag)
    where = f"the weights {name}/{tag}"
    try:
        path = _cached_weights(weights, cache_dir) if offline else None
        if path is None:
            if offline:
                raise WeightsError(
                    f"peclip is offline, and {where} are not in the cache {cache_dir or 'of open_clip'}"
                    f". Download them where there is a network: peclip models download {name}/{tag}"
                )
            path = open_clip.download_pretrained(
                weights, cache_dir=None if cache_dir is None else str(cache_dir)
            )
        open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True)
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{where[0].upper()}{where[1:]} could not be downloaded: {reason}. Check the network, or "
            f"fill the cache on another machine: peclip models download {name}/{tag}"
        ) from error
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{where[0].upper()}{where[1:]} do not load: {reason}") from error


def _cached_weights(weights: dict[str, Any], cache_dir: Path | None) -> Path | None:
    """Looks a hub file up in the local cache only."""
    from huggingface_hub import try_to_load_from_cache

    repo, _, filename = weights.get("hf_hub", "").rpartition("/")
    if not repo:
        return None
    names = [filename] if filename else ["open_clip_model.safetensors"]
    if filename.endswith((".bin", ".pt")):
        names.insert(0, "open_clip_model.safetensors")
    for candidate in names:
        found = try_to_load_from_cache(repo, candidate, cache_dir=cache_dir)
        if isinstance(found, str):
            return Path(found)
    return None


def _tokenizer(text_config: dict[str, Any]) -> SimpleTokenizer:
    """Returns CLIP's tokenizer, with as many byte-pair merges as the vocabulary has room for.

    CLIP's merges are ordered by frequency, so a shorter vocabulary is the same tokenizer with longer
    spellings of rare words: every text stays representable.
    """
    vocabulary = int(text_config.get("vocab_size", _FULL_VOCABULARY))
    context = int(text_config.get("context_length", 77))
    if vocabulary == _FULL_VOCABULARY:
        return SimpleTokenizer(context_length=context)
    merges = (
        vocabulary - 2 * 256 - 2
    )  # bytes, bytes at the end of a word, and the two special tokens
    with gzip.open(default_bpe()) as file:
        lines = file.read().decode("utf-8").split("\n")[: merges + 1]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "merges.txt.gz"
        path.write_bytes(gzip.compress("\n".join(lines).encode("utf-8")))
        return SimpleTokenizer(str(path), context_length=context)
