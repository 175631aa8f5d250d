"""Which device and which precision to compute with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from peclip.errors import ConfigError, DeviceError, UserError, first_line
from peclip.literals import Precision

COMPUTE_IN_FP32 = (
    "Compute in fp32 (--precision fp32); if they are none there either, the weights are at fault."
)
"""What to do where answers are no numbers."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """Returns a device: `"auto"` is CUDA, else MPS, else the CPU.

    Raises:
        ConfigError: the name is no device.
        DeviceError: this machine does not have the device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, colon, number = name.partition(":")
    # torch keeps the number in 8 bits: its cuda:256 is cuda:0.
    counted = not colon or (number.isascii() and number.isdecimal())
    if kind not in ("cpu", "cuda", "mps") or not counted or (colon and kind != "cuda"):
        raise ConfigError(f"{name!r} is no device; choose auto, cpu, cuda, cuda:N or mps.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"The device {name!r} was asked for, and torch finds no CUDA device here. Use --device "
            "auto or cpu, or install a CUDA build of torch and a driver."
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"The device {name!r} was asked for, and this machine has cuda:0 to "
            f"cuda:{torch.cuda.device_count() - 1}."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("The device 'mps' was asked for, and this machine has none. Use cpu.")
    return torch.device(name)


def as_numbers(probabilities: Tensor, precision: str) -> list[list[float]]:
    """Returns probabilities (B, C) as numbers.

    Raises:
        DeviceError: some are none: the first label would pass for the answer.
    """
    probabilities = probabilities.cpu()  # first: the check would wait for the device, too
    if not probabilities.isfinite().all():
        raise DeviceError(f"The model's answers are no numbers in {precision}. {COMPUTE_IN_FP32}")
    return [list(row) for row in probabilities.tolist()]


def choose_precision(name: Precision, device: torch.device) -> str:
    """Returns `"fp32"`, `"bf16"` or `"fp16"`.

    `"auto"` is bf16 on CUDA where the hardware computes with it, else fp16 on CUDA, and fp32 elsewhere,
    so that a CPU gives the same numbers on every machine.

    Raises:
        ConfigError: the name is no precision.
        DeviceError: the device cannot compute with it.
    """
    if name not in ("auto", *_DTYPES):
        raise ConfigError(f"{name!r} is no precision; choose auto, {', '.join(_DTYPES)}.")
    if name == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name == "fp16" and device.type == "cpu":
        raise DeviceError(
            "The precision fp16 was asked for, and a CPU does not compute with it. Use bf16 or fp32."
        )
    return name


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Returns the context in which a model computes with a precision."""
    return torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32")


def stages_overlap(device: torch.device) -> bool:
    """Says whether reading, searching and computing at the same time is faster than in turn.

    On a CPU it is if the threads of torch sleep while they wait for work, which OMP_WAIT_POLICY=passive
    makes them do when it is set before torch is imported, as `peclip predict` does. By default they spin
    on the cores that the other stages need.
    """
    return device.type != "cpu" or os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"


def training_kernels(
    device: torch.device, precision: str, num_tokens: int
) -> AbstractContextManager[object]:
    """Returns the context in which attention over so many tokens is trained fastest.

    On a CPU in bf16 the backward pass of the fused kernel is slow for short sequences: 62 ms against
    24 ms of the plain products for 128 images of 39 tokens, and 99 against 178 ms for 16 of 197.
    """
    if device.type == "cpu" and precision == "bf16" and num_tokens < 64:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def device_name(device: torch.device) -> str:
    """Returns what a person calls the device: `"cuda:0 (NVIDIA H200)"`."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return f"cuda:{index} ({torch.cuda.get_device_name(index)})"
    return device.type


@contextmanager
def compiler_errors() -> Iterator[None]:
    """Says in one line that `torch.compile`, which works when a module is first called, cannot.

    Raises:
        DeviceError: no compiler, or one that fails.
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo.", "torch._inductor.")):
            raise
        raise DeviceError(
            f"torch.compile cannot compile the encoder here: {first_line(error)}. Install a "
            "C++ compiler (g++), or set train.compile to false."
        ) from error


@contextmanager
def memory_errors(
    device: torch.device, advice: str, kind: type[UserError] = DeviceError
) -> Iterator[None]:
    """Says in one line that the memory of a device is too small, and what to do.

    Raises:
        UserError: of this kind.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise kind(f"The memory of {device} is too small. {advice}") from error
