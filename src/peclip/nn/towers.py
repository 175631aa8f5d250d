"""CLIP's two encoders, taken from an open_clip model, with support for prompts and custom blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from peclip.errors import ConfigError
from peclip.nn.canonical_block import multiply
from peclip.nn.clip_block import ClipBlock, Layout
from peclip.nn.drop_path import drop_layer, layer_rate
from peclip.nn.open_clip_towers import text_parts, vision_parts

_MOST_TEXTS = 256
"""Sets of texts whose tokens are kept on the device; training draws a set in every step."""


class Tokenizer(Protocol):
    """The interface of a tokenizer used by the text tower."""

    starts: list[int]
    """The tokens before every text: CLIP's start token, or none."""
    ends: list[int]
    """The tokens after every text."""
    padding: int
    """The token that fills the context."""

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of a text, without start and end."""
        ...


class VisionTower(nn.Module):
    """The image encoder of CLIP, applied to every frame of a video.

    Raises:
        UnsupportedTower: it cannot be adapted.
    """

    checkpoint_activations = False
    """Whether the backward pass recomputes the activations inside blocks instead of storing them."""
    drop_path = 0.0
    """Probability in training that a video skips the last block; see `nn.drop_path`."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        parts = vision_parts(visual)
        places, self.width = parts.positional_embedding.shape
        self.image_size = parts.image_size
        self.grid = math.isqrt(places)
        """G, rows and columns of patches."""
        self.patch_embedding = parts.patch_embedding
        self.class_embedding = parts.class_embedding
        self.positional_embedding = parts.positional_embedding
        self.ln_pre = parts.ln_pre
        self.blocks = nn.ModuleList(ClipBlock(block) for block in parts.blocks)
        self.pool = parts.pool
        self.ln_post = parts.ln_post
        self.projection = parts.projection
        self.projection_bias = parts.projection_bias

    @property
    def num_tokens(self) -> int:
        """Tokens of a frame without a prompt: its patches, after the class token if there is one."""
        return self.grid**2 + (self.class_embedding is not None)

    @property
    def feature_width(self) -> int:
        """D."""
        return self.width if self.projection is None else self.projection.shape[1]

    def forward(
        self, frames: Tensor, prompts: Sequence[Tensor] = (), groups: Sequence[int] = ()
    ) -> Tensor:
        """Encodes the frames of videos.

        Args:
            frames: (B, T, 3, S, S), normalised.
            prompts: one (P, W) per layer from the first on; they follow the patches, without position
                embeddings, and each replaces the previous one.
            groups: videos of each group, for blocks that distinguish groups (see `Layout`).

        Returns:
            Features of the frames, (B, T, D), not normalised.
        """
        num_frames = frames.shape[1]
        x = self.embed(frames.flatten(0, 1), prompts)
        layout = Layout(num_frames, tuple(num_frames * videos for videos in groups))
        features = self.through_blocks(x, layout, prompts)
        return features.view(-1, num_frames, features.shape[1])

    def embed(self, frames: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """Maps frames (N, 3, S, S) to tokens (N, L, W)."""
        x = self.patch_embedding(frames).flatten(2).transpose(1, 2)
        positions = self.positional_embedding.to(x.dtype)
        of_patches = len(positions) == x.shape[1]
        x = x + positions if of_patches else x
        if self.class_embedding is not None:
            start = self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
            x = torch.cat([start, x], dim=1)
        x = x if of_patches else x + positions
        if prompts:
            x = torch.cat([x, prompts[0].to(x.dtype).expand(x.shape[0], -1, -1)], dim=1)
        embedded: Tensor = self.ln_pre(x)
        return embedded

    def through_blocks(
        self, x: Tensor, layout: Layout, prompts: Sequence[Tensor], first: int = 0
    ) -> Tensor:
        """Maps the input of the first of these blocks, (N, L, W), to features of the frames, (N, D)."""
        for depth, block in list(enumerate(self.blocks))[first:]:
            if 0 < depth < len(prompts):
                x = _end_with(x, prompts[depth].to(x.dtype))
            place = self.layout_at(depth, layout)
            y = _through(block, x, place, checkpointed=self.checkpoint_activations)
            if self.drop_path:
                rate = layer_rate(self.drop_path, depth, len(self.blocks))
                y = drop_layer(x[:, : place.wanted], y, rate, layout.num_frames)
            x = y
        return multiply(self.ln_post(self.pool(x)), self.projection, self.projection_bias)

    def layout_at(self, depth: int, layout: Layout) -> Layout:
        """Returns the layout of a block: the last one outputs only what is pooled, which is never a prompt."""
        if depth < len(self.blocks) - 1:
            return layout
        return layout._replace(wanted=self.num_tokens if self.pool.reads_all else 1)


class TextTower(nn.Module):
    """The text encoder of CLIP, with support for prompts after the start token, or at the start without one.

    Raises:
        UnsupportedTower: it cannot be adapted.
    """

    causal_mask: Tensor | None
    checkpoint_activations = False
    """As `VisionTower.checkpoint_activations`."""

    def __init__(self, text: nn.Module, tokenizer: Tokenizer) -> None:
        super().__init__()
        parts = text_parts(text)
        self.tokenizer = tokenizer
        self.width = int(parts.token_embedding.weight.shape[1])
        self.token_embedding = parts.token_embedding
        self.positional_embedding = parts.positional_embedding
        self.blocks = nn.ModuleList(ClipBlock(block) for block in parts.blocks)
        self.ln_final = parts.ln_final
        self.projection = parts.projection
        self.projection_bias = parts.projection_bias
        self.register_buffer("causal_mask", parts.mask, persistent=False)
        self.pooling, self.end_token = parts.pooling, parts.end_token
        self._tokens: dict[object, tuple[Tensor, Tensor]] = {}

    def embed(
        self, texts: Sequence[str], prompt_length: int = 0, *, cut: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Turns texts into token embeddings without positions.

        With a causal mask, the sequence is truncated after the longest text: tokens after the end token
        cannot affect it, and the features are exactly the same. Without one, or if the last place is the
        feature, the padding of the whole context is part of the input.

        Args:
            texts: C texts.
            prompt_length: positions reserved for a prompt, after the start token.
            cut: truncate a text that is too long, as CLIP's tokenizer does.

        Returns:
            Embeddings (C, L, W) and the positions of the tokens that are the features (C,).

        Raises:
            ConfigError: a text exceeds the context of the text encoder.
        """
        device = self.token_embedding.weight.device
        key = (tuple(texts), prompt_length, cut, device)
        if key not in self._tokens:
            if len(self._tokens) >= _MOST_TEXTS:
                self._tokens.clear()
            with torch.inference_mode(False):  # training may use them later
                self._tokens[key] = self._tokenised(texts, prompt_length, cut=cut, device=device)
        tokens, ends = self._tokens[key]
        return self.token_embedding(tokens), ends

    def _tokenised(
        self, texts: Sequence[str], prompt_length: int, *, cut: bool, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Returns the tokens of texts, (C, L), and the positions of the tokens that are the features, (C,)."""
        context = self.positional_embedding.shape[0]
        starts, ends = self.tokenizer.starts, self.tokenizer.ends
        rows = []
        for text in texts:
            words = self.tokenizer.encode(text)
            if cut:
                words = words[: context - prompt_length - len(starts) - len(ends)]
            row = [*starts, *[0] * prompt_length, *words, *ends]
            if len(row) > context:
                raise ConfigError(
                    f"The text {text[:40]!r}… has {len(row)} tokens including its prompt, but the "
                    f"text encoder accepts at most {context}. Shorten the description."
                )
            rows.append(row)
        whole = self.causal_mask is None or self.pooling == "last"
        length = context if whole else max(len(row) for row in rows)
        padding = self.tokenizer.padding
        tokens = torch.tensor(
            [row + [padding] * (length - len(row)) for row in rows], device=device
        )
        places = torch.tensor([self._pooled_at(row, length) for row in rows], device=device)
        return tokens, places

    def _pooled_at(self, row: list[int], length: int) -> int:
        """Returns the position of the token that is the feature of a text."""
        if self.pooling == "first":
            return 0
        if self.pooling == "last":
            return length - 1
        return row.index(max(row) if self.pooling == "argmax" else self.end_token)

    def forward(
        self,
        tokens: Tensor,
        ends: Tensor,
        prompts: Sequence[Tensor] = (),
        groups: Sequence[int] = (),
    ) -> Tensor:
        """Encodes embedded texts.

        Args:
            tokens: (C, L, W) from `embed`.
            ends: (C,), positions of the tokens that are the features.
            prompts: one (P, W) per layer from the first on, after the start token.
            groups: texts of each group, for blocks that distinguish groups (see `Layout`).

        Returns:
            Features (C, D), not normalised.
        """
        length = tokens.shape[1]
        first = len(self.tokenizer.starts)
        x = _put_prompt(tokens, prompts[0], first) if prompts else tokens
        x = x + self.positional_embedding[:length].to(x.dtype)
        mask = None if self.causal_mask is None else self.causal_mask[:length, :length]
        layout = Layout(1, tuple(groups), mask)
        for depth, block in enumerate(self.blocks):
            if 0 < depth < len(prompts):
                x = _put_prompt(x, prompts[depth], first)
            x = _through(block, x, layout, checkpointed=self.checkpoint_activations)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), ends])
        return multiply(x, self.projection, self.projection_bias)


def _through(block: nn.Module, x: Tensor, layout: Layout, *, checkpointed: bool) -> Tensor:
    """Calls a block; a checkpointed one stores only its input for the backward pass."""
    if checkpointed and torch.is_grad_enabled():
        recomputed: Tensor = checkpoint(block, x, layout, use_reentrant=False)
        return recomputed
    return block(x, layout)


def _end_with(x: Tensor, prompt: Tensor) -> Tensor:
    """Replaces the last tokens of (N, L, W) by a prompt (P, W)."""
    if torch.is_grad_enabled():
        return torch.cat([x[:, : -len(prompt)], prompt.expand(x.shape[0], -1, -1)], dim=1)
    x[:, -len(prompt) :] = prompt
    return x


def _put_prompt(x: Tensor, prompt: Tensor, first: int) -> Tensor:
    """Replaces the tokens of (C, L, W) from a position on by a prompt (P, W)."""
    prompt = prompt.to(x.dtype).expand(x.shape[0], -1, -1)
    return torch.cat([x[:, :first], prompt, x[:, first + prompt.shape[1] :]], dim=1)
