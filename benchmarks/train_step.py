"""Time and peak memory of a training step: the baseline, and peclip with stored and with recomputed activations.

    python benchmarks/train_step.py --device auto --batch 8 --frames 16
    python benchmarks/train_step.py --recipe pe-clip-l14-lora-dfew --batch 1 --frames 8 --way stored

The baseline is `released.py` in fp32: attention that also returns its weights, the text tower on all 77 positions, one
video at a time, AdamW. `recomputed` means `train.checkpoint_activations`. Weights and videos are random: neither time
nor memory depends on them. Each implementation runs in its own process; the first step is a warm-up and is not timed. On
CUDA the peak is the memory allocated by torch; on a CPU it is the resident memory of the process, printed together with
the value before the first step. CPU seconds are summed over all threads; on a shared machine they are more reliable than
wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from released import PAPER, SMALL, release

from peclip.config import check
from peclip.data.dataset import Videos
from peclip.labels import EMOTIONS
from peclip.models.descriptions import load_descriptions
from peclip.models.loaded import LoadedModel
from peclip.models.registry import build_model
from peclip.runs.recipe import model_config, read_recipe
from peclip.runtime import choose_device, device_name
from peclip.training.config import TrainConfig
from peclip.training.learner import Learner
from peclip.training.running_metrics import RunningMetrics
from peclip.training.runtime import Runtime
from peclip.weights.resolve import backbone_model_config

SIZES = {"ViT-B-16-quickgelu": PAPER, "debug": SMALL}
"""Of the released network."""

Step = Callable[[int], None]
"""Runs the training step with the given number, and returns when the device has finished."""


def baseline(arguments: argparse.Namespace, device: torch.device) -> tuple[Step, str]:
    """Returns a step of the released network, and its precision."""
    texts = [load_descriptions("action_units")[name] for name in EMOTIONS[:7]]
    sizes = SIZES[arguments.backbone]
    model = release(arguments.backbone, sizes, texts)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("adapter" in name or "prompt_learner" in name)
    model.to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    size = sizes["size"]
    frames = torch.randn(arguments.batch, arguments.frames, 3, size, size, device=device)
    targets = torch.arange(arguments.batch, device=device) % len(texts)

    def step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for video, target in zip(frames, targets, strict=True):
            loss = F.cross_entropy(model(video)[None], target[None]) / arguments.batch
            loss.backward()
            total += loss.item()
        optimizer.step()
        assert math.isfinite(total)

    return step, "fp32"


def peclip_way(
    arguments: argparse.Namespace, device: torch.device, *, recomputed: bool
) -> tuple[Step, str]:
    """Returns a step as run by `peclip train`, and its precision."""
    recipe = {} if arguments.recipe is None else read_recipe(arguments.recipe)
    prefix, _, name = recipe.get("base", arguments.backbone).rpartition(":")
    named = backbone_model_config(name.partition("/")[0], "random", prefix or "pe-clip")
    changes = recipe.get("model", {}) | {"pretrained": None, "num_frames": arguments.frames}
    config = model_config(named, changes)  # nothing is downloaded
    loaded = LoadedModel.of(build_model(config).to(device), config)
    own = {
        "batch_size": arguments.batch,
        "precision": arguments.precision,
        "checkpoint_activations": recomputed,
        "compile": arguments.compile,
    }
    train = check(TrainConfig, recipe.get("train", {}) | own)
    num_classes, side = len(loaded.labels), config.preprocess.image_size
    runtime = Runtime.of(train, device)
    learner = Learner(loaded, train, runtime, torch.ones(num_classes))
    learner.training()
    shape = (arguments.batch, arguments.frames, 3, side, side)
    numbers = torch.arange(arguments.batch)
    targets = numbers % num_classes
    one_hot = F.one_hot(targets, num_classes).float()
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    videos = Videos(pixels, targets, one_hot, numbers, {})
    running_metrics = RunningMetrics.empty(num_classes)

    def step(number: int) -> None:
        learner.step(
            [videos],
            running_metrics,
            num_videos=arguments.batch,
            epoch=0,
            step=number,
            steps_per_epoch=1 + arguments.steps,
        )  # reads the loss, so the device has finished when it returns

    return step, runtime.precision


WAYS = {
    "baseline": baseline,
    "stored": partial(peclip_way, recomputed=False),
    "recomputed": partial(peclip_way, recomputed=True),
}


def measure(arguments: argparse.Namespace) -> dict[str, float | str]:
    """Runs and times some steps in this process."""
    device = choose_device(arguments.device)
    step, precision = WAYS[arguments.way](arguments, device)
    before = peak_mb(device)
    seconds, cpu_seconds = [], []
    for number in range(1 + arguments.steps):
        start, cpu_start = time.monotonic(), time.process_time()
        step(number)
        seconds.append(time.monotonic() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return {
        "device": device_name(device),
        "precision": precision,
        "seconds_per_step": round(statistics.median(seconds[1:]), 3),
        "cpu_seconds_per_step": round(statistics.median(cpu_seconds[1:]), 3),
        "peak_mb": round(peak_mb(device)),
        "before_mb": round(before),
        "threads": torch.get_num_threads(),
    }


def peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--backbone",
        default="ViT-B-16-quickgelu",
        help=f"the baseline supports only {', '.join(SIZES)}",
    )
    parser.add_argument("--recipe", help="take base, model and train from a recipe")
    parser.add_argument("--batch", type=int, default=8, help="videos")
    parser.add_argument("--frames", type=int, default=16, help="frames per video")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="train.compile, not of the baseline")
    parser.add_argument("--steps", type=int, default=5, help="number of timed steps")
    parser.add_argument("--way", choices=WAYS, help="run only this implementation, in this process")
    parsed = parser.parse_args()
    if parsed.way is not None:
        print(json.dumps(measure(parsed)))
        sys.exit()
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[way] = json.loads(done.stdout)
        faster = found["baseline"]["seconds_per_step"] / found[way]["seconds_per_step"]
        memory = found[way]["peak_mb"] / found["baseline"]["peak_mb"]
        print(
            f"{way:10} {done.stdout.strip()} {faster:.2f} times as fast, {memory:.0%} of the memory"
        )
