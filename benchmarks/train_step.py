"""Seconds and peak memory of a training step, with and without `train.checkpoint_activations`.

    python benchmarks/train_step.py --device auto --batch 8 --frames 16

Random weights and random videos: neither time nor memory depends on them. Each way runs in a process of its
own; the first step warms up and is not timed. On CUDA the peak is what torch allocated; on a CPU it is the
resident memory of the process, beside which stands what it had before the first step. CPU seconds are those of
all threads: on a machine that others use too, they say more than the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from peclip.data.dataset import Videos
from peclip.devices import choose_device, device_name
from peclip.models import build_model
from peclip.training.config import TrainConfig
from peclip.training.distributed import SINGLE
from peclip.training.learner import Learner
from peclip.training.tally import Tally
from peclip.video.preprocess import Preprocess
from peclip.weights import backbone_model_config


def measure(arguments: argparse.Namespace) -> dict[str, float | str]:
    """Takes some steps in this process."""
    device = choose_device(arguments.device)
    named = backbone_model_config(arguments.backbone, "random")
    config = named.derive(pretrained=None, num_frames=arguments.frames)  # nothing is downloaded
    model, own = build_model(config).to(device), config.preprocess
    train = TrainConfig(
        batch_size=arguments.batch,
        precision=arguments.precision,
        checkpoint_activations=arguments.checkpoint,
    )
    preprocess = Preprocess(own.image_size, own.mean, own.std, grayscale=own.grayscale)
    num_classes = len(model.labels)
    learner = Learner(model, train, preprocess, device, SINGLE, list(range(num_classes)))
    learner.training()
    shape = (arguments.batch, arguments.frames, 3, own.image_size, own.image_size)
    numbers = torch.arange(arguments.batch)
    videos = Videos(torch.randint(0, 256, shape, dtype=torch.uint8), numbers % num_classes, numbers)
    tally, before = Tally.empty(num_classes), peak_mb(device)
    seconds, cpu_seconds = [], []
    for step in range(1 + arguments.steps):
        start, cpu_start = time.monotonic(), time.process_time()
        learner.step(
            [videos],
            tally,
            num_videos=arguments.batch,
            epoch=0,
            step=step,
            steps_per_epoch=1 + arguments.steps,
        )  # it reads the loss, so the device is done when it returns
        seconds.append(time.monotonic() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return {
        "device": device_name(device),
        "precision": learner.precision,
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
    parser.add_argument("--backbone", default="ViT-B-16", help="of open_clip, without weights")
    parser.add_argument("--batch", type=int, default=8, help="videos")
    parser.add_argument("--frames", type=int, default=16, help="of each video")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=5, help="that are timed")
    parser.add_argument("--checkpoint", action=argparse.BooleanOptionalAction, help="one way only")
    parsed = parser.parse_args()
    if parsed.checkpoint is not None:
        print(json.dumps(measure(parsed)))
        sys.exit()
    for way in ("--no-checkpoint", "--checkpoint"):
        command = [sys.executable, __file__, *sys.argv[1:], way]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(f"{way:16}", done.stdout.strip(), flush=True)
