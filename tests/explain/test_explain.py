"""From a video to the explanation of one window, and its files."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from command_line import refused
from evidence import FRAMES, build_seeing_model, draw_evidence

from peclip import PEClip, PredictOptions
from peclip.cli.app import run
from peclip.cli.explain import ENDINGS
from peclip.errors import ConfigError
from peclip.explain import Explanation, explain
from peclip.explain.figure import plot_explanation, shown_frames
from peclip.explain.film import FRAME_S, draw_frame
from peclip.explain.heat import paint
from peclip.explain.outputs import WRITERS, save
from peclip.explain.window_choice import choose_window

WHOLE = PredictOptions(face_crop=False, window=float("inf"))


@pytest.fixture(scope="module")
def seeing() -> PEClip:
    return build_seeing_model()


@pytest.fixture(scope="module")
def explanation(seeing: PEClip) -> Explanation:
    """Of a video in which only frames 5 to 8, counted from 1, show anger, in the upper right."""
    return explain(seeing, draw_evidence(2, range(4, 8), (0, 1)), options=WHOLE)


def test_a_video_is_explained(seeing: PEClip, explanation: Explanation) -> None:
    assert explanation.label == "anger"
    predicted = seeing.predict(draw_evidence(2, range(4, 8), (0, 1)), WHOLE)
    assert explanation.scores == pytest.approx(predicted.rows[0].scores)
    assert set(explanation.findings) == {
        *("leave-one-out", "gradient", "dynamic-scale", "rollout", "words"),
    }
    assert explanation.frame_numbers == tuple(range(FRAMES))
    assert explanation.times_s == pytest.approx([n / 25 for n in range(FRAMES)])
    assert explanation.crops.shape == (FRAMES, 32, 32, 3)
    first = np.argsort(-explanation.findings["leave-one-out"].frames)[:4]
    assert set(first.tolist()) == {4, 5, 6, 7}
    assert explanation.findings["rollout"].maps[4:8].sum(0).argmax() == 1  # the upper right


def test_another_label_is_explained_by_its_own_evidence(seeing: PEClip) -> None:
    video = draw_evidence(2, range(4, 8), (0, 1))
    found = explain(seeing, video, label="Neutral", methods=["leave-one-out"], options=WHOLE)
    assert found.label == "neutral"
    last = np.argsort(found.findings["leave-one-out"].frames)[:4]  # the evidence opposes it
    assert set(last.tolist()) == {4, 5, 6, 7}
    with pytest.raises(ConfigError, match="'boredom'.*anger"):
        explain(seeing, video, label="boredom", options=WHOLE)


def test_the_window_around_a_moment_is_chosen(seeing: PEClip) -> None:
    """Windows of 0.2 s every 0.1 s; 0.16 s is in those from 0 and from 0.1 s, and nearest to the middle of the second."""
    options = PredictOptions(face_crop=False, window=0.2, hop=0.1)
    video = draw_evidence(2, range(4, 8), (0, 1))
    chosen = choose_window(seeing, video, 0.16, None, options)
    assert (chosen.window.start_s, chosen.window.end_s) == pytest.approx((0.1, 0.3))
    assert chosen.window.crop_frames[0] == 3
    assert chosen.times_s[0] == pytest.approx(0.12)
    early = choose_window(seeing, video, 0.02, None, options)
    assert early.window.start_s == 0
    best = choose_window(seeing, video, None, None, options)
    rows = seeing.predict(video, options).rows
    assert max(best.probabilities) == pytest.approx(max(row.score for row in rows))


def test_a_moment_without_the_person_names_who_is_visible(seeing: PEClip) -> None:
    video = draw_evidence(2, range(4, 8), (0, 1))
    with pytest.raises(ConfigError, match=r"no person 3 at 0.2 s.*person -1 from 0.00 to 0.48 s"):
        choose_window(seeing, video, 0.2, 3, WHOLE)
    with pytest.raises(ConfigError, match=r"nobody at 9 s"):
        choose_window(seeing, video, 9.0, None, WHOLE)


def test_unknown_methods_are_named_before_anything_is_read(seeing: PEClip) -> None:
    with pytest.raises(ConfigError, match="'grad-cam'.*rollout"):
        explain(seeing, Path("missing.mp4"), methods=["grad-cam"])  # type: ignore[list-item]


def test_json_has_all_numbers(explanation: Explanation, tmp_path: Path) -> None:
    save(explanation, tmp_path / "why.json")
    document = json.loads((tmp_path / "why.json").read_text())
    found = document["findings"]["leave-one-out"]
    assert found["forward_passes"] == FRAMES + 1
    assert found["frames"] == pytest.approx(
        explanation.findings["leave-one-out"].frames.tolist(), abs=1e-6
    )
    assert np.shape(document["findings"]["rollout"]["maps"]) == (FRAMES, 2, 2)
    assert document["scores"] == pytest.approx(dict(explanation.scores), abs=1e-6)
    assert document["times_s"][5] == 0.2
    assert {word["text"] for word in document["findings"]["words"]["words"]} >= {"lid tightener"}


def test_the_picture_has_a_bar_per_frame_and_a_map_per_shown_frame(
    explanation: Explanation, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    figure = plot_explanation(explanation)
    bars = [axes for axes in figure.axes if len(axes.patches) == FRAMES]
    assert len(bars) == 3  # leave-one-out, gradient and dynamic-scale
    heights = [patch.get_height() for patch in bars[0].patches]
    assert heights == pytest.approx(explanation.findings["leave-one-out"].frames.tolist())
    assert len(shown_frames(explanation)) == 8
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == 8 * 4  # plain, gradient, dynamic-scale and rollout
    save(explanation, tmp_path / "why.png")
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")


def test_colours_lie_where_a_map_is_large() -> None:
    picture = np.full((32, 32, 3), 100, np.uint8)
    painted = paint(picture, np.array([[0.0, 2.0], [-2.0, 0.0]]), 2.0).astype(int)
    assert painted[0, 31].tolist() == [185, 96, 25]  # 0.25 * 100 + 0.75 * #D55E00
    assert painted[31, 0].tolist() == [25, 110, 158]  # 0.25 * 100 + 0.75 * #0072B2
    assert painted[0, 0].tolist() == [100, 100, 100]
    assert (paint(picture, np.zeros((2, 2)), 0.0) == picture).all()


def test_the_video_shows_each_frame_for_half_a_second(
    explanation: Explanation, tmp_path: Path
) -> None:
    save(explanation, tmp_path / "why.mp4")
    with av.open(str(tmp_path / "why.mp4")) as container:
        frames = list(container.decode(video=0))
        duration = container.duration / 1e6
    assert len(frames) == FRAMES
    assert duration == pytest.approx(FRAMES * FRAME_S, abs=0.01)
    assert (frames[0].width, frames[0].height) == (4 * 384, 384 + 72)


def test_a_bar_of_the_video_grows_with_its_value(explanation: Explanation) -> None:
    values = np.array([1.0, 0.5, *[0.0] * (FRAMES - 2)])
    strip = draw_frame(explanation, [], values, place=11)[384:].astype(int)
    orange = (abs(strip - [0xD5, 0x5E, 0x00]).sum(-1) == 0).sum(0)
    width = strip.shape[1] / FRAMES
    tall, half, none = (orange[round((n + 0.5) * width)] for n in range(3))
    assert tall == pytest.approx(60, abs=1)
    assert half == pytest.approx(30, abs=1)
    assert none == 0
    assert strip[0, -1].tolist() == [225] * 3  # the current frame
    assert strip[0, 0].tolist() == [255] * 3


def test_every_ending_has_a_writer() -> None:
    assert set(ENDINGS) == set(WRITERS)


def test_the_command_writes_what_python_returns(
    astronaut: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "why.json"
    arguments = ["explain", str(astronaut), "-m", "debug", "--detector", "haar", "--at", "1200ms"]
    arguments += ["--person", "0", "--method", "leave-one-out", "--method", "words"]
    assert run([*arguments, "-o", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["start_s"] <= 1.2 < document["end_s"]
    assert list(document["findings"]) == ["leave-one-out", "words"]
    capsys.readouterr()
    assert run([*arguments, "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "leave-one-out" in printed
    assert document["label"] in printed
    assert "exists" in refused(capsys, *arguments, "-o", str(out))
    assert "extension" in refused(capsys, *arguments, "-o", str(tmp_path / "why.gif"))


def test_an_exported_model_cannot_be_explained(
    exported: Path, astronaut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "explain", str(astronaut), "-m", str(exported))
    assert "exported model" in said
