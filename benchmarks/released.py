"""The authors' released network, reimplemented as a reference.

Written from the equations and layouts in the paper and in models/FERPA.py, models/MLPrompt.py and
models/clip1/model1.py of SAADI-Ibtissam/PE-CLIP at 109e6ed, with the one line that its last clean-up
deleted (`residual = x`, present before commit 570ea3a). Parameter names are those of the release, because
checkpoints contain them. In the release every tensor has tokens first, (L, N, W), so the temporal adapter
runs over all frames of the batch; here the network gets one video at a time. `tests/parity` compares its logits
with ours, and `window.py` its speed.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peclip.nn.clip import load_backbone

PAPER = {
    "size": 224,
    "patch": 16,
    "vision": (768, 12, 12),
    "text": (512, 12, 8),
    "vocabulary": 49408,
    "out": 512,
    "depth": 9,
}
"""ViT-B/16 with the prompts of the paper."""
SMALL = {
    "size": 32,
    "patch": 16,
    "vision": (64, 2, 2),
    "text": (32, 2, 2),
    "vocabulary": 1024,
    "out": 32,
    "depth": 2,
}
"""The debug backbone."""


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Bottleneck(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down_proj, self.up_proj = nn.Linear(width, width // 8), nn.Linear(width // 8, width)

    def forward(self, u: Tensor) -> Tensor:
        return u + self.up_proj(F.gelu(self.down_proj(u)))


class Temporal(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.adapter_layer_norm_before = nn.LayerNorm(width)
        self.scale = nn.Linear(width, 1)
        self.down_proj, self.up_proj = nn.Linear(width, width // 8), nn.Linear(width // 8, width)
        self.rnn = nn.GRU(width // 8, width // 8, batch_first=True)

    def forward(self, u: Tensor) -> Tensor:
        n = self.adapter_layer_norm_before(u)
        states, _ = self.rnn(
            self.down_proj(n)
        )  # (L, N, d): tokens are the batch, frames the sequence
        return u + F.relu(self.scale(n)) * self.up_proj(F.gelu(states))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, *, vision: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        parts = [nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width)]
        self.mlp = nn.Sequential(OrderedDict(zip(("c_fc", "gelu", "c_proj"), parts, strict=True)))
        self.adapter_pre_attn = Bottleneck(width)
        self.adapter_pre_mlp: nn.Module = Temporal(width) if vision else Bottleneck(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        n = self.ln_1(x)
        x = x + self.adapter_pre_attn(self.attn(n, n, n, need_weights=True, attn_mask=mask)[0])
        return x + self.adapter_pre_mlp(self.mlp(self.ln_2(x)))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, *, vision: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads, vision=vision) for _ in range(layers))
        self.vision = vision

    def forward(self, x: Tensor, deep: list[Tensor], mask: Tensor | None = None) -> Tensor:
        for depth, block in enumerate(self.resblocks):
            if 0 < depth <= len(deep):
                prompt = deep[depth - 1].half().to(x.dtype)[:, None].expand(-1, x.shape[1], -1)
                length = len(prompt)
                if self.vision:
                    x = torch.cat([x[:-length], prompt])
                else:
                    x = torch.cat([x[:1], prompt, x[1 + length :]])
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(
        self, size: int, patch: int, width: int, layers: int, heads: int, out: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(0.1 * torch.randn((size // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, vision=True)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, out))

    def forward(self, frames: Tensor, shallow: Tensor, deep: list[Tensor]) -> Tensor:
        x = self.conv1(frames).flatten(2).transpose(1, 2)
        x = (
            torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1)
            + self.positional_embedding
        )
        x = torch.cat([x, shallow.half().to(x.dtype).expand(len(x), -1, -1)], 1)
        x = self.transformer(self.ln_pre(x).transpose(0, 1), deep)
        return self.ln_post(x[0]) @ self.proj


class Prompts(nn.Module):
    def __init__(self, text: int, vision: int, length: int, depth: int, embedded: Tensor) -> None:
        super().__init__()
        self.ctx = nn.Parameter(0.02 * torch.randn(length, text))
        self.proj = nn.Linear(text, vision)
        self.compound_prompts_text = nn.ParameterList(
            nn.Parameter(0.02 * torch.randn(length, text)) for _ in range(depth - 1)
        )
        self.compound_prompt_projections = nn.ModuleList(
            nn.Linear(text, vision) for _ in range(depth - 1)
        )
        self.register_buffer("token_prefix", embedded[:, :1])
        self.register_buffer("token_suffix", embedded[:, 1 + length :])


class TextEncoder(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, context: int, out: int) -> None:
        super().__init__()
        self.transformer = Transformer(width, layers, heads, vision=False)
        self.positional_embedding = nn.Parameter(0.1 * torch.randn(context, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, out))


class ReleasedPECLIP(nn.Module):
    """`GenerateModel` of the release, for tokens (C, context) with the word X at positions 1 and 2."""

    def __init__(
        self,
        tokens: Tensor,
        *,
        size: int,
        patch: int,
        vision: tuple[int, int, int],
        text: tuple[int, int, int],
        vocabulary: int,
        out: int,
        depth: int,
        length: int = 2,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        embedding = nn.Embedding(vocabulary, text[0])
        embedded = embedding(tokens).detach()
        self.prompt_learner = Prompts(text[0], vision[0], length, depth, embedded)
        self.text_encoder = TextEncoder(*text, tokens.shape[1], out)
        self.image_encoder = Visual(size, patch, *vision, out)
        # The release also stores the whole CLIP in addition to the two encoders, so every name occurs twice.
        self.clip_model = nn.Module()
        self.clip_model.visual = self.image_encoder
        self.clip_model.transformer = self.text_encoder.transformer
        self.clip_model.token_embedding = embedding
        self.clip_model.positional_embedding = self.text_encoder.positional_embedding
        self.clip_model.ln_final = self.text_encoder.ln_final
        self.clip_model.text_projection = self.text_encoder.text_projection
        self.clip_model.logit_scale = nn.Parameter(torch.tensor(4.6))

    def forward(self, frames: Tensor) -> Tensor:
        """Maps one video (T, 3, S, S) to logits (C,)."""
        learner, encoder = self.prompt_learner, self.text_encoder
        ctx = learner.ctx.expand(len(self.tokens), -1, -1)
        x = torch.cat([learner.token_prefix, ctx, learner.token_suffix], 1)
        deep_text = list(learner.compound_prompts_text)
        deep_vision = [
            project(prompt)
            for project, prompt in zip(learner.compound_prompt_projections, deep_text, strict=True)
        ]
        length = self.tokens.shape[1]
        mask = torch.full((length, length), float("-inf"), device=x.device).triu(1)
        x = (x + encoder.positional_embedding).transpose(0, 1)
        x = encoder.ln_final(encoder.transformer(x, deep_text, mask).transpose(0, 1))
        ends = self.tokens.argmax(-1)
        labels = F.normalize(x[torch.arange(len(x)), ends] @ encoder.text_projection, dim=-1)
        video = self.image_encoder(frames, learner.proj(learner.ctx), deep_vision).mean(0)
        return labels @ F.normalize(video, dim=-1) / 0.01


def tokenise(backbone: str, texts: list[str]) -> Tensor:
    """Tokenises texts as the release does: `X X text`, padded with zeros to a context of 77."""
    with torch.device("meta"):
        tokenizer = load_backbone(backbone, None).text.tokenizer
    start, end = tokenizer.all_special_ids
    rows = [[start, *tokenizer.encode(f"X X {text}"), end] for text in texts]
    assert max(map(len, rows)) <= 77, "the texts of the release are not cut"
    return torch.tensor([row + [0] * (77 - len(row)) for row in rows])


def release(backbone: str, sizes: dict, texts: list[str]) -> ReleasedPECLIP:
    """Returns the released network with random weights and active temporal adapters."""
    model = ReleasedPECLIP(tokenise(backbone, texts), **sizes).eval()
    with torch.no_grad():  # temporal adapters are initialised to zero; trained ones are not zero
        for block in model.image_encoder.transformer.resblocks:
            block.adapter_pre_mlp.up_proj.weight.normal_(std=0.1)
            block.adapter_pre_mlp.up_proj.bias.normal_(std=0.1)
    return model
