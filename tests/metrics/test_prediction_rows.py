"""Rows of persons and windows become one prediction per video, by the rule of `Prediction.label`."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.metrics.prediction_file import read_predictions

HEADER = "source,track_id,window,status,label,face_coverage,w,h,prob_anger,prob_fear,target\n"


def table_of(folder: Path, *lines: str, header: str = HEADER) -> object:
    path = folder / "rows.csv"
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return read_predictions(path)


def failure(folder: Path, *lines: str, header: str = HEADER) -> str:
    with pytest.raises(ConfigError) as caught:
        table_of(folder, *lines, header=header)
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "label", "probability", "note"),
    [
        # Two windows against one: (0.8 + 0.4) / 2.
        (
            ["a,0,0,ok,fear,1,9,9,0,1,x", "a,1,0,ok,anger,1,9,9,0.8,0.2,x", "a,1,1,ok,fear,1,9,9,0.4,0.6,x"],
            "anger", 0.6, "excluded rows: 1, other people: 1, videos without a prediction: 0",
        ),
        # As many windows, and person 1 is in more of their frames.
        (
            ["a,0,0,ok,fear,0.5,9,9,0,1,x", "a,1,0,ok,anger,0.9,9,9,0.75,0.25,x"],
            "anger", 0.75, "excluded rows: 1, other people: 1",
        ),
        # As many windows and frames, and person 0 is larger.
        (
            ["a,0,0,ok,fear,1,20,9,0.25,0.75,x", "a,1,0,ok,anger,1,9,9,1,0,x"],
            "fear", 0.75, "excluded rows: 1, other people: 1",
        ),
        # A window of low quality counts if it is the only one.
        (
            ["a,0,0,low_quality,fear,1,9,9,0.25,0.75,x", "a,-1,1,no_face,,0,,,,,x"],
            "fear", 0.75, "averaged over low_quality ones: 1); excluded rows: 1, other people: 0",
        ),
        # Beside another one it does not, nor does a window that could not be read.
        (
            ["a,0,0,low_quality,fear,1,9,9,0,1,x", "a,0,1,ok,anger,1,9,9,1,0,x", "a,-1,2,decode_error,,0,,,,,x"],
            "anger", 1.0, "excluded rows: 2, other people: 0",
        ),
    ],
)  # fmt: skip
def test_the_rule_by_hand(
    lines: list[str], label: str, probability: float, note: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + "\n".join(lines), encoding="utf-8")
    table = read_predictions(path)
    assert (table.ids, table.targets, table.labels) == (("a",), ("x",), (label,))
    assert table.classes == ("anger", "fear")
    assert table.confidences is not None
    assert table.confidences.tolist() == pytest.approx([probability])
    (message,) = table.notes
    assert message.startswith(f"reduced {len(lines)} rows to 1 videos")
    assert note in message


def test_uncertain_windows_count_with_their_probabilities(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        "a,0,0,ok,anger,1,9,9,0.9,0.1,x",
        "a,0,1,uncertain,,1,9,9,0.3,0.7,x",
        "b,0,0,uncertain,,1,9,9,0.5,0.5,y",
    )
    assert (table.ids, table.labels) == (("a",), ("anger",)), "b has no label"
    assert table.confidences.tolist() == pytest.approx([0.6])
    (message,) = table.notes
    assert "ok and uncertain" in message
    assert "excluded rows: 1, other people: 0, videos without a prediction: 1" in message


def test_the_required_columns_suffice(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "source,track_id,status,label,prob_anger,prob_fear\na,0,ok,fear,0,1\na,0,ok,anger,1,0\na,0,ok,anger,1,0\n",
        encoding="utf-8",
    )
    table = read_predictions(path, {"a": "Angry"})
    assert (table.targets, table.labels) == (("anger",), ("anger",))
    assert table.confidences is not None
    assert table.confidences.tolist() == pytest.approx([2 / 3])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a,0,0,ok,fear,1,9,9,0,1,x", "a,0,1,ok,fear,1,9,9,0,1,y"], "line 3 has the target 'y' for 'a'"),
        (["a,0,0,ok,fear,1,9,9,0,1,x", "a,0,0,ok,fear,1,9,9,0,1,x"], "in window 0 from line 2; each row must appear only once"),
        (["a,0,0,fine,fear,1,9,9,0,1,x"], "line 2 has the status 'fine'; expected one of ok, no_face"),
        (["a,0,0,ok,,1,9,9,0,1,x"], "line 2 has the label ''"),
        (["a,0,0,ok,fear,1,9,9,,1,x"], "line 2 has '' in prob_anger"),
        (["a,0,0,ok,fear,1,9,9,0.2,0.2,x"], "line 2 has probabilities that sum to 0.4"),
        (["a,one,0,ok,fear,1,9,9,0,1,x"], "line 2 has 'one' in track_id; expected a whole number"),
        (["a,0,0.5,ok,fear,1,9,9,0,1,x"], "line 2 has '0.5' in window; expected a whole number"),
        (["a,0,0,ok,fear,1,9,9,0,1,"], "line 2 has the target ''"),
        (["a,-1,0,no_face,,0,,,,,x"], "none of the windows of its 1 videos has a label"),
    ],
)  # fmt: skip
def test_invalid_rows(lines: list[str], expected: str, tmp_path: Path) -> None:
    assert expected in failure(tmp_path, *lines)


def test_rows_without_probabilities(tmp_path: Path) -> None:
    header = "source,track_id,status,label,target\n"
    message = failure(tmp_path, "a,0,ok,fear,fear", header=header)
    assert "include the columns prob_<label>" in message
