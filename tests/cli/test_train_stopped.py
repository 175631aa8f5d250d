"""What stops a training (full disks, signals, NaN), and that resuming gives the same result."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Output, command, trained
from matplotlib.figure import Figure
from sweeps import sweep

import peclip.weights.checkpoint
from peclip.cli.app import run
from peclip.files import final_name
from peclip.runs.run_folder import RunFolder

SHORT = ("--epochs", "2", "--report-to", "tensorboard")


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(command(root, out, *SHORT)) == 0
    return out


def assert_goes_on(out: Path, whole: Path, capsys: Output) -> None:
    """Resumes, and compares everything that came of it with the run that nothing stopped."""
    capsys.readouterr()
    trained(capsys, "train", "--resume", str(out), "--device", "cpu", "-f", "json")
    for name in ("model/model.safetensors", "report.json", "predictions.csv", "confusion.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    histories = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (out, whole)
    ]
    for history in histories:
        for entry in history:
            del entry["seconds"]
    assert histories[0] == histories[1]
    files = [{path.relative_to(p).as_posix() for path in p.rglob("*")} for p in (out, whole)]
    assert {name for name in files[0] ^ files[1] if not name.startswith("tensorboard/")} == set()


def fill_disk(monkeypatch: pytest.MonkeyPatch, file: str, time: int) -> None:
    """Makes the nth writing of a file fail as a full disk does."""
    left = [time]

    def check(path: Any) -> None:
        written = Path(path).with_name(final_name(Path(path).name))
        if file in written.as_posix():
            left[0] -= 1
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def guard(owner: Any, name: str, path_of: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        def guarded(*args: Any, **more: Any) -> Any:
            path = path_of(*args, **more)
            if path is not None:
                check(path)
            return original(*args, **more)

        monkeypatch.setattr(owner, name, guarded)

    def opened(path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
        named = isinstance(
            path, (str, Path)
        )  # TensorBoard's thread opens by bytes, and is not meant
        return path if named and set(mode) & set("wax") else None

    guard(io, "open", opened)  # what pathlib calls
    guard(peclip.weights.checkpoint, "save_file", lambda tensors, path, **more: path)
    guard(Figure, "savefig", lambda figure, path, **more: path)


@sweep(
    "file, time",
    [
        ("checkpoints/last/state.pt", 2),
        ("metrics.jsonl", 1),
        ("metrics.jsonl", 2),
        ("log.txt", 3),
        ("checkpoints/best/model.safetensors", 1),
        ("checkpoints/best/config.json", 1),
        ("trackers.json", 2),
        ("/model/model.safetensors", 1),
        ("/model/README.md", 1),
        ("curve.png", 1),
        ("predictions.csv", 1),
        ("confusion.csv", 1),
        ("confusion.png", 1),
        ("report.json", 1),
    ],
    default=[
        ("checkpoints/last/state.pt", 2),
        ("metrics.jsonl", 2),
        ("/model/model.safetensors", 1),
        ("report.json", 1),
    ],
)
def test_a_full_disk(
    file: str,
    time: int,
    root: Path,
    whole: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as full:
        fill_disk(full, file, time)
        assert run(command(root, out, *SHORT)) == 7
    lines = [line for line in capsys.readouterr().err.splitlines() if "peclip: error:" in line]
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert not (out / "report.json").exists()
    assert_goes_on(out, whole, capsys)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
@sweep("epoch", [1, 2], default=[2])
def test_a_signal(
    number: signal.Signals,
    code: int,
    epoch: int,
    root: Path,
    whole: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, write = tmp_path / "run", RunFolder.write_history
    before = signal.getsignal(number)

    def interrupted(self: RunFolder, history: Any) -> None:
        if len(history) == epoch:
            os.kill(os.getpid(), number)
        write(self, history)

    with monkeypatch.context() as signalled:
        signalled.setattr(RunFolder, "write_history", interrupted)
        assert run(command(root, out, *SHORT)) == code
    assert signal.getsignal(number) is before
    message = " ".join(capsys.readouterr().err.split())
    assert f"interrupted; resume with: peclip train --resume {out}" in message
    assert "stopped: interrupted" in (out / "log.txt").read_text()
    assert_goes_on(out, whole, capsys)


def test_a_nan_gradient(
    root: Path, whole: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peclip.models.pe_clip import PEClipModel

    loss, calls = PEClipModel.loss, [0]

    def broken(self: PEClipModel, output: Any, targets: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        plain = loss(self, output, targets)
        # A root has an infinite slope at 0, so the loss is as before and the gradient is not.
        return plain + (0 * output.logits).sum().sqrt() if calls[0] == 3 else plain

    with monkeypatch.context() as patched:
        patched.setattr(PEClipModel, "loss", broken)
        assert run(command(root, tmp_path / "run", *SHORT)) == 7
    error = " ".join(capsys.readouterr().err.split())
    assert "The gradient is nan in step 1 of epoch 2" in error
    assert "stopped: The gradient is nan" in (tmp_path / "run/log.txt").read_text()
    assert_goes_on(tmp_path / "run", whole, capsys)


def test_patience(root: Path, tmp_path: Path, capsys: Output) -> None:
    still = ("--set", "train.lr={adapters: 0, prompts: 0}", "--set", "train.patience=2")
    report = trained(capsys, *command(root, tmp_path / "run", *still))
    assert (report["epochs"], report["selected_epoch"]) == (3, 1)
    assert report["stopped_early"]
