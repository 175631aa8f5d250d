"""One window of PE-CLIP: the straightforward implementation of the release compared with peclip.

    python benchmarks/window.py --frames 16 --repeat 3

The baseline is `released.py`: attention that also returns its weights, the text tower run on all 77 positions in every
call, fp32, one video at a time. Its random weights are converted with `peclip convert`, so that both compute the same
function; the logits are compared before anything is timed. The implementations alternate; each turn makes two calls and
times the second. The ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from released import PAPER, release
from torch import Tensor

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
    wait()
    start = time.perf_counter()
    logits = way(frames)
    wait()
    return time.perf_counter() - start, logits


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
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeat):
        for name, way in ways.items():
            way(frames)  # so that caches and allocator are not in the state left by another one
            seconds[name].append(timed(way, frames)[0])
    print(
        f"{device_name(device)}, {torch.get_num_threads()} threads, {arguments.frames} frames, ViT-B/16"
    )
    expected = logits["baseline fp32"]
    base = statistics.median(seconds["baseline fp32"])
    for name, runs in seconds.items():
        found = logits[name]
        apart = (found - expected).abs().max().item()
        unsure = (found.softmax(-1) - expected.softmax(-1)).abs().max().item()
        same = "the same" if found.argmax() == expected.argmax() else "a DIFFERENT"
        print(
            f"{name:15s} {statistics.median(runs):7.3f} s ({min(runs):.3f} to {max(runs):.3f}), ratio "
            f"{base / statistics.median(runs):5.2f}; logits within {apart:.2g}, probabilities within "
            f"{unsure:.2g}, {same} label"
        )


if __name__ == "__main__":
    main()
