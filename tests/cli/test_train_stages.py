"""`peclip train` in stages: stills with votes first, then video, with one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml
from command_line import Output, refused, trained
from frame_folders import coloured, write_frames

import peclip
from peclip.cli.app import run
from peclip.errors import CheckpointError
from peclip.runs.run_folder import RunFolder

COLOURS = {"happy": (40, 220, 220), "sad": (220, 60, 40), "angry": (30, 30, 200)}


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of stills of three emotions with votes, two of which are those of the videos."""
    root = tmp_path_factory.mktemp("stills")
    lines = ["path,label,split,votes"]
    for label, colour in COLOURS.items():
        for number in range(5):
            name = f"{label}{number}.png"
            (picture,) = coloured(colour, number, 1)
            cv2.imwrite(str(root / name), picture)
            split = "test" if number == 4 else "train"
            lines.append(
                f"{name},{label},{split},{label}:8 {'sad' if label == 'happy' else 'happy'}:2"
            )
    (root / "faces.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def recipe(stills: Path, root: Path, tmp_path: Path) -> Path:
    """Two epochs of stills, of one frame, then two of videos."""
    path = tmp_path / "recipe.yaml"
    table = {"dataset": "table", "root": str(stills), "annotations": str(stills / "faces.csv")}
    values = {
        "base": "debug",
        "data": {"dataset": "folder", "root": str(root)},
        "train": {
            **{"epochs": 2, "batch_size": 4, "workers": 0, "warmup_epochs": 0, "val_fraction": 0.3},
            **{"lr": {"adapters": 1e-2}, "label_smoothing": 0.1, "ema": 0.5},
        },
        "stages": [
            {
                "name": "stills",
                "model": {"num_frames": 1},
                "data": {**table, "targets": "votes"},
                "train": {"lr": {"prompts": 1e-3}, "checkpoint_steps": 1},
            },
            {"name": "video", "train": {"epochs": 2}},
        ],
    }
    path.write_text(yaml.safe_dump(values))
    return path


def command(recipe: Path, out: Path, *more: str) -> list[str]:
    given = ("train", "--recipe", str(recipe), "--out", str(out), "--device", "cpu")
    return [*given, "-f", "json", *more]


def weights(folder: Path) -> bytes:
    return (folder / "model/model.safetensors").read_bytes()


def test_one_command_trains_all_stages(recipe: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "run"
    report = trained(capsys, *command(recipe, out))
    assert report == json.loads((out / "report.json").read_text()) | {"run_folder": str(out)}
    stills, video = report["stages"]
    assert (stills["name"], stills["dataset"], stills["epochs"]) == ("stills", "table", 2)
    assert (stills["base"], stills["reported_on"]) == ("debug", "table test")
    assert (video["name"], video["dataset"], video["num_videos"]) == ("video", "folder", 6)
    assert video["base"] == str(out / "stage-1-stills")
    for stage, folder in ((stills, "stage-1-stills"), (video, "stage-2-video")):
        own = json.loads((out / folder / "report.json").read_text())
        lines = (out / folder / "metrics.jsonl").read_text().splitlines()
        seconds = sum(json.loads(line)["seconds"] for line in lines)
        assert stage["minutes"] == pytest.approx(seconds / 60, abs=0.005)
        assert (stage["uar"], stage["war"]) == (own["uar"], own["war"])
    assert (report["war"], report["base"]) == (video["war"], video["base"])
    first, second = (
        yaml.safe_load((out / name / "config.yaml").read_text())
        for name in ("stage-1-stills", "stage-2-video")
    )
    assert first["data"]["targets"] == "votes"
    assert first["train"]["lr"] | {"adapters": 0.01, "prompts": 0.001} == first["train"]["lr"]
    assert (second["data"]["dataset"], second["data"]["targets"]) == ("folder", "labels")
    assert second["train"]["lr"]["prompts"] == 3e-5, "what the first stage changes is its own"
    one, two = (peclip.load(out / name, device="cpu") for name in ("stage-1-stills", "."))
    assert (one.config.num_frames, two.config.num_frames) == (1, 4)
    assert one.labels.names == ("happiness", "sadness", "anger")
    assert two.labels.names == ("happiness", "sadness"), "the folder of the run is its last model"
    card = " ".join((out / "stage-2-video/model/README.md").read_text().split())
    assert (
        "starting from the model of stage-1-stills (trained on table, starting from debug)" in card
    )
    assert str(tmp_path) not in card
    asked = ["evaluate", "--dataset", "folder", "--data-root", str(recipe.parent / "none")]
    asked[-1] = second["data"]["root"]
    found = trained(capsys, *asked, "-m", str(out), "--workers", "0", "--device", "cpu")
    assert (found["war"], found["num_videos"]) == (report["war"], 6)
    assert run([*command(recipe, tmp_path / "run")[:-2], "--overwrite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "data", "set", "epochs", "minutes", "UAR", "WAR"]
    assert [line.split()[0] for line in lines[1:3]] == ["stills", "video"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("epoch", [1, 2])
def test_resume_in_either_stage(
    recipe: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    stage: int,
    epoch: int,
) -> None:
    whole = trained(capsys, *command(recipe, tmp_path / "whole"))
    out, write = tmp_path / "run", RunFolder.write_history

    def interrupted(self: RunFolder, history: Any) -> None:
        write(self, history)
        if self.path.name.startswith(f"stage-{stage}") and len(history) == epoch:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(RunFolder, "write_history", interrupted)
        assert run(command(recipe, out)) == 130
    assert f"resume with: peclip train --resume {out}" in " ".join(capsys.readouterr().err.split())
    assert not (out / "report.json").exists()
    with pytest.raises(CheckpointError, match=f"peclip train --resume '{out}'") as unfinished:
        peclip.load(out)
    assert ("such as" in str(unfinished.value)) == (stage == 2), "the model of the first stage"
    kept = {p: p.stat().st_mtime_ns for p in (out / "stage-1-stills").rglob("*.safetensors")}
    moved = tmp_path / "moved"
    out.rename(moved)  # the path of the first stage is part of the second one's settings
    resumed = trained(capsys, "train", "--resume", str(moved), "--device", "cpu", "-f", "json")
    for report in (whole, resumed):
        del report["run_folder"], report["base"]
        for part in report["stages"]:
            del part["base"], part["minutes"]
    assert resumed == whole
    for name in ("stage-1-stills", "stage-2-video"):
        assert weights(moved / name) == weights(tmp_path / "whole" / name)
    if stage == 2:
        finished = {moved / p.relative_to(out): time for p, time in kept.items()}
        assert {p: p.stat().st_mtime_ns for p in finished} == finished, "left alone"
    again = trained(capsys, "train", "--resume", str(moved), "--device", "cpu", "-f", "json")
    assert again["war"] == whole["war"]


def test_settings_of_stages(recipe: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "run"
    quick = ("--set", "stages.stills.train.epochs=1", "--set", "stages.video.train.epochs=1")
    report = trained(capsys, *command(recipe, out, *quick))
    assert [stage["epochs"] for stage in report["stages"]] == [1, 1]
    for change, message in (
        ("stages.0.train.epochs=1", "no stage is called '0'; the stages are stills, video"),
        ("stages.stils.train.epochs=1", "the stages are stills, video"),
        ("stages.stills.train.epoch=1", "Stage stills: Invalid train.epoch"),
        ("stages.stills.train=3", "stages.0.train"),
        ("stages.stills=3", "stages.stills.FIELD=VALUE"),
        ("stages.stills.data.root=null", "--set stages.stills.data.root=DIR"),
        ("stages.stills.epochs=1", "stages.0.epochs"),
        ("stages.video.name=stills", "give each another name"),
        ("train.epochs=1", "--set stages.video.train.epochs=…"),
        ("train.lr.prompts=1", "--set stages.stills.train.lr.prompts=…"),
    ):
        assert message in refused(capsys, *command(recipe, tmp_path / "no", "--set", change)), (
            change
        )
    assert not (tmp_path / "no").exists()
    resume = ("train", "--resume", str(out), "--device", "cpu")
    text = refused(capsys, *resume, "--set", "stages.stills.train.epochs=9")
    assert "stages.stills.train.epochs 1 instead of 9" in text or "9 instead of 1" in text
    assert run([*resume, "-f", "json", "--set", "train.workers=1"]) == 0
    capsys.readouterr()
    gone = ("--set", "stages.stills.data.annotations=/nowhere.csv")
    assert "Stage stills: " in refused(capsys, *command(recipe, tmp_path / "no", *gone), code=3)
    gone = ("--set", "data.root=/nowhere")
    assert "/nowhere is not a folder" in refused(
        capsys, *command(recipe, tmp_path / "no", *gone), code=3
    )
    assert not (tmp_path / "no").exists(), "found before the first stage is trained"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model={temporal_head: {heads: 5}}"], "temporal_head.heads is 5"),
        (["model={lora: {rank: 65}}"], "lora.rank is 65"),
        (["base=clip:debug"], "Nothing to train"),
        (["train.teacher={model: nano}"], "The teacher 'nano' has the labels"),
        (["train.teacher={model: no/where}", "base=debug"], "no/where"),
        (["model={audio: {encoder: debug-wav2vec2, weights: null}}"], "set model.audio to null"),
    ],
)
def test_every_stage_is_checked_before_the_first_is_trained(
    recipe: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "1")
    given = [part for change in changes for part in ("--set", f"stages.video.{change}")]
    assert run(command(recipe, tmp_path / "no", *given)) != 0
    error = " ".join(capsys.readouterr().err.split())
    assert "Stage video: " in error
    assert message in error
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_a_stage_with_another_base_and_without_stages(
    recipe: Path, tmp_path: Path, capsys: Output
) -> None:
    quick = ("--set", "stages.stills.train.epochs=1", "--set", "stages.video.train.epochs=1")
    other = ("--set", "stages.video.base=debug")
    report = trained(capsys, *command(recipe, tmp_path / "other", *quick, *other))
    assert [stage["base"] for stage in report["stages"]] == ["debug", "debug"]
    plain = trained(
        capsys, *command(recipe, tmp_path / "plain", "--set", "stages=[]", "--epochs", "1")
    )
    assert "stages" not in plain
    video = tmp_path / "other/stage-2-video"
    assert weights(video) == weights(tmp_path / "plain"), "the same training"


@pytest.mark.slow
def test_folds_are_those_of_the_last_stage(
    stills: Path,
    recipe: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also of a run that was interrupted before this stage began."""
    data = tmp_path / "ravdess"
    for actor in range(1, 25, 2):
        for emotion, colour in (("03", COLOURS["happy"]), ("04", COLOURS["sad"])):
            write_frames(data / f"02-01-{emotion}-01-01-01-{actor:02d}", coloured(colour, actor, 2))
    out = tmp_path / "run"
    changes = ("--dataset", "ravdess", "--data-root", str(data), "--fold", "all")
    quick = ("--set", "stages.stills.train.epochs=1", "--set", "stages.video.train.epochs=1")

    def interrupted(self: RunFolder, history: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(RunFolder, "write_history", interrupted)
        assert run(command(recipe, out, *changes, *quick)) == 130
    report = trained(capsys, "train", "--resume", str(out), "--device", "cpu")
    assert yaml.safe_load((out / "stage-2-video/config.yaml").read_text())["all_folds"] is True
    assert [fold["fold"] for fold in report["folds"]] == [1, 2, 3, 4, 5, 6]
    assert {fold["base"] for fold in report["folds"]} == {str(out / "stage-1-stills")}
    assert report["stages"][1]["war"] == report["war"]
    assert (out / "stage-2-video/fold-6/report.json").is_file()
    with pytest.raises(CheckpointError, match=r"one model per fold.*stage-2-video/fold-1"):
        peclip.load(out)
    asked = ("evaluate", "--dataset", "ravdess", "--data-root", str(data), "--fold", "all")
    found = trained(capsys, *asked, "-m", str(out), "--workers", "0", "--device", "cpu")
    assert found["war"] == pytest.approx(report["war"], abs=1e-5)
