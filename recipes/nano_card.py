"""Figures for the card of the embedded model: what share of a window must be expressive, and how big it is.

    python recipes/nano_card.py --data fer2013 --model runs/nano/model --pooled runs/nano-pooled/model --out card

Windows are made from PublicTest: an expressive part of a given share at a random place, between frames of a neutral
face of PublicTest, everything else as it is. `--pooled` is the same network trained without the temporal adapter,
which means over frames. Writes `share.csv` and `share.png`, and prints the sizes. The scores are those of
`peclip evaluate --dataset fer2013`.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import torch
from matplotlib.figure import Figure

import peclip
from peclip import PEClip
from peclip.data import DataConfig, Split, load_split
from peclip.data.animation import AnimateConfig, AnimatedStills
from peclip.data.dataset import Draw
from peclip.data.loader import batches_of, load_batches
from peclip.plots import save_figure
from peclip.types import Batch

SHARES = (0.125, 0.25, 1 / 3, 0.5, 0.75, 1.0)
CHANGES = (
    "rotation scale stretch shift jitter flip contrast brightness blur compression noise erase"
)
STILL = dict.fromkeys(CHANGES.split(), 0.0)


@torch.inference_mode()
def accuracy(model: PEClip, split: Split, share: float) -> float:
    """Returns the accuracy in per cent on windows of which a share shows the expression."""
    animate = AnimateConfig.model_validate(
        STILL | {"partial": 1.0, "share": (share, share)} if share < 1 else STILL
    )
    data = AnimatedStills(
        split,
        model.config.preprocess,
        model.config.num_frames,
        seed=0,
        labels=model.labels,
        animate=animate,
    )
    expressive = [i for i, sample in enumerate(split.samples) if sample.label != "neutral"]
    texts = model.model.encode_labels()
    right = 0
    for videos in load_batches(data, batches_of([Draw(0, i) for i in expressive], 32)):
        assert videos is not None
        logits = model.model(Batch(model.preprocess(videos.crops)), texts).logits
        right += int((logits.argmax(-1) == videos.targets).sum())
    return 100 * right / len(expressive)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pooled", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    split = load_split(DataConfig(dataset="fer2013", root=arguments.data, split="val"))
    step = max(1, len(split) // arguments.images)
    split = split.with_samples(split.samples[::step])
    curves = {}
    for name, path in {"TDA": arguments.model, "mean over frames": arguments.pooled}.items():
        model = PEClip.from_pretrained(path, device="cpu")
        curves[name] = [accuracy(model, split, share) for share in SHARES]
        print(json.dumps({name: [round(value, 1) for value in curves[name]]}), flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "share.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["share", *curves])
        rows.writerows(zip(SHARES, *curves.values(), strict=True))
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        axes.plot([100 * share for share in SHARES], values, marker="o", label=name)
    axes.set(xlabel="expressive part of the window (%)", ylabel="accuracy (%)", ylim=(0, 100))
    axes.legend()
    save_figure(figure, arguments.out / "share.png")
    size = (Path(arguments.model) / "model.safetensors").stat().st_size / 2**20
    print(f"peclip {peclip.__version__}, {len(split)} images, {size:.1f} MiB as trained (fp32)")


if __name__ == "__main__":
    main()
