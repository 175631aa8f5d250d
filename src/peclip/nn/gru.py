"""A GRU for torch.compile: one operator, with a gradient, which compiled code calls like any other.

torch.compile breaks the graph at `torch.nn.GRU`, or unrolls it into several kernels for each frame. The operator calls
the same fused kernel as the module does. Its backward pass computes the states again, so that nothing is stored for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def gru_states(x: Tensor, weights: list[Tensor], *, train: bool) -> Tensor:
    """Returns the states (N, T, W) of sequences x (N, T, W), from a state of zeros.

    Args:
        x: float.
        weights: of input and state, (3W, W), and their biases, (3W,), in the order of `torch.nn.GRU`.
        train: whether a gradient is wanted, which cuDNN must know.
    """
    start = x.new_zeros(1, len(x), x.shape[-1])
    states: Tensor = torch.gru(x, start, weights, True, 1, 0.0, train, False, True)[0]
    return states


@torch.library.custom_op("peclip::gru", mutates_args=())
def gru(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    """Returns the states as `gru_states`, contiguous."""
    return gru_states(x, [w_ih, w_hh, b_ih, b_hh], train=False).contiguous()


@torch.library.custom_op("peclip::gru_backward", mutates_args=())
def gru_backward(
    grad: Tensor, x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> list[Tensor]:
    """Returns the gradients of the five inputs of `gru` from the gradient of its output."""

    def states(x: Tensor, *weights: Tensor) -> Tensor:
        return gru_states(x, list(weights), train=True)

    # torch turns autograd off inside operators, but not torch.func.
    pull_back = torch.func.vjp(states, x, w_ih, w_hh, b_ih, b_hh)[1]
    return [part.contiguous() for part in pull_back(grad)]


@gru.register_fake
def _(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    return _like(x)


@gru_backward.register_fake
def _(
    grad: Tensor, x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> list[Tensor]:
    return [_like(tensor) for tensor in (x, w_ih, w_hh, b_ih, b_hh)]


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _save_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _pass_back(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    return tuple(gru_backward(grad, *ctx.saved_tensors))


gru.register_autograd(_pass_back, setup_context=_save_inputs)


def compile_encoder(encoder: torch.nn.Module) -> None:
    """Compiles a video encoder in place, at its first call, without a break of the graph."""
    import torch._dynamo  # takes seconds

    torch._dynamo.config.allow_rnn = True  # `TokenGRU` calls the operator, nothing is unrolled
    encoder.compile()
