"""The device and the precision that compute, and what to do where they are not there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from peclip.errors import ConfigError, DeviceError, TrainingError, UserError
from peclip.runtime import (
    autocast,
    choose_device,
    choose_precision,
    compiler_errors,
    cpu_prefers_bf16,
    device_name,
    fp32_products,
    memory_errors,
    on_device,
    sources_at_once,
    windows_at_once,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this machine one with so many CUDA devices, with or without bf16, or with MPS."""

    def become(*, cuda: int = 0, mps: bool = False, bf16: bool = True) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: cuda > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: cuda)
        monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
        monkeypatch.setattr("torch.cuda.get_device_name", lambda index: f"Card {index}")
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: bf16)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)

    become()
    return become


def test_auto_takes_the_fastest(machine: Any) -> None:
    assert choose_device("auto") == CPU
    assert choose_device() == CPU
    machine(mps=True)
    assert choose_device("auto") == torch.device("mps")
    machine(cuda=1, mps=True)
    assert choose_device("auto") == CUDA


def test_a_device_is_chosen_by_name(machine: Any) -> None:
    machine(cuda=2, mps=True)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1", "mps"):
        assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize(
    "name", ["", "gpu", "tpu9", "cuda:", "cuda:x", "cuda:-1", "cuda:1:2", "meta", "xpu", "CPU", "0"]
)
def test_an_unknown_device_lists_the_known_ones(machine: Any, name: str) -> None:
    machine(cuda=2)
    with pytest.raises(ConfigError, match=rf"'{name}'.*auto, cpu, cuda, cuda:N or mps"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_unavailable_cuda_is_reported(machine: Any, name: str) -> None:
    with pytest.raises(DeviceError, match=rf"'{name}'.*CUDA device.*--device auto or cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:100", "cuda:127"])
def test_an_unavailable_gpu_is_reported(machine: Any, name: str) -> None:
    machine(cuda=2)
    with pytest.raises(DeviceError, match=rf"'{name}'.*cuda:0 to cuda:1"):
        choose_device(name)


@pytest.mark.parametrize("number", [128, 256, 257, 1000])
def test_an_out_of_range_gpu_index_is_never_wrapped(machine: Any, number: int) -> None:
    machine(cuda=2)
    with pytest.raises((ConfigError, DeviceError)):
        choose_device(f"cuda:{number}")


def test_unavailable_mps_is_reported(machine: Any) -> None:
    with pytest.raises(DeviceError, match="'mps'.*Use --device cpu"):
        choose_device("mps")


@pytest.mark.parametrize("prefers", [True, False])
def test_auto_precision_is_bf16_only_for_predictions_on_a_cpu_that_prefers_it(
    machine: Any, monkeypatch: pytest.MonkeyPatch, prefers: bool
) -> None:
    monkeypatch.setattr("peclip.runtime.cpu_prefers_bf16", lambda: prefers)
    assert choose_precision("auto", CPU, predicting=True) == ("bf16" if prefers else "fp32")
    assert choose_precision("fp32", CPU, predicting=True) == "fp32"
    assert choose_precision("auto", torch.device("mps"), predicting=True) == "fp32"
    assert (
        choose_precision("auto", CPU) == "fp32"
    )  # training and evaluation: the same scores everywhere


@pytest.mark.parametrize(
    ("vendor", "amx", "avx512_bf16", "prefers"),
    [
        ("GenuineIntel", True, True, True),
        ("GenuineIntel", False, True, False),  # slower than fp32
        ("AuthenticAMD", False, True, True),
        ("AuthenticAMD", False, False, False),
        ("GenuineIntel", False, False, False),
    ],
)
def test_a_cpu_prefers_bf16_if_its_units_are_faster_than_fp32(
    monkeypatch: pytest.MonkeyPatch, vendor: str, amx: bool, avx512_bf16: bool, prefers: bool
) -> None:
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: True)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr("peclip.runtime._is_amd", lambda: vendor == "AuthenticAMD")
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    assert cpu_prefers_bf16() is prefers
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")  # ARM
    assert not cpu_prefers_bf16()
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert not cpu_prefers_bf16()


def test_a_torch_without_the_private_checks_predicts_in_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(f"torch.cpu.{name}")
    assert not cpu_prefers_bf16()


def test_auto_precision_of_other_devices(machine: Any) -> None:
    assert choose_precision("auto", torch.device("mps")) == "fp32"
    assert choose_precision("auto", CUDA) == "bf16"
    machine(cuda=1, bf16=False)
    assert choose_precision("auto", CUDA) == "fp16"
    assert choose_precision("auto", torch.device("cuda:0")) == "fp16"


def test_a_precision_is_chosen_by_name() -> None:
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("fp32", CUDA) == "fp32"
    assert choose_precision("fp16", CUDA) == "fp16"
    with pytest.raises(DeviceError, match="fp16.*CPU.*bf16 or fp32"):
        choose_precision("fp16", CPU)
    with pytest.raises(ConfigError, match="'int8'.*auto or one of fp32, tf32, bf16, fp16"):
        choose_precision("int8", CPU)  # type: ignore[arg-type]


def test_autocast_computes_with_the_precision() -> None:
    x = torch.ones(2, 2)
    with autocast(CPU, "fp32"):
        assert (x @ x).dtype == torch.float32
    with autocast(CPU, "bf16"):
        assert (x @ x).dtype == torch.bfloat16


def test_fp32_is_exact_inside_the_autocast_of_a_caller() -> None:
    x = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16), autocast(CPU, "fp32"):
        assert (x @ x).dtype == torch.float32


def test_a_device_is_described_by_its_name(machine: Any) -> None:
    assert device_name(CPU) == "cpu"
    assert device_name(torch.device("mps")) == "mps"
    machine(cuda=2)
    assert device_name(CUDA) == "cuda:0 (Card 0)"
    assert device_name(torch.device("cuda:1")) == "cuda:1 (Card 1)"


def test_a_missing_compiler_is_a_one_line_error() -> None:
    class InvalidCxxCompiler(RuntimeError):
        """As torch raises it."""

    InvalidCxxCompiler.__module__ = "torch._inductor.exc"
    message = r"No C\+\+\. Install .*train\.compile to false\.$"
    with pytest.raises(DeviceError, match=message), compiler_errors():
        raise InvalidCxxCompiler("No C++\n\nSet TORCHDYNAMO_VERBOSE=1")
    with pytest.raises(RuntimeError, match="something else"), compiler_errors():
        raise RuntimeError("something else")


@pytest.mark.parametrize("kind", [DeviceError, TrainingError])
def test_running_out_of_memory_is_a_one_line_error(kind: type[UserError]) -> None:
    told = pytest.raises(kind, match=r"^Out of memory on cuda\. Give less\.$")
    with told, memory_errors(CUDA, "Give less.", kind):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB.")
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(CUDA, "Give less."):
        raise RuntimeError("shapes do not fit")


def tf32_flags() -> tuple[bool, bool]:
    """Whether products, and whether cuDNN's convolutions and GRUs may use TF32."""
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", (False, False)), ("tf32", (True, True)), ("bf16", (False, True))],
)
def test_tf32_is_used_where_the_precision_says_so(
    precision: str, expected: tuple[bool, bool]
) -> None:
    before = tf32_flags()
    with fp32_products(CUDA, precision):
        assert tf32_flags() == expected
        with fp32_products(CUDA, "fp32"):  # as for the label features
            assert tf32_flags() == (False, False)
        assert tf32_flags() == expected
    assert tf32_flags() == before
    with fp32_products(CPU, precision):
        assert tf32_flags() == before


def test_a_large_gpu_gets_large_batches_and_several_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (windows_at_once(CPU), sources_at_once(CPU)) == (8, 1)
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    assert sources_at_once(CUDA) == 12
    for gigabytes, windows in ((1, 8), (8, 32), (139, 64)):

        class Properties:
            total_memory = gigabytes * 2**30

        monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: Properties)
        assert windows_at_once(CUDA) == windows


def test_values_for_another_device_than_cuda_are_copied_as_they_are() -> None:
    values = torch.arange(3)
    assert on_device(values, CPU) is values
    assert on_device(values, torch.device("meta")).shape == (3,)
