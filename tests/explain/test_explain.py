"""From a video to the explanation of one window, and its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
from peclip.explain import Explanation, Finding, explain
from peclip.explain.figure import plot_explanation, shown_frames
from peclip.explain.film import FRAME_S, draw_frame
from peclip.explain.heat import paint
from peclip.explain.outputs import WRITERS, save
from peclip.explain.window_choice import choose_window
from peclip.inference.session import Session

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


def test_a_label_is_explained_where_it_is_most_likely(seeing: PEClip) -> None:
    """Anger is visible in frames 5 to 8, from 0.16 to 0.32 s; at the end, only `neutral` is likely."""
    options = PredictOptions(face_crop=False, window=0.16, hop=0.16)
    video = draw_evidence(2, range(4, 8), (0, 1))
    for label in ("anger", "neutral"):
        index = seeing.labels.index(label)
        chosen = choose_window(seeing, video, None, None, options, index)
        rows = seeing.predict(video, options).rows
        best = max(rows, key=lambda row: row.scores[label])
        assert chosen.window.start_s == best.start_s
    assert best.start_s != pytest.approx(0.16)


def test_the_last_moment_belongs_to_the_last_window(seeing: PEClip) -> None:
    options = PredictOptions(face_crop=False, window=0.24, hop=0.24)
    video = draw_evidence(2, range(4, 8), (0, 1))
    assert choose_window(seeing, video, 0.48, None, options).window.start_s == pytest.approx(0.24)
    assert choose_window(seeing, video, 0.24, None, options).window.start_s == pytest.approx(0.24)


@pytest.mark.parametrize(
    ("at", "changes", "remedy"),
    [
        (float("nan"), {}, "nan s; use a number of seconds"),
        (float("inf"), {}, "inf s; use a number of seconds"),
        (None, {"baseline": "median"}, "'median'.*Remove the option"),
    ],
)
def test_refused_before_the_video_is_read(
    seeing: PEClip, at: float | None, changes: dict[str, str], remedy: str
) -> None:
    options = PredictOptions(**changes)
    with pytest.raises(ConfigError, match=remedy):
        explain(seeing, Path("missing.mp4"), at=at, options=options)


def test_people_without_rows_are_not_explained() -> None:
    """Of two people, `max_people` keeps the one seen longest, although the other has the larger face."""
    from peclip.explain.window_choice import _Search
    from peclip.video.faces import FaceBox
    from peclip.video.windows import FaceWindow

    def window(track: int, side: float) -> FaceWindow:
        crops = np.zeros((1, 4, 4, 3), np.uint8)
        box = FaceBox(0, 0, side, side, 1)
        return FaceWindow(track, 0, 0.0, 1.0, 0, 9, 1, crops, box, 1.0, 2)

    search = _Search(0.5, None, None)
    for track, side in ((0, 20), (1, 80)):
        search.offer(window(track, side), [0.5, 0.5])
    assert search.best({0, 1}).window.track_id == 1
    assert search.best({0}).window.track_id == 0
    assert search.best(set()) is None


def test_unknown_methods_are_named_before_anything_is_read(seeing: PEClip) -> None:
    with pytest.raises(ConfigError, match="'grad-cam'.*rollout"):
        explain(seeing, Path("missing.mp4"), methods=["grad-cam"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="'streams'.*single stream.*dynamic-scale, rollout"):
        explain(seeing, Path("missing.mp4"), methods=["words", "streams"])


def test_the_position_in_the_video_can_be_followed(seeing: PEClip) -> None:
    positions = []

    @contextmanager
    def follow(session: Session) -> Iterator[None]:
        positions.append(session.position_s)
        yield
        positions.append(session.position_s)

    video = draw_evidence(2, range(4, 8), (0, 1))
    explain(seeing, video, methods=["rollout"], options=WHOLE, follow=follow)
    assert positions == pytest.approx([0.0, 0.44])  # the time of the last frame


def test_json_has_all_numbers(explanation: Explanation, tmp_path: Path) -> None:
    save(explanation, tmp_path / "why.json")
    document = json.loads((tmp_path / "why.json").read_text())
    found = document["findings"]["leave-one-out"]
    assert found["forward_passes"] == FRAMES + 1
    assert found["frames"] == pytest.approx(
        explanation.findings["leave-one-out"].frames.tolist(), abs=1e-6
    )
    assert np.shape(document["findings"]["rollout"]["maps"]) == (FRAMES, 2, 2)
    assert document["log_odds"] == pytest.approx(explanation.log_odds, rel=1e-5)
    p = explanation.scores["anger"]
    assert explanation.log_odds == pytest.approx(np.log(p / (1 - p)), abs=1e-3)
    assert document["scores"] == pytest.approx(dict(explanation.scores), abs=1e-6)
    assert document["times_s"][5] == 0.2
    assert {word["text"] for word in document["findings"]["words"]["words"]} >= {"lid tightener"}


def test_small_numbers_keep_their_digits_in_json() -> None:
    values = np.array([1.23456789e-7, -12345.678, 0.0])
    finding = Finding("gradient", 1, frames=values, maps=values[:, None, None])
    document = finding.to_dict()
    assert document["frames"] == [1.23457e-7, -12345.7, 0.0]
    assert document["maps"] == [[[1.23457e-7]], [[-12345.7]], [[0.0]]]


def test_a_file_of_another_kind_is_refused(explanation: Explanation, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'why.gif'.*\.png, .*\.json"):
        save(explanation, str(tmp_path / "why.gif"))


@pytest.mark.filterwarnings("ignore:Glyph")  # the font for it may not be installed
@pytest.mark.parametrize("letters", ["expression ", "表情"])
def test_long_names_stay_inside_the_picture(explanation: Explanation, letters: str) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.text import Text

    long = {name: f"{name} {letters * 100}"[:200] for name in explanation.scores}
    words = explanation.findings["words"]
    renamed = replace(
        explanation,
        source=f"{letters * 40}.mp4",
        model=letters * 40,
        label=long["anger"],
        scores={long[name]: score for name, score in explanation.scores.items()},
        findings={
            "words": replace(
                words,
                words=tuple(
                    replace(word, text=letters * 60, label=long[word.label]) for word in words.words
                ),
            )
        },
    )
    figure = plot_explanation(renamed)
    figure.draw_without_rendering()
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= 0, text.get_text()
            assert box.x1 <= figure.bbox.x1, text.get_text()


def test_copies_of_a_frame_are_shown_once(explanation: Explanation) -> None:
    short = replace(explanation, frame_numbers=(3, 3, 3, 3, 5, 5, 5, 5, 8, 8, 8, 8))
    assert shown_frames(short) == [0, 4, 8]
    assert shown_frames(replace(explanation, frame_numbers=(7,) * FRAMES)) == [0]


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
    assert (frames[0].width, frames[0].height) == (4 * 384, 48 + 384 + 24 + 72)


def test_a_bar_of_the_video_grows_with_its_value(explanation: Explanation) -> None:
    values = np.array([1.0, 0.5, *[0.0] * (FRAMES - 2)])
    ranking = Finding("leave-one-out", 1, frames=values)
    frame = draw_frame(explanation, [], ranking, place=11)
    strip = frame[48 + 384 + 24 :].astype(int)
    orange = (abs(strip - [0xD5, 0x5E, 0x00]).sum(-1) == 0).sum(0)
    width = strip.shape[1] / FRAMES
    tall, half, none = (orange[round((n + 0.5) * width)] for n in range(3))
    assert tall == pytest.approx(60, abs=1)
    assert half == pytest.approx(30, abs=1)
    assert none == 0
    assert strip[0, -1].tolist() == [225] * 3  # the current frame
    assert strip[0, 0].tolist() == [255] * 3
    undirected = draw_frame(explanation, [], replace(ranking, is_directed=False), place=11)
    green = undirected[48 + 384 + 24 :].astype(int) - [0x00, 0x9E, 0x73]
    assert (abs(green).sum(-1) == 0).sum(0)[round(width / 2)] == pytest.approx(60, abs=1)


def test_a_frame_of_the_video_says_what_it_shows(explanation: Explanation) -> None:
    """Above each column are two lines, and above the bars one, whatever the label is."""
    rollout, ranking = explanation.findings["rollout"], explanation.findings["leave-one-out"]
    for label in ("anger", "怒り"):
        scores = {label if n == "anger" else n: p for n, p in explanation.scores.items()}
        one = replace(explanation, label=label, scores=scores)
        dark = draw_frame(one, [rollout], ranking, 0).min(-1) < 100
        for column in (slice(384), slice(384, 768)):
            assert dark[:24, column].any()
            assert dark[24:48, column].any()
        assert dark[48 + 384 : 48 + 384 + 24].any()


def test_every_ending_has_a_writer() -> None:
    assert set(ENDINGS) == set(WRITERS)


def test_the_command_writes_what_python_returns(
    astronaut: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "why.json"
    arguments = ["explain", str(astronaut), "-m", "debug", "--detector", "haar", "--at", "1200ms"]
    arguments += ["--person", "0", "--method", "leave-one-out", "--method", "words"]
    assert run([*arguments, "-o", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["start_s"] <= 1.2 < document["end_s"]
    assert list(document["findings"]) == ["leave-one-out", "words"]
    capsys.readouterr()
    monkeypatch.setattr("peclip.runtime.cpu_prefers_bf16", lambda: True)  # for predictions only
    assert run([*arguments, "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "leave-one-out" in printed
    assert document["label"] in printed
    assert "exists" in refused(capsys, *arguments, "-o", str(out))
    assert "extension" in refused(capsys, *arguments, "-o", str(tmp_path / "why.gif"))


@pytest.mark.slow  # the export takes ten seconds
def test_an_exported_model_cannot_be_explained(
    exported: Path, astronaut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "explain", str(astronaut), "-m", str(exported))
    assert "exported model" in said
