"""`peclip train --recipe …` on small trees of DFEW, FERV39k, MAFW and AFEW.

The lists have the published formats, paths of other machines included. Every class has two videos in each
list that is reported (in all five, where there are folds), and ten to train on where there are no folds.
Each video has two tiny frames.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_lists import place_below_root, small_lists
from command_line import Output, train_command, trained
from frame_folders import coloured, write_frames

import peclip
from peclip.labels import EMOTIONS

pytestmark = pytest.mark.slow  # test_train.py has a smaller tree of each, and folds and ablations


def write_tree(root: Path, dataset: str) -> None:
    """Writes the lists of a data set, and a video for every line of them."""
    (root / "annotation").mkdir(parents=True)
    videos: dict[str, str] = {}
    for name, text in small_lists(dataset).items():
        (root / "annotation" / name).write_bytes(text.encode())
        for line in text.splitlines():
            videos[place_below_root(dataset, line)] = line.split()[-1]
    for number, (place, label) in enumerate(videos.items()):
        write_frames(root / place, coloured((20 * int(label), 99, 9), number, 2))


def command(dataset: str, root: Path, out: Path, *more: str) -> list[str]:
    recipe = ("--recipe", f"pe-clip-{dataset}", "--epochs", "1", "-b", "16")
    return train_command(root, out, *recipe, *more)


def evaluated(capsys: Output, dataset: str, root: Path, model: Path, *more: str) -> dict[str, Any]:
    """Evaluate the models of a run again with `peclip evaluate`."""
    plain = ["evaluate", "--dataset", dataset, "--data-root", str(root), "-m", str(model)]
    return trained(capsys, *plain, "--device", "cpu", "--workers", "0", "-f", "json", *more)


@pytest.mark.parametrize(("dataset", "classes"), [("dfew", 7), ("mafw", 11)])
def test_five_folds_and_their_mean(
    tmp_path: Path, capsys: Output, dataset: str, classes: int
) -> None:
    write_tree(tmp_path / "tree", dataset)
    out = tmp_path / "run"
    report = trained(capsys, *command(dataset, tmp_path / "tree", out, "--fold", "all"))
    assert report == json.loads((out / "report.json").read_text()) | {"run_folder": str(out)}
    assert [fold["fold"] for fold in report["folds"]] == [1, 2, 3, 4, 5]
    for number, fold in enumerate(report["folds"], start=1):
        assert fold == json.loads((out / f"fold-{number}/report.json").read_text())
        assert fold["reported_on"] == f"{dataset} fold {number} test"
        assert fold["support"] == dict.fromkeys(EMOTIONS[:classes], 2)
        environment = json.loads((out / f"fold-{number}/env.json").read_text())
        videos = environment["videos"]
        assert videos["train"] + videos["val"] == 4 * 2 * classes, "those of the other folds"
        assert videos["test"] == 2 * classes
    for score in ("uar", "war"):
        values = [fold[score] for fold in report["folds"]]
        mean = sum(values) / 5
        assert report[score] == pytest.approx(mean, abs=1e-5)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 4)
        assert report[f"{score}_sd"] == pytest.approx(spread, abs=1e-5)
    again = evaluated(capsys, dataset, tmp_path / "tree", out, "--fold", "all")
    for key in ("uar", "war", "uar_sd", "war_sd"):
        assert again[key] == pytest.approx(report[key], abs=1e-5)


@pytest.mark.parametrize(("dataset", "reported"), [("ferv39k", "test"), ("afew", "val")])
def test_one_fold(tmp_path: Path, capsys: Output, dataset: str, reported: str) -> None:
    write_tree(tmp_path / "tree", dataset)
    out = tmp_path / "run"
    report = trained(capsys, *command(dataset, tmp_path / "tree", out))
    assert report["reported_on"] == f"{dataset} {reported}"
    assert report["support"] == dict.fromkeys(report["labels"], 2)
    assert set(report["labels"]) == set(EMOTIONS[:7])
    matrix = np.array(report["confusion"])
    assert report["war"] == pytest.approx(100 * matrix.trace() / 14, abs=1e-5)
    videos = json.loads((out / "env.json").read_text())["videos"]
    assert videos["train"] + videos["val"] == 70
    predicted = {line.split(",")[0] for line in (out / "predictions.csv").read_text().splitlines()}
    assert len(predicted) == 15
    again = evaluated(capsys, dataset, tmp_path / "tree", out)
    assert (again["split"], again["confusion"]) == (reported, report["confusion"])
    # The ablations of the paper, by --set alone.
    for number, (change, absent) in enumerate(
        {
            "model.shared_adapter=none": "shared_adapter",
            "model.temporal_adapter=none": "temporal_adapter",
            "model.text_adapter=none": "text_adapter",
            "model.prompt_length=0": "prompts",
        }.items()
    ):
        ablated = tmp_path / f"ablated{number}"
        trained(capsys, *command(dataset, tmp_path / "tree", ablated, "--set", change))
        model = peclip.load(ablated / "model", device="cpu").model
        assert absent not in {s for name, _ in model.named_parameters() for s in name.split(".")}
