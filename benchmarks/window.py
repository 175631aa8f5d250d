"""One window of PE-CLIP: the straightforward implementation of the release compared with peclip.

    THP_MEM_ALLOC_ENABLE=1 python benchmarks/window.py --frames 16 --repeat 3

The baseline is `released.py`: attention that also returns its weights, the text tower run on all 77 positions in every
call, fp32, one video at a time. Its random weights are converted with `peclip convert`, so that both compute the same
function; the logits are compared before anything is timed. The implementations alternate; each turn makes two calls and
times the second, in CPU seconds on a CPU. The ratio is that of the medians.

`share` is the arithmetic rate of a call, relative to that of a matrix product of 2048 x 2048 (on a GPU: 8192 x 8192) in
the same precision, which is timed in the same turns: how far the implementation is from the limit of the machine.
ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 or AVX512_CORE emulates lesser processors. With THP_MEM_ALLOC_ENABLE=1, large tensors
are in huge pages, as with the command `peclip`.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from released import PAPER, release
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from peclip import PEClip
from peclip.labels import EMOTIONS
from peclip.models.descriptions import load_descriptions
from peclip.models.frozen import FrozenModel
from peclip.runtime import choose_device, device_name
from peclip.types import Batch
from peclip.weights.convert import convert_release


def peclip_way(model: PEClip, precision: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Returns a function that runs peclip as `predict` does."""
    frozen = FrozenModel(model.model, device, precision)
    return lambda frames: frozen(Batch(frames[None]))[0]


def timed(way: Callable[[Tensor], Tensor], frames: Tensor) -> tuple[float, Tensor]:
    """Returns the seconds of a call, and the logits."""
    wait = torch.cuda.synchronize if frames.is_cuda else lambda: None
    clock = time.perf_counter if frames.is_cuda else time.process_time
    wait()
    start = clock()
    logits = way(frames)
    wait()
    return clock() - start, logits


def products(device: torch.device) -> dict[str, tuple[Callable[[Tensor], Tensor], float]]:
    """Returns by precision a matrix product, and the number of its operations."""
    side = 8192 if device.type == "cuda" else 2048
    ways = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(2, side, side, device=device).to(dtype)
        ways[precision] = (lambda _, a=a, b=b: a @ b, 2.0 * side**3)
    return ways


def operations(model: torch.nn.Module, frames: Tensor) -> float:
    """Returns the number of floating point operations in the products of the vision tower; GRUs are not counted."""
    model = copy.deepcopy(model).requires_grad_(False)  # the counter fails at a gradient
    with torch.inference_mode(False), FlopCounterMode(display=False) as counter:
        model.vision(frames.clone()[None], model.prompts()[1])
    return float(counter.get_total_flops())


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    torch.manual_seed(0)
    texts = [load_descriptions("action_units")[name] for name in EMOTIONS[:7]]
    baseline = release("ViT-B-16-quickgelu", PAPER, texts)
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"state_dict": baseline.state_dict()}, Path(folder) / "release.pth")
        convert_release(Path(folder) / "release.pth", Path(folder) / "ours", full=True)
        model = PEClip.from_pretrained(Path(folder) / "ours", device=str(device))
    baseline.to(device)
    ways: dict[str, Callable[[Tensor], Tensor]] = {"baseline fp32": baseline}
    for precision in ("fp32", "bf16"):
        ways[f"peclip {precision}"] = peclip_way(model, precision, device)
    frames = torch.rand(arguments.frames, 3, 224, 224, device=device)
    logits = {name: timed(way, frames)[1] for name, way in ways.items()}  # also warms up
    work = operations(model.model, frames)
    limits = products(device)
    seconds: dict[str, list[float]] = {name: [] for name in (*ways, *limits)}
    for _ in range(arguments.repeat):
        for name, way in (ways | {name: way for name, (way, _) in limits.items()}).items():
            way(frames)  # so that caches and allocator are not in the state left by another one
            seconds[name].append(timed(way, frames)[0])
    print(
        f"{device_name(device)}, {torch.get_num_threads()} threads, {arguments.frames} frames, ViT-B/16"
    )
    expected = logits["baseline fp32"]
    rates = {
        name: count / statistics.median(seconds.pop(name)) for name, (_, count) in limits.items()
    }
    base = statistics.median(seconds["baseline fp32"])
    print("matrix products: " + ", ".join(f"{n} {r / 1e9:.0f} GFLOP/s" for n, r in rates.items()))
    for name, runs in seconds.items():
        found = logits[name]
        apart = (found - expected).abs().max().item()
        unsure = (found.softmax(-1) - expected.softmax(-1)).abs().max().item()
        same = "the same" if found.argmax() == expected.argmax() else "a DIFFERENT"
        share = work / statistics.median(runs) / rates[name[-4:]]
        print(
            f"{name:15s} {statistics.median(runs):7.3f} s ({min(runs):.3f} to {max(runs):.3f}), ratio "
            f"{base / statistics.median(runs):5.2f}; logits within {apart:.2g}, probabilities within "
            f"{unsure:.2g}, {same} label; share {100 * share:.0f} %"
        )


if __name__ == "__main__":
    main()
