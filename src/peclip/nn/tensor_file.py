"""Reads safetensors files, and rejects corrupt tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from peclip.errors import CheckpointError, first_line


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns all tensors of a file by name.

    Raises:
        CheckpointError: it is not a safetensors file.
    """
    with _readable(path):
        return dict(load_file(path))


def count_numbers(path: Path) -> int:
    """Returns the total number of elements in a file's tensors, from its header.

    Raises:
        CheckpointError: it is not a safetensors file.
    """
    with _readable(path), safe_open(path, framework="pt") as file:
        names = file.keys()
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        # The last three: a type or a shape that torch lacks.
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
    first = ", ".join(name[:80] for name in names[:2])
    shown = f" ({first}{', …' if len(names) > 2 else ''})" if names else ""
    return f"{len(names)} {what}{shown}"
