"""Choice of device and precision."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from peclip.errors import DeviceError, UserError, first_line
from peclip.literals import Precision, check_device_name, check_precision_name

COMPUTE_IN_FP32 = (
    "Compute in fp32 (--precision fp32); if the output is still NaN or infinite, the weights "
    "are corrupt."
)
"""Remedy for NaN or infinite model output."""

_DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

_WINDOW_BYTES = 256 * 2**20
"""Of a GPU's memory for each window of a batch: ViT-L/14 needs a third of it for 16 frames."""


def choose_device(name: str = "auto") -> torch.device:
    """Returns a device: `"auto"` is CUDA, else MPS, else the CPU.

    Raises:
        ConfigError: the device name is invalid.
        DeviceError: this machine does not have the device.
    """
    check_device_name(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"Device {name!r} is unavailable: torch cannot find a CUDA device. Use --device auto or "
            "cpu, or install a CUDA build of torch and a GPU driver."
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"Device {name!r} is unavailable; this machine has cuda:0 to "
            f"cuda:{torch.cuda.device_count() - 1}."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("Device 'mps' is unavailable on this machine. Use --device cpu.")
    return torch.device(name)


def as_numbers(probabilities: Tensor, precision: str) -> list[list[float]]:
    """Returns probabilities (B, C) as numbers.

    Raises:
        DeviceError: some are NaN or infinite: the first label would be predicted.
    """
    probabilities = (
        probabilities.cpu()
    )  # first, because the check would synchronise with the device too
    if not probabilities.isfinite().all():
        raise DeviceError(f"The model output is NaN or infinite in {precision}. {COMPUTE_IN_FP32}")
    return [list(row) for row in probabilities.tolist()]


def choose_precision(name: Precision, device: torch.device, *, predicting: bool = False) -> str:
    """Returns `"fp32"`, `"tf32"`, `"bf16"` or `"fp16"`.

    `"fp32"` is exact on every device. `"tf32"` lets the matrix units of a CUDA device round the factors of a
    product to 10 bits, with everything else in fp32.

    `"auto"` is bf16 on CUDA devices that support it, fp16 on other CUDA devices, and fp32 elsewhere, except
    that predictions use bf16 on CPUs that are faster in it (`cpu_prefers_bf16`). Training and evaluation use fp32 on
    every CPU, so that scores do not depend on the machine. In bf16 on a CPU, nano's logits differ from those in fp32
    by at most 0.05, and its probabilities by at most 0.02 (163 windows of 17 videos: 0.044 and 0.011).

    Args:
        name: `"auto"`, `"fp32"`, `"tf32"`, `"bf16"` or `"fp16"`.
        device: of the computation.
        predicting: whether the model predicts, rather than being trained or evaluated.

    Raises:
        ConfigError: the precision name is invalid.
        DeviceError: the device does not support it.
    """
    check_precision_name(name, device.type)
    if name == "auto":
        if device.type == "cpu":
            return "bf16" if predicting and cpu_prefers_bf16() else "fp32"
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return name


def cpu_prefers_bf16() -> bool:
    """Returns whether this CPU has bf16 units with which models are faster than in fp32.

    These are AMX and the AVX-512 BF16 of AMD. On Intel CPUs without AMX, the AVX-512 BF16 instructions are slower
    than fp32 (docs/performance.md). On ARM, nano's stem is not packed, and its logits would differ by more.
    """
    available: Any = torch.backends.mkldnn.is_available  # without types
    if not available() or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    if _has_units("_is_amx_tile_supported"):
        return True
    return _has_units("_is_avx512_bf16_supported") and _is_amd()


def _has_units(check: str) -> bool:
    """Returns the result of a check that is not public in torch; false in versions without it."""
    return bool(getattr(torch.cpu, check, lambda: False)())


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "AuthenticAMD" in platform.processor()


def compute_type(precision: str) -> torch.dtype:
    """Returns the type of matrix products in a precision."""
    return _DTYPES[precision]


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Computes in a precision during the block: by autocast, and on CUDA by the use of TF32."""
    dtype = _DTYPES[precision]
    lower = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    with lower, fp32_products(device, precision):
        yield


@contextmanager
def fp32_products(device: torch.device, precision: str) -> Iterator[None]:
    """Decides how CUDA computes products of fp32 tensors during the block, and then restores the settings.

    In tf32 all of them use TF32. In bf16 and fp16 only those of cuDNN do, which are GRUs, because the cosines with
    the labels must be exact. In fp32 none does, whereas torch by itself computes convolutions and GRUs in TF32.
    """
    if device.type != "cuda":
        yield
        return
    # The older names, which torch._dynamo and older versions of torch read; both kinds must not be mixed.
    products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, cudnn.allow_tf32
    products.allow_tf32, cudnn.allow_tf32 = precision == "tf32", precision != "fp32"
    try:
        yield
    finally:
        products.allow_tf32, cudnn.allow_tf32 = before


def windows_at_once(device: torch.device) -> int:
    """Returns the default number of windows in a batch: 8, or as many as keep a CUDA device busy, up to 64."""
    if device.type != "cuda":
        return 8
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(8, min(64, memory // _WINDOW_BYTES))


def sources_at_once(device: torch.device) -> int:
    """Returns how many sources are read at the same time: 1, or as many as the cores can decode for a CUDA device."""
    return max(1, min(16, os.cpu_count() or 1)) if device.type == "cuda" else 1


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor of the CPU to a device; to CUDA through pinned memory, without waiting for its work."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    pinned = values if values.is_pinned() else values.pin_memory()
    return pinned.to(device, non_blocking=True)


def stages_overlap(device: torch.device) -> bool:
    """Returns whether overlapping reading, detection and computing is faster than running them in turn.

    On a CPU it is faster only if waiting torch threads sleep, which requires OMP_WAIT_POLICY=passive to be
    set before torch is imported, as the command `peclip` does. By default they spin on the cores that the
    other stages need.
    """
    return device.type != "cpu" or os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"


def training_kernels(
    device: torch.device, precision: str, num_tokens: int
) -> AbstractContextManager[object]:
    """Returns the context in which attention over this many tokens trains fastest.

    On a CPU in bf16 the backward pass of the fused kernel is slow for short sequences: 62 ms versus
    24 ms of the plain products for 128 images of 39 tokens, but 99 versus 178 ms for 16 of 197.
    """
    if device.type == "cpu" and precision == "bf16" and num_tokens < 64:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def device_name(device: torch.device) -> str:
    """Returns a readable name of the device: `"cuda:0 (NVIDIA H200)"`."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return f"cuda:{index} ({torch.cuda.get_device_name(index)})"
    return device.type


@contextmanager
def compiler_errors() -> Iterator[None]:
    """Turns a failure of `torch.compile`, raised at a module's first call, into a one-line error.

    Raises:
        DeviceError: the compiler is missing or fails.
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo.", "torch._inductor.")):
            raise
        raise DeviceError(
            f"torch.compile cannot compile the encoder: {first_line(error)}. Install a "
            "C++ compiler (g++), or set train.compile to false."
        ) from error


@contextmanager
def memory_errors(
    device: torch.device, advice: str, kind: type[UserError] = DeviceError
) -> Iterator[None]:
    """Turns an out-of-memory error into a one-line error with advice.

    Raises:
        UserError: of this kind.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise kind(f"Out of memory on {device}. {advice}") from error
