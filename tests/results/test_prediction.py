"""Rows become people, labels, tables and files."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from peclip.errors import ConfigError, MissingExtraError
from peclip.results.prediction import Prediction
from peclip.results.rows import SCHEMA_VERSION, UNITS, Row

LABELS = ("anger", "fear", "joy of mine")

SCHEMA = {
    "source": str,
    "model": str,
    "model_revision": str,
    "schema_version": str,
    "track_id": int,
    "window": int,
    "start_s": float,
    "end_s": float,
    "mid_s": float,
    "start_frame": int,
    "end_frame": int,
    "num_frames_used": int,
    "label": str,
    "score": float,
    "margin": float,
    "entropy": float,
    "face_conf": float,
    "face_coverage": float,
    "x": float,
    "y": float,
    "w": float,
    "h": float,
    "sharpness": float,
    "brightness": float,
    "yaw": float,
    "roll": float,
    "unlike_training": str,
    "n_faces": int,
    "status": str,
}
"""The columns that the project promises (research/ecosystem.md, 3.5), but for `prob_<label>`."""


def row(
    track: int = 0,
    window: int = 0,
    probabilities: tuple[float, float, float] | None = (0.7, 0.2, 0.1),
    **changes: Any,
) -> Row:
    scores = {} if probabilities is None else dict(zip(LABELS, probabilities, strict=True))
    label = max(scores, key=lambda name: scores[name]) if scores else None
    values: dict[str, Any] = {
        "source": "a,b.mp4",
        "model": "debug",
        "model_revision": "abc",
        "track_id": track,
        "window": window,
        "start_s": window * 0.5,
        "end_s": window * 0.5 + 1,
        "start_frame": window * 12,
        "end_frame": window * 12 + 24,
        "num_frames_used": 16,
        "n_faces": 1,
        "status": "ok" if scores else "no_face",
        "label": label,
        "score": None if label is None else scores[label],
        "scores": scores,
        "face_conf": 0.9 if scores else None,
        "face_coverage": 1.0 if scores else 0.0,
        "sharpness": 310.25 if scores else None,
        "brightness": 99.0 if scores else None,
        "yaw": -12.34 if scores else None,
        "roll": 3.0 if scores else None,
        "unlike_training": ("size", "yaw") if scores else None,
        "box": (10.0, 20.0, 30.0, 40.0) if scores else None,
    }
    return Row(**(values | changes))


def prediction(*rows: Row, **metadata: Any) -> Prediction:
    return Prediction("a,b.mp4", LABELS, rows, metadata)


WITHOUT_FACE = row(-1, 0, None)
BROKEN = row(-1, 9, None, status="decode_error")


def test_without_rows_the_prediction_is_empty() -> None:
    for empty in (prediction(), prediction(WITHOUT_FACE, BROKEN)):
        assert empty.tracks == {}
        assert empty.main_track is None
        assert empty.label is None
        assert empty.confidence is None
        assert empty.scores == {}
        assert empty.to_dict()["label"] is None


def test_a_track_is_the_mean_of_its_windows() -> None:
    a, b = row(0, 0, (0.7, 0.2, 0.1)), row(0, 1, (0.1, 0.8, 0.1))
    found = prediction(WITHOUT_FACE, a, b)
    track = found.tracks[0]
    assert track.rows == (a, b)
    assert track.label == "fear"
    assert list(track.scores) == ["fear", "anger", "joy of mine"]
    assert track.scores == pytest.approx({"anger": 0.4, "fear": 0.5, "joy of mine": 0.1})
    assert found.label == "fear"
    assert found.confidence == pytest.approx(0.5)
    assert found.scores == dict(track.scores)


def test_overlapping_windows_are_weighted_by_their_time() -> None:
    rows = [row(0, n, p) for n, p in enumerate([(0.8, 0.1, 0.1), (0.2, 0.7, 0.1), (0.5, 0.3, 0.2)])]
    found = prediction(*rows)
    # Slots of 0.75, 0.5 and 0.75 s: anger 0.75 * 0.8 + 0.5 * 0.2 + 0.75 * 0.5 = 1.075, over 2 s.
    assert found.scores["anger"] == pytest.approx(0.5375)
    (line,) = found.summary().rows()
    assert line["mean_prob_anger"] == pytest.approx(0.5375)
    assert (line["label"], found.label) == ("anger", "anger")


def test_without_times_windows_count_alike() -> None:
    rows = [
        row(0, n, p, start_s=math.nan) for n, p in enumerate([(0.8, 0.1, 0.1), (0.2, 0.7, 0.1)])
    ]
    assert prediction(*rows).scores["anger"] == pytest.approx(0.5)
    still = [row(0, n, (p, 1 - p, 0.0), start_s=0.0, end_s=0.0) for n, p in enumerate([0.8, 0.2])]
    assert prediction(*still).scores["anger"] == pytest.approx(0.5)


def test_a_poor_view_counts_only_without_a_better_one() -> None:
    good = row(0, 0, (0.6, 0.3, 0.1))
    poor = [row(0, n, (0.0, 0.0, 1.0), status="low_quality") for n in (1, 2, 3)]
    found = prediction(good, *poor)
    assert found.label == "anger"
    assert found.confidence == pytest.approx(0.6)
    assert len(found.tracks[0].rows) == 4
    only_poor = prediction(*poor)
    assert only_poor.label == "joy of mine"
    assert only_poor.confidence == pytest.approx(1.0)


def test_tracks_are_sorted_by_id() -> None:
    found = prediction(row(2), row(0), row(1), row(2, 1))
    assert list(found.tracks) == [0, 1, 2]
    assert [track.track_id for track in found.tracks.values()] == [0, 1, 2]
    assert len(found.tracks[2].rows) == 2


def test_the_main_person_is_seen_for_longest() -> None:
    brief = row(0, 0, (0.1, 0.8, 0.1), box=(0, 0, 500, 500))
    long = [row(1, n, (0.8, 0.1, 0.1), box=(0, 0, 50, 50)) for n in (0, 1)]
    found = prediction(brief, *long)
    assert found.main_track is not None
    assert found.main_track.track_id == 1
    assert found.label == "anger"


def test_ties_in_windows_are_broken_by_coverage_then_size() -> None:
    rows = [
        row(0, face_coverage=0.5, box=(0, 0, 500, 500)),
        row(1, face_coverage=0.9, box=(0, 0, 50, 50)),
        row(2, face_coverage=0.9, box=(0, 0, 60, 50)),
    ]
    for order in (rows, rows[::-1]):
        main = prediction(*order).main_track
        assert main is not None
        assert main.track_id == 2


def test_good_windows_come_before_poor_ones() -> None:
    poor = [row(0, n, status="low_quality") for n in range(3)]
    main = prediction(*poor, row(1)).main_track
    assert main is not None
    assert main.track_id == 1


def test_margin_and_entropy_by_hand() -> None:
    sure = row(probabilities=(1.0, 0.0, 0.0))
    assert (sure.margin, sure.entropy) == (1.0, 0.0)
    even = row(probabilities=(1 / 3, 1 / 3, 1 / 3))
    assert (even.margin, even.entropy) == (0.0, pytest.approx(1.0))
    # -0.5 ln 0.5 - 2 * 0.25 ln 0.25 = 1.5 ln 2, over ln 3.
    half = row(probabilities=(0.25, 0.5, 0.25))
    assert half.margin == 0.25
    assert half.entropy == pytest.approx(1.5 * math.log(2) / math.log(3))
    flat = row().to_dict()
    assert (flat["margin"], flat["yaw"], flat["unlike_training"]) == (0.5, -12.3, "size yaw")
    assert (WITHOUT_FACE.margin, WITHOUT_FACE.entropy) == (None, None)
    assert row(unlike_training=()).to_dict()["unlike_training"] == ""


def uncertain(window: int, probabilities: tuple[float, float, float]) -> Row:
    return row(0, window, probabilities, status="uncertain", label=None, score=None)


def test_uncertain_windows_count_with_their_probabilities() -> None:
    found = prediction(row(0, 0, (0.8, 0.1, 0.1)), uncertain(1, (0.2, 0.5, 0.3)))
    assert found.label == "anger"
    assert found.scores == pytest.approx({"anger": 0.5, "fear": 0.3, "joy of mine": 0.2})
    assert found.confidence == pytest.approx(0.5)


def test_a_person_with_uncertain_windows_only_has_no_label() -> None:
    found = prediction(uncertain(0, (0.4, 0.3, 0.3)), uncertain(1, (0.2, 0.5, 0.3)))
    assert (found.label, found.confidence) == (None, None)
    assert found.scores == pytest.approx({"fear": 0.4, "anger": 0.3, "joy of mine": 0.3})
    assert found.to_dict()["tracks"][0]["label"] is None


def test_a_face_without_a_box_can_be_the_main_person() -> None:
    main = prediction(row(-1, box=None)).main_track
    assert main is not None
    assert main.track_id == -1


def test_a_row_has_every_column_of_the_schema() -> None:
    flat = row().to_dict(LABELS)
    probabilities = {f"prob_{name}": float for name in LABELS}
    assert {name: type(value) for name, value in flat.items()} == SCHEMA | probabilities
    assert list(flat)[-3:] == list(probabilities)
    assert sum(flat[name] for name in probabilities) == pytest.approx(1)
    assert (flat["x"], flat["y"], flat["w"], flat["h"]) == (10, 20, 30, 40)
    assert (flat["start_s"], flat["mid_s"], flat["end_s"]) == (0, 0.5, 1)
    assert flat["schema_version"] == SCHEMA_VERSION


def test_a_row_without_a_face_has_the_same_columns() -> None:
    flat = WITHOUT_FACE.to_dict(LABELS)
    assert list(flat) == list(row().to_dict(LABELS))
    empty = {name for name, value in flat.items() if value is None}
    assert empty == {
        *("label", "score", "margin", "entropy", "face_conf", *"xywh"),
        *("sharpness", "brightness", "yaw", "roll", "unlike_training"),
        *(f"prob_{name}" for name in LABELS),
    }
    assert flat["track_id"] == -1
    assert flat["status"] == "no_face"


def test_numbers_are_rounded_to_their_precision() -> None:
    flat = row(
        start_s=1 / 3, end_s=2 / 3, score=2 / 3, face_conf=2 / 3, face_coverage=1 / 3,
        box=(1 / 3, 2 / 3, 1.26, 1.0),
    ).to_dict()  # fmt: skip
    assert (flat["start_s"], flat["end_s"], flat["mid_s"]) == (0.333333, 0.666667, 0.5)
    assert (flat["score"], flat["face_conf"], flat["face_coverage"]) == (0.666667, 0.6667, 0.3333)
    assert (flat["x"], flat["y"], flat["w"], flat["h"]) == (0.3, 0.7, 1.3, 1.0)


def test_the_probability_columns_follow_the_labels_or_the_scores() -> None:
    assert list(row().to_dict())[-3:] == [f"prob_{name}" for name in LABELS]
    assert list(row().to_dict(["fear"]))[-1] == "prob_fear"
    assert list(WITHOUT_FACE.to_dict())[-1] == "unlike_training"


def test_rows_and_predictions_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        row().label = "fear"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction().source = "b"  # type: ignore[misc]


def test_the_json_form_is_complete() -> None:
    found = prediction(row(1, 0, (0.2, 1 / 3, 7 / 15)), WITHOUT_FACE, preprocessing={"mean": [0]})
    document = json.loads(json.dumps(found.to_dict()))
    assert document["schema_version"] == SCHEMA_VERSION
    assert document["source"] == "a,b.mp4"
    assert document["labels"] == list(LABELS)
    assert document["label"] == "joy of mine"
    assert document["scores"] == {"joy of mine": 0.466667, "fear": 0.333333, "anger": 0.2}
    assert list(document["scores"]) == ["joy of mine", "fear", "anger"]
    assert document["tracks"] == [
        {"track_id": 1, "label": "joy of mine", "scores": document["scores"]}
    ]
    assert document["preprocessing"] == {"mean": [0]}
    assert document["units"] == UNITS
    assert [r["track_id"] for r in document["rows"]] == [1, -1]
    assert document["rows"][1]["prob_fear"] is None


def test_units_name_columns_that_exist() -> None:
    columns = {name for key in UNITS for name in key.split(",")}
    assert columns <= {*SCHEMA, "prob_*"}


def test_a_table_has_the_rows(tmp_path: Path) -> None:
    found = prediction(row(), WITHOUT_FACE)
    table = found.to_dataframe()
    assert list(table.columns) == list(row().to_dict(LABELS))
    assert list(table["track_id"]) == [0, -1]
    assert table["prob_anger"][0] == 0.7
    assert pd.isna(table["prob_anger"][1])
    assert pd.isna(table["label"][1])


ROWS = (row(0, 0), row(1, 0, (0.25, 0.5, 0.25)), WITHOUT_FACE, BROKEN)
FLAT = [r.to_dict(LABELS) for r in ROWS]


def test_csv_reads_back_equal(tmp_path: Path) -> None:
    prediction(*ROWS).save(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert found == [{k: "" if v is None else str(v) for k, v in flat.items()} for flat in FLAT]
    assert list(found[0]) == list(FLAT[0])


def test_json_lines_read_back_equal(tmp_path: Path) -> None:
    prediction(*ROWS).save(tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == FLAT


def test_json_reads_back_equal(tmp_path: Path) -> None:
    found = prediction(*ROWS, model="debug")
    found.save(tmp_path / "rows.json")
    document = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(found.to_dict()))
    assert document["rows"] == FLAT


def test_parquet_reads_back_equal(tmp_path: Path) -> None:
    prediction(*ROWS).save(str(tmp_path / "rows.PARQUET"))
    table = pq.read_table(tmp_path / "rows.PARQUET")
    assert table.to_pylist() == FLAT
    assert table.column_names == list(FLAT[0])


def test_an_empty_column_keeps_its_type(tmp_path: Path) -> None:
    prediction(WITHOUT_FACE).save(tmp_path / "a.parquet")
    prediction(row()).save(tmp_path / "b.parquet")
    assert pq.read_schema(tmp_path / "a.parquet") == pq.read_schema(tmp_path / "b.parquet")


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    prediction(*ROWS).save(tmp_path / "rows.jsonl")
    prediction(row()).save(tmp_path / "rows.jsonl")
    assert len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.parametrize("name", ["rows.xlsx", "rows", "csv"])
def test_an_unsupported_extension_is_refused_and_leaves_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}'.*csv, jsonl, json, parquet"):
        prediction(row()).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_without_pandas_the_error_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match='pip install "pandas') as caught:
        prediction(row()).to_dataframe()
    assert caught.value.exit_code == 5
    assert isinstance(caught.value, ImportError)


def test_without_pyarrow_the_error_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match='pip install "pandas'):
        prediction(row()).save(tmp_path / "rows.parquet")
    assert not list(tmp_path.iterdir())
    prediction(row()).save(tmp_path / "rows.csv")  # the others do not need it


def test_without_matplotlib_the_error_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match='pip install "matplotlib'):
        prediction(row()).plot()


def test_plot_draws_the_timeline() -> None:
    assert isinstance(prediction(row()).plot(), Figure)
