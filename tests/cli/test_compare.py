"""`peclip compare` as a person types it: tables, failures, resuming, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from command_line import Output, refused, scored, train_command, trained
from sweeps import sweep

from peclip.cli.app import run
from peclip.metrics.prediction_file import read_predictions
from peclip.metrics.scoring import score
from peclip.runs import comparison


def command(root: Path, out: Path, *more: str) -> list[str]:
    return [
        *("compare", "--dataset", "folder", "--data-root", str(root), "--out", str(out)),
        *("--device", "cpu", "--workers", "0", "--epochs", "1", "--bootstrap", "50", *more),
    ]


@pytest.fixture(scope="module")
def linear(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison with linear probes, in which one of three models is missing."""
    out = tmp_path_factory.mktemp("linear") / "comparison"
    models = ("--backbones", "debug,owner/missing,clip:debug,nano-untrained")
    assert run(command(root, out, *models, "-o", str(out.with_suffix(".json")))) == 6
    return out


def test_zero_shot_and_linear(linear: Path) -> None:
    """Two names of one model are measured once. The numbers are those of the files."""
    told = json.loads(linear.with_suffix(".json").read_text())
    rows = {(row["base"], row["training"]): row for row in told["rows"]}
    names = ("clip:debug", "clip:nano-untrained")
    assert list(rows) == [
        *((name, training) for name in names for training in ("none", "linear")),
        ("owner/missing", "none"),
    ]
    assert "owner/missing" in rows["owner/missing", "none"]["error"]
    assert rows["owner/missing", "none"]["uar"] is None
    plain, probe = rows["clip:debug", "none"], rows["clip:debug", "linear"]
    assert (plain["trained"], plain["train_s"], plain["error"]) == (0, None, None)
    assert probe["trained"] == 2 * (32 + 1)  # features of 32 numbers, two labels
    assert probe["total"] == plain["total"] + probe["trained"]
    assert probe["war"] == 100, "colours are linear in the features"
    assert probe["window_s"] > 0
    assert probe["train_s"] > 0
    table = read_predictions(next(linear.glob("clip_debug-*/linear.csv")))
    assert 100 * score(table).uar == probe["uar"]
    assert (plain["uar_difference"], plain["p_value"]) == (None, None)
    assert rows["clip:nano-untrained", "none"]["p_value"] is not None
    assert told["videos"] == {"train": 10, "val": 2, "test": 6}


def test_a_comparison_resumes_with_more_models(
    root: Path, linear: Path, tmp_path: Path, capsys: Output
) -> None:
    """Finished models are read; the file of one that is deleted is the only one written again."""
    measured = {path: path.stat().st_mtime_ns for path in linear.rglob("*.json")}
    assert len(measured) == 4
    again = next(linear.glob("clip_debug-*/none.json"))
    before = json.loads(again.read_text())["report"]
    again.unlink()
    table = tmp_path / "table.csv"
    more = ("--resume", str(linear), "--backbones", "debug,nano-untrained", "-o", str(table))
    told, _ = scored(capsys, "compare", *more, "--device", "cpu")
    assert [row["base"] for row in told["rows"]] == 2 * ["clip:debug"] + 2 * ["clip:nano-untrained"]
    assert json.loads(again.read_text())["report"] == before
    unchanged = [p for p, time in measured.items() if p.stat().st_mtime_ns == time]
    assert len(unchanged) == 3
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [float(row["uar"]) for row in rows] == [row["uar"] for row in told["rows"]]
    for given in (
        ("--epochs", "3"),
        ("--train", "linear"),
        ("--bootstrap", "7"),
        ("--data-root", "x"),
    ):
        assert f"with {given[0]}." in refused(capsys, "compare", "--resume", str(linear), *given)
    again = ("compare", "--resume", str(linear), "--device", "cpu", "-o", str(table))
    assert "--overwrite" in refused(capsys, *again, "--backbones", "debug")
    assert scored(capsys, *again, "--backbones", "debug", "--overwrite")
    assert table.read_text().count("\n") == 3
    settings = linear / "comparison.yaml"
    settings.write_text(settings.read_text().replace("epochs: 1\n", "epochs: x\n"))
    assert "epochs" in refused(capsys, "compare", "--resume", str(linear))


@pytest.mark.slow
def test_adapters_and_lora_are_trained_by_runs(root: Path, tmp_path: Path, capsys: Output) -> None:
    """Each is a run folder, so `predict -m` takes it; an interrupted one is resumed at its epoch."""
    out, table = tmp_path / "c", tmp_path / "table.md"
    names = ("--backbones", "debug,lora:debug", "--train", "adapters")
    changes = ("--set", "model.temporal_head.layers=1", "--limit", "3", "-o", str(table))
    told = trained(capsys, *command(root, out, *names, *changes))
    plain, adapters, lora = told["rows"]
    assert (plain["base"], adapters["base"], lora["base"]) == ("clip:debug", "debug", "lora:debug")
    for row in (adapters, lora):
        (folder,) = out.glob(f"{row['base'].replace(':', '_')}*/adapters")
        about = trained(capsys, "models", "info", str(folder))
        assert (row["trained"], row["total"]) == (about["trainable"], about["total"])
        assert about["parts"]["head"]["trainable"] > 0
        report = json.loads((folder / "report.json").read_text())
        assert (report["uar"], report["war"]) == (row["uar"], row["war"])
    assert plain["trained"] == 0, "the head is part of the training"
    assert told["videos"] == {"train": 4, "val": 2, "test": 6}
    assert told["limit"] == 3
    lines = table.read_text().splitlines()
    assert lines[0].startswith("| model | training | UAR |")
    assert len([line for line in lines if line.startswith("|")]) == 5
    assert any("neither is called better" in line for line in lines)

    # As if the process had stopped after the training and before the predictions.
    (folder / "report.json").unlink()
    (folder.parent / "adapters.json").unlink()
    once = trained(capsys, "compare", "--resume", str(out), "--device", "cpu")
    same = [{**row, "window_s": 0, "train_s": 0} for row in once["rows"]]
    assert same == [{**row, "window_s": 0, "train_s": 0} for row in told["rows"]]


@pytest.mark.slow
def test_a_saved_model_is_evaluated_as_it_is(root: Path, tmp_path: Path, capsys: Output) -> None:
    """The labels of nano are others, so its zero-shot texts are those of the folder; LoRA is added to it."""
    names = (
        "--backbones",
        "nano",
        "--train",
        "lora",
        "--limit",
        "1",
        "--set",
        "train.val_fraction=0.5",
    )
    told = trained(capsys, *command(root, tmp_path / "c", *names, "--limit", "2"))
    zero, lora = told["rows"]
    assert (zero["base"], zero["training"]) == ("nano", "none")
    assert (lora["base"], lora["training"]) == ("nano", "lora")
    assert lora["total"] > zero["total"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--backbones", "debug,debug"), "debug"),
        ((), "--backbones"),
        (("--backbones", "debug,"), "empty"),
        (("--backbones", "debug", "-o", "table.txt"), ".md, .csv, .json"),
        (("--backbones", "debug", "--set", "train.select_on=test"), "select_on"),
        (("--backbones", "debug", "--set", "train.test=false"), "train.test"),
        (("--backbones", "debug", "--fold", "all"), "fold"),
        (("--backbones", "debug", "--resume", "there"), "--out"),
    ],
)
def test_what_is_refused(
    root: Path, tmp_path: Path, capsys: Output, more: tuple[str, ...], named: str
) -> None:
    assert named in refused(capsys, *command(root, tmp_path / "c", *more))
    assert not (tmp_path / "c").exists()


def test_test_videos_are_required(root: Path, tmp_path: Path, capsys: Output) -> None:
    said = refused(capsys, *command(root / "train", tmp_path / "c", "--backbones", "debug"))
    assert "no test videos" in said


def test_a_folder_that_is_not_empty_is_kept(root: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.txt").touch()
    for more in ((), ("--overwrite",)):
        said = refused(capsys, *command(root, tmp_path / "c", "--backbones", "debug", *more))
        assert "--resume" in said
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["mine.txt"]


def test_if_all_models_fail_the_code_is_that_of_the_first(
    root: Path, tmp_path: Path, capsys: Output
) -> None:
    names = ("--backbones", "owner/missing,unknown")
    assert run(command(root, tmp_path / "c", *names)) == 4
    assert "unknown" in capsys.readouterr().out


@pytest.mark.slow
def test_a_saved_model_is_never_evaluated_with_random_values(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporal head has positions for its number of frames. The name `.` leads to no other folder."""
    head = ("--set", "model.temporal_head={layers: 1, heads: 4}", "--epochs", "1")
    trained(capsys, *train_command(root, tmp_path / "run", "--dataset", "folder", *head))
    monkeypatch.chdir(tmp_path / "run" / "model")
    model = ("--backbones", ".", "--train", "none")
    told = trained(capsys, *command(root, tmp_path / "c", *model))
    assert told["rows"][0]["base"] == "."
    assert sorted(path.name for path in (tmp_path / "c").iterdir() if path.is_file()) == [
        "comparison.yaml"
    ]
    other = command(root, tmp_path / "d", *model, "--set", "model.num_frames=3", "-f", "json")
    assert run(other) == 2
    assert "model.num_frames" in json.loads(capsys.readouterr().out)["rows"][0]["error"]


@sweep(
    "number,code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)], default=[(signal.SIGTERM, 143)]
)
def test_a_signal_leaves_finished_models_and_says_how_to_resume(
    number: signal.Signals,
    code: int,
    root: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes while the second model is measured."""
    out, before = tmp_path / "comparison", signal.getsignal(number)
    names = ("--backbones", "debug,nano-untrained", "--train", "none")
    measure = comparison.measure

    def interrupted(contender: Any, *given: Any, **named: Any) -> Any:
        if list(out.glob("clip_debug*/none.json")):
            os.kill(os.getpid(), number)
        return measure(contender, *given, **named)

    with monkeypatch.context() as signalled:
        signalled.setattr(comparison, "measure", interrupted)
        assert run(command(root, out, *names)) == code
    assert signal.getsignal(number) is before
    message = " ".join(capsys.readouterr().err.split())
    assert f"interrupted; resume with: peclip compare --resume {out}" in message
    told = trained(capsys, "compare", "--resume", str(out), "--device", "cpu")
    assert [row["error"] for row in told["rows"]] == [None, None]
