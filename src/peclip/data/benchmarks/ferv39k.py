"""FERV39k (Wang et al., CVPR 2022): 38,935 videos of 22 scenes, 7 classes, one fixed split."""

from __future__ import annotations

from pathlib import Path

from peclip.data.benchmarks.annotation_list import check_folder_labels, find_list, read_list
from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.benchmarks.locator import Locator, locate
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
    FERV39K.check_request(root, fold, split)
    official = f"All_scenes/{split}_All.csv"
    names = (f"FERV39K_{split}.txt", f"4_setups/{official}", official)
    path = find_list(FERV39K, root, annotations, names)
    entries = read_list(path, _LABELS.names)
    check_folder_labels(path, entries)
    # 0015 is in many folders: only scene, emotion and number together identify a video.
    locator = Locator(root, homes=("2_ClipsforFaceCrop",), parts=3)
    samples, missing = locate(entries, locator, id_parts=3)
    return Split("ferv39k", fold, split, samples, _LABELS, missing)


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
