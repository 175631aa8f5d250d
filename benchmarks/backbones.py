"""Throughput, hardware utilisation and time per component, by backbone and batch size.

    python benchmarks/backbones.py --backbones ViT-B-32-quickgelu ViT-B-16-quickgelu ViT-L-14-quickgelu --batch 1 8 32

PE-CLIP with random weights. `use` is the arithmetic throughput of a call (operations counted by torch), relative to that
of a large matrix product in the same precision, measured in the same run. The shares cover the copy of the pixels to the
device, their preprocessing, the GRUs, and the rest of the vision tower. The text tower is not included, because its
features are computed once; the time of one call is in a separate column.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from peclip import PEClip
from peclip.models.frozen import FrozenModel
from peclip.models.registry import build_model
from peclip.nn.adapters import TemporalDynamicAdapter
from peclip.runtime import choose_device, choose_precision, device_name
from peclip.types import Batch
from peclip.weights.resolve import backbone_model_config

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], object], device: torch.device, repeat: int) -> float:
    """Returns the median time of a call, after one warm-up call."""
    runs = []
    for number in range(repeat + 1):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        if number:
            runs.append(time.perf_counter() - start)
    return statistics.median(runs)


def product_rate(device: torch.device, precision: str, repeat: int) -> float:
    """Returns the operations per second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    a = torch.randn(size, size, device=device, dtype=_DTYPES[precision])
    return 2 * size**3 / seconds(lambda: a @ a, device, repeat)


@contextmanager
def clocked(model: torch.nn.Module, device: torch.device) -> Any:
    """Yields the seconds spent in the GRUs of a model, updated at every call."""
    spent = [0.0]
    begun = [0.0]
    handles = []

    def begin(*_: object) -> None:
        wait(device)
        begun[0] = time.perf_counter()

    def end(*_: object) -> None:
        wait(device)
        spent[0] += time.perf_counter() - begun[0]

    for module in model.modules():
        if isinstance(module, TemporalDynamicAdapter):
            handles.append(module.gru.register_forward_pre_hook(begin))
            handles.append(module.gru.register_forward_hook(end))
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--backbones", nargs="+", default=["ViT-B-32-quickgelu", "ViT-B-16-quickgelu"]
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile the vision tower")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    precision = choose_precision(arguments.precision, device)
    rate = product_rate(device, precision, arguments.repeat)
    print(
        f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, {precision}, "
        f"{arguments.frames} frames; matrix product {rate / 1e12:.2f} TFLOP/s"
    )
    print(
        "| backbone | batch | windows/s | use | copy | pixels | GRU | rest of vision | text once |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for backbone in arguments.backbones:
        config = backbone_model_config(backbone, None, "pe-clip").derive(
            num_frames=arguments.frames
        )
        network = build_model(config).eval().requires_grad_(False)
        model = PEClip(network, config, device=device, precision=precision)
        for batch in arguments.batch:
            measure(model, batch, arguments.repeat, rate, compiled=arguments.compile)


@torch.inference_mode()
def measure(model: PEClip, batch: int, repeat: int, rate: float, *, compiled: bool) -> None:
    """Prints a row of the table."""
    device, size = model.device, model.config.preprocess.image_size
    crops = torch.randint(
        0, 256, (batch, model.config.num_frames, 3, size, size), dtype=torch.uint8
    )
    crops = crops.pin_memory() if device.type == "cuda" else crops
    there = crops.to(device)
    frames = model.preprocess(there)
    frozen = FrozenModel(model.model, device, model.precision)
    batch_of_windows = Batch(frames)

    def vision() -> Tensor:
        return frozen(batch_of_windows)

    with FlopCounterMode(display=False) as counter:
        model.model(batch_of_windows, frozen.label_features)  # packed layers are not counted
    work = counter.get_total_flops()
    vision()  # the first call is slower
    with clocked(frozen.network, device) as spent:
        spent[0] = 0.0
        vision()
        gru = spent[0]
    if compiled:
        for module in frozen.network.encoders():
            module.compile()
    times = {
        "copy": seconds(lambda: crops.to(device), device, repeat),
        "pixels": seconds(lambda: model.preprocess(there), device, repeat),
        "vision": seconds(vision, device, repeat),
    }
    total = sum(times.values())
    shares = [times["copy"], times["pixels"], gru, times["vision"] - gru]
    cells = " | ".join(f"{100 * share / total:.1f} %" for share in shares)
    print(
        f"| {model.config.backbone} | {batch} | {batch / total:.2f} | "
        f"{100 * work / times['vision'] / rate:.0f} % | {cells} | {seconds(model.model.encode_labels, device, 1):.3f} s |",
        flush=True,
    )


if __name__ == "__main__":
    main()
