"""FERV39k (Wang et al., CVPR 2022): 38,935 videos of 22 scenes, 7 classes, one fixed split."""

from __future__ import annotations

from pathlib import Path

from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.benchmarks.locator import read_listed
from peclip.data.samples import Split
from peclip.labels import EMOTIONS, LabelSet

_LABELS = LabelSet(EMOTIONS[:7])


def load_ferv39k(
    root: Path, fold: int | None, split: str, annotations: Path | None = None
) -> Split:
    """Reads a split of FERV39k; labels must match the folder of the video.

    Raises:
        DatasetError: the root or the list is missing, or a line is invalid or contradicts its folder.
    """
    official = f"All_scenes/{split}_All.csv"
    names = (f"FERV39K_{split}.txt", f"4_setups/{official}", official)
    homes = ("2_ClipsforFaceCrop",)
    # 0015 is in many folders: only scene, emotion and number together identify a video.
    return read_listed(FERV39K, root, fold, split, annotations, names, homes=homes, parts=3)


FERV39K = Benchmark(
    name="ferv39k",
    title="FERV39k",
    labels=_LABELS,
    folds=None,
    splits=("train", "test"),
    test_split="test",
    tree=(
        "2_ClipsforFaceCrop/Action/Happy/0015/*.jpg",
        "annotation/FERV39K_train.txt, or 4_setups/All_scenes/train_All.csv",
    ),
    source="https://wangyanckxx.github.io/Proj_CVPR2022_FERV39k.html",
    licence="signed agreement, research only",
    load=load_ferv39k,
)
