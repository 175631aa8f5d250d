"""Times, shares, episodes and transitions of people, computed by hand."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from peclip import PEClipConfig, PredictOptions
from peclip.errors import ConfigError, MissingExtraError
from peclip.inference.session import Session
from peclip.results.prediction import Prediction
from peclip.results.row_file import read_rows
from peclip.results.rows import Row, failure_row
from peclip.results.slots import time_slots
from peclip.results.summary import Summary, joined, summarise
from peclip.results.writers import open_writer
from peclip.settings import load_settings
from peclip.video.frames import Frames
from peclip.video.windows import FaceWindow

LABELS = ("anger", "joy of mine")


def row(
    start: float,
    end: float,
    anger: float | None,
    *,
    track: int = 0,
    status: str = "ok",
    source: str = "a.mp4",
) -> Row:
    scores = {} if anger is None else dict(zip(LABELS, (anger, 1 - anger), strict=True))
    label = max(scores, key=lambda name: scores[name]) if scores else None
    return Row(
        source=source,
        model="debug",
        model_revision="",
        track_id=track if scores else -1,
        window=round(start * 100),
        start_s=start,
        end_s=end,
        start_frame=0,
        end_frame=1,
        num_frames_used=2,
        n_faces=int(bool(scores)),
        status=status if scores else "no_face",  # type: ignore[arg-type]
        label=label,
        score=None if label is None else scores[label],
        scores=scores,
        face_coverage=float(bool(scores)),
    )


def line(*rows: Row) -> dict[str, object]:
    (only,) = summarise(rows, LABELS).rows()
    return only


def episodes(*rows: Row) -> list[tuple[object, ...]]:
    return [
        (e.label, e.onset_s, e.apex_s, e.offset_s, e.apex_prob, e.num_windows)
        for e in summarise(rows, LABELS).episodes
    ]


# Time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("windows", "slots"),
    [
        # Middles 0.5, 1 and 1.5: the slots meet at 0.75 and 1.25.
        ([(0, 1), (0.5, 1.5), (1, 2)], [(0, 0.75), (0.75, 1.25), (1.25, 2)]),
        # Windows that only touch keep their time, and so do windows with gaps.
        ([(0, 1), (1, 2)], [(0, 1), (1, 2)]),
        ([(0, 1), (3, 4)], [(0, 1), (3, 4)]),
        # The last window ends with the video: middles 2.5 and 2.7 meet at 2.6.
        ([(2, 3), (2.2, 3.2)], [(2, 2.6), (2.6, 3.2)]),
        # Three windows over one instant: middles 0.5, 0.75 and 1.
        ([(0, 1), (0.25, 1.25), (0.5, 1.5)], [(0, 0.625), (0.625, 0.875), (0.875, 1.5)]),
        # Halfway between the middles 5 and 10 is 7.5, where the second window has not begun.
        ([(0, 10), (9, 11)], [(0, 9), (9, 11)]),
        # A window inside another one takes nothing twice.
        ([(0, 10), (1, 2), (8, 9)], [(0, 3.25), (3.25, 3.25), (8, 9)]),
        # A window of length 0 marks an error, and has no time.
        ([(0, 1), (1, 1)], [(0, 1)]),
    ],
)
def test_each_instant_belongs_to_one_window(
    windows: list[tuple[float, float]], slots: list[tuple[float, float]]
) -> None:
    for order in itertools.permutations(windows):
        found = time_slots([*order, *order])
        assert [found[w] for w in windows if w in found] == [pytest.approx(s) for s in slots]


def test_slots_take_the_window_with_the_nearest_middle() -> None:
    """Against the definition, instant by instant."""
    windows = [(0.4 * k, 0.4 * k + 1.5) for k in range(6)] + [(5, 6.5), (5.1, 6.6)]
    slots = time_slots(windows)
    for instant in np.arange(0.005, 7, 0.01):
        inside = [w for w in windows if w[0] <= instant < w[1]]
        nearest = min(inside, key=lambda w: abs((w[0] + w[1]) / 2 - instant), default=None)
        owners = [w for w, slot in slots.items() if slot[0] <= instant < slot[1]]
        assert owners == ([] if nearest is None else [nearest])


def test_overlapping_windows_count_once() -> None:
    found = line(row(0, 1, 0.8), row(0.5, 1.5, 0.6), row(1, 2, 0.2))
    assert (found["source_s"], found["seen_s"], found["scored_s"]) == (2, 2, 2)
    # 0.75 s of 0.8, 0.5 s of 0.6 and 0.75 s of 0.2: 0.6 + 0.3 + 0.15 = 1.05.
    assert found["mean_prob_anger"] == 0.525
    assert found["mean_prob_joy of mine"] == 0.475
    assert (found["share_anger"], found["share_joy of mine"]) == (0.625, 0.375)
    assert (found["episodes_anger"], found["mean_episode_s_anger"]) == (1, 1.25)
    assert (found["episodes_joy of mine"], found["mean_episode_s_joy of mine"]) == (1, 0.75)
    assert found["label"] == "anger"
    assert found["transitions"] == 1


def test_a_gap_between_windows_belongs_to_nobody_and_ends_an_episode() -> None:
    rows = row(0, 1, 0.9), row(3, 4, 0.7)
    found = line(*rows)
    assert (found["source_s"], found["seen_s"], found["quality_ok"]) == (2, 2, 1)
    assert (found["episodes_anger"], found["mean_episode_s_anger"]) == (2, 1)
    assert found["episodes_joy of mine"] == 0
    assert found["mean_episode_s_joy of mine"] is None
    assert found["transitions"] == 0
    assert episodes(*rows) == [("anger", 0, 0.5, 1, 0.9, 1), ("anger", 3, 3.5, 4, 0.7, 1)]


def test_an_episode_has_onset_apex_and_offset() -> None:
    rows = [row(0.5 * k, 0.5 * k + 1, p) for k, p in enumerate((0.3, 0.6, 0.9, 0.9, 0.2, 0.8))]
    assert episodes(*rows) == [
        ("joy of mine", 0, 0.5, 0.75, 0.7, 1),
        # Windows 1 to 3; the first of two equal peaks is that of window 2, 1 s to 2 s.
        ("anger", 0.75, 1.5, 2.25, 0.9, 3),
        ("joy of mine", 2.25, 2.5, 2.75, 0.8, 1),
        ("anger", 2.75, 3, 3.5, 0.8, 1),
    ]
    flat = summarise(rows, LABELS).episode_rows()[1]
    # (0.6 + 0.9 + 0.9) x 0.5 s / 1.5 s.
    assert (flat["episode"], flat["duration_s"], flat["mean_prob"]) == (1, 1.5, 0.8)
    assert summarise(rows, LABELS).transition_rows() == [
        {"source": "a.mp4", "track_id": 0, "from_label": "anger", "to_label": "joy of mine", "count": 1},
        {"source": "a.mp4", "track_id": 0, "from_label": "joy of mine", "to_label": "anger", "count": 2},
    ]  # fmt: skip


def test_windows_in_seconds_need_no_constant_frame_rate() -> None:
    """Frames at 0, 0.1, 0.9, 1, 1.05, 4 and 4.5 s, and windows of 1 s: none lies between 2 and 4 s."""
    times = np.array([0, 0.1, 0.9, 1, 1.05, 4, 4.5])
    video = Frames(np.zeros((7, 48, 48, 3), np.uint8), times)
    config = PEClipConfig()

    def score(windows: list[FaceWindow]) -> list[list[float]]:
        return [[0.4, *[0.1] * 6] for _ in windows]

    session = Session(
        video,
        score,
        None,
        config=config,
        labels=config.label_set,
        model=("constant", ""),
        options=PredictOptions(window=1, hop=1),
        settings=load_settings(),
        metadata={},
    )
    assert [(r.start_s, r.end_s) for r in session] == [(0, 1), (1, 2), (4, 5)]
    (found,) = session.prediction().summary().rows()
    assert (found["track_id"], found["source_s"], found["seen_s"]) == (-1, 3, 3)
    assert found["share_happiness"] == 1
    # One episode up to 2 s, one from 4 s.
    assert (found["episodes_happiness"], found["mean_episode_s_happiness"]) == (2, 1.5)


# People and quality -----------------------------------------------------------------------------

PEOPLE = (
    row(0, 1, 0.9),
    row(0, 1, 0.2, track=1),
    row(0.5, 1.5, 0.6),
    row(1, 2, 0.3, track=1),
    row(1.5, 2.5, None),
    row(2, 3, 0.7, status="low_quality"),
)
"""Slots: 0 to 0.75, to 1.25, to 1.75, to 2.25 (nobody), to 3 s."""


def test_each_person_has_a_line() -> None:
    first, second = summarise(PEOPLE, LABELS).rows()
    assert (first["track_id"], second["track_id"]) == (0, 1)
    assert (first["source_s"], second["source_s"]) == (3, 3)
    # Person 0 is seen in windows 0, 1 and 4, of which the last one is poor and does not count.
    assert (first["seen_s"], first["scored_s"], first["share_anger"]) == (2, 1.25, 1)
    assert first["mean_prob_anger"] == 0.78  # (0.75 x 0.9 + 0.5 x 0.6) / 1.25
    quality = [first[f"quality_{name}"] for name in ("ok", "low_quality", "no_face")]
    assert quality == [0.416667, 0.25, 0.333333]
    # Person 1 is seen in windows 0 and 2, which do not touch.
    assert (second["seen_s"], second["scored_s"]) == (1.25, 1.25)
    assert (second["episodes_joy of mine"], second["mean_episode_s_joy of mine"]) == (2, 0.625)
    assert (second["quality_ok"], second["quality_no_face"]) == (0.416667, 0.583333)


def test_a_poor_view_counts_only_without_a_better_one() -> None:
    found = line(row(0, 1, 0.9, status="low_quality"), row(1, 2, 0.7, status="low_quality"))
    assert (found["seen_s"], found["scored_s"], found["mean_prob_anger"]) == (2, 2, 0.8)
    assert (found["quality_ok"], found["quality_low_quality"]) == (0, 1)


def test_uncertain_windows_count_without_a_label() -> None:
    def unsure(start: float, end: float) -> Row:
        return replace(row(start, end, 0.6, status="uncertain"), label=None, score=None)

    found = line(row(0, 1, 0.9), unsure(1, 2))
    assert (found["label"], found["mean_prob_anger"]) == ("anger", 0.75)
    assert (found["share_anger"], found["share_joy of mine"]) == (0.5, 0)
    assert (found["quality_ok"], found["quality_uncertain"]) == (0.5, 0.5)
    found = line(unsure(0, 1))
    assert (found["label"], found["mean_prob_anger"], found["episodes_anger"]) == (None, 0.6, 0)


def test_a_source_without_people_has_a_line() -> None:
    found = line(row(0, 1, None), row(0.5, 1.5, None))
    assert (found["track_id"], found["people"], found["source_s"]) == (-1, 0, 1.5)
    assert (found["seen_s"], found["quality_no_face"], found["label"]) == (0, 1, None)
    assert (found["share_anger"], found["episodes_anger"]) == (None, 0)


def test_a_source_that_cannot_be_read_has_a_line() -> None:
    found = line(failure_row("bad.mp4", "debug", ""))
    assert (found["source"], found["source_s"], found["decode_errors"]) == ("bad.mp4", 0, 1)
    assert (found["quality_ok"], found["quality_no_face"]) == (None, None)


def test_the_time_before_an_error_counts() -> None:
    seen = row(0, 1, 0.9), row(0.5, 1.5, 0.9)
    found = line(*seen, failure_row("a.mp4", "debug", "", seen[-1]))
    assert (found["source_s"], found["decode_errors"], found["episodes_anger"]) == (1.5, 1, 1)


def test_an_unlabelled_window_has_probabilities_but_no_episode() -> None:
    unsure = row(1, 2, 0.55)
    unsure = Row(**{name: getattr(unsure, name) for name in Row.__slots__} | {"label": None})
    found = line(row(0, 1, 0.8), unsure, row(2, 3, 0.75))
    assert found["mean_prob_anger"] == 0.7  # (0.8 + 0.55 + 0.75) / 3
    assert (found["share_anger"], found["share_joy of mine"]) == (0.666667, 0)
    assert (found["episodes_anger"], found["mean_episode_s_anger"]) == (2, 1)


def test_rows_may_come_in_any_order() -> None:
    whole = summarise(PEOPLE, LABELS)
    for order in itertools.permutations(PEOPLE):
        assert summarise(order, LABELS) == whole


# Groups -----------------------------------------------------------------------------------------

TWO = (*PEOPLE, row(0, 1, 0.1, source="b.mp4"), row(0.5, 1.5, 0.9, source="b.mp4"))


def test_a_group_adds_up_its_people() -> None:
    found = summarise(TWO, LABELS).grouped(["source"])
    first, second = found.rows()
    assert list(first)[:3] == ["source", "sources", "people"]
    assert (first["sources"], first["people"], first["source_s"], first["seen_s"]) == (
        1,
        2,
        6,
        3.25,
    )
    # (1.25 x 0.78 + 0.75 x 0.2 + 0.5 x 0.3) / 2.5.
    assert (first["scored_s"], first["mean_prob_anger"]) == (2.5, 0.51)
    assert (first["share_anger"], first["share_joy of mine"]) == (0.5, 0.5)
    assert (first["episodes_joy of mine"], first["mean_episode_s_joy of mine"]) == (2, 0.625)
    assert first["quality_ok"] == 0.416667  # 2.5 of 6
    assert first["label"] == "anger"
    assert (second["source"], second["people"], second["transitions"]) == ("b.mp4", 1, 1)


def test_joined_columns_are_keys() -> None:
    columns = {"a.mp4": {"age": "20", "group": "x"}, "b.mp4": {"age": "30", "group": "x"}}
    whole = summarise(TWO, LABELS).with_columns(columns)
    assert [list(r.values())[:4] for r in whole.rows()] == [
        ["a.mp4", 0, "20", "x"], ["a.mp4", 1, "20", "x"], ["b.mp4", 0, "30", "x"],
    ]  # fmt: skip
    (one,) = whole.grouped(["group"]).rows()
    assert list(one)[:2] == ["group", "sources"]
    assert (one["sources"], one["people"], one["source_s"]) == (2, 3, 7.5)
    by_source = whole.grouped(["source"]).rows()
    assert [list(r.values())[:3] for r in by_source] == [
        ["a.mp4", "20", "x"], ["b.mp4", "30", "x"],
    ]  # fmt: skip
    assert whole.grouped(["group"]).transition_rows() == [
        {"group": "x", "from_label": "joy of mine", "to_label": "anger", "count": 1}
    ]


@pytest.mark.parametrize("by", [[], ["person"], ["source", "source"]])
def test_an_unknown_key_lists_the_keys(by: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"source, track_id.*--join"):
        summarise(TWO, LABELS).grouped(by)


def test_a_joined_column_may_not_hide_one_of_the_summary() -> None:
    with pytest.raises(ConfigError, match=r"'label'.*rename"):
        summarise(TWO, LABELS).with_columns({"a.mp4": {"label": "1"}})


def test_summaries_of_sources_join() -> None:
    parts = [summarise([r for r in TWO if r.source == name], LABELS) for name in ("a.mp4", "b.mp4")]
    assert joined(parts) == summarise(TWO, LABELS)


# Files ------------------------------------------------------------------------------------------


def predictions() -> list[Prediction]:
    """Numbers that do not survive rounding, in windows that begin at multiples of 1/3 s."""
    random = np.random.default_rng(0)
    found = []
    for source in ("x/a, b.mp4", "ü.mp4"):
        rows = [
            row(k / 3, k / 3 + 1, random.random(), track=track, source=source)
            for k in range(40)
            for track in (0, 1)
            if k % 9 != track
        ]
        rows.append(row(40 / 3, 40 / 3 + 1, None, source=source))
        rows.append(failure_row(source, "debug", "", rows[-1]))
        found.append(Prediction(source, LABELS, tuple(rows)))
    return found


def write(path: Path, parts: Sequence[Prediction]) -> Path:
    with open_writer(path.suffix[1:], path, LABELS) as writer:
        for prediction in parts:
            for one in prediction.rows:
                writer.write_row(one)
            writer.end_source(prediction)
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_a_row_file_has_exactly_the_summary_of_its_predictions(form: str, tmp_path: Path) -> None:
    parts = predictions()
    expected = joined([prediction.summary() for prediction in parts])
    found = read_rows([write(tmp_path / f"rows.{form}", parts)])
    assert summarise(found.rows, found.labels) == expected
    assert len(expected.lines) == 4
    assert len(expected.episodes) > 20
    assert joined([p.summary() for p in found.predictions()]) == expected


def test_the_files_of_several_shards_are_one(tmp_path: Path) -> None:
    first, second = predictions()
    paths = [
        write(tmp_path / "rows-1.jsonl", [first]),
        write(tmp_path / "rows-2.csv", [second]),
        write(tmp_path / "rows-3.csv", []),
    ]
    found = read_rows(paths)
    assert summarise(found.rows, found.labels) == joined([first.summary(), second.summary()])


def rows_of(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".jsonl":
        return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    return list(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
def test_a_summary_is_saved(form: str, tmp_path: Path) -> None:
    summary = summarise(TWO, LABELS)
    path = tmp_path / f"people.{form}"
    summary.save(path)
    assert rows_of(path) == summary.rows()


def test_a_summary_is_saved_as_csv(tmp_path: Path) -> None:
    summarise([row(0, 1, 0.75)], LABELS).save(tmp_path / "people.csv")
    assert (tmp_path / "people.csv").read_text(encoding="utf-8") == (
        "source,track_id,sources,people,source_s,seen_s,scored_s,label,transitions,decode_errors,"
        "quality_ok,quality_low_quality,quality_uncertain,quality_no_face,share_anger,share_joy of mine,"
        "mean_prob_anger,mean_prob_joy of mine,episodes_anger,episodes_joy of mine,"
        "mean_episode_s_anger,mean_episode_s_joy of mine\n"
        "a.mp4,0,1,1,1.0,1.0,1.0,anger,0,0,1.0,0.0,0.0,0.0,1.0,0.0,0.75,0.25,1,0,1.0,\n"
    )


def test_an_unsupported_table_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'people.xlsx'.*\.csv, \.jsonl, \.json, \.parquet"):
        Summary(LABELS, (), ()).save(tmp_path / "people.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_table_for_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    table = summarise(TWO, LABELS).to_dataframe()
    assert list(table["scored_s"]) == [1.25, 1.25, 1.5]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match='pip install "pandas'):
        summarise(TWO, LABELS).to_dataframe()
