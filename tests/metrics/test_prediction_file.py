"""Files of answers are read strictly: one row per video, names by word, probabilities that are ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.metrics.prediction_file import Answer, read_answers

HEADER = "source,target,label\n"
PROBS = "source,target,label,prob_happiness,prob_sadness\n"


def save(folder: Path, content: str | bytes, name: str = "answers.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def failure(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_answers(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_csv_file(tmp_path: Path) -> None:
    text = PROBS + 'a.mp4,Happy,joy,0.75,0.25\n\n"b,""c""",sad,happiness,1,0\n'
    file = read_answers(save(tmp_path, text))
    assert file.labels == ("happiness", "sadness")
    assert file.answers == (
        Answer("a.mp4", "happiness", "happiness", 0.75, 2),
        Answer('b,"c"', "sadness", "happiness", 1.0, 4),
    )


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
    file = read_answers(save(tmp_path, text, "answers.JSONL"))
    assert file.labels == ("sadness", "happiness")
    assert file.answers == (
        Answer("a\u2028b", "happiness", "sadness", 0.6, 1),
        Answer("c", "sadness", "sadness", 1.0, 2),
    )


def test_without_probabilities_there_are_no_labels_of_the_model(tmp_path: Path) -> None:
    file = read_answers(save(tmp_path, HEADER + "a,Happy,sad\n"))
    assert file.labels is None
    assert file.answers[0].confidence is None


def test_other_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    file = read_answers(save(tmp_path, "label,x, target ,x,source\nsad,1,happy,2,a\n"))
    assert file.answers == (Answer("a", "happiness", "sadness", None, 2),)


def test_the_mark_of_excel_is_no_part_of_a_column(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + HEADER.encode() + "ä.mp4,freude,sad\r\n".encode()
    assert read_answers(save(tmp_path, content)).answers[0].source == "ä.mp4"


def test_probabilities_of_three_decimals_pass(tmp_path: Path) -> None:
    header = HEADER.strip() + "".join(f",prob_{name}" for name in "abcdefg") + "\n"
    file = read_answers(save(tmp_path, header + "x,a,a" + ",0.143" * 7 + "\n"))
    assert file.answers[0].confidence == 0.143


def test_float32_may_be_a_little_more_than_one(tmp_path: Path) -> None:
    file = read_answers(save(tmp_path, PROBS + "a,sad,sad,0,1.0000001\n"))
    assert file.answers[0].confidence == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        (HEADER, "it is empty"),
        ("source,label\na,sad\n", "line 1 lacks target; .* found: 'source', 'label'"),
        ("source;target;label\na;b;c\n", "line 1 lacks source, target, label"),
        ("source,target,label,label\na,b,c,c\n", "line 1 has the column 'label' twice"),
        (HEADER + "a,sad\n", "line 2 has 2 cells and the header 3"),
        (HEADER + "a,sad,sad\nb,c,sad,sad\n", "line 3 has 4 cells and the header 3"),
        (HEADER + "a,sad,sad\nb,,sad\n", "line 3 has the target ''"),
        (HEADER + "a,sad, \n", "line 2 has the label ' ' .* a face needs an answer too"),
        (HEADER + "a,sad,sad\nb,sad,sad\na,sad,sad\n", "line 4 names 'a' again after line 2"),
        (PROBS + "a,sad,sad,0.5,nan\n", "line 2 has 'nan' in prob_sadness"),
        (PROBS + "a,sad,sad,-0.5,1.5\n", "line 2 has '-0.5' in prob_happiness"),
        (PROBS + "a,sad,sad,,1\n", "line 2 has '' in prob_happiness"),
        (PROBS + "a,sad,sad,0.5,0.4\n", "line 2 has probabilities that sum to 0.9;"),
        (PROBS + "a,sad,fear,0.5,0.5\n", "line 2 has the label 'fear' without a column prob_fear"),
        (HEADER.strip() + ",prob_sad,prob_Sadness\na,sad,sad,1,0\n", "'prob_sad' and 'prob_Sadness'"),
        (HEADER.encode() + b"a,sad,sad\n\xe4,sad,sad\n", "line 3 is not UTF-8"),
        (HEADER.encode("utf-16"), "line 1 is not UTF-8"),
        (HEADER + "a,sad," + "x" * 200_000 + "\n", "line 2 is not csv"),
    ],
)  # fmt: skip
def test_a_csv_file_that_makes_no_sense(
    content: str | bytes, expected: str, tmp_path: Path
) -> None:
    assert re.search(expected, failure(save(tmp_path, content)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "it is empty"),
        ("[1]\n", "line 1 is no JSON object"),
        ('{"source": "a"\n', "line 1 is no JSON object"),
        ("[" * 100_000, "line 1 is no JSON object"),
        ('{"source": "a", "target": "sad"}\n', "line 1 lacks label"),
        ('{"source": "a", "target": 3, "label": "sad"}\n', "line 1 has the target 3 and a text"),
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
            "line 2 has other prob_ columns",
        ),
    ],
)
def test_a_jsonl_file_that_makes_no_sense(content: str, expected: str, tmp_path: Path) -> None:
    assert expected in failure(save(tmp_path, content, "answers.jsonl"))


def test_windows_are_not_averaged(tmp_path: Path) -> None:
    text = "source,target,label,window\na,sad,sad,0\na,sad,happy,1\n"
    message = failure(save(tmp_path, text))
    assert "line 3 names 'a' again" in message
    assert "one row per video is expected (it has windows; combine those of a video" in message


@pytest.mark.parametrize("name", ["answers.txt", "answers", "answers.parquet"])
def test_another_ending_is_refused(name: str, tmp_path: Path) -> None:
    assert "neither .csv nor .jsonl" in failure(save(tmp_path, HEADER, name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in failure(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "Is a directory" in failure(tmp_path / "folder.csv")
