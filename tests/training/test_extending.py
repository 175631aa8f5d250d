"""A new model is a module and an entry in `ARCHITECTURES`; a new stream is a module and an entry in `STREAMS`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from toy_model import DepthSource, DepthStream, ToyConfig, ToyModel

import peclip
from peclip.cli.app import run
from peclip.data.streams.registry import STREAMS
from peclip.models.registry import ARCHITECTURES, Architecture
from peclip.predict_options import PredictOptions
from peclip.types import Batch

SIDE, FRAMES = 32, 5


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "toy", Architecture(ToyConfig, "toy_model:build"))
    monkeypatch.setitem(STREAMS, "depth", DepthSource())
    monkeypatch.setattr(ToyModel, "seen", [])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve videos of two classes: grey 20 or 120, plus the column and twice the frame, and a depth of 255 minus it."""
    for number in range(12):
        folder = tmp_path / "videos" / ("happy", "sad")[number % 2] / f"{number:02d}"
        folder.mkdir(parents=True)
        columns = np.arange(SIDE, dtype=np.uint8)[None].repeat(SIDE, 0)
        greys = [20 + 100 * (number % 2) + columns + 2 * frame for frame in range(FRAMES)]
        for frame, grey in enumerate(greys):
            cv2.imwrite(str(folder / f"{frame}.png"), np.stack([grey] * 3, -1))
        np.save(folder / "depth.npy", 255 - np.stack(greys))
    return tmp_path / "videos"


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(list(arguments)) == 0, capsys.readouterr().err
    return dict(json.loads(capsys.readouterr().out))


def train(root: Path, out: Path, *more: str) -> list[str]:
    return [
        *("train", "--dataset", "folder", "--data-root", str(root), "-m", "toy:debug", "-b", "4"),
        *("--device", "cpu", "--workers", "0", "--epochs", "1", "-f", "json", "--out", str(out)),
        *("--set", "train.lr.adapters=1e-2", "--set", "train.mixing={mixup: 0, fmix: 0}"),
        *("--set", "train.augment.crop_scale=[1, 1]", "--set", "train.augment.crop_ratio=[1, 1]"),
        *("--set", "train.augment.brightness=0", *more),
    ]


def pixels(batch: Batch, config: ToyConfig) -> torch.Tensor:
    """The red values of the frames before they were normalised, (B, T, S, S)."""
    mean, std = config.preprocess.mean[0], config.preprocess.std[0]
    return ((batch.frames[:, :, 0] * std + mean) * 255).round()


def depth(batch: Batch) -> torch.Tensor:
    stream = batch.streams["depth"]
    assert isinstance(stream, DepthStream)
    return stream.maps


def test_a_third_model_trains_saves_loads_and_predicts(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = output(capsys, *train(root, tmp_path / "run", "--epochs", "20"))
    assert (report["base"], report["war"]) == ("toy:debug", 100)
    model = peclip.load(tmp_path / "run", device="cpu")
    assert type(model) is peclip.Recognizer
    assert isinstance(model.model, ToyModel)
    assert not model.model.project.weight.equal(peclip.load("toy:debug").model.project.weight)
    told = output(
        capsys,
        *("evaluate", "--dataset", "folder", "--data-root", str(root), "--split", "all"),
        *("-m", str(tmp_path / "run"), "--workers", "0", "--bootstrap", "0", "-f", "json"),
    )
    assert (told["num_videos"], told["war"]) == (12, 100)
    predicted = output(
        capsys,
        *("predict", str(root / "sad" / "01"), "-m", str(tmp_path / "run"), "-f", "json"),
        "--no-face-crop",
    )
    assert predicted["rows"][0]["label"] == "sadness"
    assert ToyModel.seen == [], "it reads no depth"


@pytest.mark.parametrize("flip", [0, 1])
def test_a_new_stream_reaches_forward_in_training(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flip: int
) -> None:
    changes = ["--set", "model.depth=true", "--set", f"train.augment.flip={flip}"]
    output(capsys, *train(root, tmp_path / "run", "--select-on", "last", *changes))
    config = peclip.load(tmp_path / "run", device="cpu").config
    assert isinstance(config, ToyConfig)
    trained = [batch for batch in ToyModel.seen if batch.targets is not None]
    assert sum(len(batch.frames) for batch in trained) == 12
    for batch in trained:
        assert depth(batch).shape == (len(batch.frames), config.num_frames, SIDE, SIDE)
        assert depth(batch).equal(255 - pixels(batch, config)), "of the same frame, changed like it"
        steps = depth(batch).diff(dim=-1)
        assert (steps == (1 if flip else -1)).all(), "mirrored with its frame"


def test_a_new_stream_reaches_forward_in_prediction(root: Path) -> None:
    from peclip.models.registry import build_model
    from peclip.weights.resolve import debug_config

    config = debug_config("toy").derive(depth=True, mirror=True)
    assert isinstance(config, ToyConfig)
    cpu = torch.device("cpu")
    model = peclip.Recognizer(build_model(config).eval(), config, device=cpu, precision="fp32")
    prediction = model.predict(root / "sad" / "01", PredictOptions(face_crop=False))
    assert prediction.rows[0].label is not None
    plain, mirrored = ToyModel.seen
    for batch, step in ((plain, -1), (mirrored, 1)):
        assert depth(batch).equal(255 - pixels(batch, config))
        assert (depth(batch).diff(dim=-1) == step).all()


def test_a_new_stream_needs_frames_of_a_video(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["--set", "model.depth=true", "--set", "train.animate={partial: 0, faint: 0}"]
    assert run(train(root, tmp_path / "run", *changes)) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "reads depth, but windows generated from stills" in error
