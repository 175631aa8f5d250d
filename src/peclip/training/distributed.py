"""Several processes, started by torchrun, that train one model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from peclip.errors import ConfigError


@dataclass(frozen=True, slots=True)
class World:
    """Rank and number of processes."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Rank on this machine."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Adds a tensor up over all ranks, in place, and returns it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums the gradients over all ranks; a gradient missing on a rank counts as 0.

        Every rank divides its loss by the videos of all ranks, so the sum is the gradient of the mean,
        however unevenly the videos are shared. One call for all of them: adapters are small.
        """
        if self.size == 1:
            return
        parameters = list(parameters)
        here = [parameter.grad is not None for parameter in parameters]
        anywhere = self.sum(torch.tensor(here, dtype=torch.int32, device=parameters[0].device))
        for parameter, known in zip(parameters, anywhere.tolist(), strict=True):
            if known and parameter.grad is None:  # this rank had no such video in this step
                parameter.grad = torch.zeros_like(parameter)
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.sum(torch.cat([grad.flatten() for grad in grads]))
        start = 0
        for grad in grads:
            grad.copy_(flat[start : start + grad.numel()].view_as(grad))
            start += grad.numel()

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Copies the tensors of the first rank to all ranks."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def gather(self, values: Sequence[Any]) -> list[Any]:
        """Returns the values of all ranks, in the order of the ranks, on every one."""
        if self.size == 1:
            return list(values)
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, list(values))
        return [value for part in found for value in part]

    def wait(self) -> None:
        """Waits for all ranks."""
        if self.size > 1:
            dist.barrier()


SINGLE = World()


def world_of(environment: dict[str, str] | None = None) -> World:
    """Reads torchrun's variables; without them there is one process.

    Raises:
        ConfigError: they are not numbers, or inconsistent.
    """
    values = dict(os.environ) if environment is None else environment
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "RANK" not in values and "WORLD_SIZE" not in values:
        return SINGLE
    given = {name: values.get(name, "") for name in names}
    try:
        world = World(*(int(given[name]) for name in names))
    except ValueError:
        raise ConfigError(
            f"Invalid torchrun variables {given}: each must be a number. Launch with torchrun, or "
            "unset them."
        ) from None
    if world.size > 1 and not (values.get("MASTER_ADDR") and values.get("MASTER_PORT")):
        raise ConfigError(
            f"WORLD_SIZE is {world.size}, but MASTER_ADDR and MASTER_PORT are missing. Launch "
            "with torchrun, or set them."
        )
    if not 0 <= world.rank < world.size or world.local_rank < 0:
        raise ConfigError(
            f"Invalid rank {world.rank} for {world.size} processes. Launch with torchrun, or "
            "unset RANK and WORLD_SIZE."
        )
    return world


@contextmanager
def joined(world: World, device: torch.device) -> Iterator[World]:
    """Joins the process group during the block: nccl between GPUs, else gloo."""
    if world.size == 1 or dist.is_initialized():
        yield world
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", rank=world.rank, world_size=world.size
    )
    try:
        yield world
    finally:
        dist.destroy_process_group()
