"""Records are read alike from every kind of file, and a broken line is named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.text.records import read_records


def save(folder: Path, text: str, name: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_whose_rows_are_of_several_lengths(tmp_path: Path) -> None:
    path = save(tmp_path, '\ufeffPath, Label\n\na\n"b\n,",x,y\n', "table.txt")
    seen: list[tuple[list[str], str]] = []

    def check(names: Iterable[str], place: str) -> None:
        seen.append((list(names), place))

    records = read_records(path, check, kind=".csv", lowercase=True, ragged=True)
    assert records == [
        ("line 3", {"path": "a", "label": ""}),
        ("line 5", {"path": "b\n,", "label": "x"}),
    ]
    assert seen == [(["path", "label"], "line 1")]
    with pytest.raises(ConfigError, match="line 3 has 1 cells, but the header has 2"):
        read_records(path, kind=".csv")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "\n", "it is empty"),
        ("a.csv", 'a,b\n"x"y,z\n', "line 2 is not valid CSV"),
        ("a.csv", 'a,b\nx,"y\n', "line 2 is not valid CSV"),
        ("a.jsonl", '{"a": 1}\n\n[]\n', "line 3 is not a JSON object"),
        ("a.json", '{"rows": [1]}', "row 1 is not a JSON object"),
        ("a.txt", "a", "one of .csv, .jsonl, .json, .parquet"),
    ],
)
def test_a_broken_file(name: str, text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        read_records(save(tmp_path, text, name))


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("source;age\na.mp4;1,5\n", "1,5"),
        ("source\tage\na.mp4\t20\n", "20"),
        ('\ufeff"source";"age, in years"\n"a.mp4";20\n', None),
        ("source,age;unit\na.mp4,20\n", None),
    ],
)
def test_the_header_shows_which_separator_a_csv_has(
    text: str, age: str | None, tmp_path: Path
) -> None:
    ((place, cells),) = read_records(save(tmp_path, text, "a.csv"))
    assert (place, cells["source"]) == ("line 2", "a.mp4")
    assert cells.get("age") == age


def test_cells_with_the_separator_must_be_quoted(tmp_path: Path) -> None:
    path = save(tmp_path, "a;b\nx;y;z\n", "a.csv")
    with pytest.raises(ConfigError, match="line 2 has 3 cells.*quote cells that contain a semicol"):
        read_records(path)


def test_a_file_without_records(tmp_path: Path) -> None:
    assert read_records(save(tmp_path, "a,b\n", "a.csv")) == []
    assert read_records(save(tmp_path, "\n", "a.jsonl")) == []
    assert read_records(save(tmp_path, "[]", "a.json")) == []
