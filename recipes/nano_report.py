"""Third step of the embedded `nano` model: the figures of its model card, through the product itself.

    python recipes/nano_report.py --data fer2013.tar.gz

Scores PrivateTest as one-frame windows (the frame repeated, as prediction does) with the embedded weights
in fp32, and prints the figures and the confusion matrix.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from nano_adapters import report
from nano_backbone import LABELS, read_fer2013

from peclip import PEClip
from peclip.video.sampling import segment_indices
from peclip.video.windows import FaceWindow


def as_window(image: torch.Tensor, num_frames: int) -> FaceWindow:
    """Returns a window of one grey still, (48, 48) uint8."""
    frames = image[None, None].expand(1, 3, -1, -1)[segment_indices(1, num_frames)]
    return FaceWindow(0, 0, 0.0, 0.0, 0, 0, 1, frames, None, 1.0, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    images, targets = read_fer2013(arguments.data)["private"]
    model = PEClip.from_pretrained(device="cpu", precision="fp32")
    assert model.labels.names == LABELS
    started, scores = time.monotonic(), []
    for part in images.split(16):
        scores += model.score([as_window(image, model.config.num_frames) for image in part])
    seconds = (time.monotonic() - started) / len(images)
    found = report(torch.tensor(scores).log(), targets)
    print(json.dumps(found | {"images": len(images), "ms_per_window": round(1000 * seconds, 1)}))
    print(f"| truth \\ answer | {' | '.join(LABELS)} |\n|{'---|' * (len(LABELS) + 1)}")
    for name, row in zip(LABELS, found["confusion"], strict=True):
        print(f"| {name} | {' | '.join(map(str, row))} |")
