"""Trackers: TensorBoard for real, the others against modules that write down what they are told."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small import assert_equal, fresh, quick

from peclip.data import Split
from peclip.errors import ConfigError, MissingExtraError, TrainingError
from peclip.training.progress import Hooks, Progress
from peclip.training.reporting import reporting
from peclip.training.trackers import JOURNAL, TRACKERS, TrackedRun

Told = list[tuple[str, Any]]
SCORES = {f"{split}/{score}" for split in ("train", "val") for score in ("loss", "uar", "war")}


class Stopped(Exception):
    """Stands for an interruption."""


def fake_wandb(told: Told) -> ModuleType:
    module: Any = ModuleType("wandb")

    def init(**given: Any) -> SimpleNamespace:
        told.append(("init", given))
        return SimpleNamespace(
            log=lambda values, step: told.append(("log", (values, step))),
            finish=lambda exit_code: told.append(("finish", exit_code == 0)),
        )

    module.init = init
    return module


def fake_trackio(told: Told) -> ModuleType:
    module: Any = ModuleType("trackio")

    def init(**given: Any) -> SimpleNamespace:
        print("* Trackio project initialized")
        told.append(("init", {"id": given["name"], **given}))
        return SimpleNamespace(
            log=lambda values, step: told.append(("log", (values, step))),
            finish=lambda: told.append(("finish", True)),
        )

    module.init = init
    return module


def fake_mlflow(told: Told) -> ModuleType:
    module: Any = ModuleType("mlflow")

    class Client:
        def create_run(self, experiment: str, run_name: str) -> SimpleNamespace:
            assert experiment == "7"
            told.append(("init", {"id": "made-by-mlflow", "name": run_name, "config": {}}))
            return SimpleNamespace(info=SimpleNamespace(run_id="made-by-mlflow"))

        def update_run(self, run_id: str, status: str) -> None:
            assert status == "RUNNING"
            told.append(("init", {"id": run_id}))

        def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
            assert run_id == "made-by-mlflow"
            assert len(params) <= 100
            assert len(metrics) <= 1000
            config = next(given for what, given in told if what == "init")
            config["config"].update(params)
            told.extend(("log", ({key: value}, step)) for key, value, _, step in metrics)

        def set_terminated(self, run_id: str, status: str) -> None:
            told.append(("finish", status == "FINISHED"))

    module.MlflowClient = Client
    module.set_experiment = lambda name: SimpleNamespace(experiment_id="7")
    module.entities = SimpleNamespace(
        Param=lambda *values: values, Metric=lambda *values: tuple(values)
    )
    return module


FAKES = {"wandb": fake_wandb, "mlflow": fake_mlflow, "trackio": fake_trackio}


def install(monkeypatch: pytest.MonkeyPatch, name: str) -> Told:
    told: Told = []
    monkeypatch.setitem(sys.modules, name, FAKES[name](told))
    return told


def numbers(told: Told) -> dict[str, list[tuple[int, float]]]:
    """Returns (step, value) of every name, in the order of telling."""
    found: dict[str, list[tuple[int, float]]] = {}
    for what, given in told:
        if what == "log":
            for name, value in given[0].items():
                found.setdefault(name, []).append((given[1], value))
    return found


def no_warning(line: str) -> None:
    raise AssertionError(line)


def stop_at(epoch: int, step: int) -> Hooks:
    def on_step(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (epoch, step):
            raise Stopped

    return Hooks(on_step=on_step)


def tensorboard_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_has_every_step_and_epoch(videos: Split, tmp_path: Path) -> None:
    val, config = videos.with_samples(videos.samples, "val"), quick(select_on="val")
    result = fresh().fit(videos, val, config, run_dir=tmp_path, report_to=["tensorboard"])
    found = tensorboard_scalars(tmp_path / "tensorboard")
    assert set(found) == SCORES | {"epoch", "step/loss", "lr/adapters", "lr/prompts"}
    steps = result.history[-1]["step"]
    assert [step for step, _ in found["step/loss"]] == list(range(1, steps + 1))
    for split, score in (("train", "loss"), ("val", "war")):
        expected = [(entry["step"], entry[split][score]) for entry in result.history]
        assert np.array(found[f"{split}/{score}"]) == pytest.approx(np.array(expected))
    rates = [(entry["step"], entry["lr"]["adapters"]) for entry in result.history]
    told = dict(found["lr/adapters"])
    assert [told[step] for step, _ in rates] == pytest.approx([rate for _, rate in rates])
    first = [value for _, value in found["step/loss"][:3]]  # of 4, 4 and 1 videos
    mean = (4 * first[0] + 4 * first[1] + first[2]) / 9
    assert mean == pytest.approx(result.history[0]["train"]["loss"], abs=1e-5)


def test_resumed_in_tensorboard(videos: Split, tmp_path: Path) -> None:
    """After a SIGKILL within the second epoch, every step is logged once."""
    whole = fresh()
    result = whole.fit(videos, config=quick(), run_dir=tmp_path / "whole")
    stop, journals = stop_at(1, 2), []

    def on_step(progress: Progress) -> None:
        journals.append((tmp_path / JOURNAL).read_text())
        stop.on_step(progress)

    hooks = Hooks(on_step=on_step)
    with pytest.raises(Stopped):
        fresh().fit(
            videos, config=quick(), run_dir=tmp_path, report_to=["tensorboard"], hooks=hooks
        )
    told = json.loads(journals[-1])["tensorboard"]
    assert (told["epoch"], told["step"]) == (1, 3)
    (tmp_path / JOURNAL).write_text(journals[-1])  # as a SIGKILL leaves it
    again = fresh()
    again.fit(videos, config=quick(), run_dir=tmp_path, resume=True, report_to=["tensorboard"])
    assert_equal(whole, again)
    found = tensorboard_scalars(tmp_path / "tensorboard")
    assert [step for step, _ in found["epoch"]] == [entry["step"] for entry in result.history]
    assert [step for step, _ in found["step/loss"]] == list(
        range(1, result.history[-1]["step"] + 1)
    )


@pytest.mark.parametrize("name", list(FAKES))
def test_a_resumed_run_is_one_run(
    name: str, videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    told = install(monkeypatch, name)
    config = quick(epochs=3, select_on="val")
    with pytest.raises(Stopped):
        fresh().fit(videos, config=config, run_dir=tmp_path, report_to=[name], hooks=stop_at(1, 2))
    assert told[-1] == ("finish", name == "trackio"), "W&B and MLflow know that it is not complete"
    result = fresh().fit(videos, config=config, run_dir=tmp_path, resume=True, report_to=[name])
    assert told[-1] == ("finish", True)
    begun = [given for what, given in told if what == "init"]
    assert [given["id"] for given in begun] == [begun[0]["id"]] * 2
    assert begun[0]["name"].startswith(tmp_path.name)
    settings = begun[0]["config"]
    nested = (
        settings["train"]["lr"]["adapters"] if name == "wandb" else settings["train.lr.adapters"]
    )
    assert float(nested) == 0.01
    found = numbers(told)
    assert set(found) == SCORES | {"epoch", "step/loss", "lr/adapters", "lr/prompts"}
    ends = [entry["step"] for entry in result.history]
    assert [step for step, _ in found["epoch"]] == ends
    assert [value for _, value in found["epoch"]] == [1, 2, 3]
    assert found["val/war"] == [(e["step"], e["val"]["war"]) for e in result.history]
    steps = [step for step, _ in found["step/loss"]]
    assert steps == list(range(1, ends[-1] + 1)), "no step twice, and none left out"
    assert capsys.readouterr().out == "", "standard output is for data"


def test_an_epoch_in_the_journal_was_sent(
    videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SIGKILL within the second epoch loses nothing of the first, which is never sent again."""
    from torch.utils.tensorboard import SummaryWriter

    told, flush = install(monkeypatch, "mlflow"), SummaryWriter.flush
    copy, journals, flushed = tmp_path / "copy", list[Any](), list[Any]()
    # Counted, since how long TensorBoard's thread waits depends on what else is installed.
    monkeypatch.setattr(SummaryWriter, "flush", lambda self: flushed.append(flush(self)))

    def on_step(progress: Progress) -> None:
        if progress.epoch == 1 and not journals:
            journals.append(json.loads((tmp_path / "run" / JOURNAL).read_text()))
            assert len(flushed) == 1
            shutil.copytree(tmp_path / "run" / "tensorboard", copy)
            assert numbers(told)["epoch"] == [(3, 1)]
            assert [step for step, _ in numbers(told)["step/loss"]] == [1, 2, 3]

    names, hooks = ["mlflow", "tensorboard"], Hooks(on_step=on_step)
    fresh().fit(videos, config=quick(), run_dir=tmp_path / "run", report_to=names, hooks=hooks)
    assert {name: journals[0][name]["epoch"] for name in names} == dict.fromkeys(names, 1)
    assert tensorboard_scalars(copy)["epoch"] == [(3, 1)]
    assert [step for step, _ in tensorboard_scalars(copy)["step/loss"]] == [1, 2, 3]


def test_an_epoch_that_was_not_sent_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, "mlflow")
    warnings: list[str] = []
    with reporting(
        ("mlflow",), TrackedRun("run", tmp_path, {}), warnings.append, resume=False
    ) as trackers:

        def log_batch(self: Any, run_id: str, **given: Any) -> None:
            raise ConnectionError("no route to host")

        monkeypatch.setattr(sys.modules["mlflow"].MlflowClient, "log_batch", log_batch)
        trackers.log_epochs([{"epoch": 1, "step": 9, "train": {"loss": 1.5}}])
    assert warnings == ["mlflow failed and is now disabled: ConnectionError: no route to host."]
    assert json.loads((tmp_path / JOURNAL).read_text())["mlflow"]["epoch"] == 0


def test_another_training_in_the_same_folder_is_another_run(
    videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = install(monkeypatch, "wandb")
    for _ in range(2):
        fresh().fit(videos, config=quick(), run_dir=tmp_path, report_to=["wandb"])
    begun = [given["id"] for what, given in told if what == "init"]
    assert begun[0] != begun[1]
    assert [value for _, value in numbers(told)["epoch"]] == [1, 2, 1, 2]


def break_log(monkeypatch: pytest.MonkeyPatch, failing_calls: Callable[[int], bool]) -> Told:
    """A W&B whose network fails at some of the calls."""
    told = install(monkeypatch, "wandb")
    whole, calls = sys.modules["wandb"].init, [0]

    def init(**given: Any) -> SimpleNamespace:
        run = whole(**given)
        log = run.log

        def failing(values: Any, step: int) -> None:
            calls[0] += 1
            if failing_calls(calls[0]):
                raise ConnectionError("no route\nto host")
            log(values, step)

        run.log = failing
        return run

    monkeypatch.setattr(sys.modules["wandb"], "init", init)
    return told


def test_a_tracker_that_fails_is_dropped_and_catches_up_when_resumed(
    videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    plain = fresh()
    plain.fit(videos, config=quick())
    told = break_log(monkeypatch, lambda call: call == 2)
    model = fresh()
    result = model.fit(videos, config=quick(), run_dir=tmp_path, report_to=["wandb", "tensorboard"])
    assert_equal(plain, model)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["wandb failed and is now disabled: ConnectionError: no route to host."]
    assert "epoch" not in numbers(told)
    others = tensorboard_scalars(tmp_path / "tensorboard")
    assert len(others["epoch"]) == 2, "the other tracker continues"
    run = TrackedRun("run", tmp_path, {})
    with reporting(("wandb",), run, no_warning, resume=True) as trackers:
        trackers.log_epochs(result.history)
        trackers.log_epochs(result.history)
    assert [value for _, value in numbers(told)["epoch"]] == [1, 2]


def test_the_report_is_logged_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = install(monkeypatch, "wandb")
    report = {
        "uar": 50.0,
        "ece": None,
        "recall": {"fear": 25.0, "anger": None},
        "confusion": [[1, 2], [3, 4]],
    }
    run = TrackedRun("run", tmp_path, {})
    with reporting(("wandb",), run, no_warning, resume=False) as trackers:
        trackers.log_epochs([{"epoch": 1, "step": 9, "train": {"loss": 1.5}}])
        trackers.log_report(report)
    assert numbers(told) == {
        "epoch": [(9, 1)],
        "train/loss": [(9, 1.5)],
        "report/uar": [(9, 50.0)],
        "report/recall/fear": [(9, 25.0)],
    }


@pytest.mark.parametrize("name", list(TRACKERS))
def test_a_missing_library(
    name: str, videos: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, TRACKERS[name][0], None)
    with pytest.raises(MissingExtraError, match=rf'{name}.*pip install "{name}') as caught:
        fresh().fit(videos, config=quick(), run_dir=tmp_path, report_to=[name])
    assert caught.value.exit_code == 5


def test_a_tracker_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = install(monkeypatch, "mlflow")
    install(monkeypatch, "wandb")

    def init(**given: Any) -> None:
        raise RuntimeError("api_key not configured.\nRun wandb login")

    monkeypatch.setattr(sys.modules["wandb"], "init", init)
    run = TrackedRun("run", tmp_path, {})
    with (
        pytest.raises(
            TrainingError, match="wandb failed to start: RuntimeError: api_key"
        ) as caught,
        reporting(("mlflow", "wandb"), run, no_warning, resume=False),
    ):
        raise AssertionError("the block does not begin")
    assert "\n" not in str(caught.value)
    assert others[-1] == ("finish", False), "the other one is not left open"


def test_invalid_usage(videos: Split, tmp_path: Path) -> None:
    accepted = "tensorboard, wandb, mlflow, trackio"
    with pytest.raises(ConfigError, match=f"'tensorbord'; choose one or more of {accepted}"):
        fresh().fit(videos, config=quick(), run_dir=tmp_path, report_to=["tensorbord"])
    with pytest.raises(ConfigError, match="requires run_dir"):
        fresh().fit(videos, config=quick(), report_to=["tensorboard"])
    (tmp_path / JOURNAL).write_text("{")
    run = TrackedRun("run", tmp_path, {})
    with (
        pytest.raises(TrainingError, match=rf"{JOURNAL}' is corrupt.*Remove it"),
        reporting(("tensorboard",), run, no_warning, resume=True),
    ):
        pass
    (tmp_path / JOURNAL).write_text(json.dumps({"wandb": {"run_id": "a", "epoch": 1, "step": 3}}))
    with reporting((), run, no_warning, resume=True):
        pass
    assert json.loads((tmp_path / JOURNAL).read_text())["wandb"]["epoch"] == 1
