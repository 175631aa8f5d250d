"""Sound from the command line: cropped with the faces, trained by a recipe, resumed, evaluated and predicted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Output, refused, train_command, trained
from frame_folders import greys, write_frames
from sounding_videos import Track, tones, write_flac, write_sounding

import peclip
from peclip.cli.app import run
from peclip.config import PreprocessConfig
from peclip.data.preparation.crop_record import CropConfig
from peclip.data.preparation.face_crops import prepare
from peclip.data.samples import Sample
from peclip.data.streams.audio import AudioSource
from peclip.errors import ConfigError
from peclip.runs.recipe import model_config
from peclip.video.faces import FaceBox, Image
from peclip.video.sound import SOUND_FILE, read_whole_sound
from peclip.weights.resolve import debug_config

EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
TINY = ("--set", "model.audio.encoder=debug-wav2vec2", "--set", "model.audio.weights=null")


def write_cremad(root: Path, suffix: str = ".mov") -> Path:
    """Writes a tree of CREMA-D: two actors to test, five to train on, and one video without sound."""
    (root / "VideoFlash").mkdir(parents=True)
    for actor in (1001, 1002, 1019, 1020, 1021, 1022, 1023):
        for number, emotion in enumerate(EMOTIONS):
            silent = (actor, emotion) == (1002, "SAD")
            track = Track(tones([300 * (number + 1)], seconds=0.2))
            write_sounding(
                root / f"VideoFlash/{actor}_DFA_{emotion}_XX{suffix}",
                [] if silent else [track],
                num_frames=5,
            )
    return root


def write_ravdess(root: Path) -> Path:
    """Writes folders of frames in a tree of RAVDESS, with their sound: one fold to test, three actors to train on."""
    for actor in (1, 2, 5, 6, 7):
        for emotion in range(1, 9):
            folder = root / f"Actor_{actor:02d}" / f"01-01-{emotion:02d}-01-01-01-{actor:02d}"
            write_frames(folder, greys([20 * emotion] * 2))
            write_flac(folder / SOUND_FILE, tones([200 * emotion], seconds=0.2))
    return root


@pytest.mark.slow
def test_one_epoch_on_cremad_and_everything_after_it(tmp_path: Path, capsys: Output) -> None:
    root, out = write_cremad(tmp_path / "data"), tmp_path / "run"
    recipe = ("--recipe", "pe-clip-b16-audio-cremad", "--fold", "1", "--epochs", "1", "-b", "16")
    report = trained(capsys, *train_command(root, out, *recipe, *TINY))
    assert report["reported_on"] == "cremad fold 1 test"
    assert report["num_videos"] == 12
    log = (out / "log.txt").read_text()
    assert "1 of the 12 videos in cremad fold 1 test" in log
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["audio"]["encoder"] == "debug-wav2vec2"
    assert config["audio"]["fusion"] == "concatenation"
    assert config["audio"]["lora_rank"] == 8
    parts = trained(capsys, "models", "info", str(out))["parts"]
    assert parts["audio encoder"]["trainable"] == 0
    # 2 layers of q, k, v and out (16 + 16) and of fc1 and fc2 (16 + 32), times rank 8.
    lora = 2 * 8 * (4 * 32 + 2 * 48)
    assert parts["audio"]["trainable"] == lora + 2 * 16 + 2 * 32 + 49 * 32 + 33 * 32

    again = trained(capsys, "train", "--resume", str(out), "--device", "cpu")
    assert again["confusion"] == report["confusion"]
    evaluated = trained(
        *(capsys, "evaluate", "--dataset", "cremad", "--data-root", str(root), "--fold", "1"),
        *("-m", str(out), "--device", "cpu", "--workers", "0"),
    )
    assert evaluated["confusion"] == report["confusion"]
    assert evaluated["without_sound"] == 1

    off = trained(
        *(capsys, "evaluate", "--dataset", "cremad", "--data-root", str(root), "--fold", "1"),
        *("-m", str(out), "--device", "cpu", "--workers", "0", "--sound", "off"),
    )
    assert (off["sound"], off["without_sound"]) == ("off", 12)

    video = str(root / "VideoFlash/1001_DFA_HAP_XX.mov")
    told = ["predict", video, "-m", str(out), "--no-face-crop", "-f", "json", "--device", "cpu"]
    predicted = trained(capsys, *told)
    assert predicted["sound"]["windows"] == {
        "used": 1, "missing": 0, "several_people": 0, "off": 0,
    }  # fmt: skip
    off = trained(capsys, *told, "--sound", "off")
    assert off["sound"]["windows"]["off"] == 1
    assert off["rows"][0]["score"] != predicted["rows"][0]["score"]

    without = (*recipe, "--set", "model.audio=null")
    trained(capsys, *train_command(root, tmp_path / "without", *without))
    ablated = json.loads((tmp_path / "without" / "model" / "config.json").read_text())
    assert ablated["audio"] is None
    assert "does not read sound" in refused(
        capsys, *told[:2], "-m", str(tmp_path / "without"), "--sound", "everyone"
    )
    # A model that was trained without sound gets it in another training.
    more = (*recipe, "-m", str(tmp_path / "without"))
    trained(capsys, *train_command(root, tmp_path / "more", *more, *TINY))
    (new,) = (
        line
        for line in (tmp_path / "more" / "log.txt").read_text().splitlines()
        if "randomly initialised" in line
    )
    assert "audio.fusion.mlp" in new
    assert "shared_adapter" not in new


@pytest.mark.slow
def test_one_epoch_on_ravdess(tmp_path: Path, capsys: Output) -> None:
    root, out = write_ravdess(tmp_path / "data"), tmp_path / "run"
    recipe = ("--recipe", "pe-clip-b16-audio-ravdess", "--fold", "1", "--epochs", "1", "-b", "16")
    adaptive = ("--set", "model.audio.fusion=adaptive")
    report = trained(capsys, *train_command(root, out, *recipe, *TINY, *adaptive))
    assert report["reported_on"] == "ravdess fold 1 test"
    assert report["num_videos"] == 16
    assert "without sound" not in (out / "log.txt").read_text()
    again = trained(capsys, "train", "--resume", str(out), "--device", "cpu")
    evaluated = trained(
        *(capsys, "evaluate", "--dataset", "ravdess", "--data-root", str(root), "--fold", "1"),
        *("-m", str(out), "--device", "cpu", "--workers", "0"),
    )
    assert again["confusion"] == evaluated["confusion"] == report["confusion"]


def test_an_export_is_refused(tmp_path: Path, capsys: Output) -> None:
    model = peclip.load("debug", device="cpu")
    audio = {"encoder": "debug-wav2vec2", "weights": None}
    config = model.config.derive(audio=audio)
    from peclip.settings import load_settings
    from peclip.weights.checkpoint import load_model, save_model
    from peclip.weights.folder import Checkpoint

    network = load_model(Checkpoint("debug", "", config, None), settings=load_settings())
    save_model(network, config, tmp_path / "model")
    said = refused(capsys, "export", str(tmp_path / "model"), "-o", str(tmp_path / "a.onnx"))
    assert "reads audio besides frames, which cannot be exported" in said
    assert "audio=null" in said


class Everywhere:
    """A detector that finds one face in every frame."""

    name = "everywhere"

    def detect(self, image: Image) -> list[FaceBox]:
        return [FaceBox(8.0, 8.0, 30.0, 30.0, 0.9)]


def test_sound_is_copied_next_to_the_crops(tmp_path: Path) -> None:
    """At once, or for crops that exist already; a video without sound gets none."""
    tones_of = {"a": [400, 800], "b": []}
    root, output = tmp_path / "data", tmp_path / "crops"
    root.mkdir()
    for name, hertz in tones_of.items():
        tracks = [Track(tones(hertz))] if hertz else []
        write_sounding(root / f"{name}.mov", tracks, num_frames=50)
    samples = [Sample(root / f"{name}.mov", "neutral", name) for name in tones_of]

    def crop(*, sound: bool) -> list[bool]:
        config = CropConfig.of(
            PreprocessConfig(), size=32, detector="everywhere", threshold=0.7, sound=sound
        )
        done = prepare(samples, root, output, config, Everywhere, workers=1)
        return [result.has_sound for result in done]

    assert crop(sound=False) == [False, False]
    assert not list(output.rglob("*.flac"))
    assert crop(sound=True) == [True, False]
    assert list(output.rglob("*.flac")) == [output / "a" / SOUND_FILE]
    crop(sound=False)
    assert json.loads((output / "preprocessing.json").read_text())["sound"] is True, "it is kept"
    expected, _ = read_whole_sound(root / "a.mov", 16_000, 10.0)
    found, _ = read_whole_sound(output / "a", 16_000, 10.0)
    assert expected is not None
    assert found is not None
    assert len(found) == len(expected)
    # Twice resampled, to 48 kHz and back.
    np.testing.assert_allclose(found[100:-100], expected[100:-100], atol=0.02)


@pytest.mark.parametrize(
    ("audio", "told"),
    [
        ({"encoder": "clap"}, "choose one of clap-htsat-fused"),
        ({"layers": "weighted"}, "layers=weighted is not supported for CLAP"),
        ({"fusion": "sum"}, "audio.fusion"),
        ({"seconds": 20}, "audio.seconds"),
        ({"lora_rank": -1}, "audio.lora_rank"),
    ],
)
def test_invalid_settings_are_named(audio: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        model_config(debug_config(), {"audio": audio})


def test_the_published_weights_are_named_unless_the_checkpoint_stores_them() -> None:
    config = model_config(debug_config(), {"audio": {"encoder": "wavlm-large"}})
    assert config.model_dump()["audio"]["weights"] == "microsoft/wavlm-large"
    stored = config.self_contained().model_dump()
    assert stored["audio"]["weights"] is None
    assert stored["audio"]["encoder"] == "wavlm-large"
    published = {"pretrained": "openai", "audio": {"encoder": "debug-clap", "weights": None}}
    with pytest.raises(ConfigError, match=r"audio\.weights is null"):
        model_config(debug_config(), published)


def test_stills_have_no_sound_to_learn_from(tmp_path: Path) -> None:
    from peclip.data import Split
    from peclip.labels import LabelSet

    write_frames(tmp_path / "a", greys([1]))
    sample = Sample(tmp_path / "a" / "0.png", "happiness", "a", num_frames=1)
    split = Split("folder", None, "train", (sample,), LabelSet(("happiness", "sadness")))
    with pytest.raises(ConfigError, match="none of the videos in folder train has any"):
        AudioSource().check(split, [])


def test_help_names_the_option(capsys: Output) -> None:
    assert run(["predict", "--help"]) == 0
    assert "--sound" in capsys.readouterr().out
