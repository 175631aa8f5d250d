"""Trainings as a person types them, on videos that differ in colour and a model of two layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from peclip.cli.app import run

COLOURS = {"happy": (40, 220, 220), "sad": (220, 60, 40)}
Output = pytest.CaptureFixture[str]


def write_frames(folder: Path, colour: tuple[int, int, int], seed: int, frames: int = 5) -> None:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for frame in range(frames):
        picture = np.clip(np.array(colour) + random.normal(0, 20, (36, 36, 3)), 0, 255)
        cv2.imwrite(str(folder / f"{frame}.png"), picture.astype(np.uint8))


def command(root: Path, out: Path, *more: str) -> list[str]:
    """A quick training without anything random but the order."""
    return [
        *("train", "--dataset", "folder", "--data-root", str(root), "-m", "debug"),
        *("--device", "cpu"),
        *("--out", str(out), "--workers", "0", "--epochs", "6", "-b", "4", "-f", "json"),
        *("--set", "train.lr.adapters=1e-2", "--set", "train.warmup_epochs=0"),
        *("--set", "train.mixing={mixup: 0, fmix: 0}", "--set", "train.val_fraction=0.34"),
        *("--set", "train.augment={crop_scale: [1, 1], crop_ratio: [1, 1], brightness: 0}"),
        *more,
    ]


def trained(capsys: Output, *arguments: str) -> dict[str, Any]:
    assert run(list(arguments)) == 0, capsys.readouterr().err
    return dict(json.loads(capsys.readouterr().out))


def refused(capsys: Output, *arguments: str) -> str:
    assert run(list(arguments)) == 2
    return " ".join(capsys.readouterr().err.split())
