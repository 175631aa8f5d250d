"""`peclip train --report-to`, and the bar."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from command_line import Output, command, refused, trained
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from peclip.cli.app import run
from peclip.cli.training_bar import listener
from peclip.training.progress import Progress
from peclip.training.running_metrics import RunningMetrics


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_has_the_report(root: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "run"
    arguments = command(root, out, "--epochs", "2", "--report-to", "tensorboard")
    report = trained(capsys, *arguments)
    found = scalars(out / "tensorboard")
    for score in ("uar", "war", "macro_f1"):
        assert found[f"report/{score}"][0][1] == pytest.approx(report[score])
    assert found["report/recall/sadness"][0][1] == pytest.approx(report["recall"]["sadness"])
    assert len(found["val/uar"]) == 2
    assert yaml.safe_load((out / "config.yaml").read_text())["report_to"] == ["tensorboard"]
    plain = trained(capsys, *command(root, tmp_path / "plain", "--epochs", "2"))
    assert plain | {"run_folder": ""} == report | {"run_folder": ""}
    assert not (tmp_path / "plain/trackers.json").exists()


def test_invalid_usage(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "nowhere"
    unknown = command(nowhere, tmp_path / "run", "--report-to", "tensorboard, comet")
    text = refused(capsys, *unknown)
    assert "'comet'; choose one or more of tensorboard, wandb, mlflow, trackio" in text
    monkeypatch.setitem(sys.modules, "mlflow", None)
    missing = command(nowhere, tmp_path / "run", "--report-to", "tensorboard,mlflow")
    assert run(missing) == 5, "before the data is looked for"
    assert 'pip install "mlflow' in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def wandb(told: list[Any], *, broken: bool = False) -> ModuleType:
    module: Any = ModuleType("wandb")

    def log(values: dict[str, float], step: int) -> None:
        if broken:
            raise ConnectionError("no route to host")
        told.append((step, values))

    def init(**given: Any) -> SimpleNamespace:
        told.append(given)
        (Path(given["dir"]) / "wandb").mkdir(exist_ok=True)  # as the real one does
        return SimpleNamespace(log=log, finish=lambda exit_code: None)

    module.init = init
    return module


def test_a_failing_tracker_logs_one_line_and_catches_up(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, told = tmp_path / "run", []
    monkeypatch.setitem(sys.modules, "wandb", wandb(told, broken=True))
    arguments = command(root, out, "--epochs", "2", "--report-to", "wandb")
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["epochs"] == 2
    warning = "wandb failed and is now disabled: ConnectionError: no route to host."
    assert " ".join(printed.err.split()).count(warning) == 1
    assert (out / "log.txt").read_text().count(f"warning: {warning}") == 1
    (out / "report.json").unlink()  # as if it had been killed just before the end
    monkeypatch.setitem(sys.modules, "wandb", wandb(told))
    report = trained(capsys, "train", "--resume", str(out), "--device", "cpu", "-f", "json")
    assert told[0]["id"] == told[1]["id"]
    epochs = [values["epoch"] for step, values in told[2:] if "epoch" in values]
    assert epochs == [1, 2]
    assert told[-1][1]["report/war"] == report["war"]


def test_a_run_tracked_by_wandb_is_overwritten(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setitem(sys.modules, "wandb", wandb(told))
    arguments = command(root, tmp_path / "run", "--epochs", "1", "--report-to", "wandb")
    trained(capsys, *arguments)
    assert (tmp_path / "run/wandb").is_dir()
    trained(capsys, *arguments, "--overwrite")


def test_a_tracker_that_does_not_start(
    root: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = ModuleType("wandb")
    monkeypatch.setitem(sys.modules, "wandb", module)  # a folder `wandb` where one works, say
    arguments = command(root, tmp_path / "run", "--epochs", "1", "--report-to", "wandb")
    assert run(arguments) == 7
    text = " ".join(capsys.readouterr().err.split())
    assert "peclip: error: wandb failed to start: AttributeError: module 'wandb'" in text
    assert not (tmp_path / "run/metrics.jsonl").exists()
    report = trained(
        capsys,
        *("train", "--resume", str(tmp_path / "run"), "--device", "cpu", "-f", "json"),
        *("--report-to", "none"),
    )
    assert report["epochs"] == 1


def test_the_bar_fits_a_narrow_terminal() -> None:
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=True, color_system=None)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[position]}")),
        TimeElapsedColumn(),
    )
    bar = Bar(*columns, console=console, auto_refresh=False)
    hooks = listener(bar)("dfew fold 1 train")
    progress = Progress(30, 1170, RunningMetrics(np.array([[50, 50], [25, 75]]), 150.0))
    progress.epoch, progress.step, progress.seconds = 11, 585, 600.0

    def shown() -> str:
        console.print(bar.get_renderable())
        text = output.getvalue().splitlines()[-1]
        assert len(text) <= 80
        return text

    hooks.on_step(progress)
    line = shown()
    assert "dfew fold 1 " in line
    assert "epoch 12/30 loss 0.750 UAR 62.5 WAR 62.5 6:10:00 left" in line
    on_batch = hooks.follow("validating", 1170)
    assert "epoch 12/30 validating 0 of 1170 videos" in shown()
    on_batch(8)
    on_batch(8)
    assert "epoch 12/30 validating 16 of 1170 videos" in shown()
    listener(bar)("dfew fold 2 train")
    assert len(bar.tasks) == 1, "one line, also with five folds"
    assert "dfew fold 2" in shown()
