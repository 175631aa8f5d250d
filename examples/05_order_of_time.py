"""Which parts of a model use the order of frames? A task that only frame order can solve.

    python examples/05_order_of_time.py [FOLDER]

Every video is written twice, forwards (`rising`) and backwards (`falling`), so both classes contain exactly the
same frames, and a mean over frames cannot separate them. `peclip train` trains variants of one network:
PE-CLIP with and without the Temporal Dynamic Adapter (TDA) and the temporal head, and LoRA with and without
the head. The backbone is `debug`, random and frozen, so only what is added can learn. This takes several
minutes on two CPU cores; CPU seconds are of training and testing.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from peclip.cli.app import run
from peclip.metrics.intervals import wilson
from peclip.weights.folder import read_checkpoint
from peclip.weights.parameter_counts import count_parameters

TRAIN, TEST, FRAMES, SIZE = 120, 60, 8, 32

WITHOUT_TDA = {"model.temporal_adapter": "none"}
HEAD = {"model.temporal_head.heads": "4"}
VARIANTS = {
    "mean": ("debug", WITHOUT_TDA),
    "TDA": ("debug", {}),
    "head": ("debug", WITHOUT_TDA | HEAD),
    "TDA + head": ("debug", HEAD),
    "LoRA": ("lora:debug", {}),
    "LoRA + head": ("lora:debug", HEAD),
}
"""By name: the initial model, and its settings."""


class Result(NamedTuple):
    """Of a variant."""

    trainable: int
    cpu_s: float
    hits: int
    """Correct predictions of 2 * TEST."""

    @property
    def accuracy(self) -> float:
        return 100 * self.hits / (2 * TEST)


def draw_video(rng: np.random.Generator) -> list[np.ndarray]:
    """Returns frames in which a grey disc on a textured background becomes brighter."""
    ground = rng.integers(60, 120, (SIZE, SIZE, 3))
    y, x = np.mgrid[:SIZE, :SIZE]
    top, left = rng.uniform(10, 22, 2)
    disc = (y - top) ** 2 + (x - left) ** 2 < rng.uniform(6, 10) ** 2
    levels = np.sort(rng.uniform(20, 235, FRAMES))
    return [np.where(disc[..., None], level, ground).astype(np.uint8) for level in levels]


def write_split(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Writes each video as a folder of frames, forwards in one class and backwards in the other."""
    for number in range(count):
        frames = draw_video(rng)
        for label, ordered in {"rising": frames, "falling": frames[::-1]}.items():
            place = folder / label / f"{number:03d}"
            place.mkdir(parents=True)
            for index, frame in enumerate(ordered):
                Image.fromarray(frame).save(place / f"{index:02d}.png")


def result(run_folder: Path, cpu_s: float) -> Result:
    """Returns what a run has trained, and how well."""
    rows = list(csv.DictReader((run_folder / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 2 * TEST
    config = read_checkpoint(run_folder / "model", name="model").config
    hits = sum(row["target"] == row["label"] for row in rows)
    return Result(sum(count_parameters(config)["trainable"].values()), cpu_s, hits)


def main(
    folder: Path, variants: Sequence[str] = tuple(VARIANTS), epochs: int = 25
) -> dict[str, Result]:
    """Trains some of the variants; returns their results by name."""
    rng = np.random.default_rng(0)
    write_split(folder / "data" / "train", TRAIN, rng)
    write_split(folder / "data" / "test", TEST, rng)
    settings = {
        "train.lr.adapters": "0.005",
        "train.lr.prompts": "0.001",
        "train.lr.lora": "0.005",
        "train.lr.head": "0.005",
        "train.warmup_epochs": "1",
        "model.temperature": "0.1",
        "train.mixing.mixup": "0",
        "train.mixing.fmix": "0",
        "train.augment.crop_scale": "[1,1]",
        "train.augment.crop_ratio": "[1,1]",
        "train.augment.brightness": "0",
        "train.select_on": "last",
        "model.num_frames": str(FRAMES),
    }
    results = {}
    for name in variants:
        model, changes = VARIANTS[name]
        out = folder / name
        arguments = ["--dataset", "folder", "--data-root", str(folder / "data"), "-m", model]
        arguments += ["--epochs", str(epochs), "--batch-size", "16"]
        arguments += ["--workers", "0", "--device", "cpu"]
        for field, value in (settings | changes).items():
            arguments += ["--set", f"{field}={value}"]
        start = time.process_time()
        if code := run(["train", *arguments, "--out", str(out)]):
            raise SystemExit(code)
        results[name] = result(out, time.process_time() - start)
    return results


def table(results: dict[str, Result]) -> str:
    """Returns the results in Markdown."""
    lines = [
        "| variant | trainable parameters | CPU s | accuracy (95 % interval) |",
        "|---|---|---|---|",
    ]
    for name, found in results.items():
        low, high = (100 * float(end) for end in wilson(found.hits, 2 * TEST))
        accuracy = f"{found.accuracy:.1f} % ({low:.1f} to {high:.1f})"
        lines.append(f"| {name} | {found.trainable:,} | {found.cpu_s:.0f} | {accuracy} |")
    return "\n".join(lines)


def draw(results: dict[str, Result]) -> Figure:
    figure = Figure(figsize=(6.5, 3), layout="constrained")
    axes = figure.subplots()
    colours = ["#999999" if name in ("mean", "LoRA") else "#0072B2" for name in results]
    heights = [found.accuracy for found in results.values()]
    bars = axes.bar(list(results), heights, color=colours, width=0.5)
    axes.bar_label(bars, fmt="%.1f %%")
    axes.axhline(50, color="black", linestyle="--", linewidth=1)
    axes.text(0.5, 51.5, "chance", ha="center", fontsize=8)
    axes.set(ylim=(0, 108), ylabel="accuracy on held-out videos (%)")
    axes.set_title("The same frames in opposite order are two classes", fontsize=10)
    return figure


if __name__ == "__main__":
    if len(sys.argv) > 1:
        target = Path(sys.argv[1])
        results = main(target)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            results = main(Path(temporary))
        target = Path()
    print(table(results))
    draw(results).savefig(target / "order_of_time.png", dpi=120)
