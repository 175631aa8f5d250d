"""Trainings in separate processes: two ranks, and one that is killed. Each process imports torch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import train_command
from small import split_of, write_videos

import peclip
from peclip.cli.app import run


def command(root: Path, out: Path, *more: str) -> list[str]:
    """Two epochs of four steps, the last of which has one video: too few for two ranks."""
    return train_command(
        root,
        out,
        *("--dataset", "folder", "--epochs", "2", "-b", "2"),
        *("--set", "train.lr.adapters=1e-2", "--set", "train.grad_accum=2"),
        *more,
    )


def start(arguments: list[str], **variables: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "peclip", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 videos to train on, and 7 to test: no number of ranks divides them."""
    root = tmp_path_factory.mktemp("own")
    write_videos(root / "train", 5)
    write_videos(root / "test", 3, seed=1)
    for label, number in (("anger", "04"), ("sadness", "04")):
        split_folder(root / "train" / label / number)
    for label in ("anger", "sadness"):
        split_folder(root / "test" / label / "02")
    return root


def split_folder(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.slow
def test_two_ranks_equal_one(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with a last step of one video, where the second rank has none."""
    assert len(split_of(root / "train")) == 13
    assert len(split_of(root / "test")) == 7
    plain = ("--set", "train.mixing={mixup: 0, fmix: 0}", "--set", "train.select_on=test")
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    ranks = [
        start(command(root, tmp_path / "two", *plain), RANK=str(r), LOCAL_RANK=str(r), **both)
        for r in range(2)
    ]
    assert run(command(root, tmp_path / "one", *plain)) == 0
    one = json.loads(capsys.readouterr().out)
    outputs = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    two = json.loads(outputs[0][0])
    assert outputs[1][0] == b"", "one rank talks"
    for key in ("uar", "war", "num_videos", "confusion", "selected_epoch"):
        assert one[key] == two[key]
    weights = [
        dict(peclip.load(tmp_path / name / "model", device="cpu").model.named_parameters())
        for name in ("one", "two")
    ]
    for name, weight in weights[0].items():
        assert (weight - weights[1][name]).abs().max() < 2e-5, name
    histories = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for a, b in zip(*histories, strict=True):
        for split in ("train", "test"):
            assert a[split] == pytest.approx(b[split], abs=1e-3)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real SIGKILL within an epoch, with mixing, augmentation and an average on."""
    options = ("--set", "train.ema=0.9", "--set", "train.checkpoint_steps=1", "--epochs", "12")
    killed = start(command(root, tmp_path / "killed", *options))
    state = tmp_path / "killed/checkpoints/last/state.pt"
    deadline = time.monotonic() + 120
    while not state.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL, "it was still training"
    assert not (tmp_path / "killed/report.json").exists()
    assert run(command(root, tmp_path / "whole", *options)) == 0
    resume = ["train", "--resume", str(tmp_path / "killed"), "--device", "cpu", "-f", "json"]
    assert run(resume) == 0
    capsys.readouterr()
    files = [
        (tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "killed")
    ]
    assert files[0] == files[1]
    predictions = [
        (tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "killed")
    ]
    assert predictions[0] == predictions[1]
