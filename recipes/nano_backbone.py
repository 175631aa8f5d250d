"""First step of the embedded `nano` model: a small CLIP, trained from scratch on FER2013.

    python recipes/nano_backbone.py --data fer2013.tar.gz --out nano-backbone.safetensors

Trains the image and the text tower on the `train/` images only. Every image is compared with one text
per label, drawn anew in each step from the Action-Unit texts, sentences and names. PublicTest is watched,
PrivateTest is not read. About 40 minutes on two CPU cores with bf16 matrix units.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.fusion import fuse_conv_bn_eval

from peclip.descriptions import load_descriptions
from peclip.labels import EMOTIONS, canonical
from peclip.nn.clip import Backbone, load_backbone

LABELS = EMOTIONS[:7]
MEAN, STD = 0.508, 0.255  # of the grey values of train/, in 0 to 1


def read_fer2013(archive: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Returns uint8 images (N, 48, 48) and class indices (N,) of train, PublicTest and PrivateTest."""
    found: dict[str, tuple[list[np.ndarray], list[int]]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.name.endswith(".jpg"):
                continue
            _, _, emotion, name = member.name.split("/")
            split = {"T": "train", "u": "public", "r": "private"}[
                name[0] if name[0] == "T" else name[1]
            ]
            content = np.frombuffer(tar.extractfile(member).read(), np.uint8)
            images, targets = found.setdefault(split, ([], []))
            images.append(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE))
            targets.append(LABELS.index(canonical(emotion)))
    return {
        split: (torch.from_numpy(np.stack(images)), torch.tensor(targets))
        for split, (images, targets) in found.items()
    }


def normalise(images: Tensor) -> Tensor:
    """Maps uint8 (N, 48, 48) to the input of the vision tower, (N, 1, 3, 48, 48)."""
    x = (images.float() / 255 - MEAN) / STD
    return x[:, None, None].expand(-1, 1, 3, -1, -1)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draws rotation, scale, shift, flip, light and an erased patch per image; uint8 to uint8."""
    n = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle, scale = uniform(-0.25, 0.25), torch.exp(uniform(-0.2, 0.2))
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = [
        torch.stack([cos * flip, -sin, uniform(-0.16, 0.16)], -1),
        torch.stack([sin * flip, cos, uniform(-0.16, 0.16)], -1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 1, 48, 48], align_corners=False)
    x = F.grid_sample(
        images[:, None].float(), grid, padding_mode="border", align_corners=False
    ).squeeze(1)
    mean = x.mean((1, 2), keepdim=True)
    contrast, light = uniform(0.7, 1.4)[:, None, None], uniform(-30, 30)[:, None, None]
    x = (x - mean) * contrast + mean + light
    side, top, left = uniform(6, 20), uniform(0, 40), uniform(0, 40)
    line = torch.arange(48)
    rows_hit = (line >= top[:, None]) & (line < (top + side)[:, None])
    columns_hit = (line >= left[:, None]) & (line < (left + side)[:, None])
    erased = rows_hit[:, :, None] & columns_hit[:, None, :] & (uniform(0, 1) < 0.4)[:, None, None]
    return torch.where(erased, mean, x).clamp(0, 255).to(torch.uint8)


def with_batch_norm(stem: nn.Module) -> list[tuple[nn.Module, str]]:
    """Puts a batch norm behind every 3x3 convolution of the stem; returns where."""
    places = [
        (module, name)
        for module in stem.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3)
    ]
    for module, name in places:
        conv = getattr(module, name)
        setattr(module, name, nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels)))
    return places


def fold_batch_norm(places: list[tuple[nn.Module, str]]) -> None:
    """Folds the batch norms into their convolutions; the stem computes the same as in eval mode."""
    for module, name in places:
        conv, norm = getattr(module, name)
        setattr(module, name, fuse_conv_bn_eval(conv.eval(), norm.eval()))


def draw_texts(styles: list[dict[str, str]], rng: random.Random) -> list[str]:
    return [rng.choice(styles)[name] for name in LABELS]


def text_styles() -> list[dict[str, str]]:
    """Returns the ways to describe a label: the shipped styles and variants of wording."""
    names, sentences = load_descriptions("names"), load_descriptions("sentences")
    templates = [
        "an expression of {}.",
        "a person with an expression of {}.",
        "a face showing {}.",
        "{} expression",
        "a photo of a face that shows {}.",
        "this person feels {}.",
    ]
    own = [{name: text.format(names[name]) for name in LABELS} for text in templates]
    units = load_descriptions("action_units")
    return [units, units, units, sentences, sentences, names, *own]


class Clip(nn.Module):
    """The two towers and the temperature of the contrastive training."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.vision, self.text = backbone.vision, backbone.text
        self.log_scale = nn.Parameter(torch.tensor(2.7))

    def encode_texts(self, texts: list[str]) -> Tensor:
        return F.normalize(self.text(*self.text.embed(texts)), dim=-1)


def smoothed(targets: Tensor, smoothing: float = 0.1) -> Tensor:
    one_hot = F.one_hot(targets, len(LABELS)).float()
    return one_hot * (1 - smoothing) + smoothing / len(LABELS)


@torch.inference_mode()
def accuracy(clip: Clip, images: Tensor, targets: Tensor) -> tuple[float, float]:
    """Returns WAR and UAR in per cent with the Action-Unit texts; each image also flipped."""
    clip.eval()
    texts = load_descriptions("action_units")
    with torch.autocast("cpu", torch.bfloat16):
        labels = clip.encode_texts([texts[name] for name in LABELS])
        logits = torch.cat(
            [
                sum(
                    F.normalize(clip.vision(normalise(view)).squeeze(1), dim=-1) @ labels.T
                    for view in (part, part.flip(-1))
                )
                for part in images.split(512)
            ]
        )
    right = (logits.argmax(-1) == targets).float()
    recalls = [right[targets == index].mean() for index in range(len(LABELS))]
    return 100 * right.mean().item(), 100 * torch.stack(recalls).mean().item()


def train(arguments: argparse.Namespace) -> None:
    torch.manual_seed(arguments.seed)
    generator, rng = torch.Generator().manual_seed(arguments.seed), random.Random(arguments.seed)
    data = read_fer2013(arguments.data)
    images, targets = data["train"]
    backbone = load_backbone("nano", None)
    clip = Clip(backbone).requires_grad_(True)
    places = with_batch_norm(clip.vision.patch_embedding)
    average = copy.deepcopy(clip)
    decayed = [p for p in clip.parameters() if p.ndim > 1]
    plain = [p for p in clip.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=arguments.lr,
        betas=(0.9, 0.98),
    )
    # Disgust has 436 of 28,709 images; the square root evens the classes without wearing it out.
    weights = torch.bincount(targets).double().pow(-0.5)[targets]
    steps = len(images) // arguments.batch_size
    total, warm_up, step = steps * arguments.epochs, 2 * steps, 0
    styles = text_styles()
    vision = torch.compile(clip.vision)
    for epoch in range(arguments.epochs):
        clip.train()
        order = torch.multinomial(weights, steps * arguments.batch_size, True, generator=generator)
        started, losses = time.monotonic(), []
        for batch in order.split(arguments.batch_size):
            progress = max(step - warm_up, 0) / (total - warm_up)
            rate = min(1.0, (step + 1) / warm_up) * 0.5 * (1 + np.cos(np.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = arguments.lr * rate
            x, y = normalise(augment(images[batch], generator)), smoothed(targets[batch])
            if rng.random() < 0.5:  # mixup
                share, other = (
                    rng.betavariate(0.4, 0.4),
                    torch.randperm(len(x), generator=generator),
                )
                x, y = x.lerp(x[other], 1 - share), y.lerp(y[other], 1 - share)
            with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
                features = F.normalize(vision(x.contiguous()).squeeze(1).float(), dim=-1)
                labels = clip.encode_texts(draw_texts(styles, rng)).float()
            loss = F.cross_entropy(clip.log_scale.exp().clamp(max=100) * features @ labels.T, y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
            optimizer.step()
            step += 1
            keep = min(0.998, (step + 1) / (step + 10))
            with torch.no_grad():
                for mean, value in zip(average.parameters(), clip.parameters(), strict=True):
                    mean.lerp_(value, 1 - keep)
                for mean, value in zip(average.buffers(), clip.buffers(), strict=True):
                    mean.copy_(value)
            losses.append(loss.item())
        war, uar = accuracy(average, *data["public"])
        line = {
            "epoch": epoch,
            "loss": round(float(np.mean(losses)), 4),
            "public_war": round(war, 2),
            "public_uar": round(uar, 2),
            "scale": round(clip.log_scale.exp().item(), 2),
            "seconds": round(time.monotonic() - started, 1),
        }
        print(json.dumps(line), flush=True)
    fold_batch_norm(places_of(average, places, clip))
    war, uar = accuracy(average, *data["public"])
    print(json.dumps({"folded_public_war": round(war, 2), "folded_public_uar": round(uar, 2)}))
    state = {name: value.contiguous() for name, value in average.state_dict().items()}
    del state["log_scale"]
    save_file(state, arguments.out, metadata={"log_scale": str(clip.log_scale.item())})


def places_of(
    average: Clip, places: list[tuple[nn.Module, str]], clip: Clip
) -> list[tuple[nn.Module, str]]:
    """Finds in the averaged model the modules that hold batch norms in the trained one."""
    names = {id(module): name for name, module in clip.named_modules()}
    return [(average.get_submodule(names[id(module)]), name) for module, name in places]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=28)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())
