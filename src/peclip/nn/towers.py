"""CLIP's two encoders, taken from an open_clip model, with support for prompts and custom blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from peclip.errors import ConfigError
from peclip.nn.clip_block import ClipBlock, Layout
from peclip.nn.drop_path import drop_layer, layer_rate

_MOST_TEXTS = 256
"""Sets of texts whose tokens are kept on the device; training draws a set in every step."""


class Tokenizer(Protocol):
    """The interface of CLIP's tokenizer used by the text tower."""

    all_special_ids: list[int]
    """The start and the end token."""

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of a text, without start and end."""
        ...

    def decode(self, tokens: list[int]) -> str:
        """Returns the text of tokens."""
        ...


class VisionTower(nn.Module):
    """The image encoder of CLIP, applied to every frame of a video."""

    checkpoint_activations = False
    """Whether the backward pass recomputes the activations inside blocks instead of storing them."""
    drop_path = 0.0
    """Probability in training that a video skips the last block; see `nn.drop_path`."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        parts: Any = visual
        self.image_size = int(parts.image_size[0])
        self.width = int(parts.class_embedding.shape[0])
        self.patch_embedding: nn.Module = parts.conv1
        self.class_embedding: nn.Parameter = parts.class_embedding
        self.positional_embedding: nn.Parameter = parts.positional_embedding
        self.ln_pre: nn.Module = parts.ln_pre
        self.blocks = nn.ModuleList(ClipBlock(block) for block in parts.transformer.resblocks)
        self.ln_post: nn.Module = parts.ln_post
        self.projection: nn.Parameter = parts.proj

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
        start = self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([start, x], dim=1) + self.positional_embedding.to(x.dtype)
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
        features: Tensor = self.ln_post(x[:, 0]) @ self.projection
        return features

    def layout_at(self, depth: int, layout: Layout) -> Layout:
        """Returns the layout of a block: the last one outputs only the class token."""
        return layout._replace(wanted=1) if depth == len(self.blocks) - 1 else layout


class TextTower(nn.Module):
    """The text encoder of CLIP, with support for prompts after the start token."""

    causal_mask: Tensor
    checkpoint_activations = False
    """As `VisionTower.checkpoint_activations`."""

    def __init__(self, text: nn.Module, tokenizer: Tokenizer) -> None:
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
        self._tokens: dict[object, tuple[Tensor, Tensor]] = {}

    def embed(
        self, texts: Sequence[str], prompt_length: int = 0, *, cut: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Turns texts into token embeddings without positions.

        The sequence is truncated after the longest text: the mask is causal, so tokens after the end
        token cannot affect it, and the features are exactly the same.

        Args:
            texts: C texts.
            prompt_length: positions reserved after the start token for a prompt.
            cut: truncate a text that is too long, as CLIP's tokenizer does.

        Returns:
            Embeddings (C, L, W) and the positions of the end tokens (C,).

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
        """Returns the tokens of texts, (C, L), and the positions of the end tokens, (C,)."""
        context = self.positional_embedding.shape[0]
        start, end = self.tokenizer.all_special_ids
        rows = []
        for text in texts:
            words = self.tokenizer.encode(text)
            if cut:
                words = words[: context - prompt_length - 2]
            row = [start, *[0] * prompt_length, *words, end]
            if len(row) > context:
                raise ConfigError(
                    f"The text {text[:40]!r}… has {len(row)} tokens including its prompt, but the "
                    f"text encoder accepts at most {context}. Shorten the description."
                )
            rows.append(row)
        longest = max(len(row) for row in rows)
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        ends = torch.tensor([len(row) - 1 for row in rows], device=device)
        return tokens, ends

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
            ends: (C,), positions of the end tokens.
            prompts: one (P, W) per layer from the first on, after the start token.
            groups: texts of each group, for blocks that distinguish groups (see `Layout`).

        Returns:
            Features (C, D), not normalised.
        """
        length = tokens.shape[1]
        x = _put_prompt(tokens, prompts[0]) if prompts else tokens
        x = x + self.positional_embedding[:length].to(x.dtype)
        layout = Layout(1, tuple(groups), self.causal_mask[:length, :length])
        for depth, block in enumerate(self.blocks):
            if 0 < depth < len(prompts):
                x = _put_prompt(x, prompts[depth])
            x = _through(block, x, layout, checkpointed=self.checkpoint_activations)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), ends])
        return x @ self.projection


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


def _put_prompt(x: Tensor, prompt: Tensor) -> Tensor:
    """Replaces the tokens after the start token of (C, L, W) by a prompt (P, W)."""
    prompt = prompt.to(x.dtype).expand(x.shape[0], -1, -1)
    return torch.cat([x[:, :1], prompt, x[:, 1 + prompt.shape[1] :]], dim=1)
