"""Files of predictions are read strictly: one row per video, names by word, probabilities that are ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from peclip.errors import ConfigError
from peclip.metrics.prediction_file import (
    prediction_paths,
    read_predictions,
    read_targets,
    write_predictions,
)
from peclip.metrics.prediction_table import PredictionTable

HEADER = "source,target,label\n"
PROBS = "source,target,label,prob_happiness,prob_sadness\n"


def save(folder: Path, content: str | bytes, name: str = "predictions.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def failure(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_predictions(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_csv_file(tmp_path: Path) -> None:
    text = PROBS + 'a.mp4,Happy,joy,0.75,0.25\n\n"b,""c""",sad,happiness,1,0\n'
    table = read_predictions(save(tmp_path, text))
    assert table.classes == ("happiness", "sadness")
    assert table.ids == ("a.mp4", 'b,"c"')
    assert table.targets == ("happiness", "sadness")
    assert table.labels == ("happiness", "happiness")
    assert table.probabilities is not None
    assert table.probabilities.tolist() == [[0.75, 0.25], [1.0, 0.0]]
    assert table.confidences is not None
    assert table.confidences.tolist() == [0.75, 1.0]


def test_a_jsonl_file(tmp_path: Path) -> None:
    rows = [
        {"source": "a\u2028b", "target": "Happy", "label": "sad", "prob_sad": 0.6, "prob_joy": 0.4},
        {
            "source": "c",
            "target": "sad",
            "label": "sad",
            "prob_sad": 1,
            "prob_joy": 0,
            "note": None,
        },
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    table = read_predictions(save(tmp_path, text, "predictions.JSONL"))
    assert table.classes == ("sadness", "happiness")
    assert table.ids == ("a\u2028b", "c")
    assert (table.targets, table.labels) == (("happiness", "sadness"), ("sadness", "sadness"))
    assert table.probabilities is not None
    assert table.probabilities.tolist() == [[0.6, 0.4], [1.0, 0.0]]


def test_without_probabilities_classes_are_unset(tmp_path: Path) -> None:
    table = read_predictions(save(tmp_path, HEADER + "a,Happy,sad\n"))
    assert table.classes == ()
    assert table.probabilities is None
    assert table.confidences is None


def test_other_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    table = read_predictions(save(tmp_path, "label,x, target ,x,source\nsad,1,happy,2,a\n"))
    assert (table.ids, table.targets, table.labels) == (("a",), ("happiness",), ("sadness",))


def test_the_excel_byte_order_mark_is_not_part_of_a_column(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + HEADER.encode() + "ä.mp4,freude,sad\r\n".encode()
    assert read_predictions(save(tmp_path, content)).ids == ("ä.mp4",)


def test_probabilities_of_three_decimals_pass(tmp_path: Path) -> None:
    header = HEADER.strip() + "".join(f",prob_{name}" for name in "abcdefg") + "\n"
    table = read_predictions(save(tmp_path, header + "x,a,a" + ",0.143" * 7 + "\n"))
    assert table.confidences is not None
    assert table.confidences.tolist() == [0.143]


def test_float32_may_be_a_little_more_than_one(tmp_path: Path) -> None:
    table = read_predictions(save(tmp_path, PROBS + "a,sad,sad,0,1.0000001\n"))
    assert table.confidences is not None
    assert table.confidences.tolist() == [1]


def test_targets_from_a_separate_file(tmp_path: Path) -> None:
    true = read_targets(save(tmp_path, "target,source\nSad,b\nhappy,a\nfear,z\n", "targets.csv"))
    assert true == {"b": "Sad", "a": "happy", "z": "fear"}
    table = read_predictions(save(tmp_path, "source,label\na,sad\nb,sad\n"), true)
    assert (table.ids, table.targets) == (("a", "b"), ("happiness", "sadness"))
    with pytest.raises(
        ConfigError, match="line 2 has the source 'c', which is missing from the targets"
    ):
        read_predictions(save(tmp_path, "source,label\nc,sad\n"), true)
    with pytest.raises(ConfigError, match="has a target column, but targets .* use only one"):
        read_predictions(save(tmp_path, HEADER + "a,sad,sad\n"), true)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("source,label\na,sad\n", "line 1 lacks target"),
        ("source,target\na,sad\na,sad\n", "line 3 repeats 'a'"),
        ("source,target\na,\n", "line 2 has the target ''"),
    ],
)
def test_invalid_targets(content: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"targets.csv.*{expected}"):
        read_targets(save(tmp_path, content, "targets.csv"))


def test_a_written_table_is_read_again(tmp_path: Path) -> None:
    table = PredictionTable.most_likely(
        ["a", "b"], ["sadness", "fear"], ["fear", "sadness"], np.array([[0.1, 0.9], [0.5, 0.5]])
    )
    assert table.labels == ("sadness", "fear"), "of equals the first one"
    path = tmp_path / "predictions.csv"
    write_predictions(path, table)
    assert path.read_text(encoding="utf-8") == (
        "source,target,label,prob_fear,prob_sadness\na,sadness,sadness,0.1,0.9\nb,fear,fear,0.5,0.5\n"
    )
    again = read_predictions(path)
    for name in ("ids", "targets", "labels", "classes"):
        assert getattr(again, name) == getattr(table, name)
    assert again.probabilities is not None
    assert again.probabilities.tolist() == [[0.1, 0.9], [0.5, 0.5]]
    with pytest.raises(ConfigError, match=r"none.predictions\.csv.*Choose a file in an existing"):
        write_predictions(tmp_path / "none" / "predictions.csv", table)


def test_a_table_without_probabilities_writes_rows_without_them() -> None:
    table = PredictionTable(("a",), ("fear",), ("anger",))
    assert list(table.rows()) == [{"source": "a", "target": "fear", "label": "anger"}]


def test_columns_of_a_table_must_match() -> None:
    with pytest.raises(ConfigError, match="1 ids, 1 targets and 2 labels"):
        PredictionTable(("a",), ("fear",), ("anger", "fear"))
    for probabilities in (None, np.ones((1, 3)), np.ones((2, 2))):
        with pytest.raises(ConfigError, match=r"shape \(1, 2\)"):
            PredictionTable(("a",), ("fear",), ("fear",), probabilities, ("anger", "fear"))


def test_every_fold_has_a_file() -> None:
    assert prediction_paths(Path("a.csv"), [3]) == {3: Path("a.csv")}
    expected = {1: Path("x/a-fold-1.csv"), 2: Path("x/a-fold-2.csv")}
    assert prediction_paths(Path("x/a.csv"), [1, 2]) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        (HEADER, "it is empty"),
        ("source,label\na,sad\n", "line 1 lacks target; .* found 'source', 'label'"),
        ("source|target|label\na|b|c\n", "line 1 lacks source, target, label"),
        ("source,target,label,label\na,b,c,c\n", "line 1 has the column 'label' twice"),
        (HEADER + "a,sad\n", "line 2 has 2 cells, but the header has 3"),
        (HEADER + "a,sad,sad\nb,c,sad,sad\n", "line 3 has 4 cells, but the header has 3"),
        (HEADER + "a,sad,sad\nb,,sad\n", "line 3 has the target ''"),
        (HEADER + "a,sad, \n", "line 2 has the label ' '.* a face also needs a label"),
        (HEADER + "a,sad,sad\nb,sad,sad\na,sad,sad\n", "line 4 repeats 'a' from line 2"),
        (PROBS + "a,sad,sad,0.5,nan\n", "line 2 has 'nan' in prob_sadness"),
        (PROBS + "a,sad,sad,-0.5,1.5\n", "line 2 has '-0.5' in prob_happiness"),
        (PROBS + "a,sad,sad,,1\n", "line 2 has '' in prob_happiness"),
        (PROBS + "a,sad,sad,0.5,0.4\n", "line 2 has probabilities that sum to 0.9;"),
        (PROBS + "a,sad,fear,0.5,0.5\n", "line 2 has the label 'fear', but there is no column prob_fear"),
        (HEADER.strip() + ",prob_sad,prob_Sadness\na,sad,sad,1,0\n", "'prob_sad' and 'prob_Sadness'"),
        (HEADER.encode() + b"a,sad,sad\n\xe4,sad,sad\n", "line 3 is not UTF-8"),
        (HEADER.encode("utf-16"), "line 1 is not UTF-8"),
        (HEADER + "a,sad," + "x" * 200_000 + "\n", "line 2 is not valid CSV"),
    ],
)  # fmt: skip
def test_an_invalid_csv_file(content: str | bytes, expected: str, tmp_path: Path) -> None:
    assert re.search(expected, failure(save(tmp_path, content)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "it is empty"),
        ("[1]\n", "line 1 is not a JSON object"),
        ('{"source": "a"\n', "line 1 is not a JSON object"),
        ("[" * 100_000, "line 1 is nested more than 32 levels deep"),
        ('{"source": "a", "target": "sad"}\n', "line 1 lacks label"),
        (
            '{"source": "a", "target": 3, "label": "sad"}\n',
            "line 1 has the target 3, expected non-empty text",
        ),
        ('{"source": "a", "target": "sad", "label": null}\n', "line 1 has the label None"),
        (
            '{"source": "a", "target": "sad", "label": "sad", "prob_sad": NaN}',
            "line 1 has nan in prob_sad",
        ),
        (
            '{"source": "a", "target": "sad", "label": "sad", "prob_sad": true}',
            "line 1 has True in prob_sad",
        ),
        (
            '{"source": "a", "target": "sad", "label": "sad"}\n'
            '{"source": "b", "target": "sad", "label": "sad", "prob_sad": 1}\n',
            "line 2 does not have the same prob_ columns",
        ),
    ],
)
def test_an_invalid_jsonl_file(content: str, expected: str, tmp_path: Path) -> None:
    assert expected in failure(save(tmp_path, content, "predictions.jsonl"))


def test_windows_are_not_averaged(tmp_path: Path) -> None:
    text = "source,target,label,window\na,sad,sad,0\na,sad,happy,1\n"
    message = failure(save(tmp_path, text))
    assert "line 3 repeats 'a'" in message
    assert (
        "expected one row per video (the file has one row per window; combine the windows"
        in message
    )


@pytest.mark.parametrize("name", ["predictions.txt", "predictions"])
def test_an_unsupported_extension_is_refused(name: str, tmp_path: Path) -> None:
    assert "one of .csv, .jsonl, .json, .parquet" in failure(save(tmp_path, HEADER, name))


def test_a_file_that_is_neither_json_nor_parquet(tmp_path: Path) -> None:
    assert "not a valid Parquet file" in failure(save(tmp_path, HEADER, "predictions.parquet"))
    for content in (HEADER, "[1]", '{"rows": 1}', "null"):
        assert "document written by peclip predict" in failure(save(tmp_path, content, "rows.json"))
    assert "it is empty" in failure(save(tmp_path, "[]", "rows.json"))
    assert "row 1 is not a JSON object" in failure(save(tmp_path, '{"rows": [1]}', "rows.json"))


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in failure(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "Is a directory" in failure(tmp_path / "folder.csv")
