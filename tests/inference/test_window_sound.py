"""Windows carry the sound of their time, unless it is masked, and a prediction states how many did."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from http_server import serving_files
from numpy.typing import NDArray
from sounding_videos import RATE, Track, loudest, tones, write_flac, write_sounding

from peclip import PEClip
from peclip.errors import ConfigError
from peclip.explain.explaining import explain
from peclip.literals import SoundUse
from peclip.models.sound_stream import SoundStream
from peclip.predict_options import PredictOptions
from peclip.results.prediction import Prediction
from peclip.settings import load_settings
from peclip.video.faces import FaceBox, Image
from peclip.video.sound import SOUND_FILE
from peclip.video.windows import FaceWindow
from peclip.weights.checkpoint import load_model
from peclip.weights.folder import Checkpoint
from peclip.weights.resolve import debug_config

WHOLE = PredictOptions(face_crop=False, window=1, hop=1)
HERTZ = (400, 800, 1600)


def fresh(audio: dict[str, Any] | None, **changes: Any) -> PEClip:
    stream = None if audio is None else {"encoder": "debug-wav2vec2", "weights": None, **audio}
    config = debug_config().derive(audio=stream, **changes)
    model = load_model(Checkpoint("debug", "", config, None), settings=load_settings())
    return PEClip(model, config, device=torch.device("cpu"), precision="fp32")


def trained(**changes: Any) -> PEClip:
    """A model whose audio stream is no longer neutral."""
    recognizer = fresh({}, **changes)
    stream = recognizer.model.audio  # type: ignore[attr-defined]
    assert isinstance(stream, SoundStream)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in stream.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    return recognizer


@pytest.fixture(scope="module")
def model() -> PEClip:
    return trained()


@pytest.fixture(scope="module")
def base() -> PEClip:
    return fresh(None)


def windows_of(model: PEClip, video: object, options: PredictOptions) -> list[FaceWindow]:
    """The windows that reach the model."""
    seen: list[FaceWindow] = []
    score = model.scorer("", options)

    def watched(windows: list[FaceWindow]) -> list[list[float]]:
        seen.extend(windows)
        return score(windows)

    for _ in model.open(video, options, score=watched):  # type: ignore[arg-type]
        pass
    return seen


def tone_of(window: FaceWindow) -> float:
    assert window.sound is not None
    return loudest(window.sound)


def scores(prediction: Prediction) -> NDArray[np.float64]:
    return np.array([list(row.scores.values()) for row in prediction.rows])


def test_each_window_has_the_sound_of_its_time(model: PEClip, tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mp4", [Track(tones(HERTZ), codec="aac")])
    windows = windows_of(model, path, WHOLE)
    assert [round(tone_of(window)) for window in windows] == list(HERTZ)
    half = windows_of(model, path, PredictOptions(face_crop=False, window=0.5, hop=0.5))
    expected = [frequency for frequency in HERTZ for _ in range(2)]
    assert [tone_of(window) for window in half] == pytest.approx(expected, abs=2)
    long = windows_of(model, path, PredictOptions(face_crop=False, window=float("inf")))
    assert [len(window.sound) / RATE for window in long if window.sound is not None] == [3]


@pytest.mark.parametrize("origin", ["video", "container"])
def test_a_late_video_keeps_its_sound(model: PEClip, tmp_path: Path, origin: Any) -> None:
    """The video starts a second after the sound, so its first second is the sound's second one."""
    times = [1000 + 40 * n for n in range(50)]
    path = write_sounding(tmp_path / "a.mkv", [Track(tones(HERTZ))], times_ms=times)
    windows = windows_of(model, path, WHOLE.model_copy(update={"time_origin": origin}))
    assert windows[0].start_s == pytest.approx(1.0 if origin == "container" else 0.0, abs=1e-3)
    assert [round(tone_of(window)) for window in windows] == [800, 1600]


def test_a_video_at_an_address_has_its_sound(
    model: PEClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is downloaded once, and its sound is read from that file."""
    write_sounding(tmp_path / "a.mp4", [Track(tones(HERTZ), codec="aac")])
    monkeypatch.setenv("PECLIP_OFFLINE", "0")
    with serving_files(tmp_path) as address:
        windows = windows_of(model, f"{address}/a.mp4", WHOLE)
    assert [round(tone_of(window)) for window in windows] == list(HERTZ)


def test_the_start_option_changes_no_time(model: PEClip, tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mov", [Track(tones(HERTZ))])
    (window,) = windows_of(model, path, WHOLE.model_copy(update={"start": 2.0}))
    assert tone_of(window) == pytest.approx(1600, abs=1)


def test_a_folder_of_frames_has_the_sound_next_to_them(model: PEClip, tmp_path: Path) -> None:
    from frame_folders import greys, write_frames

    write_frames(tmp_path / "a", greys(range(50)))
    write_flac(tmp_path / "a" / SOUND_FILE, tones(HERTZ[:2]))
    windows = windows_of(model, tmp_path / "a", WHOLE)
    assert [round(tone_of(window)) for window in windows] == [400, 800]


def test_the_sound_counts(model: PEClip, tmp_path: Path) -> None:
    """The same pictures with another sound; x264 would not always write the same."""
    videos = [
        write_sounding(tmp_path / f"{n}.mkv", [Track(tones([n]))], codec="ffv1")
        for n in (300, 1200)
    ]
    found = [scores(model.predict(video, WHOLE)) for video in videos]
    assert np.abs(found[0][0] - found[1][0]).max() > 0.001, "the second with sound"
    np.testing.assert_array_equal(found[0][1:], found[1][1:])


def test_without_sound_the_video_alone_decides(
    model: PEClip, base: PEClip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_sounding(tmp_path / "silent.mp4", [])
    prediction = model.predict(path, WHOLE)
    np.testing.assert_allclose(scores(prediction), scores(base.predict(path, WHOLE)), atol=1e-6)
    assert "silent.mp4: it has no sound" in caplog.text
    assert prediction.metadata["sound"] == {
        "rate": RATE,
        "tracks": 0,
        "windows": {"used": 0, "missing": 3, "several_people": 0, "off": 0},
        "problem": "it has no sound",
    }
    assert "sound" not in base.predict(path, WHOLE).metadata


def test_sound_can_be_switched_off(model: PEClip, base: PEClip, tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mov", [Track(tones(HERTZ))])
    off = model.predict(path, WHOLE.model_copy(update={"sound": "off"}))
    np.testing.assert_array_equal(scores(off), scores(base.predict(path, WHOLE)))
    assert off.metadata["sound"]["windows"]["off"] == 3
    on = model.predict(path, WHOLE)
    assert np.abs(scores(on) - scores(off)).max() > 0.01
    assert on.metadata["sound"]["windows"]["used"] == 3


def test_a_model_without_sound_refuses_the_option(base: PEClip) -> None:
    with pytest.raises(ConfigError, match="does not read sound, but sound=everyone"):
        base.predict(np.zeros((5, 32, 32, 3), np.uint8), PredictOptions(sound="everyone"))


class Halves:
    """Finds a face in the left half, and from the second second on one in the right half."""

    name = "halves"

    def __init__(self) -> None:
        self.count = 0

    def detect(self, image: Image) -> list[FaceBox]:
        self.count += 1
        places = (4.0,) if image[0, 0, 0] < 128 else (4.0, 40.0)
        return [FaceBox(x, 8.0, 18.0, 18.0, 0.9) for x in places]


@pytest.mark.parametrize(
    ("use", "heard", "counts"),
    [
        ("single", [True, False, False], {"used": 1, "several_people": 2}),
        ("everyone", [True, True, True], {"used": 3, "several_people": 0}),
    ],
)
def test_several_people_are_masked_unless_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    use: SoundUse,
    heard: Sequence[bool],
    counts: dict[str, int],
) -> None:
    model = trained()
    monkeypatch.setattr(model, "detector", lambda options: Halves())
    frames = np.zeros((50, 48, 64, 3), np.uint8)
    frames[25:] = 250
    path = write_sounding(tmp_path / "talk.mov", [Track(tones(HERTZ[:2]))], frames=frames)
    options = PredictOptions(window=1, hop=1, sound=use, detect_rate=float("inf"))
    windows = windows_of(model, path, options)
    assert [window.n_faces for window in windows] == [1, 2, 2]
    assert [window.sound is not None for window in windows] == heard
    assert ("it is not known who speaks" in caplog.text) is (use == "single")
    if use == "everyone":
        assert windows[1].sound is not None
        np.testing.assert_array_equal(windows[1].sound, windows[2].sound)
    found = model.predict(path, options).metadata["sound"]["windows"]
    assert {name: found[name] for name in counts} == counts


def test_pixels_have_no_sound(model: PEClip, base: PEClip) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 32, 32, 3), dtype=np.uint8)
    found = model.predict(pixels, WHOLE)
    np.testing.assert_array_equal(scores(found), scores(base.predict(pixels, WHOLE)))
    assert found.metadata["sound"]["problem"] == "it has no sound that can be read"


def test_damage_of_the_sound_does_not_stop_the_prediction(
    model: PEClip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(tones(HERTZ), codec="flac")])
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xf8", len(content) // 2)
    content[place : place + 600] = bytes(600)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        prediction = model.predict(path, WHOLE)
    assert [row.status for row in prediction.rows] == ["ok"] * 3
    assert "some of its sound is damaged" in caplog.text
    assert prediction.metadata["sound"]["problem"].startswith("some of its sound is damaged")


def test_several_tracks_are_mentioned(
    model: PEClip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_sounding(tmp_path / "a.mkv", [Track(tones([400])), Track(tones([800]))])
    prediction = model.predict(path, WHOLE)
    assert prediction.metadata["sound"]["tracks"] == 2
    assert "has 2 sound tracks; only the first is used" in caplog.text


def test_an_explained_window_has_its_sound(model: PEClip, tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "a.mov", [Track(tones(HERTZ))])
    found = explain(model, path, methods=["leave-one-out"], options=WHOLE, at=0.5)
    assert list(found.scores.values()) == pytest.approx(
        list(model.predict(path, WHOLE).rows[0].scores.values()), abs=1e-5
    )
