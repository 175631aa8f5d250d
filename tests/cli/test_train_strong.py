"""The strong recipes on small trees: two epochs with an interruption between them, and an evaluation with views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Output, train_command, trained
from frame_folders import coloured, write_frames
from sweeps import sweep
from test_train_benchmarks import write_tree

import peclip
from peclip.cli.app import run
from peclip.runs.recipe import read_recipe, run_config
from peclip.runs.run_folder import RunFolder

SETS = ("dfew", "ferv39k", "mafw", "cremad", "ravdess")
NAMES = [*(f"pe-clip-l14-lora-{name}" for name in SETS), "pe-clip-l14-lora-stills-dfew"]
STRONG = {
    "label_smoothing": 0.1,
    "drop_path": 0.1,
    "weight_decay": 0.05,
    "warmup_epochs": 5,
}


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_the_strong_recipes(name: str) -> None:
    """Of every stage that trains on video; the faithful recipes have none of them."""
    values = read_recipe(name)
    values["data"]["root"] = "."
    for stage in values.get("stages", ()):
        stage.setdefault("data", {})
        if "dataset" in stage["data"]:
            stage["data"] |= {"root": ".", "votes": "votes.csv"}
    config = run_config(values)
    last = config.stages[-1].train if config.stages else {}
    train = config.train.model_dump() | last
    assert {key: train[key] for key in STRONG} == STRONG
    assert train["epochs"] == 100
    assert 0.99 < train["ema"] < 1
    drawn = {"operations": 4, "magnitude": 7, "magnitude_std": 0.5, "probability": 0.5}
    assert train["augment"]["rand_augment"] == drawn
    assert train["augment"]["erasing"]["probability"] == 0.25
    faithful = run_config(
        read_recipe("pe-clip-dfew") | {"data": {"dataset": "dfew", "root": "."}}
    ).train
    assert (faithful.drop_path, faithful.label_smoothing, faithful.ema) == (0, 0, None)
    assert faithful.augment.rand_augment is faithful.augment.erasing is None


def write_videos(root: Path, name: str) -> None:
    """Writes a tree of a data set."""
    if name in ("dfew", "ferv39k", "mafw"):
        write_tree(root, name)
        return
    codes = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    forms = {
        "cremad": [f"{a}_DFA_{code}_XX" for a in range(1001, 1092, 10) for code in codes],
        "ravdess": [f"02-01-{e:02d}-01-01-01-{a:02d}" for a in range(1, 13) for e in range(1, 9)],
    }
    for number, video in enumerate(forms[name]):
        write_frames(root / video, coloured((20 * (number % 8), 99, 9), number, 2))


@pytest.mark.slow
def interrupt_epochs(stopped: pytest.MonkeyPatch, name: str) -> None:
    """Interrupts the training in a folder of this name after an epoch."""
    write = RunFolder.write_history

    def interrupted(self: RunFolder, history: Any) -> None:
        write(self, history)
        if self.path.name == name:
            raise KeyboardInterrupt

    stopped.setattr(RunFolder, "write_history", interrupted)


@sweep("name", SETS, default=SETS[:2])
def test_a_strong_recipe_trains_resumes_and_evaluates(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root, out = tmp_path / "tree", tmp_path / "run"
    write_videos(root, name)
    recipe = ("--recipe", f"pe-clip-l14-lora-{name}", "--epochs", "2", "-b", "16")
    fold = () if name == "ferv39k" else ("--fold", "1")
    command = train_command(root, out, *recipe, *fold)
    command[command.index("debug")] = "lora:debug"
    with monkeypatch.context() as stopped:
        interrupt_epochs(stopped, out.name)
        assert run(command) == 130
    report = trained(capsys, "train", "--resume", str(out), "--device", "cpu", "-f", "json")
    assert report["epochs"] == 2
    model = peclip.load(out, device="cpu")
    parts = {step for key, _ in model.model.named_parameters() for step in key.split(".")}
    assert {"lora", "pooling"} <= parts
    assert not {"shared_adapter", "prompts"} & parts
    asked = ["evaluate", "--dataset", name, "--data-root", str(root), "-m", str(out), *fold]
    asked += ["--device", "cpu", "--workers", "0"]
    plain = trained(capsys, *asked)
    assert plain["war"] == pytest.approx(report["war"], abs=1e-5)
    views = trained(capsys, *asked, "--tta", "clips=2,crops=2,flip")
    assert (views["tta"], views["num_videos"]) == ("clips=2,crops=2,flip", plain["num_videos"])


@pytest.mark.slow
def test_the_recipe_in_stages_with_votes_in_both(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FER+ votes for stills and DFEW's for videos, with smoothing, mixing and EMA."""
    root, stills, out = tmp_path / "dfew", tmp_path / "fer", tmp_path / "run"
    write_tree(root, "dfew")
    folders = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    columns = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    places = {
        "angry": 4,
        "disgust": 5,
        "fear": 6,
        "happy": 1,
        "sad": 3,
        "surprise": 2,
        "neutral": 0,
    }
    lines = [f"file,{columns}"]
    number = 0
    for kind, split, count in (
        ("Training", "train", 4),
        ("PublicTest", "test", 1),
        ("PrivateTest", "test", 1),
    ):
        for label in folders:
            for _ in range(count):
                number += 1
                file = f"{split}/{label}/{kind}_{number}.jpg"
                write_frames(
                    tmp_path / f"one{number}", coloured((20 * places[label], 99, 9), number, 1)
                )
                (stills / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / f"one{number}/0.png").rename(stills / file)
                votes = [0] * 10
                votes[places[label]], votes[(places[label] + 1) % 7] = 8, 2
                lines.append(f"{file},{','.join(map(str, votes))}")
    (stills / "votes.csv").write_text("\n".join(lines))
    listed = sorted(path.name for path in (root / "DFEW_Frame_Face").iterdir())
    head = "1happy,2sad,3neutral,4angry,5surprise,6disgust,7fear,order,label"
    rows = [",".join([*["1"] * 7, str(int(name)), "0"]) for name in listed]
    (root / "annotation.csv").write_text("\n".join([head, *rows]))
    command = train_command(
        root,
        out,
        *("--recipe", "pe-clip-l14-lora-stills-dfew", "--fold", "2"),
        *("--set", f"stages.stills.data.root={stills}"),
        *("--set", f"stages.stills.data.votes={stills / 'votes.csv'}"),
        *("--set", "stages.stills.train.epochs=1", "--set", "stages.video.train.epochs=1"),
        *("--set", "data.targets=mixed", "--set", f"data.votes={root / 'annotation.csv'}"),
    )
    command[command.index("debug")] = "lora:debug"
    resume = ("train", "--resume", str(out), "--device", "cpu", "-f", "json")
    with monkeypatch.context() as stopped:
        interrupt_epochs(stopped, "stage-1-stills")
        assert run(command) == 130
        assert not (out / "stage-2-video/metrics.jsonl").exists()
    with monkeypatch.context() as stopped:
        interrupt_epochs(stopped, "stage-2-video")
        assert run(list(resume)) == 130
        assert (out / "stage-2-video/metrics.jsonl").is_file()
    capsys.readouterr()
    report = trained(capsys, *resume)
    assert [stage["dataset"] for stage in report["stages"]] == ["fer2013", "dfew"]
    assert report["targets"] == "mixed"
    assert "extra votes" in report["notes"][0]
    first, second = (
        yaml.safe_load((out / name / "config.yaml").read_text())
        for name in ("stage-1-stills", "stage-2-video")
    )
    assert (first["data"]["targets"], second["data"]["targets"]) == ("votes", "mixed")
    assert (first["model"]["temporal_head"], first["model"]["num_frames"]) == (None, 1)
    assert (second["model"]["temporal_head"], second["model"]["num_frames"]) == ({"layers": 1}, 4)
    log = (out / "stage-2-video/log.txt").read_text()
    assert "randomly initialised (not in the base model): pooling, " in log
    assert trained(capsys, *resume)["war"] == report["war"]
    asked = ("--dataset", "dfew", "--data-root", str(root), "--fold", "2", "-m", str(out))
    votes = ("--set", "data.targets=mixed", "--set", f"data.votes={root / 'annotation.csv'}")
    evaluated = trained(capsys, "evaluate", *asked, *votes, "--device", "cpu", "--workers", "0")
    assert evaluated["war"] == pytest.approx(report["war"], abs=1e-5)
