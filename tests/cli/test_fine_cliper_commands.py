"""FineCLIPER as a person uses it: train, evaluate on another data set, predict, with parts and captions."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Output, refused, train_command, trained
from frame_folders import coloured, write_frames
from numpy.typing import NDArray

import peclip
from peclip import FineCLIPER, PEClip
from peclip.cli.app import run
from peclip.data.caption_file import read_captions
from peclip.data.streams.captions import caption_of
from peclip.errors import ConfigError
from peclip.labels import EMOTIONS
from peclip.predict_options import PredictOptions
from peclip.video import parts as parts_module
from peclip.video.parts import LANDMARKER, Parts, parts_path, save_parts


class Centre:
    """A finder that sees a face in every crop, its points in the middle; counts how often it looks."""

    name = "mediapipe"
    looked = 0

    def find(self, crops: NDArray[np.uint8]) -> Parts:
        type(self).looked += len(crops)
        points = np.random.default_rng(0).random((len(crops), 478, 2), np.float32) / 2 + 0.25
        return Parts(points, np.ones(len(crops), np.bool_))


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parts_module.FINDERS, "mediapipe", lambda settings: Centre())


@pytest.fixture(scope="module")
def mafw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tree of MAFW with parts, three videos a class to train on and one to test, and captions."""
    root = tmp_path_factory.mktemp("mafw")
    (root / "annotation").mkdir()
    number, captions = 0, []
    for split, count in (("train", 3), ("test", 1)):
        lines = []
        for label in [label for label in range(len(EMOTIONS)) for _ in range(count)]:
            number += 1
            folder = root / f"data/faces/{number:05d}"
            write_frames(folder, coloured((20 * label, 99, 9), number, 2))
            save_parts(parts_path(folder), Centre().find(np.zeros((2, 8, 8, 3), np.uint8)))
            lines.append(f"/elsewhere/data/faces/{number:05d} 2 {label}")
            captions.append({"id": f"{number:05d}", "caption": f"The brows rise {label} times."})
        (root / f"annotation/MAFW_set_1_{split}.txt").write_text("\n".join(lines))
    from peclip.data import DataConfig, load_split

    ids = [
        sample.id
        for split in ("train", "test")
        for sample in load_split(DataConfig(dataset="mafw", root=root, fold=1, split=split)).samples
    ]
    file = root / "captions.jsonl"
    rows = [{**row, "id": name} for row, name in zip(captions, ids, strict=True)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return root, file


def command(root: Path, out: Path, *more: str) -> list[str]:
    recipe = ("--recipe", "finecliper-mafw", "--fold", "1", "-m", "finecliper:debug")
    return train_command(root, out, *recipe, "--epochs", "1", "-b", "16", *more)


def test_the_recipe_trains_all_streams_and_evaluates_them(
    mafw: tuple[Path, Path], tmp_path: Path, capsys: Output
) -> None:
    root, captions = mafw
    report = trained(capsys, *command(root, tmp_path / "run", "--captions", str(captions)))
    assert report["num_videos"] == 11
    model = peclip.load(tmp_path / "run/model", device="cpu")
    assert isinstance(model, FineCLIPER)
    assert model.config.streams == ("parts", "captions")
    asked = ["evaluate", "--dataset", "mafw", "--data-root", str(root), "--fold", "1", "-f", "json"]
    asked += ["-m", str(tmp_path / "run"), "--workers", "0", "--bootstrap", "0"]
    told = trained(capsys, *asked, "--captions", str(captions))
    assert told["captions"] == 11
    assert told["war"] == report["war"]
    silent = trained(capsys, *asked, "--frames", "reversed", "--tta", "flip")
    assert silent["captions"] == 0
    assert silent["num_videos"] == 11


@pytest.mark.slow
def test_zero_shot_learns_from_captions_and_predicts_another_data_set(
    mafw: tuple[Path, Path], tmp_path: Path, capsys: Output
) -> None:
    root, captions = mafw
    trained(
        capsys,
        *command(root, tmp_path / "run", "--captions", str(captions), "--select-on", "last"),
        *("--set", "model.parts=false", "--set", "model.supervision=captions"),
    )
    for label in ("happy", "fear"):
        write_frames(tmp_path / "other/test" / label / "0", coloured((9, 99, 9), 1))
    told = trained(
        capsys,
        *("evaluate", "--dataset", "folder", "--data-root", str(tmp_path / "other"), "-f", "json"),
        *("-m", str(tmp_path / "run"), "--workers", "0", "--bootstrap", "0"),
    )
    assert told["num_videos"] == 2
    assert told["captions"] == 0


def test_captions_of_other_videos_are_a_one_line_error(
    mafw: tuple[Path, Path], tmp_path: Path, capsys: Output
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "somewhere/else", "caption": "The brows rise."}\n')
    error = refused(capsys, *command(mafw[0], tmp_path / "run", "--captions", str(other)), code=3)
    assert "other.jsonl" in error
    assert "mafw fold 1 train" in error
    assert not (tmp_path / "run").exists()


def test_missing_captions_are_an_error(
    mafw: tuple[Path, Path], tmp_path: Path, capsys: Output
) -> None:
    error = refused(capsys, *command(mafw[0], tmp_path / "run"))
    assert "reads captions" in error
    assert "with --captions, or set model.captions to false" in error


def test_predict_reads_parts_once_and_captions_by_name(
    astronaut: Path, tmp_path: Path, capsys: Output, finder: None
) -> None:
    folder = tmp_path / "model"
    base = FineCLIPER.from_pretrained("debug", device="cpu")
    from peclip.models.registry import build_model

    config = base.config.derive(parts=True, captions=True)
    torch.manual_seed(0)
    model = build_model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.5)
    FineCLIPER(model, config, device=torch.device("cpu"), precision="fp32").save_pretrained(folder)
    told = tmp_path / "captions.csv"
    told.write_text("source,caption\nastronaut.mp4,The corners of the mouth rise.\n")
    arguments = ["predict", str(astronaut), "-m", str(folder), "--no-face-crop", "-f", "json"]

    def predicted(*more: str) -> dict[str, Any]:
        assert run([*arguments, *more]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    with_caption, without = predicted("--captions", str(told)), predicted()
    first, second = with_caption["rows"][0], without["rows"][0]
    assert first["label"] in model.labels.names
    assert first != second, "the caption is read"
    loaded = peclip.load(folder, device="cpu")
    again = loaded.predict(astronaut, PredictOptions(face_crop=False, captions=told))
    assert again.rows[0].score == pytest.approx(first["score"], abs=1e-4)


def test_without_mediapipe_prediction_names_the_command(
    astronaut: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    (Path(os.environ["PECLIP_CACHE_DIR"]) / LANDMARKER.name).write_bytes(b"not read")
    from peclip.models.registry import build_model

    config = FineCLIPER.from_pretrained("debug", device="cpu").config.derive(parts=True)
    model = FineCLIPER(build_model(config), config, device=torch.device("cpu"), precision="fp32")
    model.save_pretrained(tmp_path / "model")
    error = refused(
        capsys, "predict", str(astronaut), "-m", str(tmp_path / "model"), "--no-face-crop", code=5
    )
    assert 'pip install "mediapipe' in error


def test_a_missing_input_leaves_no_run_folder_and_no_rows(
    mafw: tuple[Path, Path], tmp_path: Path, capsys: Output, astronaut: Path
) -> None:
    root, captions = mafw
    moved = [
        path.rename(path.with_suffix(".away")) for path in root.rglob("*/00034/parts.safetensors")
    ]
    assert len(moved) == 1, "a test video"
    try:
        error = refused(
            capsys, *command(root, tmp_path / "run", "--captions", str(captions)), code=3
        )
    finally:
        moved[0].rename(moved[0].with_suffix(".safetensors"))
    assert "1 of the 11 videos in mafw fold 1 test" in error
    assert "00034" in error
    assert "peclip data prepare --parts mediapipe" in error
    assert not (tmp_path / "run").exists()
    from peclip.models.registry import build_model

    config = FineCLIPER.from_pretrained("debug", device="cpu").config.derive(parts=True)
    model = FineCLIPER(build_model(config), config, device=torch.device("cpu"), precision="fp32")
    model.save_pretrained(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    sources = [str(astronaut), str(root / "data/faces/00001")]
    arguments = ["predict", *sources, "-m", str(tmp_path / "model"), "-o", str(rows)]
    assert run(arguments) in (4, 5)  # MediaPipe's model is missing, or MediaPipe is
    error = capsys.readouterr().err
    assert error.count("peclip: error:") == 1
    assert not rows.exists()


def test_a_caption_is_found_by_the_end_of_a_path(tmp_path: Path) -> None:
    told = tmp_path / "c.csv"
    told.write_text("id,caption\ntest/happy/v0,Lips part.\nother/v0,The brows rise.\n")
    captions = read_captions(told)
    assert caption_of(captions, "crops/test/happy/v0") == "Lips part."
    assert caption_of(captions, Path("/data/other/v0.mp4")) == "The brows rise."
    assert caption_of(captions, "v0.mp4") == ""


def test_a_teacher_cannot_read_a_stream_the_student_lacks(
    mafw: tuple[Path, Path], tmp_path: Path, capsys: Output
) -> None:
    from peclip.models.registry import build_model

    config = FineCLIPER.from_pretrained("debug", device="cpu").config
    config = config.derive(labels=EMOTIONS, parts=True)
    model = FineCLIPER(build_model(config), config, device=torch.device("cpu"), precision="fp32")
    model.save_pretrained(tmp_path / "teacher")
    error = refused(
        capsys,
        *command(mafw[0], tmp_path / "run", "--set", "model.parts=false"),
        *("--set", "model.captions=false", "--set", f"train.teacher.model={tmp_path / 'teacher'}"),
    )
    assert "reads parts, but the student does not" in error


@pytest.mark.slow
def test_resuming_checks_the_captions(
    mafw: tuple[Path, Path], tmp_path: Path, capsys: Output
) -> None:
    root, captions = mafw
    grown = tmp_path / "grown.jsonl"
    grown.write_text(captions.read_text())
    run_folder = tmp_path / "run"
    trained(capsys, *command(root, run_folder, "--captions", str(grown)))
    (run_folder / "report.json").unlink()  # as if it had been killed before the end
    grown.write_text("\n".join(captions.read_text().splitlines()[:5]))
    error = refused(capsys, "train", "--resume", str(run_folder))
    assert "belongs to a run with different" in error


def test_captions_for_a_model_without_captions_are_refused(
    astronaut: Path, tmp_path: Path, capsys: Output
) -> None:
    error = refused(
        capsys, "predict", str(astronaut), "-m", "debug", "--captions", str(tmp_path / "c.csv")
    )
    assert "debug does not read captions" in error


def test_names_and_classes(tmp_path: Path, capsys: Output) -> None:
    assert isinstance(peclip.load("finecliper:debug", device="cpu"), FineCLIPER)
    assert isinstance(peclip.load("pe-clip:debug", device="cpu"), PEClip)
    with pytest.raises(ConfigError, match=r"the architecture of 'nano' is fixed"):
        peclip.load("finecliper:nano", device="cpu")
    named = FineCLIPER.from_pretrained("debug", device="cpu")
    assert named.name == "finecliper:debug"
    with pytest.raises(ConfigError, match=r"pe-clip model, but FineCLIPER loads only finecliper"):
        FineCLIPER.from_pretrained(device="cpu")
    assert run(["models", "info", "finecliper:ViT-B-16-quickgelu/openai", "-f", "json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["trainable"] == 13_423_104
    assert about["labels"]["anger"] == "A person with an expression of anger"


def test_saved_and_loaded_models_agree(tmp_path: Path, astronaut: Path) -> None:
    model = FineCLIPER.from_pretrained("debug", device="cpu")
    with torch.no_grad():
        for parameter in model.model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    options = PredictOptions(face_crop=False)
    before = model.predict(astronaut, options)
    model.save_pretrained(tmp_path / "model")
    loaded = FineCLIPER.from_pretrained(tmp_path / "model", device="cpu")
    after = loaded.predict(astronaut, options)
    scores = [list(prediction.rows[0].scores.values()) for prediction in (before, after)]
    assert np.allclose(*scores, atol=1e-6)
    own = loaded.with_labels({"awake": "wide open eyes", "asleep": ""})
    assert own.texts == {
        "awake": "wide open eyes",
        "asleep": "A person with an expression of asleep",
    }
    assert set(own.predict(astronaut, options).scores) == {"awake", "asleep"}
