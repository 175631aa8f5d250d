"""Does the Temporal Dynamic Adapter use the order of frames? A task that only frame order can solve.

    python examples/05_order_of_time.py [FOLDER]

Every video is written twice, forwards (`rising`) and backwards (`falling`), so both classes contain exactly the
same frames, and a mean over frames cannot separate them. The same network is trained twice with
`peclip train`: with the TDA, and with the TDA replaced by the identity. The backbone is `debug`, random
and frozen, so only adapters and prompts can learn. This takes a few minutes on two CPU cores.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from peclip.cli.app import run

TRAIN, TEST, FRAMES, SIZE = 120, 60, 8, 32


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


def accuracy(run_folder: Path) -> float:
    """Returns the accuracy of the test predictions of a run, in per cent."""
    rows = list(csv.DictReader((run_folder / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 2 * TEST
    return 100 * sum(row["target"] == row["label"] for row in rows) / len(rows)


def main(folder: Path) -> dict[str, float]:
    rng = np.random.default_rng(0)
    write_split(folder / "data" / "train", TRAIN, rng)
    write_split(folder / "data" / "test", TEST, rng)
    settings = {
        "train.lr.adapters": "0.005",
        "train.lr.prompts": "0.001",
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
    scores = {}
    for name, adapter in {"with TDA": "gru", "without TDA": "none"}.items():
        out = folder / adapter
        arguments = ["--dataset", "folder", "--data-root", str(folder / "data"), "-m", "debug"]
        arguments += ["--epochs", "25", "--batch-size", "16", "--workers", "0", "--device", "cpu"]
        for field, value in (settings | {"model.temporal_adapter": adapter}).items():
            arguments += ["--set", f"{field}={value}"]
        if code := run(["train", *arguments, "--out", str(out)]):
            raise SystemExit(code)
        scores[name] = accuracy(out)
        print(f"{name}: {scores[name]:.1f} % of {2 * TEST} held-out videos", flush=True)
    return scores


def draw(scores: dict[str, float]) -> Figure:
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(list(scores), list(scores.values()), color=["#0072B2", "#999999"], width=0.5)
    axes.bar_label(bars, fmt="%.1f %%")
    axes.axhline(50, color="black", linestyle="--", linewidth=1)
    axes.text(1.3, 51.5, "chance", ha="right", fontsize=8)
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
    draw(results).savefig(target / "order_of_time.png", dpi=120)
