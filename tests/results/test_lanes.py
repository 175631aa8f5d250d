"""Lanes have the label and the mean probabilities of each part of the time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peclip.results.lanes import Lane, lanes_of
from peclip.results.prediction import Prediction
from peclip.results.rows import Row

LABELS = ("anger", "fear")


def window(
    start: float, end: float, anger: float | None, *, track: int = 0, status: str = "ok"
) -> Row:
    scores = {} if anger is None else {"anger": anger, "fear": 1 - anger}
    label = max(scores, key=lambda name: scores[name]) if scores else None
    return Row(
        "a.mp4", "m", "", track, 0, start, end, 0, 9, 8, 1, status,  # type: ignore[arg-type]
        label=label, score=None if label is None else scores[label], scores=scores,
    )  # fmt: skip


def lanes(*rows: Row, **options: int) -> tuple[Lane, ...]:
    return lanes_of(Prediction("a.mp4", LABELS, rows), **options).lanes


def test_overlapping_windows_share_the_time() -> None:
    (lane,) = lanes(window(0, 1, 0.8), window(0.5, 1.5, 0.6), window(1, 2, 0.1))
    assert [(cell.start_s, cell.end_s) for cell in lane.cells] == [
        (0, 0.75),
        (0.75, 1.25),
        (1.25, 2),
    ]
    assert [cell.at_s for cell in lane.cells] == [0.5, 1.0, 1.5]
    assert [cell.label for cell in lane.cells] == ["anger", "anger", "fear"]
    # anger: (0.75 * 0.8 + 0.5 * 0.6 + 0.75 * 0.1) / 2 = 0.4875
    assert lane.mean_text == "mean: fear 0.51"
    assert lane.means["anger"] == pytest.approx(0.4875)
    assert lane.leading(2) == ("fear", "anger")


def test_time_without_the_person_is_a_gap_but_time_without_windows_is_not() -> None:
    found = lanes(
        window(0, 1, 0.8),
        window(1, 2, 0.8, track=1),
        window(2, 3, None, track=-1, status="no_face"),
        window(5, 6, 0.8),
    )
    assert [lane.gaps for lane in found] == [((1, 3),), ((0, 1), (2, 3), (5, 6))]
    assert [len(run) for run in found[0].runs()] == [1, 1]


def test_many_windows_are_combined_and_weighted_by_time() -> None:
    rows = [
        window(0, 1, 0.8),
        window(1, 2, 0.6),
        window(2, 3, 0.2),
        window(3, 4, 0.9, track=1),
        window(4, 6, 0.7, track=1),
    ]
    found = lanes_of(Prediction("a.mp4", LABELS, tuple(rows)), max_cells=3)
    assert found.cell_s == 2
    first, second = found.lanes
    assert [(cell.start_s, cell.end_s, cell.at_s) for cell in first.cells] == [(0, 2, 1), (2, 4, 3)]
    assert first.cells[0].scores == pytest.approx({"anger": 0.7, "fear": 0.3})
    assert first.cells[1].scores == pytest.approx({"anger": 0.2, "fear": 0.8})
    assert [cell.label for cell in first.cells] == ["anger", "fear"]
    assert first.gaps == ((4, 6),)
    assert second.gaps == ((0, 2),)  # the person is seen in a part of 2 s to 4 s


def test_low_quality_counts_only_in_cells_without_better_windows() -> None:
    rows = [
        window(0, 1, 0.8),
        window(1, 2, 0.0, status="low_quality"),
        window(2, 3, 0.0, status="low_quality"),
        window(3, 4, None, status="no_face", track=-1),
    ]
    (lane,) = lanes(*rows, max_cells=2)
    assert [cell.scores["anger"] for cell in lane.cells] == [0.8, 0.0]
    assert [cell.is_poor for cell in lane.cells] == [False, True]


def test_a_face_unlike_the_training_is_poor_but_counts() -> None:
    unlike = replace(window(0, 1, 0.2), unlike_training=("yaw",))
    alike = replace(window(1, 3, 0.8), unlike_training=())
    (lane,) = lanes(unlike, alike)
    assert [cell.is_poor for cell in lane.cells] == [True, False]
    (lane,) = lanes(unlike, alike, max_cells=1)  # 2 s of 3 s are alike
    assert [cell.is_poor for cell in lane.cells] == [False]
    assert lane.cells[0].scores["anger"] == pytest.approx((0.2 + 2 * 0.8) / 3)
    (lane,) = lanes(unlike, replace(alike, unlike_training=("yaw",)), max_cells=1)
    assert [cell.is_poor for cell in lane.cells] == [True]


def test_an_uncertain_window_has_lines_but_no_label() -> None:
    row = window(0, 1, 0.5)
    uncertain = Row(
        "a.mp4", "m", "", 0, 1, 1, 2, 0, 9, 8, 1, "low_quality", scores={"anger": 0.5, "fear": 0.5}
    )
    (lane,) = lanes(row, uncertain)
    assert [cell.label for cell in lane.cells] == ["anger", None]
    assert [len(run) for run in lane.runs()] == [2]


def test_a_still_image_has_probabilities_without_time() -> None:
    (lane,) = lanes(window(0, 0, 0.8))
    assert lane.mean_text == "anger 0.80"
    assert lane.means == {"anger": 0.8, "fear": pytest.approx(0.2)}


def test_the_people_seen_longest_have_lanes() -> None:
    rows = [window(t, t + 1, 0.5, track=track) for track in range(4) for t in range(track + 1)]
    found = lanes_of(Prediction("a.mp4", LABELS, tuple(rows)), max_people=2)
    assert [lane.name for lane in found.lanes] == ["person 2", "person 3"]
    assert found.num_left_out == 2


def test_an_hour_has_a_few_hundred_cells() -> None:
    rows = tuple(window(t / 2, t / 2 + 1, 0.6) for t in range(7199))
    found = lanes_of(Prediction("a.mp4", LABELS, rows))
    assert found.cell_s == 10  # 3600 s / 360
    assert len(found.lanes[0].cells) == 360


@pytest.mark.parametrize(("hours", "step"), [(2, 20), (20, 300), (500, 7200)])
def test_the_length_of_cells_is_round(hours: int, step: float) -> None:
    rows = tuple(window(t * 9 * hours, (t + 1) * 9 * hours, 0.6) for t in range(400))
    assert lanes_of(Prediction("a.mp4", LABELS, rows)).cell_s == step


def test_a_broken_source_says_so() -> None:
    broken = window(1, 1, None, track=-1, status="decode_error")
    found = lanes_of(Prediction("a.mp4", LABELS, (window(0, 1, 0.8), broken)))
    assert "not be read to its end" in found.end_reason
