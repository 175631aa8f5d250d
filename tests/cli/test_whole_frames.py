"""A model of something other than faces, from the command line: training, evaluation and every output."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command_line import Output, command, refused, scored, trained
from gestures import GESTURES, write_gestures

from peclip import PredictOptions, load
from peclip.cli.app import run

TEXTS = {name: f"a hand, {name}." for name in GESTURES}

SETTINGS = {
    "TDA and head": {"model.temporal_head.heads": "4"},
    "mean": {"model.temporal_adapter": "none"},
}
"""By temporal part: the settings of a training."""


@pytest.fixture(scope="module")
def gestures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of gestures for training and testing."""
    root = tmp_path_factory.mktemp("gestures")
    for number, (split, count) in enumerate({"train": 3, "test": 1}.items()):
        write_gestures(root / split, count, seed=number)
    return root


@pytest.fixture(scope="module")
def model(gestures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after one epoch."""
    folder = tmp_path_factory.mktemp("runs")
    texts = folder / "texts.yaml"
    texts.write_text("\n".join(f"{name}: {text}" for name, text in TEXTS.items()))
    more = ("--no-face-crop", "--labels", str(texts), "--epochs", "1")
    assert run(command(gestures, folder / "run", *more)) == 0
    return folder / "run"


@pytest.fixture
def video(gestures: Path) -> str:
    return str(gestures / "test" / "swipe left" / "0")


def test_the_model_stores_its_texts_and_reads_whole_frames(gestures: Path, model: Path) -> None:
    config = json.loads((model / "model" / "config.json").read_text())
    assert config["preprocess"]["face_crop"] is False
    assert config["label_texts"] == TEXTS
    assert config["labels"] == list(TEXTS)
    card = (model / "model" / "README.md").read_text()
    assert "face" not in card.lower()
    assert "| swipe left | a hand, swipe left. |" in card


def test_prediction_without_options_equals_the_evaluation(
    gestures: Path, model: Path, video: str, tmp_path: Path, capsys: Output
) -> None:
    found = tmp_path / "found.csv"
    data = (
        "--dataset",
        "folder",
        "--data-root",
        str(gestures),
        "--workers",
        "0",
        "--device",
        "cpu",
    )
    told, said = scored(
        capsys, "evaluate", *data, "-m", str(model), "--save-predictions", str(found)
    )
    assert told["num_videos"] == 4
    assert "face" not in said
    rows = {row["source"]: row for row in csv.DictReader(found.read_text().splitlines())}
    own = load(model, device="cpu").predict(video, PredictOptions(window=float("inf")))
    assert own.metadata["face_detector"] is None
    expected = float(rows["test/swipe left/0"]["prob_swipe left"])
    assert own.scores["swipe left"] == pytest.approx(expected, abs=1e-5)
    assert "whole frame" in repr(own)


def test_rows_and_the_table_name_no_faces(model: Path, video: str, capsys: Output) -> None:
    predict = ("predict", video, "-m", str(model), "--device", "cpu")
    assert run([*predict, "-f", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["status"], row["track_id"], row["n_faces"], row["face_conf"]) == ("ok", -1, 0, None)
    assert (row["yaw"], row["unlike_training"]) == (None, None)
    assert run([*predict]) == 0
    shown = capsys.readouterr()
    assert "whole frame" in shown.out
    assert "expression" not in shown.out
    assert "no face" not in shown.err
    # Faces are searched for only if that is asked for.
    assert run([*predict, "--face-crop", "--detector", "haar", "-f", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "no_face"


def test_other_outputs_are_not_about_faces(
    model: Path, video: str, tmp_path: Path, capsys: Output
) -> None:
    page, table, lines = tmp_path / "page.html", tmp_path / "s.csv", tmp_path / "x.srt"
    sides = ("--report", str(page), "--summary", str(table), "--per-frame", str(tmp_path / "f.csv"))
    more = ("-m", str(model), "--device", "cpu", "--window", "0.08", "--hop", "0.08")
    assert run(["predict", video, *more, *sides, "-o", str(lines)]) == 0
    assert "person" not in capsys.readouterr().err
    text = page.read_text()
    for word in ("expression", "people feel", "emotion", "Facial"):
        assert word not in text, word
    assert "<h2>Whole frames</h2>" in text
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert (row["track_id"], row["quality_ok"], row["quality_no_face"]) == ("-1", "1.0", "0.0")
    assert "whole frame: " in lines.read_text()
    frames = list(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))
    assert {(one["face_id"], one["confidence"], one["success"]) for one in frames} == {
        ("-1", "", "1")
    }


def test_faces_that_are_not_detected_cannot_be_blurred(
    model: Path, video: str, tmp_path: Path, capsys: Output
) -> None:
    out = tmp_path / "out.mp4"
    for blur in ("--blur-all", "--blur-others"):
        given = (video, "-m", str(model), "--device", "cpu", "--save-video", str(out), blur)
        assert "--face-crop" in refused(capsys, "predict", *given)
    assert list(tmp_path.iterdir()) == []


def test_face_crops_are_not_prepared_for_it(
    gestures: Path, model: Path, tmp_path: Path, capsys: Output
) -> None:
    data = ("--dataset", "folder", "--data-root", str(gestures))
    said = refused(
        capsys, "data", "prepare", *data, "-m", str(model), "-o", str(tmp_path / "crops")
    )
    assert "whole frames" in said
    # No detector is loaded, which would be downloaded.
    report = trained(capsys, "data", "check", *data, "-m", str(model))
    assert report.get("faces") is None


def test_texts_are_required_in_the_label_file(
    gestures: Path, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("[swipe left, swipe right]")
    out = tmp_path / "run"
    assert "no texts" in refused(capsys, *command(gestures, out, "--labels", str(path)))
    path.write_text("{jump: a jump., still: a hand.}")
    assert "jump" in refused(capsys, *command(gestures, out, "--labels", str(path)))
    assert "--labels" in refused(capsys, "train", "--resume", str(out), "--labels", str(path))


@pytest.mark.slow
@pytest.mark.parametrize("part", list(SETTINGS))
def test_only_temporal_parts_tell_swipes_apart(tmp_path: Path, capsys: Output, part: str) -> None:
    """Swipes in both directions have the same frames, so that their mean is a guess."""
    for number, (split, count) in enumerate({"train": 100, "test": 15}.items()):
        write_gestures(tmp_path / split, count, seed=number)
    settings = {
        "model.temperature": "0.1",
        "train.lr": "{adapters: 0.005, prompts: 0.001, head: 0.005}",
        "train.warmup_epochs": "1",
        "train.augment": "{flip: 0, crop_scale: [1, 1], crop_ratio: [1, 1], brightness: 0}",
        "train.select_on": "last",
        **SETTINGS[part],
    }
    more = [f"--set={name}={value}" for name, value in settings.items()]
    arguments = ("--no-face-crop", "--epochs", "20", "-b", "16", *more)
    report = trained(capsys, *command(tmp_path, tmp_path / "run", *arguments))
    assert report["num_videos"] == 60
    left, right = (report["recall"][f"swipe {side}"] for side in ("left", "right"))
    assert (left + right) / 2 <= 60 if part == "mean" else (left + right) / 2 >= 75
