"""A table of participants finds its videos by path, name or stem."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.results.participants import read_participants


def table(folder: Path, text: str) -> Path:
    path = folder / "participants.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_source_is_found_by_path_name_or_stem(tmp_path: Path) -> None:
    text = "age,source\n1,./in/a.mp4\n2,a.mp4\n3,a\n4,b.mp4\n5,c\n"
    found, remark = read_participants(table(tmp_path, text)).join(
        ["in/a.mp4", "out/a.mp4", "out/a.avi", "b.mp4", "in/b.mp4", "c.mov"]
    )
    assert {name: cells["age"] for name, cells in found.items()} == {
        "in/a.mp4": "1", "out/a.mp4": "2", "out/a.avi": "3", "b.mp4": "4", "in/b.mp4": "4", "c.mov": "5",
    }  # fmt: skip
    assert remark == ""


def test_a_table_of_excel_with_semicolons(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffsource;condition;age\na.mp4;control;20,5\n")
    found, remark = read_participants(path).join(["in/a.mp4"])
    assert (found["in/a.mp4"], remark) == ({"condition": "control", "age": "20,5"}, "")


def test_what_does_not_match_is_counted_and_named(tmp_path: Path) -> None:
    path = table(tmp_path, "source,age\na,1\np7,2\np8,3\n")
    found, remark = read_participants(path).join(["a.mp4", "x.mp4"])
    assert found["x.mp4"] == {"age": None}
    assert remark == (
        f"{path}: 1 of 2 sources are not in the table (x.mp4); 2 of its 3 rows match no source (p7, p8)"
    )
    _, remark = read_participants(path).join([f"{n}.mp4" for n in range(7)])
    assert "(0.mp4, 1.mp4, 2.mp4, 3.mp4, 4.mp4 and 2 more)" in remark


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,age\na,1\n", "has no source column"),
        ("source,age\na,1\n./a,2\n", "line 3 repeats the source './a' from line 2"),
        ("source,age\n,1\n", "line 2 has no source"),
        ("source,age,age\na,1,2\n", "the column 'age' twice"),
        ("source,age\n", "it has no rows"),
    ],
)
def test_invalid_tables(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"participants\.csv") as caught:
        read_participants(table(tmp_path, text))
    assert expected in str(caught.value)
