"""Caption files: those of `peclip captions`, those of users, and MAFW's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from peclip.data.benchmarks.mafw import load_mafw_captions
from peclip.data.caption_file import read_captions
from peclip.errors import DatasetError


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_file_of_peclip_gives_what_was_refined(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "caption": "He is sad. His lips part.", "refined": "As it was kept."},
        {"id": "b", "caption": "He is sad.", "refined": ""},
    ]
    path = write(tmp_path / "c.jsonl", *map(json.dumps, rows))
    assert read_captions(path) == {"a": "As it was kept.", "b": ""}


@pytest.mark.parametrize("name", ["id", "source"])
def test_a_table_of_a_user_is_refined_while_it_is_read(name: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv", f"\ufeff{name},Caption,label", '00025,"His lips part, showing joy.",sad'
    )
    assert read_captions(path) == {"00025": "His lips part."}


def test_lines_of_a_user_are_refined_too(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", '{"source": "a.mp4", "caption": "Sad. Her chin drops."}', "")
    assert read_captions(path) == {"a.mp4": "Her chin drops."}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.txt", "", "use a .jsonl or .csv"),
        ("c.jsonl", "", "contains no captions"),
        ("c.csv", "id,caption", "contains no captions"),
        ("c.jsonl", '{"id": "a", "caption": "x"}\n{"id": "b", "cap', "line 2 is not a JSON object"),
        ("c.jsonl", '{"caption": "x"}', "line 1: expected a column id or source"),
        ("c.jsonl", '{"id": 25, "caption": "x"}', "id or source"),
        ("c.csv", "id,text\na,x", "the caption for 'a'"),
        ("c.csv", "id,caption\na,x,y", "line 2 has 3 cells, but the header has 2"),
        ("c.csv", "id,caption\na,x\na,y", "line 3: duplicate caption for 'a'"),
    ],
)
def test_a_broken_file_is_a_one_line_error(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(DatasetError, match=re.escape(words)) as caught:
        read_captions(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_undecodable_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_captions(tmp_path / "none.jsonl")
    (tmp_path / "c.csv").write_bytes(b"id,caption\na,\xff\xfe\n")
    with pytest.raises(DatasetError, match="line 2 is not UTF-8"):
        read_captions(tmp_path / "c.csv")


def test_the_descriptions_of_mafw(tmp_path: Path) -> None:
    folder = tmp_path / "Train & Test Set" / "single" / "with_caption" / "set_1"
    folder.mkdir(parents=True)
    chinese = "一个男人。".encode("gb18030")
    (folder / "train.txt").write_bytes(
        b"03747.mp4\tanger\t" + chinese + b"\tA man speaks. The deep frown.\r\n"
    )
    (folder / "test.txt").write_bytes("00025.mp4\tanger\t男人\tHe’s shouting.\n\n".encode())
    assert load_mafw_captions(tmp_path) == {
        "03747": "A man speaks. The deep frown.",
        "00025": "He’s shouting.",
    }
    assert load_mafw_captions(tmp_path, tmp_path / "Train & Test Set") == (
        load_mafw_captions(tmp_path)
    )


def test_a_list_of_mafw_without_descriptions(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Annotation list not found"):
        load_mafw_captions(tmp_path)
    for split in ("train", "test"):
        write(tmp_path / "single" / "with_caption" / "set_1" / f"{split}.txt", "00025.mp4 anger")
    with pytest.raises(DatasetError, match=r"train\.txt, line 1: found 1 columns"):
        load_mafw_captions(tmp_path)
