"""Reads safetensors files, and rejects corrupt tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from peclip.errors import CheckpointError, first_line


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns all tensors of a file by name.

    Raises:
        CheckpointError: it is not a safetensors file.
    """
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        reason = first_line(error)
        raise CheckpointError(
            f"{str(path)!r} is not a complete safetensors file: {reason}. Download or save it "
            "again."
        ) from None


@torch.no_grad()
def copy_tensors(path: Path, loaded: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    """Copies loaded tensors into tensors of the same names and shapes: all of them, or none.

    Raises:
        CheckpointError: one has another dtype kind, or holds NaN or infinite values.
    """
    damaged = [
        name
        for name, tensor in into.items()
        if loaded[name].is_floating_point() != tensor.is_floating_point()
        or not bool(torch.isfinite(loaded[name].float()).all())
    ]
    if damaged:  # one flipped bit can make a number infinite, and then every prediction NaN
        raise CheckpointError(
            f"{str(path)!r} is corrupt: "
            f"{counted('tensors contain NaN or infinite values', damaged)}. Download or save it "
            "again."
        )
    for name, tensor in into.items():
        tensor.copy_(loaded[name])


def counted(what: str, names: Sequence[str]) -> str:
    """Returns the count, and the first names."""
    shown = f" ({', '.join(names[:2])}{', …' if len(names) > 2 else ''})" if names else ""
    return f"{len(names)} {what}{shown}"
