"""Trained parameters of PE-CLIP and FineCLIPER on each backbone, as the table in docs/models/backbones.md.

    python benchmarks/backbone_parameters.py [BACKBONE …]

Nothing is downloaded: the models are built without weights. The default is one backbone of each kind.
"""

from __future__ import annotations

import argparse

from peclip.weights.parameter_counts import count_parameters
from peclip.weights.resolve import backbone_model_config

BACKBONES = (
    "ViT-B-16-quickgelu",
    "ViT-L-14-quickgelu",
    "ViT-H-14-quickgelu",
    "ViT-B-16-SigLIP",
    "ViT-B-16-SigLIP2",
    "ViT-L-16-SigLIP2-256",
    "ViT-SO400M-14-SigLIP",
    "EVA02-B-16",
    "EVA02-L-14",
    "MobileCLIP-B",
    "MobileCLIP2-L-14",
    "PE-Core-T-16-384",
    "PE-Core-B-16",
    "PE-Core-L-14-336",
)
PARTS = ("ShA", "TDA", "TA", "prompts")


def row(backbone: str) -> list[str]:
    """Returns the cells of a backbone."""
    counts = count_parameters(backbone_model_config(backbone, None))
    other = count_parameters(backbone_model_config(backbone, None, "finecliper"))
    numbers = [
        counts["total"]["backbone"],
        *(counts["trainable"][part] for part in PARTS),
        sum(counts["trainable"].values()),
        sum(other["trainable"].values()),
    ]
    return [f"`{backbone}`", *(f"{number:,}" for number in numbers)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("backbones", nargs="*", default=BACKBONES)
    backbones = parser.parse_args().backbones
    heading = ["backbone", "frozen", *PARTS, "PE-CLIP, trained", "FineCLIPER, trained"]
    print(f"| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
    for backbone in backbones:
        print(f"| {' | '.join(row(backbone))} |", flush=True)


if __name__ == "__main__":
    main()
