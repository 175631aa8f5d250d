"""`train.checkpoint_activations`: the same numbers from less memory."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from small import assert_equal, exact, fresh, quick, run

from peclip.data import Split
from peclip.models.base import ExpressionModel
from peclip.runtime import autocast, training_kernels
from peclip.types import Batch


def void(value: object) -> None:
    """Makes a hook of a function: what a hook returns would replace the input."""


def gradients(
    model: ExpressionModel, *, checkpointed: bool, precision: str
) -> tuple[dict[str, torch.Tensor], float, int]:
    """Returns the gradients, the loss, and the bytes that were kept for the backward pass."""
    frames = torch.rand(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):  # those are there anyway
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    # A block that is checkpointed holds its input outside of autograd's saved tensors.
    blocks = [*model.vision.blocks, *model.text.blocks]  # type: ignore[union-attr, misc]
    handles = [b.register_forward_pre_hook(lambda _, given: void(keep(given[0]))) for b in blocks]
    model.checkpoint_activations(checkpointed)
    model.zero_grad()
    watching = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with autocast(torch.device("cpu"), precision), watching:
        output = model(Batch(frames))
        loss = model.loss(output, torch.eye(3))
    for handle in handles:
        handle.remove()
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return found, loss.item(), sum(kept.values())


def bytes_saved(videos: Split, *, checkpointed: bool) -> int:
    """Returns what autograd saved in an epoch outside of blocks that are checkpointed."""
    sizes: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(videos, exact(epochs=1, checkpoint_activations=checkpointed))
    return sum(sizes)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("temporal_adapter", ["gru", "none"])
def test_the_gradients_are_equal_and_fewer_activations_are_kept(
    precision: str, temporal_adapter: str
) -> None:
    model = fresh(temporal_adapter=temporal_adapter).model
    with torch.no_grad():  # as after some training: adapters that start at 0 would hide much
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    plain, loss, kept = gradients(model, checkpointed=False, precision=precision)
    anew, same_loss, less = gradients(model, checkpointed=True, precision=precision)
    assert loss == same_loss
    assert plain.keys() == anew.keys()
    assert {n for n, p in model.named_parameters() if p.requires_grad} == plain.keys()
    assert any(gradient.abs().max() > 0.001 for gradient in plain.values())
    for name, gradient in plain.items():
        assert torch.allclose(gradient, anew[name], rtol=1e-5, atol=1e-6), name
    assert less < 0.5 * kept


def test_predictions_are_the_same() -> None:
    model = fresh().model.eval()
    batch = Batch(torch.rand(2, 4, 3, 32, 32))
    with torch.inference_mode():
        expected = model(batch).logits
        model.checkpoint_activations(True)
        assert torch.equal(model(batch).logits, expected)


def test_a_training_gives_the_same_weights(videos: Split, tmp_path: Path) -> None:
    """Also when it is switched on for the second half, as one does whose memory was too small."""
    one, first = run(videos, exact(clip_grad=1.0))
    two, second = run(videos, exact(clip_grad=1.0, checkpoint_activations=True))
    assert_equal(one, two, within=1e-6)
    losses = [[entry["train"]["loss"] for entry in result.history] for result in (first, second)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert not two.model.vision.checkpoint_activations  # type: ignore[union-attr]
    assert bytes_saved(videos, checkpointed=True) < 0.5 * bytes_saved(videos, checkpointed=False)
    run(videos, quick(), state_folder=tmp_path)
    run(videos, quick(checkpoint_activations=True), state_folder=tmp_path, resume=True)


def test_the_backward_pass_uses_the_same_kernels(videos: Split) -> None:
    """In bf16 on a CPU the kernels are chosen; recomputing with others gives torch different tensors."""
    chosen = training_kernels(torch.device("cpu"), "bf16", fresh().model.num_tokens)
    assert not isinstance(chosen, nullcontext)
    plain, _ = run(videos, exact(epochs=1, precision="bf16"))
    anew, _ = run(videos, exact(epochs=1, precision="bf16", checkpoint_activations=True))
    assert_equal(plain, anew, within=1e-6)
