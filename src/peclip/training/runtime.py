"""How a model is run on a split: device, precision, processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from peclip.runtime import choose_precision
from peclip.training.config import TrainConfig
from peclip.training.distributed import SINGLE, World


@dataclass(frozen=True, slots=True)
class Runtime:
    """Device, precision, processes, and the batch size."""

    device: torch.device
    precision: str = "fp32"
    """`fp32`, `bf16` or `fp16`."""
    world: World = SINGLE
    """The processes that share the videos."""
    batch_size: int = 8
    """Videos per forward pass, summed over all ranks."""
    workers: int = 0
    """Number of processes per rank that read videos."""

    @classmethod
    def of(cls, config: TrainConfig, device: torch.device, world: World = SINGLE) -> Self:
        """Returns the runtime of a training.

        Raises:
            DeviceError: the device does not support the precision.
        """
        precision = choose_precision(config.precision, device)
        return cls(device, precision, world, config.batch_size, config.workers)
