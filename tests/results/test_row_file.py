"""Row files are read back, and what is invalid in them is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.results.prediction import Prediction
from peclip.results.row_file import read_rows
from peclip.results.rows import Row

LABELS = ("anger", "fear")
HEADER = "source,track_id,start_s,end_s,status,label,prob_anger,prob_fear\n"


def row(window: int) -> Row:
    """A row with different values in all columns, and with no more digits than a file keeps."""
    return Row(
        source="a.mp4",
        model="debug",
        model_revision="abc",
        track_id=2,
        window=window,
        start_s=float(window),
        end_s=window + 1.5,
        start_frame=3,
        end_frame=4,
        num_frames_used=5,
        n_faces=6,
        status="ok",
        label="anger",
        score=0.75,
        scores={"anger": 0.75, "fear": 0.25},
        face_conf=0.9,
        face_coverage=0.8,
        box=(1.5, 2.0, 3.0, 4.0),
    )


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_rows_survive_a_file(form: str, tmp_path: Path) -> None:
    rows = (row(0), row(1))
    path = tmp_path / f"rows.{form}"
    Prediction("a.mp4", LABELS, rows).save(path)
    found = read_rows([path])
    assert found.labels == LABELS
    assert found.rows == rows
    (prediction,) = found.predictions()
    assert prediction == Prediction("a.mp4", LABELS, rows)


def failure(folder: Path, *lines: str, header: str = HEADER) -> str:
    path = folder / "rows.csv"
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_rows([path])
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a,0,0,1,ok,fear,0,1", "a,0,0,1,ok,fear,0,1"], "line 3 repeats person 0 of 'a' from 0 s to 1 s (rows.csv, line 2)"),
        (["a,0,,1,ok,fear,0,1"], "line 2 lasts from '' to '1'"),
        (["a,0,2,1,ok,fear,0,1"], "line 2 lasts from '2' to '1'"),
        (["a,0,0,inf,ok,fear,0,1"], "line 2 lasts from '0' to 'inf'"),
        (["a,0,0,1,ok,,0,1"], "line 2 has the label ''"),
        (["a,0,0,1,ok,joy,0,1"], "there is no column prob_happiness"),
        (["a,0,0,1,ok,fear,0.2,0.2"], "probabilities that sum to 0.4"),
        (["a,0,0,1,seen,fear,0,1"], "line 2 has the status 'seen'"),
        ([], "contain no rows"),
    ],
)  # fmt: skip
def test_invalid_rows(lines: list[str], expected: str, tmp_path: Path) -> None:
    message = failure(tmp_path, *lines)
    assert expected in message
    assert "rows.csv" in message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("source,target,label\n", "line 1 lacks track_id, start_s, end_s, status"),
        ("source,track_id,start_s,end_s,status,label\n", "include the columns prob_<label>"),
        ("source,source,track_id,start_s,end_s,status,label\n", "the column 'source' twice"),
    ],
)
def test_invalid_columns(header: str, expected: str, tmp_path: Path) -> None:
    line = ",".join("a0000oo"[: header.count(",") + 1])
    assert expected in failure(tmp_path, line, header=header)


def test_labels_keep_their_spelling(tmp_path: Path) -> None:
    """`prob_Happy` of a custom set is not a data set's happiness."""
    path = tmp_path / "rows.csv"
    path.write_text(HEADER.replace("fear", "Happy") + "a,0,0,1,ok,Happy,0,1\n", encoding="utf-8")
    found = read_rows([path])
    assert found.labels == ("anger", "Happy")
    assert found.rows[0].label == "Happy"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv.*existing, readable file"):
        read_rows([tmp_path / "none.csv"])
