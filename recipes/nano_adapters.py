"""Second step of the embedded `nano` model: PE-CLIP's adapters and prompts on the frozen small CLIP.

    python recipes/nano_adapters.py --data fer2013.tar.gz --backbone nano-backbone.safetensors \
        --out src/peclip/assets/nano

There is no video in FER2013, so windows are made from its stills: one face moves a little from frame to
frame, the light drifts, and in half of the windows an expressive part stands between frames of a neutral
face, so that the temporal adapters learn to listen to the frames that matter. The temperature is fitted
on PublicTest. PrivateTest is read once, at the end, for the figures of the model card.
About 20 minutes on two CPU cores with bf16 matrix units.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from nano_backbone import LABELS, MEAN, STD, read_fer2013, smoothed
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from peclip.config import PEClipConfig, PreprocessConfig
from peclip.models import PEClipModel, build_model
from peclip.types import Batch
from peclip.weights import save_model

# Where YuNet finds the face in the images of train/ (1,500 drawn, 92 % found): the median of its longer
# side is 1.02 of the image, its centre 0.014 of that side above the middle. Crops of video follow.
FACE = PreprocessConfig(
    image_size=48,
    mean=(MEAN,) * 3,
    std=(STD,) * 3,
    grayscale=True,
    face_margin=-0.02,
    face_shift=0.014,
)


def make_windows(faces: Tensor, neutral: Tensor, num_frames: int, rng: torch.Generator) -> Tensor:
    """Makes windows of moving faces from stills.

    Args:
        faces: uint8 (B, 48, 48), one expressive image per window.
        neutral: uint8 (B, 48, 48), what is seen before and after the expression.
        num_frames: T.
        rng: draws everything.

    Returns:
        Grey values 0 to 255, (B, T, 48, 48).
    """
    B, T = len(faces), num_frames

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=rng)

    # The expressive part: a share of the window from some place on, with soft edges.
    share = torch.where(torch.rand(B, generator=rng) < 0.5, 1.0, uniform(0.25, 1.0, B))
    begin = torch.rand(B, generator=rng) * (1 - share)
    place = (torch.arange(T) + 0.5) / T
    inside = torch.minimum(place - begin[:, None], (begin + share)[:, None] - place)
    weight = (inside * T + 0.5).clamp(0, 1)[:, :, None, None]
    pixels = weight * faces[:, None].float() + (1 - weight) * neutral[:, None].float()

    line = torch.linspace(0, 1, T)[None]

    def path(spread: float, drift: float, jitter: float) -> Tensor:
        start, slope = uniform(-spread, spread, B, 1), uniform(-drift, drift, B, 1)
        return start + slope * line + jitter * torch.randn(B, T, generator=rng)

    angle, scale = path(0.2, 0.1, 0.01), torch.exp(path(0.15, 0.08, 0.01))
    flip = torch.where(torch.rand(B, 1, generator=rng) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = [
        torch.stack([cos * flip, -sin, path(0.12, 0.08, 0.01)], -1),
        torch.stack([sin * flip, cos, path(0.12, 0.08, 0.01)], -1),
    ]
    grid = F.affine_grid(
        torch.stack(rows, 2).flatten(0, 1), [B * T, 1, 48, 48], align_corners=False
    )
    moved = F.grid_sample(
        pixels.flatten(0, 1)[:, None], grid, padding_mode="border", align_corners=False
    ).view(B, T, 48, 48)
    mean = moved.mean((2, 3), keepdim=True)
    contrast, light = torch.exp(path(0.25, 0.1, 0.01)), 25 * path(1.0, 0.3, 0.02)
    return ((moved - mean) * contrast[:, :, None, None] + mean + light[:, :, None, None]).clamp(
        0, 255
    )


def to_batch(grey: Tensor) -> Batch:
    """Maps grey values (B, T, 48, 48) to what the model reads."""
    x = (grey.float() / 255 - MEAN) / STD
    return Batch(x[:, :, None].expand(-1, -1, 3, -1, -1))


@torch.inference_mode()
def logits_of_stills(model: PEClipModel, images: Tensor, repeats: int = 16) -> Tensor:
    """Returns logits (N, C) of images as one-frame windows, repeated as `segment_indices` does."""
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        labels = model.encode_labels()
        parts = [
            model(to_batch(part[:, None].expand(-1, repeats, -1, -1)), labels).logits.float()
            for part in images.split(32)
        ]
    return torch.cat(parts)


def report(logits: Tensor, targets: Tensor) -> dict[str, object]:
    """Returns WAR, UAR, recalls, expected calibration error (15 bins) and the confusion matrix."""
    scores = logits.softmax(-1)
    confidence, guess = scores.max(-1)
    matrix = torch.zeros(len(LABELS), len(LABELS), dtype=torch.long)
    for truth, answer in zip(targets.tolist(), guess.tolist(), strict=True):
        matrix[truth, answer] += 1
    recalls = matrix.diag() / matrix.sum(1)
    right = (guess == targets).float()
    edges = (confidence * 15).long().clamp(max=14)
    error = sum(
        (edges == edge).float().mean()
        * (right[edges == edge].mean() - confidence[edges == edge].mean()).abs()
        for edge in edges.unique()
    )
    return {
        "war": round(100 * right.mean().item(), 2),
        "uar": round(100 * recalls.mean().item(), 2),
        "recall": {n: round(100 * r, 1) for n, r in zip(LABELS, recalls.tolist(), strict=True)},
        "ece": round(float(error), 4),
        "confusion": matrix.tolist(),
    }


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Returns the factor for the temperature that makes the log-likelihood the best."""
    factors = torch.logspace(-1, 1, 401)
    losses = torch.stack([F.cross_entropy(logits / factor, targets) for factor in factors])
    return factors[losses.argmin()].item()


def train(arguments: argparse.Namespace) -> None:
    torch.manual_seed(arguments.seed)
    rng = torch.Generator().manual_seed(arguments.seed)
    data = read_fer2013(arguments.data)
    images, targets = data["train"]
    with safe_open(arguments.backbone, framework="pt") as file:
        scale = float(np.exp(float(file.metadata()["log_scale"])))
    config = PEClipConfig(
        backbone="nano",
        pretrained=None,
        quick_gelu=False,
        prompt_depth=3,
        temperature=1 / scale,
        preprocess=FACE,
    )
    model = build_model(config)
    load_backbone_weights(model, load_file(arguments.backbone))
    before = report(logits_of_stills(model, data["public"][0], 1), data["public"][1])
    print(json.dumps({"public_before": before["war"], "uar": before["uar"]}), flush=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    average = copy.deepcopy(model)
    averaged = [p for p in average.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=arguments.lr, weight_decay=0.01)
    weights = torch.bincount(targets).double().pow(-0.5)[targets]
    neutral = images[targets == LABELS.index("neutral")]
    started = time.monotonic()
    for step in range(arguments.steps):
        rate = min(1.0, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * step / arguments.steps))
        for group in optimizer.param_groups:
            group["lr"] = arguments.lr * rate
        chosen = torch.multinomial(weights, arguments.batch_size, True, generator=rng)
        others = torch.randint(len(neutral), (arguments.batch_size,), generator=rng)
        windows = make_windows(images[chosen], neutral[others], config.num_frames, rng)
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            logits = model.train()(to_batch(windows)).logits.float()
        loss = F.cross_entropy(logits, smoothed(targets[chosen]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, value in zip(averaged, trained, strict=True):
                mean.lerp_(value, 1 - min(0.99, (step + 1) / (step + 10)))
        if step % 50 == 0:
            seconds = round(time.monotonic() - started)
            print(
                json.dumps({"step": step, "loss": round(loss.item(), 4), "s": seconds}), flush=True
            )
    logits = logits_of_stills(average, data["public"][0])
    factor = fit_temperature(logits, data["public"][1])
    config = config.derive(temperature=config.temperature * factor)
    print(json.dumps({"public": report(logits / factor, data["public"][1]), "factor": factor}))
    save_model(average, config, arguments.out, half=True)
    logits = logits_of_stills(average, data["private"][0])
    print(json.dumps({"private": report(logits / factor, data["private"][1])}))


def load_backbone_weights(model: PEClipModel, loaded: dict[str, Tensor]) -> None:
    """Loads the towers of the first step; in an adapted tower a block stands one level deeper."""
    names = {name.replace(".block.block.", ".block."): name for name, _ in model.named_parameters()}
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in loaded.items():
            parameters[names[name]].copy_(value)
    assert sum(not p.requires_grad for p in parameters.values()) == len(loaded)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())
