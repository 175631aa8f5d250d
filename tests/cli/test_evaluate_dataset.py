"""`peclip evaluate --dataset` as a person types it, in process."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import broken_videos
import numpy as np
import pytest
from command_line import Output, scored
from frame_folders import greys, write_frames

from peclip.cli.app import run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos that exist forwards (`rising`) and backwards (`falling`): only their order tells them apart."""
    root = tmp_path_factory.mktemp("time")
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 8)):
        for number in range(count):
            levels = sorted(random.integers(20, 236, 4).tolist())
            write_frames(root / split / "rising" / f"{number:02d}", greys(levels))
            write_frames(root / split / "falling" / f"{number:02d}", greys(levels[::-1]))
    return root


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a model that has learnt the order of frames."""
    out = tmp_path_factory.mktemp("runs") / "time"
    settings = {
        "train.lr.adapters": "0.005",
        "train.warmup_epochs": "1",
        "model.temperature": "0.1",
        "train.mixing": "{mixup: 0, fmix: 0}",
        "train.augment": "{crop_scale: [1, 1], crop_ratio: [1, 1], brightness: 0}",
        "train.select_on": "last",
    }
    arguments = ["train", "--dataset", "folder", "--data-root", str(root), "-m", "debug"]
    arguments += ["--epochs", "30", "-b", "16", "--workers", "0", "--device", "cpu"]
    for field, value in settings.items():
        arguments += ["--set", f"{field}={value}"]
    assert run([*arguments, "--out", str(out), "-f", "json"]) == 0
    return out


def command(root: Path, *more: str) -> list[str]:
    plain = ["evaluate", "--dataset", "folder", "--data-root", str(root), "--workers", "0"]
    return [*plain, "--device", "cpu", *more]


def test_a_temporal_model_loses_accuracy_without_frame_order(
    root: Path, trained: Path, capsys: Output
) -> None:
    """Backwards, rising is falling: the predictions turn round. The report of the training is the same score."""
    report = json.loads((trained / "report.json").read_text())
    plain, _ = scored(capsys, *command(root, "-m", str(trained)))
    assert plain["war"] == pytest.approx(report["war"])
    assert plain["war"] > 95
    backwards, told = scored(capsys, *command(root, "-m", str(trained), "--frames", "reversed"))
    assert backwards["war"] < 5
    assert backwards["as_recorded"]["war"] == pytest.approx(plain["war"])
    assert "points)" in told
    still, _ = scored(capsys, *command(root, "-m", str(trained), "--frames", "repeat-peak"))
    assert still["lost"]["war"] > 25
    shuffled, _ = scored(capsys, *command(root, "-m", str(trained), "--frames", "shuffled"))
    assert shuffled["lost"]["war"] > 15


def test_a_table_a_report_a_picture_and_the_predictions(
    root: Path, trained: Path, tmp_path: Path, capsys: Output
) -> None:
    files = [tmp_path / name for name in ("report.csv", "confusion.png", "predictions.csv")]
    flags = zip(("-o", "--plot", "--save-predictions"), files, strict=True)
    extra = [part for flag, path in flags for part in (flag, str(path))]
    assert run(command(root, "-m", str(trained), "--tta", "flip", *extra)) == 0
    told = capsys.readouterr()
    assert "UAR (%)" in told.out
    assert "rising" in told.out
    assert "on folder test, frames as-recorded, tta flip, 4 frames of 32 px" in " ".join(
        told.err.split()
    )
    (row,) = csv.DictReader(files[0].read_text().splitlines())
    assert (row["dataset"], row["split"], row["num_videos"]) == ("folder", "test", "16")
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert len(files[2].read_text().splitlines()) == 17
    assert run(command(root, "-m", str(trained), "--save-predictions", str(files[2]))) == 2
    assert "exists" in capsys.readouterr().err


def test_an_unwritable_predictions_folder_is_reported_first(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    monkeypatch.setattr(
        "peclip.runs.dataset_evaluation.evaluate_dataset", lambda *_, **__: pytest.fail("asked")
    )
    assert run(command(root, "--save-predictions", str(tmp_path / "predictions.csv"))) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "predictions.csv' is not writable" in told


@pytest.mark.slow
def test_folds(tmp_path: Path, capsys: Output) -> None:
    """RAVDESS has folds of its actors; a run with all folds brings a model for each."""
    for actor in range(1, 25):
        for emotion in ("03", "04"):
            name = f"02-01-{emotion}-01-01-01-{actor:02d}"
            write_frames(tmp_path / "ravdess" / f"Actor_{actor:02d}" / name, greys([actor * 9] * 2))
    data = ["--dataset", "ravdess", "--data-root", str(tmp_path / "ravdess"), "--workers", "0"]
    plain = [*data, "--device", "cpu"]
    out = str(tmp_path / "run")
    train = ["train", *plain, "-m", "debug", "--epochs", "1", "--fold", "all", "--out", out]
    assert run([*train, "-f", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found, _ = scored(capsys, "evaluate", *plain, "-m", out, "--fold", "all")
    assert [fold["war"] for fold in found["folds"]] == [
        pytest.approx(fold["war"]) for fold in report["folds"]
    ]
    assert found["war"] == pytest.approx(report["war"], abs=1e-5)
    assert found["war_sd"] == pytest.approx(report["war_sd"], abs=1e-5)
    assert [fold["fold"] for fold in found["folds"]] == list(range(1, len(found["folds"]) + 1))
    second, _ = scored(capsys, "evaluate", *plain, "-m", out, "--fold", "2")
    assert second["war"] == found["folds"][1]["war"]
    assert run(["evaluate", *plain, "-m", out]) == 3, "it has folds, and none was given"
    saving = ["--save-predictions", str(tmp_path / "predictions.csv"), "--frames", "reversed"]
    backwards, told = scored(capsys, "evaluate", *plain, "-m", out, "--fold", "all", *saving)
    assert backwards["as_recorded"]["war"] == pytest.approx(found["war"], abs=1e-5)
    assert backwards["lost"]["war"] == pytest.approx(found["war"] - backwards["war"], abs=1e-5)
    assert "mean, reversed: UAR" in told
    assert (backwards["dataset"], backwards["frames"]) == ("ravdess", "reversed")
    files = [tmp_path / f"predictions-fold-{fold['fold']}.csv" for fold in found["folds"]]
    saved, _ = scored(capsys, "score", *map(str, files))
    for key in ("uar", "uar_sd", "war", "war_sd", "merged"):
        assert saved[key] == backwards[key]
    assert run(["evaluate", *plain, "-m", out, "--fold", "all", *saving]) == 2
    assert "predictions-fold-1.csv' already exists" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_pools_frames_loses_nothing(tmp_path: Path, capsys: Output) -> None:
    """Bright and dark videos: a mean over frames tells them apart in any order."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 5)):
        for label, low in (("bright", 180), ("dark", 10)):
            for number in range(count):
                levels = random.integers(low, low + 60, 4).tolist()
                write_frames(tmp_path / "data" / split / label / str(number), greys(levels))
    train = ["train", "--dataset", "folder", "--data-root", str(tmp_path / "data"), "-m", "debug"]
    train += ["--epochs", "10", "-b", "8", "--workers", "0", "--device", "cpu"]
    for change in (
        "model.temporal_adapter=none",
        "model.temperature=0.1",
        "train.lr.adapters=0.005",
        "train.warmup_epochs=1",
        "train.mixing={mixup: 0, fmix: 0}",
        "train.augment={crop_scale: [1, 1], crop_ratio: [1, 1], brightness: 0}",
        "train.select_on=last",
    ):
        train += ["--set", change]
    assert run([*train, "--out", str(tmp_path / "run"), "-f", "json"]) == 0
    for order in ("reversed", "shuffled"):
        own = command(tmp_path / "data", "-m", str(tmp_path / "run"), "--frames", order)
        found, _ = scored(capsys, *own)
        assert found["as_recorded"]["war"] > 85, "it has learnt something that it could lose"
        assert found["lost"] == {"uar": 0, "war": 0}


def test_afew_is_scored_on_what_papers_report(tmp_path: Path, capsys: Output) -> None:
    """Its val is the split of the papers; the lists count alphabetically."""
    names = ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]
    lines = []
    for number, name in enumerate(names):
        place = f"AFEW_Face_Retina/val/{name}/{number:09d}"
        write_frames(tmp_path / place, greys([number * 30] * 2))
        lines.append(f"/elsewhere/{place} 2 {number}")
    (tmp_path / "annotation").mkdir()
    (tmp_path / "annotation/AFEW_val.txt").write_text("\n".join(lines))
    own = ["evaluate", "--dataset", "afew", "--data-root", str(tmp_path), "--workers", "0"]
    found, _ = scored(capsys, *own, "-m", "debug", "--device", "cpu")
    assert (found["split"], found["num_videos"]) == ("val", 7)
    assert set(found["support"].values()) == {1}


def test_missing_matplotlib_is_reported_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot = ["--plot", str(tmp_path / "x.png")]
    assert run(command(tmp_path / "nowhere", *plot)) == 5
    assert 'pip install "matplotlib' in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--dataset NAME and --data-root DIR"),
        ([], 2, "peclip score FILE"),
        (["--dataset", "folder"], 2, "requires --dataset NAME and --data-root DIR"),
        (["--dataset", "none", "--data-root", "."], 2, "choose one of dfew"),
        (["--dataset", "folder", "--data-root", "nowhere"], 3, "nowhere"),
        (["--dataset", "dfew", "--data-root", ".", "--fold", "two"], 2, "a fold number or 'all'"),
        (["--dataset", "folder", "--data-root", ".", "--frames", "backwards"], 2, "shuffled"),
    ],
)
def test_invalid_usage_is_a_one_line_error(
    arguments: list[str], code: int, message: str, capsys: Output
) -> None:
    assert run(["evaluate", *arguments]) == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_damaged_video_is_evaluated_with_the_frames_that_decode(
    tmp_path: Path, capsys: Output
) -> None:
    """One good video, one with a damaged packet, and one that is truncated; `data check` names the last one."""
    root = tmp_path / "data"
    for label in ("anger", "happiness"):
        (root / label).mkdir(parents=True)
    broken_videos.small_video(root / "anger/good.mp4", count=30)
    hole = broken_videos.faststart(root / "happiness/hole.mp4", count=30)
    hole.write_bytes(broken_videos.damaged_packets(hole.read_bytes(), range(5, 6)))
    cut = broken_videos.faststart(root / "happiness/cut.mp4", count=60)
    cut.write_bytes(broken_videos.cut(cut.read_bytes(), 0.6))
    files = tmp_path / "predictions.csv"
    flags = ["-m", "debug", "--split", "all", "--save-predictions", str(files)]
    document, told = scored(capsys, *command(root, *flags))
    assert document["num_videos"] == 3
    assert "decoding stops after frame" in told
    with files.open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 3
    assert run(["data", "check", "--dataset", "folder", "--data-root", str(root)]) == 6
    out = capsys.readouterr().out
    assert "problem: unreadable, 1" in out
    assert "happiness/cut.mp4" in out
    assert "hole.mp4" not in out
    rows = tmp_path / "rows.jsonl"
    arguments = ["-m", "debug", "--device", "cpu", "--no-face-crop", "-o", str(rows)]
    assert run(["predict", str(root), *arguments]) == 6
    failed = [json.loads(line) for line in rows.read_text().splitlines()]
    failed = [row["source"] for row in failed if row["status"] == "decode_error"]
    assert failed == [str(cut)]
