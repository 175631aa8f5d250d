from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from peclip.errors import VideoError
from peclip.video import observer, recent
from peclip.video.faces import FaceBox, Image
from peclip.video.frames import Frames
from peclip.video.observer import WHOLE_FRAME, Observation, Observer, Sighting
from peclip.video.windows import FaceWindow, cut_windows


def observations(
    times: Iterable[float], people: dict[int, range] | None = None, duration: float = 0.0
) -> list[Observation]:
    """People by track id, with the frames in which they are seen; crops carry the frame number."""
    people = {0: range(10**6)} if people is None else people
    made = []
    for index, time in enumerate(times):
        crop = np.full((2, 2, 3), index % 256, np.uint8)
        box = FaceBox(10.0 + index, 20.0, 30.0, 40.0, 0.8)
        seen = tuple(Sighting(t, box, crop) for t, frames in people.items() if index in frames)
        made.append(Observation(index, time, seen, duration=duration))
    return made


def cut(
    items: list[Observation], window: float = 1.0, hop: float = 0.5, num_frames: int = 4
) -> list[list[FaceWindow]]:
    return list(cut_windows(items, window=window, hop=hop, num_frames=num_frames, size=2))


def spans(groups: list[list[FaceWindow]]) -> list[tuple[float, float]]:
    return [(round(g[0].start_s, 4), round(g[0].end_s, 4)) for g in groups]


def test_windows_lie_on_the_grid_and_the_last_ends_with_the_video() -> None:
    groups = cut(observations(n / 30 for n in range(72)))
    assert spans(groups) == [(0, 1), (0.5, 1.5), (1, 2), (1.4, 2.4)]
    assert [(g[0].start_frame, g[0].end_frame) for g in groups] == [
        (0, 29),
        (15, 44),
        (30, 59),
        (42, 71),
    ]
    assert [g[0].window for g in groups] == [0, 1, 2, 3]


def test_a_video_that_the_grid_fills_has_no_extra_window() -> None:
    assert spans(cut(observations(n / 10 for n in range(30)))) == [
        (0, 1),
        (0.5, 1.5),
        (1, 2),
        (1.5, 2.5),
        (2, 3),
    ]


@pytest.mark.parametrize("count", [1, 2, 7, 9])
def test_a_short_video_is_one_window(count: int) -> None:
    groups = cut(observations(n / 10 for n in range(count)))
    assert len(groups) == 1
    assert groups[0][0].end_frame == count - 1
    assert groups[0][0].end_s == pytest.approx(0 if count == 1 else count / 10)


def test_every_frame_is_in_a_window() -> None:
    for count in range(1, 60):
        groups = cut(observations(n / 10 for n in range(count)), window=0.7, hop=0.3)
        covered = {f for g in groups for f in range(g[0].start_frame, g[0].end_frame + 1)}
        assert covered == set(range(count))


@pytest.mark.parametrize("times", [[0.0, 2.0], [0.0, 2.0, 4.0], [0.0, 0.1, 0.2, 5.0]])
def test_a_last_frame_after_a_pause_is_in_a_window(times: list[float]) -> None:
    groups = cut(observations(times))
    assert groups[-1][0].end_frame == len(times) - 1
    assert groups[-1][0].start_s <= times[-1] <= groups[-1][0].end_s


@pytest.mark.parametrize("hop", [30.0, 7.0])
def test_a_window_records_its_first_and_last_frame(hop: float) -> None:
    """Its pictures are thinned out, and its bounds are not."""
    groups = cut(observations(n / 30 for n in range(3600)), window=60.0, hop=hop)
    bounds = [(g[0].start_frame, g[0].end_frame) for g in groups]
    assert len(bounds) == 1 + math.ceil(60 / hop)
    for number, (first, last) in enumerate(bounds):
        start = min(number * hop, 60)
        assert (first, last) == (round(start * 30), round((start + 60) * 30) - 1)


def test_crops_are_segment_centres_of_the_persons_frames() -> None:
    ((window,),) = cut(observations(n / 10 for n in range(8)))
    assert window.crops[:, 0, 0, 0].tolist() == [1, 3, 5, 7]
    assert window.crops.shape == (4, 2, 2, 3)
    assert window.num_frames_used == 4
    assert window.crop_frames == (1, 3, 5, 7)
    ((short,),) = cut(observations(n / 10 for n in range(3)))
    assert short.crops[:, 0, 0, 0].tolist() == [0, 1, 2, 2]
    assert short.num_frames_used == 3
    assert short.crop_frames == (0, 1, 2, 2)


def test_variable_frame_rate_counts_in_seconds() -> None:
    times = [0.0, 0.1, 0.2, 0.9, 1.0, 1.01, 1.02, 1.8, 2.0]
    groups = cut(observations(times), hop=1.0)
    assert [(g[0].start_frame, g[0].end_frame) for g in groups][:2] == [(0, 3), (4, 7)]


def test_a_gap_in_time_gives_no_windows() -> None:
    times = [n / 10 for n in range(10)] + [1e9 + n / 10 for n in range(10)]
    groups = cut(observations(times))
    assert len(groups) < 6
    assert groups[0][0].end_frame == 9
    assert groups[-1][0].end_frame == 19


def test_people_have_ids_in_the_order_of_their_rows() -> None:
    people = {7: range(3), 5: range(20, 99), 2: range(99)}  # 7 is seen in three frames only
    groups = cut(observations((n / 10 for n in range(30)), people), hop=1.0)
    assert [[w.track_id for w in g] for g in groups] == [[0, 1], [0], [0, 2]]
    assert [w.n_faces for w in groups[0]] == [2, 2]
    assert groups[0][1].coverage == pytest.approx(0.3)


def test_a_face_of_one_frame_is_a_false_alarm() -> None:
    groups = cut(observations((n / 10 for n in range(10)), {3: range(4, 5)}))
    (window,) = groups[0]
    assert (window.track_id, window.n_faces, len(window.crops)) == (WHOLE_FRAME, 0, 0)
    assert window.box is None


def test_the_box_is_the_median_and_the_score_the_mean() -> None:
    ((window,),) = cut(observations(n / 10 for n in range(5)))
    assert window.box == FaceBox(12.0, 20.0, 30.0, 40.0, pytest.approx(0.8))


def test_windows_come_while_the_video_runs() -> None:
    read = 0

    def endless() -> Iterable[Observation]:
        nonlocal read
        for item in observations(n / 10 for n in range(10_000)):
            read += 1
            yield item

    stream = cut_windows(endless(), window=1.0, hop=0.5, num_frames=4, size=2)
    next(stream)
    assert read <= 12
    next(stream)
    assert read <= 17


def test_a_window_of_the_whole_video_keeps_few_frames() -> None:
    ((window,),) = cut(observations(n / 10 for n in range(5000)), window=math.inf)
    assert window.end_s == pytest.approx(500)
    assert window.num_frames_used == 4
    assert window.coverage == 1
    places = window.crops[:, 0, 0, 0].tolist()
    expected = [(5000 // 8 + 1250 * k) % 256 for k in range(4)]
    assert all(abs(a - b) <= 8 for a, b in zip(places, expected, strict=True))


class Sees:
    """A detector that finds a face where the red channel is bright."""

    name = "bright"

    def detect(self, image: Image, max_side: int = 640) -> list[FaceBox]:
        columns = np.flatnonzero(image[..., 0].max(0) > 200)
        if not len(columns):
            return []
        return [FaceBox(float(columns[0]), 10.0, float(len(columns)), 20.0, 0.9)]


def frames(count: int, seen: range) -> Frames:
    data = np.zeros((count, 200, 220, 3), np.uint8)
    for index in seen:
        data[index, 10:30, 20:40, 0] = 255
    return Frames(data, np.arange(count) / 10)


def test_an_observer_numbers_frames_over_all_chunks() -> None:
    video = frames(6, range(6))
    chunks = [
        Frames(video.data[:4], video.timestamps[:4]),
        Frames(video.data[4:], video.timestamps[4:]),
    ]
    seen = list(Observer(Sees(), size=8, margin=0.0).observe(chunks))
    assert [o.index for o in seen] == list(range(6))
    assert [o.time for o in seen] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert {s.track_id for o in seen for s in o.sightings} == {0}
    assert seen[0].sightings[0].crop[4, 4, 0] > 200


def test_without_a_detector_every_frame_is_one_crop() -> None:
    seen = list(Observer(None, size=8).observe([frames(3, range(0))]))
    assert [[s.track_id for s in o.sightings] for o in seen] == [[WHOLE_FRAME]] * 3
    assert seen[0].sightings[0].face == FaceBox(10, 0, 200, 200, 1.0), "the square that is read"


def test_frames_are_numbered_from_the_beginning_of_the_video() -> None:
    seen = list(Observer(Sees(), size=8).observe([frames(20, range(20))], start=0.5, end=1.0))
    assert [o.index for o in seen] == [5, 6, 7, 8, 9]


def test_a_time_just_before_a_second_rounds_to_that_second() -> None:
    times = np.array([0.0, 0.5, 0.9999999999999998, 1.5])
    video = Frames(frames(4, range(4)).data, times)
    parts = [
        [o.index for o in Observer(Sees(), size=8).observe([video], start=start, end=end)]
        for start, end in ((0.0, 1.0), (1.0, 2.0))
    ]
    assert parts == [[0, 1], [2, 3]]


class Follows:
    """Sees one face that moves 2 pixels a frame, and counts how often it is asked."""

    name = "follows"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def detect(self, image: np.ndarray, max_side: int = 640) -> list[FaceBox]:
        number = int(image[0, 0, 0])
        self.asked.append(number)
        x = 10.0 + 2 * number
        return [FaceBox(x, 10, 20, 20, 0.9, eyes=((x + 5, 15), (x + 15, 15)))]


def numbered(count: int, rate: float = 30.0) -> Frames:
    """Frames that are large enough for detections to be left out, filled with their numbers."""
    data = np.empty((count, 200, 220, 3), np.uint8)
    data[:] = np.arange(count)[:, None, None, None]
    return Frames(data, np.arange(count) / rate)


def test_faces_between_two_detections_are_interpolated() -> None:
    """At 30 frames and 10 looks a second, every third frame is searched, and the last one.

    The motion is known to be even after three, and the next one, 9, is left out.
    """
    often, seldom = Follows(), Follows()
    every = list(Observer(often, size=8).observe([numbered(12)]))
    list(Observer(seldom, size=8, detect_rate=10.0).observe([numbered(7)]))
    assert often.asked == list(range(12))
    assert seldom.asked == [0, 3, 6]
    some = list(Observer(seldom, size=8, detect_rate=10.0).observe([numbered(12)]))
    assert seldom.asked == [0, 3, 6, 0, 3, 6, 11]
    for a, b in zip(every, some, strict=True):
        ((one,), (other,)) = a.sightings, b.sightings
        assert (a.index, a.time, one.track_id) == (b.index, b.time, other.track_id)
        assert (one.face.x, one.face.score) == pytest.approx((other.face.x, other.face.score))
        assert other.face.eyes is not None
        assert other.face.eyes[0] == pytest.approx((one.face.x + 5, 15))
        assert np.array_equal(one.crop, other.crop)


class Jumps(Follows):
    """Sees a face at rest, which is elsewhere from some frame on."""

    def __init__(self, moved: int) -> None:
        super().__init__()
        self._moved = moved

    def detect(self, image: np.ndarray, max_side: int = 640) -> list[FaceBox]:
        number = int(image[0, 0, 0])
        self.asked.append(number)
        return [FaceBox(14.0 if number >= self._moved else 10.0, 10, 20, 20, 0.9)]


def test_every_other_detection_is_left_out_while_faces_move_evenly() -> None:
    """Searches of the whole frame are not: they are due every half second, which is every 15th frame."""
    detector = Jumps(moved=1000)
    list(Observer(detector, size=8, detect_rate=10.0).observe([numbered(40)]))
    assert detector.asked == [0, 3, 6, 12, 15, 21, 27, 30, 36, 39]


def test_no_detection_is_left_out_in_frames_so_small_that_they_are_always_searched() -> None:
    detector, video = Jumps(moved=1000), numbered(13)
    small = Frames(video.data[:, :150, :200], video.timestamps)
    list(Observer(detector, size=8, detect_rate=10.0).observe([small]))
    assert detector.asked == [0, 3, 6, 9, 12]


def test_detections_are_not_left_out_after_a_face_has_moved_unevenly() -> None:
    detector = Jumps(moved=18)
    list(Observer(detector, size=8, detect_rate=10.0).observe([numbered(40)]))
    assert detector.asked == [0, 3, 6, 12, 15, 21, 24, 27, 30, 36, 39]


def test_detections_are_left_out_neither_at_higher_rates_nor_in_a_full_search() -> None:
    for options in ({"detect_rate": 15.0}, {"detect_rate": 10.0, "full_search": True}):
        detector = Jumps(moved=1000)
        list(Observer(detector, size=8, **options).observe([numbered(13)]))  # type: ignore[arg-type]
        assert detector.asked == list(range(0, 13, 3 if "full_search" in options else 2))


def test_who_comes_or_goes_is_looked_for_where_detection_was_left_out() -> None:
    """At 10 frames a second; 3 and 5 are left out, and the face is gone from 6 on, or there from 3 on."""
    for seen, expected in ((range(6), range(6)), (range(5, 12), range(5, 12))):
        observer = Observer(Sees(), size=8, detect_rate=10.0)
        found = list(observer.observe([frames(12, seen)]))
        assert [o.index for o in found if o.sightings] == list(expected)
        assert {s.track_id for o in found for s in o.sightings} == {0}


class Counts(Sees):
    """Counts the images in which it looks for faces."""

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, image: Image, max_side: int = 640) -> list[FaceBox]:
        self.asked += 1
        return super().detect(image, max_side)


def test_who_jumps_is_looked_for_where_detection_was_left_out() -> None:
    """At 10 frames a second: 3 and 5 are left out, and the face, which is recognised, jumps to 70 in 5 or 6."""
    for jump in (5, 6):
        data = np.zeros((7, 200, 220, 3), np.uint8)
        data[:jump, 10:30, 20:40, 0] = 255
        data[jump:, 10:30, 70:90, 0] = 255
        observer = Observer(Sees(), size=8, detect_rate=10.0)
        found = list(observer.observe([Frames(data, np.arange(7) / 10)]))
        assert {s.track_id for o in found for s in o.sightings} == {0}
        assert [s.face.x for o in found for s in o.sightings] == [20.0] * jump + [70.0] * (7 - jump)


def test_a_video_that_ends_where_detection_was_left_out_is_searched_there_once() -> None:
    """At 10 frames a second, 3 is left out, and so would be 5, the last frame, in which the face is gone."""
    detector = Counts()
    found = list(Observer(detector, size=8, detect_rate=10.0).observe([frames(6, range(5))]))
    assert [len(o.sightings) for o in found] == [1, 1, 1, 1, 1, 0]
    assert detector.asked == 5


def test_detections_are_at_most_three_tenths_apart_before_a_pause() -> None:
    """In 3, detection is left out until it turns out that the next frame follows much later."""
    detector, video = Jumps(moved=1000), numbered(6)
    times = np.array([0.0, 0.1, 0.2, 0.3, 5.0, 5.1])
    list(Observer(detector, size=8, detect_rate=10.0).observe([Frames(video.data, times)]))
    assert detector.asked == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("rate", [10.0, math.inf])
def test_frames_at_the_same_time_have_faces(rate: float) -> None:
    """Times that differ by less than the resolution of a float once an origin is added to them."""
    video = Frames(numbered(9).data, np.full(9, 1e9))
    seen = list(Observer(Jumps(moved=1000), size=8, detect_rate=rate).observe([video]))
    assert [[s.face.x for s in o.sightings] for o in seen] == [[10.0]] * 9


def test_before_a_cut_the_detection_that_was_left_out_is_made_up_for() -> None:
    detector = Jumps(moved=12)
    video = numbered(18)
    video.data[12:, 1:] = 255
    seen = list(Observer(detector, size=8, detect_rate=10.0).observe([video]))
    assert detector.asked == [0, 3, 6, 9, 12, 15, 17]
    assert [s.face.x for o in seen[7:10] for s in o.sightings] == [10.0] * 3


def test_slow_videos_are_searched_in_every_frame() -> None:
    detector = Follows()
    list(Observer(detector, size=8, detect_rate=10.0).observe([numbered(5, rate=5.0)]))
    assert detector.asked == [0, 1, 2, 3, 4]


def test_a_person_seen_once_is_not_interpolated() -> None:
    seen = list(Observer(Sees(), size=8, detect_rate=4.0).observe([frames(9, range(5))]))
    # 10 frames a second: looks at 0, 3, 6 and 8; the face is there at 0 and 3 only.
    assert [len(o.sightings) for o in seen] == [1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_frames_before_a_broken_frame_are_searched() -> None:
    def chunks() -> Iterator[Frames]:
        yield numbered(5)
        raise VideoError("broken")

    detector = Follows()
    seen: list[Observation] = []
    with pytest.raises(VideoError):
        seen.extend(Observer(detector, size=8, detect_rate=10.0).observe(chunks()))
    assert [observation.index for observation in seen] == [0, 1, 2, 3, 4]
    assert detector.asked == [0, 3, 4]


def test_a_thinned_window_ends_with_the_video() -> None:
    for count in (1025, 2100, 4097):
        ((window,),) = cut(observations(n / 10 for n in range(count)), window=math.inf)
        assert (window.start_frame, window.end_frame) == (0, count - 1)


@pytest.mark.parametrize(
    ("times", "duration", "window", "expected"),
    [
        ([0.0], 5.0, 1.0, [(0, 5, 0, 0)]),  # a still
        ([0.0], 5.0, math.inf, [(0, 5, 0, 0)]),
        ([0.0, 0.1, 0.2], 0.5, 1.0, [(0, 0.7, 0, 2)]),
        ([0.0, 0.5, 1.0], 0.5, 1.0, [(0, 1, 0, 1), (0.5, 1.5, 1, 2)]),
        ([0.0, 0.5, 1.0], 4.0, 1.0, [(0, 1, 0, 1), (1, 5, 2, 2)]),  # longer than a window
        ([0.0, 3.0], 0.1, 1.0, [(0, 1, 0, 0), (2.1, 3.1, 1, 1)]),  # the pause before is longer
    ],
)
def test_the_last_frame_lasts_its_duration(
    times: list[float], duration: float, window: float, expected: list[tuple[float, ...]]
) -> None:
    groups = cut(observations(times, duration=duration), window=window, hop=1.0)
    found = [(g[0].start_s, g[0].end_s, g[0].start_frame, g[0].end_frame) for g in groups]
    assert [tuple(round(value, 4) for value in one) for one in found] == expected


def test_durations_reach_the_observations_and_end_with_the_range() -> None:
    video = frames(3, range(3))
    shown = Frames(video.data, video.timestamps, np.array([0.1, 0.1, 5.0]))
    for detector in (Sees(), None):
        every = list(Observer(detector, size=8).observe([shown]))
        assert [o.duration for o in every] == [0.1, 0.1, 5.0]
        *_, last = Observer(detector, size=8).observe([shown], end=1.2)
        assert last.duration == pytest.approx(1.0)


def test_waiting_frames_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames a microsecond apart do not wait for a tenth of a second to pass."""
    monkeypatch.setattr(observer, "WAITING_BYTES", 4 * 200 * 220 * 3)
    detector = Follows()
    seen = list(Observer(detector, size=8, detect_rate=10.0).observe([numbered(12, rate=1e6)]))
    assert [o.index for o in seen] == list(range(12))
    assert detector.asked == [0, 4, 8, 11]


def test_crops_of_a_window_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "KEPT_BYTES", 100 * 12)  # crops of 2x2 pixels
    kept = recent.Recent(every_frame=True)
    for observation in observations(n / 1e6 for n in range(5000)):
        kept.add(observation)
        inside, _ = kept.between(0, 1)
        assert len(inside) <= 100
    inside, bounds = kept.between(0, 1)
    assert bounds == (0, 4999)
    assert {b.index - a.index for a, b in itertools.pairwise(inside)} == {64}


def test_a_burst_does_not_thin_out_the_rest_of_the_video() -> None:
    burst = [n / 1e5 for n in range(5000)]
    groups = cut(observations([*burst, *(1 + n / 20 for n in range(200))]), num_frames=16)
    assert [g[0].num_frames_used for g in groups[-5:]] == [16] * 5
    assert [(g[0].start_frame, g[0].end_frame) for g in groups[:2]] == [(0, 4999), (5000, 5009)]


def test_numbers_of_frames_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent._FrameTimes, "_MOST", 64)
    times = recent._FrameTimes()
    for index in range(1000):
        times.add(index + 7, index / 100)
        assert len(times._times) <= 64
        if index < 60:
            assert times.bounds(0.1, 1) == ((17, index + 7) if index >= 10 else None)
    first, last = times.bounds(2, 8) or (0, 0)
    assert 207 <= first < 207 + times._stride
    assert 806 - times._stride < last <= 806
    times.forget(9)
    assert times.bounds(0, 8.9) is None
