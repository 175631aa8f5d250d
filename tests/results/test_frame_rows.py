"""Rows per frame: which window a frame belongs to, and their files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from peclip.errors import ConfigError
from peclip.results.frame_file import FrameFile
from peclip.results.frame_rows import NearestRows, frame_rows
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.video.face_log import FaceLog, LoggedFrame
from peclip.video.faces import FaceBox
from peclip.video.observer import Observation, Sighting

LABELS = ("anger", "fear")


def row(window: int, start_s: float, track: int = 0, anger: float = 0.75) -> Row:
    """A window of 1 s, 10 frames a second."""
    return Row(
        source="a.mp4",
        model="m",
        model_revision="",
        track_id=track,
        window=window,
        start_s=start_s,
        end_s=start_s + 1,
        start_frame=round(10 * start_s),
        end_frame=round(10 * start_s) + 9,
        num_frames_used=8,
        n_faces=1,
        status="ok",
        label="anger" if anger > 0.5 else "fear",
        score=max(anger, 1 - anger),
        scores={"anger": anger, "fear": 1 - anger},
        box=(0.0, 0.0, 1.0, 1.0),
    )


def frame(index: int) -> LoggedFrame:
    return LoggedFrame(index, index / 10, 0.1, ())


def logged(*people: tuple[int, ...]) -> FaceLog:
    log = FaceLog()
    for index, tracks in enumerate(people):
        faces = [FaceBox(10 * track + index, 2, 30, 40, 0.875) for track in tracks]
        found = zip(tracks, faces, strict=True)
        crop = np.zeros((4, 4, 3), np.uint8)
        seen = tuple(Sighting(track, face, crop) for track, face in found)
        log.add(Observation(index, index / 10, seen))
    log.name({0: 0, 1: 1})
    return log


def test_the_window_with_the_nearest_middle_counts() -> None:
    # Middles at 0.5, 1.0 and 1.5 s: frame 7 is 0.2 s from the first and 0.3 s from the second.
    nearest = NearestRows([row(0, 0.0), row(1, 0.5), row(2, 1.0)])
    found = {index: nearest.at(0, frame(index)) for index in (0, 7, 8, 12, 13, 19, 20)}
    numbers = {index: None if one is None else one.window for index, one in found.items()}
    assert numbers == {0: 0, 7: 0, 8: 1, 12: 1, 13: 2, 19: 2, 20: None}


def test_the_earlier_window_counts_at_a_tie() -> None:
    # The middles 0.5 s and 1.5 s are both 0.5 s from 1.0 s; both windows show the frame.
    early, late = row(0, 0.0), row(1, 1.0)
    long = Row(**{name: getattr(early, name) for name in Row.__slots__} | {"end_frame": 10})
    assert NearestRows([late, long]).at(0, frame(10)) is long


def test_a_window_of_another_person_does_not_count() -> None:
    assert NearestRows([row(0, 0.0, track=1)]).at(0, frame(3)) is None


def test_each_frame_has_a_row_per_person_or_one_without() -> None:
    prediction = Prediction("a.mp4", LABELS, (row(0, 0.0),), faces=logged((1, 0), (), (5,), (0,)))
    rows = list(frame_rows(prediction))
    assert [(r.frame, r.face_id, r.success, r.label) for r in rows] == [
        (0, 0, True, "anger"),
        (0, 1, True, None),  # no window has this person
        (1, -1, False, None),
        (2, -1, False, None),  # track 5 has no id in the rows
        (3, 0, True, "anger"),
    ]
    assert rows[-1].to_dict(LABELS) == {
        "source": "a.mp4",
        "frame": 3,
        "timestamp": 0.3,
        "face_id": 0,
        "confidence": 0.875,
        "success": 1,
        "x": 3.0,
        "y": 2.0,
        "w": 30.0,
        "h": 40.0,
        "window": 0,
        "status": "ok",
        "label": "anger",
        "score": 0.75,
        "prob_anger": 0.75,
        "prob_fear": 0.25,
    }
    assert rows[2].to_dict(LABELS)["confidence"] == 0.0


def test_all_formats_hold_the_same_rows(tmp_path: Path) -> None:
    prediction = Prediction("a.mp4", LABELS, (row(0, 0.0),), faces=logged((1, 0), (), (0,)))
    expected = [one.to_dict(LABELS) for one in prediction.frame_rows()]
    for ending in ("csv", "jsonl", "parquet"):
        prediction.save_frames(tmp_path / f"frames.{ending}")
    lines = (tmp_path / "frames.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == expected
    assert pq.read_table(tmp_path / "frames.parquet").to_pylist() == expected
    with (tmp_path / "frames.csv").open(newline="") as file:
        cells = [{name: "" if v is None else str(v) for name, v in one.items()} for one in expected]
        assert list(csv.DictReader(file)) == cells


def test_frames_for_excel(tmp_path: Path) -> None:
    path, log = tmp_path / "frames.csv", logged((0,))
    prediction = Prediction("=a.mp4", LABELS, (row(0, 0.0),), faces=log)
    with FrameFile(path, LABELS, excel=True) as file:
        file.write(prediction.frame_rows())
    assert path.read_bytes().startswith(b"\xef\xbb\xbfsource,frame,")
    assert path.read_text("utf-8-sig").splitlines()[1].startswith("'=a.mp4,0,")
    with pytest.raises(ConfigError, match=r"requires \.csv"):
        FrameFile(tmp_path / "frames.jsonl", LABELS, excel=True)


def test_a_failed_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), FrameFile(tmp_path / "frames.csv", LABELS):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_file_have_no_frames() -> None:
    with pytest.raises(ConfigError, match="model.predict"):
        Prediction("a.mp4", LABELS, ()).frame_rows()


def test_another_extension_names_the_supported_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.csv, \.jsonl, \.parquet"):
        FrameFile(tmp_path / "frames.xlsx", LABELS)
