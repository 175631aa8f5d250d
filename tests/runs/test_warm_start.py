"""Starting from a base of which a part is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import fresh

from peclip.errors import CheckpointError
from peclip.runs.warm_start import load_what_fits


def test_matching_tensors_are_loaded_and_the_rest_named(tmp_path: Path) -> None:
    fresh().save_pretrained(tmp_path)
    other = fresh(prompt_length=3)
    names = load_what_fits(other.model, other.config, tmp_path / "model.safetensors")
    assert names
    assert all(name.startswith("prompts.") for name in names)


def nothing_but_numbers(content: dict[str, torch.Tensor]) -> None:
    content[min(content)].view(-1)[0] = float("nan")


def whole_numbers(content: dict[str, torch.Tensor]) -> None:
    content[min(content)] = content[min(content)].long()


@pytest.mark.parametrize("damage", [nothing_but_numbers, whole_numbers])
def test_a_corrupt_base_is_named_before_training(
    damage: Callable[[dict[str, torch.Tensor]], None], tmp_path: Path
) -> None:
    """Otherwise the learning rate is blamed for a NaN loss."""
    fresh().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    content = load_file(path)
    damage(content)
    save_file(content, path)
    model = fresh()
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"1 tensors contain NaN or infinite"):
        load_what_fits(model.model, model.config, path)
    assert all(torch.equal(t, before[name]) for name, t in model.model.state_dict().items())
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_what_fits(model.model, model.config, path)
