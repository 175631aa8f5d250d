"""`peclip train` as a person types it, in process, on a model of two layers."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from command_line import Output, command, refused, trained
from frame_folders import coloured, write_frames
from sweeps import sweep

import peclip
from peclip.cli.app import run
from peclip.config import PreprocessConfig
from peclip.data.preparation.crop_record import CropConfig, record_crops, record_left_out
from peclip.errors import DatasetError
from peclip.labels import EMOTIONS
from peclip.metrics.scoring import score_files
from peclip.runs.leakage import CALIBRATED, TEST_WARNING, WEIGHED


def test_learns_and_fills_the_run_folder(root: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "run"
    report = trained(capsys, *command(root, out))
    assert (report["uar"], report["war"], report["num_videos"]) == (100, 100, 6)
    assert (report["selected_on"], report["reported_on"]) == ("val", "folder test")
    assert "warning" not in report
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        *("config.yaml", "command.txt", "env.json", "metrics.jsonl", "log.txt", "report.json"),
        *("predictions.csv", "confusion.csv", "confusion.png", "curve.png"),
        *("checkpoints/last/state.pt", "checkpoints/best/config.json"),
        *("checkpoints/best/model.safetensors", "model/config.json", "model/model.safetensors"),
        "model/README.md",
    }
    rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    assert list(rows[0]) == ["source", "target", "label", "prob_happiness", "prob_sadness"]
    scored = score_files([out / "predictions.csv"]).folds[0].report.to_dict()
    assert scored == {name: report[name] for name in scored}, "peclip evaluate says the same"
    matrix = list(csv.reader((out / "confusion.csv").read_text().splitlines()))
    assert matrix == [
        ["target", "happiness", "sadness"],
        ["happiness", "3", "0"],
        ["sadness", "0", "3"],
    ]
    epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in epochs] == [1, 2, 3, 4, 5, 6]
    assert set(epochs[0]) == {"epoch", "step", "lr", "train", "val", "seconds"}
    environment = json.loads((out / "env.json").read_text())
    assert environment["videos"] == {"train": 8, "val": 4, "test": 6}
    assert torch.__version__.startswith(environment["packages"]["torch"])
    assert "epoch 6 of 6: train loss" in (out / "log.txt").read_text()
    model = peclip.load(out / "model", device="cpu")
    assert model.labels.names == ("happiness", "sadness")
    card = (out / "model/README.md").read_text()
    for fact in (
        "8 videos in folder train",
        "from debug",
        f"epoch {report['selected_epoch']} of 6, the one with the best WAR on folder val",
        "6 videos in folder test",
        "its UAR is 100.00 % (95 % interval 100.00 to 100.00)",
    ):
        assert fact in card
    assert "not recorded" not in card
    config = yaml.safe_load((out / "config.yaml").read_text())
    rates = {"adapters": 0.01, "prompts": 3e-5, "lora": 2e-4, "head": 2e-4}
    assert config["train"]["lr"] == rates | {"backbone": 0.0, "stem": None}
    assert config["model"] == {}, "nothing was changed"
    assert environment["model"]["num_frames"] == 4


@pytest.mark.slow
def test_config_of_a_run_repeats_it(root: Path, tmp_path: Path, capsys: Output) -> None:
    first = trained(capsys, *command(root, tmp_path / "a", "--epochs", "1"))
    recipe = ["--recipe", str(tmp_path / "a/config.yaml"), "--device", "cpu", "-f", "json"]
    second = trained(capsys, "train", *recipe, "--out", str(tmp_path / "b"))
    assert first | {"run_folder": ""} == second | {"run_folder": ""}
    files = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_resume_after_the_end_and_after_an_interruption(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peclip.runs.run_folder import RunFolder

    short = ("--epochs", "2")
    whole = trained(capsys, *command(root, tmp_path / "whole", *short))
    out, write = tmp_path / "run", RunFolder.write_history

    def interrupted(self: RunFolder, history: list[Any]) -> None:
        write(self, history)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "write_history", interrupted)
    assert run(command(root, out, *short)) != 0
    monkeypatch.undo()
    capsys.readouterr()
    begun = (out / "command.txt").read_text()
    monkeypatch.setattr(sys, "argv", ["peclip", "train", "--resume", str(out)])
    resumed = trained(capsys, "train", "--resume", str(out), "--device", "cpu", "-f", "json")
    assert (out / "command.txt").read_text() == begun, "how it was begun"
    assert whole | {"run_folder": ""} == resumed | {"run_folder": ""}
    files = [(p / "model/model.safetensors").read_bytes() for p in (tmp_path / "whole", out)]
    assert files[0] == files[1]
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    again = trained(capsys, "train", "--resume", str(out), "--device", "cpu", "-f", "json")
    assert again == resumed
    text = refused(capsys, "train", "--resume", str(out), "--dataset", "folder", "--fold", "1")
    assert "--fold, --dataset" in text
    text = refused(capsys, "train", "--resume", str(tmp_path))
    assert "config.yaml" in text


@sweep(
    "change, absent",
    [
        ("model.shared_adapter=none", "shared_adapter"),
        ("model.temporal_adapter=none", "temporal_adapter"),
        ("model.text_adapter=none", "text_adapter"),
        ("model.prompt_length=0", "prompts"),
        ("model.descriptions=names", None),
    ],
    default=[
        ("model.temporal_adapter=none", "temporal_adapter"),
        ("model.descriptions=names", None),
    ],
)
def test_ablations_by_set_alone(
    root: Path, tmp_path: Path, capsys: Output, change: str, absent: str | None
) -> None:
    out = tmp_path / "run"
    report = trained(capsys, *command(root, out, "--epochs", "1", "--set", change))
    assert 0 <= report["war"] <= 100
    model = peclip.load(out / "model", device="cpu")
    names = {step for name, _ in model.model.named_parameters() for step in name.split(".")}
    assert absent not in names
    if absent is None:
        assert model.texts == {"happiness": "happiness", "sadness": "sadness"}


def test_an_ablation_of_a_trained_model_keeps_the_rest(
    root: Path, tmp_path: Path, capsys: Output
) -> None:
    trained(capsys, *command(root, tmp_path / "a", "--epochs", "1"))
    report = trained(
        capsys,
        *(
            "train",
            "--dataset",
            "folder",
            "--data-root",
            str(root),
            "--device",
            "cpu",
            "-f",
            "json",
        ),
        *("-m", str(tmp_path / "a/model"), "--out", str(tmp_path / "b"), "--workers", "0"),
        *("--epochs", "1", "--set", "train.lr={adapters: 0, prompts: 0}"),
        *("--set", "model.temporal_adapter=none", "--set", "model.prompt_length=3"),
    )
    assert report["epochs"] == 1
    before = dict(peclip.load(tmp_path / "a/model", device="cpu").model.named_parameters())
    after = dict(peclip.load(tmp_path / "b/model", device="cpu").model.named_parameters())
    same = {name for name in after if name in before and before[name].shape == after[name].shape}
    assert all(torch.equal(before[name], after[name]) for name in same)
    assert any("shared_adapter" in name for name in same)
    log = (tmp_path / "b/log.txt").read_text()
    assert "randomly initialised (not in the base model): prompts." in log


def test_selection_on_test_is_marked(root: Path, tmp_path: Path, capsys: Output) -> None:
    changes = ("--epochs", "1", "--select-on", "test")
    report = trained(capsys, *command(root, tmp_path / "run", *changes))
    assert report["warning"] == TEST_WARNING
    assert json.loads((tmp_path / "run/report.json").read_text())["selected_on"] == "test"
    assert "test" in json.loads((tmp_path / "run/metrics.jsonl").read_text())


def test_crops_unlike_those_of_prediction_are_reported(
    root: Path, tmp_path: Path, capsys: Output
) -> None:
    """By the training, by its log, and by an evaluation on them."""
    crops, out = tmp_path / "crops", tmp_path / "run"
    shutil.copytree(root, crops)
    made = PreprocessConfig(image_size=32, face_margin=0.9)
    config = CropConfig.of(made, size=None, detector="haar", threshold=0.7)
    record_crops(tmp_path / "videos", crops, config)
    record_left_out(crops, {"test/sad/dark.mp4": "no_face", "test/sad/light.mp4": "ok"})
    assert run(command(crops, out, "--epochs", "1")) == 0
    told, log = capsys.readouterr().err, (out / "log.txt").read_text(encoding="utf-8")
    sentences = ("margin 0.9 instead of 0.3", "(1 no_face; listed in left_out.json)")
    for says in sentences:
        assert says in " ".join(told.split())
        assert says in log
    asked = ["--dataset", "folder", "--data-root", str(crops), "--device", "cpu", "--workers", "0"]
    assert run(["evaluate", *asked, "-m", str(out), "-f", "json"]) == 0
    warning = json.loads(capsys.readouterr().out)["warning"]
    assert all(says in warning for says in sentences)


def test_the_operating_point_is_chosen_and_reported(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the validation videos, before the test videos are asked; every command then knows it."""
    monkeypatch.setattr("peclip.training.calibration.PRIOR_WEIGHTS", (0.25,))
    out = tmp_path / "run"
    changes = ("--epochs", "1", "--set", "train.prior=fit", "--set", "train.calibrate=true")
    report = trained(capsys, *command(root, out, *changes))
    point = report["operating_point"]
    assert point["chosen_on"] == "folder val"
    assert "UAR" in point["criterion"]
    assert (point["prior_weight"], report["reported_on"]) == (0.25, "folder test")
    config = json.loads((out / "model/config.json").read_text())
    assert config["prior"] == {"happiness": 0.5, "sadness": 0.5}
    weight = config["prior_weight"]
    assert weight == 0.25
    card = (out / "model/README.md").read_text()
    assert (
        f"a weight of {weight:.3g}, chosen on folder val (criterion: {point['criterion']})." in card
    )
    assert run(["models", "info", str(out)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["prior", "weight", f"{weight:g}"] in lines
    assert ["label", "text", "prior"] in lines
    assert any(line[:1] == ["happiness"] and line[-1] == "0.5000" for line in lines)
    asked = ["evaluate", "--dataset", "folder", "--data-root", str(root), "-m", str(out)]
    asked += ["--workers", "0", "--device", "cpu", "-f", "json"]
    for extra, used in (([], weight), (["--prior-weight", "1"], 1.0)):
        assert run([*asked, *extra]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out)["prior_weight"] == used
        assert f"tta none, prior weight {used:g}" in " ".join(told.err.split())
    assert run([*asked, "--prior-weight", "-1"]) == 2
    assert "prior_weight" in capsys.readouterr().err


def test_only_training_creates_a_prior(root: Path, tmp_path: Path, capsys: Output) -> None:
    change = ("--set", "model.prior_weight=0.5")
    assert "set train.prior" in refused(capsys, *command(root, tmp_path / "run", *change))


@pytest.mark.slow
def test_without_test_videos(root: Path, tmp_path: Path, capsys: Output) -> None:
    shutil.copytree(root / "train", tmp_path / "own")
    changes = ("--epochs", "1", "--set", "train.val_fraction=0.5")
    report = trained(capsys, *command(tmp_path / "own", tmp_path / "run", *changes))
    assert report["reported_on"] == "folder val"
    assert "no test videos" in report["warning"]
    assert CALIBRATED not in report["warning"]
    fitted = (*changes, "--set", "train.calibrate=true")
    report = trained(capsys, *command(tmp_path / "own", tmp_path / "fitted", *fitted))
    assert report["warning"].endswith(CALIBRATED)
    weighed = (*changes, "--set", "train.prior=fit")
    report = trained(capsys, *command(tmp_path / "own", tmp_path / "weighed", *weighed))
    assert report["warning"].endswith(WEIGHED)
    assert CALIBRATED in (tmp_path / "fitted/model/README.md").read_text()
    last = ("--epochs", "1", "--set", "train.select_on=last")
    report = trained(capsys, *command(tmp_path / "own", tmp_path / "last", *last))
    assert "uar" not in report
    assert (tmp_path / "last/model/model.safetensors").is_file()
    card = (tmp_path / "last/model/README.md").read_text()
    assert (
        "weights are from epoch 1 of 1, the last one.\nThere are no videos to report scores on."
        in card
    )


def test_a_failed_test_keeps_the_weights_and_resume_writes_the_card(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def fail(*_: object, **__: object) -> None:
        raise DatasetError("A video has gone.")

    with monkeypatch.context() as failing:
        failing.setattr("peclip.runs.one_fold.evaluate", fail)
        assert run(command(root, out, "--epochs", "1")) == 3
    assert (out / "model/model.safetensors").is_file()
    capsys.readouterr()
    trained(capsys, "train", "--resume", str(out), "--device", "cpu", "-f", "json")
    card = (out / "model/README.md").read_text()
    assert "6 videos in folder test" in card
    assert "its UAR is" in card


def write_dfew(root: Path) -> None:
    """Five folds of DFEW's form: a video per class to test, and the others to train on."""
    (root / "annotation").mkdir(parents=True)
    colours = np.random.default_rng(0).integers(0, 256, (7, 3))
    for number in range(1, 36):
        colour = tuple(int(c) for c in colours[(number - 1) % 7])
        write_frames(root / f"DFEW_Frame_Face/{number:05d}", coloured(colour, number, 2))
    for fold in range(1, 6):
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for number in range(1, 36):
            split = "test" if (number - 1) // 7 == fold - 1 else "train"
            lines[split].append(f"/elsewhere/DFEW/{number:05d} 2 {(number - 1) % 7}")
        for split, entries in lines.items():
            path = root / f"annotation/DFEW_set_{fold}_{split}.txt"
            path.write_text("\n".join(entries))


@pytest.mark.slow
def test_all_folds_and_their_mean(tmp_path: Path, capsys: Output) -> None:
    write_dfew(tmp_path / "dfew")
    out = tmp_path / "run"
    recipe = ("train", "--recipe", "pe-clip-dfew", "--data-root", str(tmp_path / "dfew"))
    quick = ("-m", "debug", "--device", "cpu", "--epochs", "1", "--workers", "0", "-f", "json")
    report = trained(capsys, *recipe, *quick, "--fold", "all", "--out", str(out), "-b", "16")
    assert [fold["fold"] for fold in report["folds"]] == [1, 2, 3, 4, 5]
    assert [fold["num_videos"] for fold in report["folds"]] == [7] * 5
    for key in ("uar", "war"):
        values = [fold[key] for fold in report["folds"]]
        assert report[key] == pytest.approx(np.mean(values), abs=1e-5)
        assert report[f"{key}_sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-5)
    assert json.loads((out / "report.json").read_text())["war"] == report["war"]
    labels = json.loads((out / "fold-3/model/config.json").read_text())["labels"]
    assert labels == list(EMOTIONS[:7])
    # A run that was interrupted in fold 4: three folds are taken as they are.
    shutil.rmtree(out / "fold-5")
    (out / "fold-4/report.json").unlink()
    (out / "report.json").unlink()
    kept = (out / "fold-3/report.json").stat().st_mtime_ns
    again = trained(capsys, "train", "--resume", str(out), "--device", "cpu", "-f", "json")
    assert again | {"run_folder": ""} == report | {"run_folder": ""}
    assert (out / "fold-3/report.json").stat().st_mtime_ns == kept


def test_all_folds_without_anything_to_report(tmp_path: Path, capsys: Output) -> None:
    write_dfew(tmp_path / "dfew")
    out = tmp_path / "run"
    recipe = ("train", "--recipe", "pe-clip-dfew", "--data-root", str(tmp_path / "dfew"))
    quick = ("-m", "debug", "--device", "cpu", "--epochs", "1", "--workers", "0", "-b", "28")
    unseen = ("--select-on", "last", "--set", "train.test=false", "--fold", "all")
    report = trained(capsys, *recipe, *quick, *unseen, "--out", str(out), "-f", "json")
    assert report.keys() == {"dataset", "selected_on", "warning", "folds", "run_folder"}
    assert report["warning"].startswith("There are no videos to report")
    assert [fold["epochs"] for fold in report["folds"]] == [1] * 5
    assert run(["train", "--resume", str(out), "--device", "cpu"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["-", "1", "-", "-", "-"]] * 5, "no mean of nothing"


def test_invalid_usage_is_a_one_line_error(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--dataset is required" in refused(capsys, "train", "--data-root", str(root))
    assert "choose one of finecliper-dfew" in refused(capsys, "train", "--recipe", "pe-clip")
    own = command(root, tmp_path / "run")
    for change, message in (
        ("epochs=3", "SECTION.FIELD=VALUE"),
        ("train.epoch=3", "train.epoch"),
        ("train.lr=3", "train.lr"),
        ("model.temporal_adapter=lstm", "temporal_adapter"),
        ("train.epochs={", "is not valid YAML"),
    ):
        assert message in refused(capsys, *own, "--set", change)
    assert "a fold number or 'all'" in refused(capsys, *own, "--fold", "two")
    assert "--name and --out" in refused(capsys, *own, "--name", "x")
    assert run([*own, "--fold", "2"]) == 3, "a folder has no folds"
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run/thesis.tex").touch()
    capsys.readouterr()
    assert "not empty" in refused(capsys, *own)
    assert "thesis.tex" in refused(capsys, *own, "--overwrite")
    assert (tmp_path / "run/thesis.tex").exists()


def test_names_and_overwriting(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = command(root, tmp_path, "--epochs", "1")
    at = own.index("--out")
    own = own[:at] + own[at + 2 :]
    assert trained(capsys, *own)["run_folder"] == "runs/folder"
    assert trained(capsys, *own)["run_folder"] == "runs/folder2"
    assert trained(capsys, *own, "--name", "mine")["run_folder"] == "runs/mine"
    assert "not empty" in refused(capsys, *own, "--name", "mine")
    assert trained(capsys, *own, "--name", "mine", "--overwrite")["run_folder"] == "runs/mine"
    own = [argument for argument in own if argument not in ("-f", "json")]
    assert run([*own, "--name", "table"]) == 0
    out, told = capsys.readouterr()
    assert told.count("run folder: runs/table\n") == 1
    assert "to use the model: peclip predict clip.mp4 -m runs/table\n" in told
    lines = out.splitlines()
    interval = ["95", "%", "interval"]
    assert lines[0].split() == ["videos", "epoch", "n", "UAR", *interval, "WAR", *interval]
    assert lines[1].startswith("folder test")
    assert lines[1].split()[3] == "6", "n"


def test_a_failed_training_gives_7(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peclip.models.pe_clip import PEClipModel

    monkeypatch.setattr(
        PEClipModel, "loss", lambda self, output, targets: output.logits.mean() * float("nan")
    )
    assert run(command(root, tmp_path / "run")) == 7
    error = " ".join(capsys.readouterr().err.split())
    assert "peclip: error: The loss is nan in step 1 of epoch 1" in error


def test_recipes_are_complete_and_described() -> None:
    from importlib import resources

    from peclip.runs.recipe import changed, merged, read_recipe, recipe_names, run_config

    assert recipe_names() == [
        *(f"finecliper-{name}" for name in ("dfew", "ferv39k", "mafw")),
        *(f"pe-clip-{name}" for name in ("afew", "b16-audio-cremad", "b16-audio-ravdess")),
        *(f"pe-clip-{name}" for name in ("dfew", "ferv39k")),
        *(f"pe-clip-l14-lora-{name}" for name in ("cremad", "dfew", "ferv39k", "mafw", "ravdess")),
        *("pe-clip-l14-lora-stills-dfew", "pe-clip-mafw"),
    ]
    for name in recipe_names():
        text = (resources.files("peclip.runs") / f"recipes/{name}.yaml").read_text(encoding="utf-8")
        assert f"peclip train --recipe {name} --data-root DIR" in text
        assert "Published: " in text
        values = merged(read_recipe(name), {"data": {"root": "."}})
        if "stages" in values:
            values = changed(values, "stages.stills.data.root=.")
        config = run_config(values)
        assert config.data.dataset == name.rpartition("-")[2]
        assert config.train.select_on == "val"


@pytest.mark.parametrize(
    ("dataset", "place", "lists"),
    [
        ("ferv39k", "2_ClipsforFaceCrop/Action/{folder}/{n:04d}", "FERV39K_{split}.txt"),
        ("afew", "AFEW_Face_Retina/{split}/{folder}/{n:09d}", "AFEW_{split}.txt"),
        ("mafw", "data/faces/{n:05d}", "MAFW_set_1_{split}.txt"),
    ],
)
def test_recipes_train_on_data_in_their_layout(
    tmp_path: Path, capsys: Output, dataset: str, place: str, lists: str
) -> None:
    folders = ["Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear"]
    if dataset == "afew":
        folders.sort()  # its lists count alphabetically
    if dataset == "mafw":
        folders = list(EMOTIONS)
    test = "val" if dataset == "afew" else "test"
    (tmp_path / "d/annotation").mkdir(parents=True)
    number = 0
    for split, count in (("train", 3), (test, 1)):
        lines = []
        for label in [label for label in range(len(folders)) for _ in range(count)]:
            number += 1
            path = place.format(folder=folders[label], n=number, split=split)
            write_frames(tmp_path / "d" / path, coloured((9 * label, 99, 9), number, 2))
            lines.append(f"/elsewhere/{path} 2 {label}")
        (tmp_path / "d/annotation" / lists.format(split=split)).write_text("\n".join(lines))
    report = trained(
        capsys,
        *("train", "--recipe", f"pe-clip-{dataset}", "--data-root", str(tmp_path / "d")),
        *("-m", "debug", "--device", "cpu", "--epochs", "1", "--workers", "0", "-b", "16"),
        *("-f", "json", "--out", str(tmp_path / "run")),
        *(("--fold", "1") if dataset == "mafw" else ()),
    )
    assert report["num_videos"] == len(folders)
    assert report["reported_on"].endswith(test)
    assert set(report["labels"]) == set(EMOTIONS[: len(folders)])


def test_a_refused_resume_changes_nothing(root: Path, tmp_path: Path, capsys: Output) -> None:
    """The advised command still works after a refusal, also for a finished run."""
    out = tmp_path / "run"
    trained(capsys, *command(root, out, "--epochs", "1"))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    resume = ("train", "--resume", str(out), "--device", "cpu")
    for change in ("train.epochs=9", "train.seed=7", "model.num_frames=2"):
        text = refused(capsys, *resume, "--set", change)
        assert change.partition("=")[0] in text
        assert "-m" in text
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run([*resume, "-f", "json", "--set", "train.workers=0"]) == 0
    text = capsys.readouterr()
    assert json.loads(text.out)["run_folder"] == str(out)
    assert "is already complete; skipping training" in " ".join(text.err.split())


@pytest.mark.slow
def test_a_base_or_teacher_that_saw_the_reported_videos_is_reported(
    tmp_path: Path, capsys: Output
) -> None:
    """Fold 2 is new to a model that was trained on fold 2, and not to one that was on fold 1."""
    for actor in range(1, 25):
        for emotion in ("03", "04"):
            name = f"02-01-{emotion}-01-01-01-{actor:02d}"
            write_frames(tmp_path / "data" / name, coloured((99, 99, 99), actor))

    def report(fold: int, out: str, *more: str) -> dict[str, Any]:
        arguments = command(tmp_path / "data", tmp_path / out, "--epochs", "1", *more)
        arguments[arguments.index("folder")] = "ravdess"
        return trained(capsys, *arguments, "--fold", str(fold))

    first, model = report(1, "first"), str(tmp_path / "first/model")
    assert "warning" not in first
    for fold, warned in ((1, False), (2, True)):
        for number, base in enumerate((str(tmp_path / "first"), model)):
            found = report(fold, f"{fold}-{number}", "-m", base)
            assert ("base model or teacher of this run" in found.get("warning", "")) == warned
        taught = report(fold, f"{fold}-t", "--set", f"train.teacher.model={model}")
        assert (repr(model) in taught.get("warning", "")) == warned


def test_only_a_run_is_overwritten(root: Path, tmp_path: Path, capsys: Output) -> None:
    """Neither a project that has a config.yaml, nor a run that one of its own files was put into."""
    project = tmp_path / "project"
    shutil.copytree(root, project / "data")
    (project / "config.yaml").write_text("mine: true")
    text = refused(capsys, *command(project / "data", project, "--overwrite"))
    assert "'data'" in text
    assert len(list((project / "data").rglob("*.png"))) == len(list(root.rglob("*.png")))


def test_an_earlier_run_survives_an_invalid_data_root(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "run/fold-1").mkdir(parents=True)
    (tmp_path / "run/config.yaml").write_text("base: debug")
    arguments = ["train", "--dataset", "ravdess", "--data-root", str(tmp_path / "none")]
    arguments += ["-m", "debug", "--fold", "all", "--out", str(tmp_path / "run"), "--overwrite"]
    assert run(arguments) == 3
    assert (tmp_path / "run/fold-1").is_dir()
    capsys.readouterr()


def test_an_earlier_run_survives_an_invalid_base(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "run/fold-1").mkdir(parents=True)
    (tmp_path / "run/config.yaml").write_text("base: debug")
    for actor in range(1, 25):
        for emotion in ("03", "04"):
            name = f"02-01-{emotion}-01-01-01-{actor:02d}"
            write_frames(tmp_path / "data" / name, coloured((99, 99, 99), actor))
    arguments = ["train", "--dataset", "ravdess", "--data-root", str(tmp_path / "data")]
    arguments += ["-m", "debgu", "--fold", "all", "--out", str(tmp_path / "run"), "--overwrite"]
    assert run(arguments) == 2
    assert "'debgu'" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "run/fold-1").is_dir()


def test_the_configuration_of_a_run_does_not_hide_another_base(
    root: Path, tmp_path: Path, capsys: Output
) -> None:
    """As a recipe it repeats the changes that were asked for, not the model that they made."""
    out = tmp_path / "first"
    trained(capsys, *command(root, out, "--epochs", "1", "--set", "model.num_frames=2"))
    assert yaml.safe_load((out / "config.yaml").read_text())["model"] == {"num_frames": 2}
    environment = json.loads((out / "env.json").read_text())
    assert environment["model"]["labels"] == ["happiness", "sadness"]
    other = tmp_path / "other"
    for label in ("fear", "boredom"):
        for number in range(4):
            write_frames(other / "train" / label / str(number), coloured((99, 99, 99), number))
            write_frames(other / "test" / label / str(number), coloured((99, 99, 99), number))
    report = trained(
        capsys,
        *("train", "--recipe", str(out / "config.yaml"), "--data-root", str(other)),
        *("--out", str(tmp_path / "second"), "--device", "cpu", "-f", "json"),
    )
    assert report["labels"] == ["fear", "boredom"]


def test_seeds_start_from_different_weights(root: Path, tmp_path: Path, capsys: Output) -> None:
    still = ("--set", "train.lr.adapters=0", "--set", "train.lr.prompts=0", "--epochs", "1")
    files = []
    for seed in ("1", "1", "2"):
        out = tmp_path / f"{len(files)}"
        trained(capsys, *command(root, out, *still, "--seed", seed))
        files.append((out / "model/model.safetensors").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_votes_from_the_command_line(root: Path, tmp_path: Path, capsys: Output) -> None:
    """A file with votes by id, for data without a vote format; then the scores of such labels."""
    votes = tmp_path / "votes.csv"
    videos = [path for part in ("train", "test") for path in sorted((root / part).glob("*/*"))]
    rows = [
        f"{path.relative_to(root).as_posix()},{8 - 6 * sad},{2 + 6 * sad}"
        for path in videos[1:]
        for sad in (path.parent.name == "sad",)
    ]
    votes.write_text("\n".join(["id,happy,sad", *rows]))
    out = tmp_path / "run"
    settings = ("--set", "data.targets=votes", "--set", f"data.votes={votes}")
    report = trained(capsys, *command(root, out, *settings, "--epochs", "1"))
    assert report["targets"] == "votes"
    kept = "11 of 12 videos are kept; dropped: 1 without votes"
    assert [kept in note for note in report["notes"]].count(True) == 1
    assert kept in (out / "log.txt").read_text()
    assert kept in (out / "model" / "README.md").read_text()
    evaluated = ["evaluate", "--dataset", "folder", "--data-root", str(root), "-m", str(out)]
    evaluated += ["--workers", "0", "--device", "cpu", "-f", "json"]
    score = trained(capsys, *evaluated, *settings)
    assert (score["targets"], score["war"]) == ("votes", report["war"])
    assert "soft targets from the votes in votes.csv" in score["notes"][0]
    assert "targets=labels" in refused(capsys, *evaluated, *settings[2:])
    assert "--set data.FIELD=VALUE" in refused(capsys, *evaluated, "--set", "train.epochs=1")
