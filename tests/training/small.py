"""Small trainings: videos that differ in colour, and a model of two layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from peclip import PEClip
from peclip.data import Sample, Split
from peclip.data.augmentation import NO_AUGMENTATION
from peclip.labels import LabelSet
from peclip.models.pe_clip_config import PEClipConfig
from peclip.settings import load_settings
from peclip.training.config import LearningRates, MixingConfig, TrainConfig
from peclip.training.distributed import SINGLE, World
from peclip.training.runtime import Runtime
from peclip.training.trainer import TrainResult, train_model
from peclip.training.videos import videos_of
from peclip.weights.checkpoint import Checkpoint, load_model
from peclip.weights.resolve import debug_config

LABELS = LabelSet(("happiness", "sadness", "anger"))
PLAIN = MixingConfig(mixup=0, fmix=0)
COLOURS = {"happiness": (40, 220, 220), "sadness": (220, 60, 40), "anger": (30, 30, 200)}


def write_videos(root: Path, per_class: int, *, seed: int = 0) -> None:
    """Makes folders of five 40x40 frames: every class has a colour, with some noise."""
    random = np.random.default_rng(seed)
    for label, colour in COLOURS.items():
        for number in range(per_class):
            folder = root / label / f"{number:02d}"
            folder.mkdir(parents=True)
            for frame in range(5):
                noise = random.normal(0, 20, (40, 40, 3))
                picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{frame}.png"), picture)


def split_of(root: Path, name: str = "train") -> Split:
    folders = sorted(folder for label in LABELS for folder in (root / label).iterdir())
    samples = [Sample(f, f.parent.name, f.relative_to(root).as_posix()) for f in folders]
    return Split("folder", None, name, tuple(samples), LABELS)


def fresh(**changes: object) -> PEClip:
    """A debug model with the three labels; always the same."""
    config: PEClipConfig = debug_config().derive(labels=LABELS.names, **changes)
    model = load_model(Checkpoint("debug", "", config, None), settings=load_settings())
    return PEClip(model, config, device=torch.device("cpu"), precision="fp32")


def quick(**changes: object) -> TrainConfig:
    """Two epochs of three steps with everything random switched on."""
    values: dict[str, object] = {
        "epochs": 2,
        "batch_size": 4,
        "lr": LearningRates(adapters=1e-2, prompts=1e-3),
        "warmup_epochs": 0.5,
        "select_on": "last",
        "workers": 0,
    }
    return TrainConfig.model_validate(values | changes)


def exact(**changes: object) -> TrainConfig:
    """As `quick`, with nothing random but the order: what must not depend on how a batch is divided."""
    return quick(**{"mixing": PLAIN, "augment": NO_AUGMENTATION} | changes)


def runtime(**changes: object) -> Runtime:
    """On the CPU in fp32."""
    return Runtime(torch.device("cpu"), **changes)  # type: ignore[arg-type]


def run(
    split: Split,
    config: TrainConfig,
    watched: Split | None = None,
    *,
    world: World = SINGLE,
    **more: Any,
) -> tuple[PEClip, TrainResult]:
    """Trains a fresh model."""
    recognizer = fresh()
    loaded, data = recognizer.loaded, videos_of(split, recognizer.loaded, config)
    computing = Runtime.of(config, recognizer.device, world)
    return recognizer, train_model(loaded, data, watched, config, computing, **more)


def weights(recognizer: PEClip) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in recognizer.model.named_parameters()}


def assert_equal(one: PEClip, other: PEClip, *, within: float = 0.0) -> None:
    """Compares all weights, bit for bit unless a tolerance is given."""
    second = weights(other)
    for name, weight in weights(one).items():
        same = torch.equal(weight, second[name])
        assert same or (within and torch.allclose(weight, second[name], rtol=0, atol=within)), name
