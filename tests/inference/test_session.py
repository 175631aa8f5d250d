"""The way of one source through a model, with the network of `debug` and faces that are drawn."""

from __future__ import annotations

import gc
import math
import re
import signal
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_yunet import FakeYuNet, face_row, install
from numpy.typing import NDArray
from PIL import Image as Picture
from synthetic_videos import write_video

from peclip.errors import ConfigError, VideoError
from peclip.predict_options import PredictOptions
from peclip.recognizers.pe_clip import PEClip
from peclip.results.rows import Row
from peclip.types import Batch
from peclip.video.faces import FaceBox, Image
from peclip.video.frames import Frames
from peclip.video.reader import open_video
from peclip.video.windows import FaceWindow


class Bright:
    """A detector that finds the bright rectangles of drawn videos, left to right."""

    name = "bright"

    def detect(self, image: Image, max_side: int = 640) -> list[FaceBox]:
        columns = (image[..., 0] > 200).any(0).astype(np.int8)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], columns, [0]])))
        return [
            FaceBox(float(a), 10.0, float(b - a), 30.0, 0.9)
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]


@pytest.fixture(scope="module")
def debug() -> PEClip:
    return PEClip.from_pretrained("debug", device="cpu")


@pytest.fixture
def bright(debug: PEClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        debug, "detector", lambda options: None if options.face_crop is False else Bright()
    )


def drawn(count: int, *people: tuple[int, range], width: int = 30) -> np.ndarray:
    """A video (T, 60, 200, 3) with people as (place, frames)."""
    video = np.zeros((count, 60, 200, 3), np.uint8)
    for left, frames in people:
        for frame in frames:
            video[frame, 10:40, left : left + width] = 220
    return video


def test_rows_cover_people_and_windows(debug: PEClip, bright: None) -> None:
    video = drawn(50, (10, range(50)), (100, range(25, 50)))
    prediction = debug.predict(video, PredictOptions(window=1, hop=1, frame_rate=25))
    assert [(r.window, r.track_id, r.n_faces, r.status) for r in prediction.rows] == [
        (0, 0, 1, "ok"),
        (1, 0, 2, "ok"),
        (1, 1, 2, "ok"),
    ]
    for row in prediction.rows:
        assert sum(row.scores.values()) == pytest.approx(1, abs=1e-5)
        assert tuple(row.scores) == debug.labels.names
        assert row.label == max(row.scores, key=lambda name: row.scores[name])
        assert row.score == row.scores[row.label]
        assert (row.model, row.source) == ("debug", "array")
    assert prediction.rows[0].box == (10, 10, 30, 30)
    assert prediction.main_track is not None
    assert prediction.main_track.track_id == 0


def test_a_window_below_the_minimum_score_is_uncertain(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(windows: list[FaceWindow]) -> list[list[float]]:
        certain = [0.7, 0.3, 0, 0, 0, 0, 0]
        return [certain if w.window == 0 else [0.4, 0.35, 0.25, 0, 0, 0, 0] for w in windows]

    monkeypatch.setattr(debug, "scorer", lambda video, options: score)
    options = PredictOptions(window=1, hop=1, min_score=0.5, min_face=20)
    rows = debug.predict(drawn(50, (10, range(50))), options).rows
    assert [(r.status, r.label, r.score) for r in rows] == [
        ("ok", "happiness", 0.7),
        ("uncertain", None, None),
    ]
    assert [r.margin for r in rows] == pytest.approx([0.4, 0.05])
    small = options.model_copy(update={"min_face": 40})
    rows = debug.predict(drawn(50, (10, range(50))), small).rows
    assert [r.status for r in rows] == ["low_quality"] * 2


def test_rows_have_the_measures_of_the_face(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = drawn(25, (10, range(25)))
    (row,) = debug.predict(video, PredictOptions(window=1, hop=1)).rows
    assert row.brightness == pytest.approx(220 / 1.3**2, abs=12), "a margin of 0.3 around 220"
    assert row.sharpness is not None
    assert (row.yaw, row.roll, row.unlike_training) == (None, None, None), "no landmarks, no ranges"
    ranges = {"size": (40, None), "brightness": (100, 200), "yaw": (None, 30)}
    known = debug.loaded.derive(face_ranges=ranges)
    monkeypatch.setattr(debug, "loaded", known)
    (row,) = debug.predict(video, PredictOptions(window=1, hop=1)).rows
    assert row.unlike_training == ("size",)
    assert debug.predict(np.zeros_like(video)).rows[0].unlike_training is None, "no face"


def test_max_people_keeps_the_person_seen_longest(debug: PEClip, bright: None) -> None:
    """One participant; somebody walks through the first of three seconds."""
    video = drawn(75, (10, range(20)), (100, range(10, 75)))
    options = PredictOptions(window=1, hop=1, max_people=1)
    every = debug.predict(video, options.model_copy(update={"max_people": None}))
    one = debug.predict(video, options)
    assert [(r.window, r.track_id) for r in every.rows] == [(0, 0), (0, 1), (1, 1), (2, 1)]
    assert one.rows == every.rows[1:]
    assert one.metadata["left_out"] == {"people": 1, "rows": 1}
    assert "left_out" not in every.metadata
    assert list(debug.stream(video, options)) == list(one.rows)


def test_rows_held_for_max_people_are_written_before_a_failure(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(windows: list[object]) -> list[list[float]]:
        if len(windows) and windows[0].window == 1:
            raise VideoError("no more")
        return [[1 / 7] * 7 for _ in windows]

    monkeypatch.setattr(debug, "scorer", lambda video, options: score)
    options = PredictOptions(window=1, hop=1, max_people=1, batch_size=1)
    session = debug.open(drawn(75, (10, range(75))), options)
    assert [row.status for row in session.rows()] == ["ok", "decode_error"]


def test_a_video_without_a_face_gives_a_row(debug: PEClip, bright: None) -> None:
    prediction = debug.predict(drawn(30), PredictOptions())
    assert prediction.label is None
    assert prediction.scores == {}
    assert {(r.status, r.label, r.n_faces, r.track_id) for r in prediction.rows} == {
        ("no_face", None, 0, -1)
    }


def test_small_and_rare_faces_are_marked_and_do_not_decide(debug: PEClip, bright: None) -> None:
    video = drawn(50, (10, range(50)))
    video[25:] = drawn(25, (10, range(5)))
    options = PredictOptions(window=1, hop=1)
    assert [r.status for r in debug.predict(video, options).rows] == ["ok", "low_quality"]
    small = debug.predict(video, PredictOptions(window=1, hop=1, min_face=31))
    assert [r.status for r in small.rows] == ["low_quality"] * 2
    assert small.label is not None, "poor views decide where there is nothing better"


def test_a_cropped_video_is_used_whole(debug: PEClip) -> None:
    video = np.random.default_rng(0).integers(0, 256, (10, 40, 40, 3), np.uint8)
    (row,) = debug.predict(video, PredictOptions(face_crop=False)).rows
    assert (row.track_id, row.status, row.box) == (-1, "ok", (0, 0, 40, 40))
    assert (row.face_conf, row.n_faces) == (None, 0), "nobody was looked for"
    assert row.label is not None


def test_arrays_tensors_and_frames_give_the_same(debug: PEClip, bright: None) -> None:
    video = drawn(20, (10, range(20)))
    tensor = torch.from_numpy(video).permute(0, 3, 1, 2)
    times = np.arange(20) / 25
    rows = [debug.predict(v).rows for v in (video, tensor, Frames(video, times))]
    assert rows[0] == rows[1] == rows[2]


def test_the_batch_size_does_not_matter(debug: PEClip, bright: None) -> None:
    rng = np.random.default_rng(0)
    video = drawn(100, (10, range(100)), (100, range(100)))
    video[..., 1:] = rng.integers(0, 256, video[..., 1:].shape)
    one = debug.predict(video, PredictOptions(batch_size=1)).rows
    many = debug.predict(video, PredictOptions(batch_size=64)).rows
    for a, b in zip(one, many, strict=True):
        assert (a.track_id, a.window, a.label) == (b.track_id, b.window, b.label)
        assert list(a.scores.values()) == pytest.approx(list(b.scores.values()), abs=1e-5)


def test_a_model_call_holds_at_most_batch_size_windows(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    ask = debug.probabilities
    monkeypatch.setattr(
        debug, "probabilities", lambda b, *w: sizes.append(len(b.frames)) or ask(b, *w)
    )
    people = [(5 + 38 * n, range(30)) for n in range(5)]
    debug.predict(drawn(30, *people), PredictOptions(batch_size=2))
    assert max(sizes) == 2
    assert sum(sizes) == 10


def test_faces_are_detected_while_the_model_computes(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    further = threading.Event()

    class Counting(Bright):
        def detect(self, image: Image, max_side: int = 640) -> list[FaceBox]:
            seen.append(1)
            if len(seen) > 80:  # the first window is complete with the 64th frame
                further.set()
            return super().detect(image)

    ask, waited = debug.probabilities, []

    def slow(batch: Batch, weight: float) -> list[list[float]]:
        waited.append(further.wait(60))
        return ask(batch, weight)

    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setattr(debug, "detector", lambda options: Counting())
    monkeypatch.setattr(debug, "probabilities", slow)
    options = PredictOptions(window=2.5, hop=1, batch_size=1, frame_rate=25, detect_rate=25)
    debug.predict(drawn(100, (10, range(100))), options)
    assert waited[0], "the first prediction was not waited for"


def test_prefetching_is_off_for_spinning_threads(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = drawn(100, (10, range(100)))
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    ahead = debug.predict(video).rows
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr("peclip.inference.session.run_ahead", pytest.fail)
    assert debug.predict(video).rows == ahead, "the ways give the same rows"


def test_closing_a_session_early_leaves_no_thread(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    before = threading.active_count()
    options = PredictOptions(batch_size=1, frame_rate=25)
    rows = debug.stream(drawn(200, (10, range(200))), options)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_interrupt_waits_for_a_chunk_and_not_for_a_batch(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    picture = drawn(1, (10, range(1)))

    class Long(Breaking):
        def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
            for number in range(1000):
                asked.append(False)
                if number == 3:
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    asked[-1] = session._left.wait(60)
                yield Frames(picture, np.array([number / 25]))

    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setattr("peclip.inference.source.open_video", lambda *_, **__: Long(1000))
    before = threading.active_count()
    session = debug.open("x.mp4", PredictOptions(window=math.inf))
    with pytest.raises(KeyboardInterrupt):
        list(session)
    assert asked[:4] == [False, False, False, True]
    assert len(asked) <= 4 + 17, "16 frames are read while one is searched"
    assert threading.active_count() == before


def test_a_video_of_few_frames_a_second_is_one_person(debug: PEClip, bright: None) -> None:
    video = drawn(12, (10, range(12)))
    rows = debug.predict(video, PredictOptions(frame_rate=0.5, window=8, hop=8)).rows
    assert {(row.track_id, row.status) for row in rows} == {(0, "ok")}


def test_an_invalid_source_is_a_one_line_error(debug: PEClip) -> None:
    for source in ([np.zeros((4, 4, 3))], True, None, 1.5):
        with pytest.raises(ConfigError, match="Use a path"):
            debug.predict(source)


def test_start_and_end_cut_the_video(debug: PEClip, bright: None) -> None:
    video = drawn(100, (10, range(100)))
    rows = debug.predict(video, PredictOptions(start=1.0, end=3.0, window=1, hop=1)).rows
    assert [(r.start_s, r.end_s) for r in rows] == [(1, 2), (2, pytest.approx(3))]
    assert [(r.start_frame, r.end_frame) for r in rows] == [(25, 49), (50, 74)]
    with pytest.raises(VideoError, match=r"no frames between 9\.0 s and the end"):
        debug.predict(video, PredictOptions(start=9))


def test_times_count_from_the_first_frame_or_from_the_start_of_the_container(
    debug: PEClip, bright: None, tmp_path: Path
) -> None:
    """The video starts two seconds after the sound; a range is in the times of the rows."""
    path = write_video(
        tmp_path / "late.mkv",
        drawn(50, (10, range(50))),
        times_ms=[2000 + 40 * i for i in range(50)],
        audio=True,
    )

    def spans(**options: object) -> list[tuple[float, float, int, int]]:
        chosen = PredictOptions.model_validate({"window": 1, "hop": 1, **options})
        rows = debug.predict(path, chosen).rows
        return [
            (round(r.start_s - late, 3), round(r.end_s - late, 3), r.start_frame, r.end_frame)
            for r in rows
        ]

    late = 0.0
    assert spans() == [(0, 1, 0, 24), (1, 2, 25, 49)]
    assert spans(start=1) == [(1, 2, 25, 49)]
    about = debug.predict(path, PredictOptions()).metadata["video"]
    late = about["start_s"]
    assert late == pytest.approx(2, abs=0.15)  # the coder of the sound starts earlier
    assert spans(time_origin="container") == [(0, 1, 0, 24), (1, 2, 25, 49)]
    assert spans(time_origin="container", start=late + 1) == [(1, 2, 25, 49)]
    with pytest.raises(
        VideoError, match=r"no frames between 0\.0 s and 1\.0 s; they start at 1\.87 s"
    ):
        debug.predict(path, PredictOptions(time_origin="container", end=1))


def test_a_picture_that_is_shown_for_seconds_is_one_row(
    debug: PEClip, bright: None, tmp_path: Path
) -> None:
    pictures = [Picture.fromarray(frame) for frame in drawn(2, (10, range(2)))]
    pictures[1].putpixel((0, 0), (9, 9, 9))
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=[pictures[1]], duration=[400, 2000]
    )
    (row,) = debug.predict(tmp_path / "a.gif", PredictOptions(window=3)).rows
    assert (row.start_s, row.end_s, row.end_frame) == (0, pytest.approx(2.4), 1)


@pytest.mark.slow
def test_rows_come_before_the_video_ends(debug: PEClip, bright: None, monkeypatch) -> None:
    seen = 0

    class Endless:
        from peclip.video.interface import VideoMetadata

        metadata = VideoMetadata(200, 60, 25.0, None, None, "test", live=True)

        def __enter__(self) -> Endless:
            return self

        def __exit__(self, *_: object) -> None: ...

        def stop(self) -> None: ...

        def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
            nonlocal seen
            picture = drawn(1, (10, range(1)))
            while True:
                yield Frames(picture, np.array([seen / 25]))
                seen += 1

    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setattr("peclip.inference.source.open_video", lambda *_, **__: Endless())
    rows: Iterator[Row] = debug.stream(0)  # a webcam: a batch of one
    next(rows)
    assert seen <= 60, "the next window, five frames that wait for the next look, 16 frames ahead"
    tracemalloc.start()
    for _ in range(50):
        next(rows)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(150):
        next(rows)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1_000_000, "memory must not grow with the video (150 windows kept no frames)"


class Breaking:
    """A reader that fails after some frames."""

    def __init__(self, frames: int, message: str = "decoding stopped") -> None:
        from peclip.video.interface import VideoMetadata

        self.metadata = VideoMetadata(200, 60, 25.0, None, None, "test")
        self._frames, self._message = frames, message

    def __enter__(self) -> Breaking:
        return self

    def __exit__(self, *_: object) -> None: ...

    def stop(self) -> None: ...

    def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
        if self._frames:
            data = drawn(self._frames, (10, range(self._frames)))
            yield Frames(data, np.arange(self._frames) / 25)
        raise VideoError(self._message)


def test_a_failure_in_the_middle_keeps_earlier_rows(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peclip.inference.source.open_video", lambda *_, **__: Breaking(40))
    session = debug.open("x.mp4", PredictOptions(window=1, hop=1))
    rows = list(session)
    assert [r.status for r in rows] == ["ok", "ok", "decode_error"]
    assert rows[1].end_s == pytest.approx(1.6)
    assert rows[2].start_s == pytest.approx(1.6)
    assert str(session.failure) == "decoding stopped"
    assert session.prediction().metadata["error"] == "decoding stopped"
    assert session.prediction().label is not None


def test_a_stored_failure_holds_no_frames(
    debug: PEClip, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images: list[weakref.ref[NDArray[np.uint8]]] = []

    class Watched(Breaking):
        def chunks(self, max_frames: int = 16) -> Iterator[Frames]:
            try:
                for frames in super().chunks():
                    images.append(weakref.ref(frames.data))
                    yield frames
            except VideoError as error:
                raise VideoError("damaged") from error

    monkeypatch.setattr("peclip.inference.source.open_video", lambda *_, **__: Watched(40))
    session = debug.open("x.mp4")
    list(session.rows())
    failure = session.failure
    del session
    gc.collect()
    assert str(failure) == "damaged"
    assert [image() for image in images] == [None]


def test_errors_name_the_address_and_not_a_temporary_file(
    debug: PEClip, bright: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, file = "https://example.org/a.mp4", tmp_path / "video"
    file.write_text("no video")
    monkeypatch.setattr("peclip.inference.source.open_remote", lambda *_, **__: nullcontext(file))
    with pytest.raises(VideoError, match=f"^{re.escape(address)} cannot be read as a video"):
        debug.predict(address)
    broken = Breaking(40, f"{file}: decoding stopped")
    monkeypatch.setattr("peclip.inference.source.open_video", lambda *_, **__: broken)
    session = debug.open(address)
    assert {row.source for row in session} == {address}
    assert str(session.failure) == f"{address}: decoding stopped"
    assert session.failure is not None
    assert session.failure.exit_code == 3


def test_an_unreadable_source_is_an_error(debug: PEClip, bright: None, monkeypatch) -> None:
    monkeypatch.setattr("peclip.inference.source.open_video", lambda *_, **__: Breaking(0))
    with pytest.raises(VideoError, match="decoding stopped"):
        debug.predict("x.mp4")


def test_the_metadata_records_the_settings(debug: PEClip, astronaut: Path) -> None:
    about = debug.predict(astronaut, PredictOptions(detector="haar", decoder="pyav")).metadata
    assert about["device"] == "cpu"
    assert about["precision"] == "fp32"
    assert about["decoder"] == "pyav"
    assert about["face_detector"] == "haar"
    assert about["video"]["width"] == 320
    assert about["preprocessing"]["image_size"] == 32
    assert about["label_texts"]["happiness"] == "Cheek Raiser, Lip Corner Puller."
    assert about["options"]["window"] == 1.0


@pytest.mark.parametrize(
    "values",
    [
        {"window": 0},
        {"hop": -1},
        {"start": 2, "end": 1},
        {"face_threshold": 2},
        {"detect_rate": 0.9},  # the frames between two looks are in memory
        {"x": 1},
    ],
)
def test_invalid_options_are_errors(values: dict) -> None:
    from peclip.config import check

    with pytest.raises(ConfigError, match="Invalid"):
        check(PredictOptions, values)


def several_people(astronaut: Path) -> Frames:
    """Two seconds of the example three times side by side; the third person appears after one."""
    with open_video(astronaut) as reader:
        one = reader.read(list(range(24, 72))).data
    three = np.concatenate([one, one[:, :, ::-1], one], axis=2)  # (48, 240, 960, 3)
    three[:24, :, 640:] = 0
    return Frames(three, np.arange(48) / 24)


def test_several_people_are_tracked_from_their_first_frame(debug: PEClip, astronaut: Path) -> None:
    options = PredictOptions(detector="haar", window=1, hop=1)
    prediction = debug.predict(several_people(astronaut), options)
    found = {(row.window, row.track_id): row for row in prediction.rows}
    assert sorted(found) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert {row.status for row in prediction.rows} == {"ok"}
    assert [found[window, 0].n_faces for window in (0, 1)] == [2, 3]
    # Each person is in one third of the picture; the detector may name the first two in either order.
    thirds = {track: set() for track in (0, 1, 2)}
    for (_, track), row in found.items():
        assert row.box is not None
        assert row.face_coverage > 0.8
        x, _, width, _ = row.box
        thirds[track].add(int((x + width / 2) // 320))
    assert sorted(thirds.values(), key=min) == [{0}, {1}, {2}]
    assert thirds[2] == {2}


def test_the_default_detector_gives_the_boxes_and_scores_of_the_rows(
    debug: PEClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YuNet's own file is not needed: a stand-in for OpenCV's class reports two faces per frame."""
    net = FakeYuNet(lambda picture: [face_row(20, 30, 40, 50, 0.9), face_row(100, 30, 40, 50, 0.8)])
    install(monkeypatch, net)
    debug._detectors.clear()
    video = Frames(np.zeros((24, 120, 160, 3), np.uint8), np.arange(24) / 24)
    try:
        prediction = debug.predict(video, PredictOptions(window=1, hop=1))
    finally:
        debug._detectors.clear()
    assert prediction.metadata["face_detector"] == "yunet"
    assert [(row.track_id, row.n_faces, row.box) for row in prediction.rows] == [
        (0, 2, (20, 30, 40, 50)),
        (1, 2, (100, 30, 40, 50)),
    ]
    assert [row.face_conf for row in prediction.rows] == pytest.approx([0.9, 0.8])


def test_a_looped_photo_of_five_people_gives_five_tracks(
    debug: PEClip, yunet: Path, clips: Path
) -> None:
    with open_video(clips / "multi_face.jpg") as reader:
        photo = reader.read([0]).data
    video = Frames(np.broadcast_to(photo, (30, *photo.shape[1:])), np.arange(30) / 25)
    prediction = debug.predict(video)
    assert sorted(prediction.tracks) == [0, 1, 2, 3, 4]
    assert {row.n_faces for row in prediction.rows} == {5}


def test_a_prediction_keeps_the_faces_of_each_frame(debug: PEClip, bright: None) -> None:
    # The second person is seen in two frames only and has no row.
    video = drawn(30, (10, range(30)), (100, range(5, 7)))
    options = PredictOptions(frame_rate=25, detect_rate=math.inf)
    frames = list(debug.predict(video, options).frame_rows())
    assert [(f.frame, f.face_id) for f in frames] == [(n, 0) for n in range(30)]
    assert frames[0].box == (10, 10, 30, 30)
    session = debug.open(video, options)
    assert list(session)
    assert session.prediction().faces is None


def test_faces_of_people_who_are_left_out_have_no_id(debug: PEClip, bright: None) -> None:
    video = drawn(50, (10, range(50)), (100, range(25)))
    options = PredictOptions(frame_rate=25, max_people=1)
    assert {f.face_id for f in debug.predict(video, options).frame_rows()} == {0}
