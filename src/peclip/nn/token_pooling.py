"""How a vision tower turns the tokens of a frame into one: its class token, a mean, or attention."""

from __future__ import annotations

from torch import Tensor, nn


class ClassToken(nn.Module):
    """The first token, which is all that the last block needs to compute."""

    reads_all = False
    """Whether the last block must output all tokens of the tower; never those of a prompt."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, L, W) to (N, W)."""
        return x[:, 0]


class MeanToken(nn.Module):
    """The mean of the patches.

    Args:
        norm: applied to the tokens first.
        first: index of the first patch; the class token before it, if any, is not part of the mean.
    """

    reads_all = True

    def __init__(self, norm: nn.Module, first: int) -> None:
        super().__init__()
        self.norm, self.first = norm, first

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, L, W) to (N, W)."""
        mean: Tensor = self.norm(x)[:, self.first :].mean(1)
        return mean


class AttentionToken(nn.Module):
    """A learned query that attends to the tokens (multi-head attention pooling, MAP).

    Zhai, Kolesnikov, Houlsby, Beyer: "Scaling Vision Transformers", CVPR 2022. SigLIP and Perception Encoder use it.

    Args:
        norm: applied to the tokens first.
        attention: maps (N, L, W) to (N, W).
        first: index of the first token that the query attends to.
    """

    reads_all = True

    def __init__(self, norm: nn.Module, attention: nn.Module, first: int) -> None:
        super().__init__()
        self.norm, self.attention, self.first = norm, attention, first

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, L, W) to (N, W)."""
        pooled: Tensor = self.attention(self.norm(x)[:, self.first :])
        return pooled


Pooling = ClassToken | MeanToken | AttentionToken
