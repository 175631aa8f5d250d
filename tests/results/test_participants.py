"""A table of participants finds its videos by path, name or stem."""

from __future__ import annotations

import datetime
from decimal import Decimal
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


def cells_of(path: Path) -> list[object]:
    return [cells["x"] for cells in read_participants(path).rows.values()]


def test_cells_of_parquet_and_jsonl_fit_every_table(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    day, noon = datetime.date(2024, 5, 17), datetime.datetime(2024, 5, 17, 12, 30)
    columns = {
        "date": ([day, None], ["2024-05-17", None]),
        "time": ([noon, noon], ["2024-05-17T12:30:00"] * 2),
        "decimal": ([Decimal("1.50"), None], [1.5, None]),
        "nan": ([float("nan"), 7.0], [None, 7.0]),
        "bool": ([True, False], [True, False]),
    }
    for name, (given, expected) in columns.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"source": ["a", "b"], "x": given}), path)
        assert cells_of(path) == expected, name
    path = tmp_path / "p.jsonl"
    path.write_text('{"source": "a", "x": NaN}\n{"source": "b", "x": 3}\n')
    assert cells_of(path) == [None, 3]


@pytest.mark.parametrize(("cell", "kind"), [("[1]", "a list"), ('{"y": 1}', "an object")])
def test_a_nested_cell_is_named(cell: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"source": "a", "x": 1}}\n{{"source": "b", "x": {cell}}}\n')
    with pytest.raises(ConfigError, match=f"line 2 has {kind} in the column 'x'"):
        read_participants(path)
