"""Lines of annotation lists, and paths found by their tails."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.data.benchmarks.annotation_list import Entry, path_parts, read_list
from peclip.data.benchmarks.locator import Locator, locate
from peclip.errors import DatasetError

ORDER = ("happiness", "sadness")


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("/data/DFEW/00001", ("data", "DFEW", "00001")),
        ("D:\\data\\DFEW\\00001", ("data", "DFEW", "00001")),
        ("C:/data/D:/DFEW/00001", ("data", "DFEW", "00001")),
        ("./a/b/", ("a", "b")),
        ("clips/00025.mp4", ("clips", "00025")),
        ("clips/00025.v2", ("clips", "00025.v2")),
        ("../../etc/b", ("etc", "b")),
        ("a/../b", ("b",)),
    ],
)
def test_path_parts(place: str, parts: tuple[str, ...]) -> None:
    assert path_parts(place) == parts


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    text = "\ufeff/my data/00001 144 1\r\n\r\n00002 7 0\r\nAction/Happy/3 Happy\r\n4.mp4 sad"
    path.write_text(text, encoding="utf-8")
    assert read_list(path, ORDER) == [
        Entry(("my data", "00001"), "sadness", 144, 1),
        Entry(("00002",), "happiness", 7, 3),
        Entry(("Action", "Happy", "3"), "happiness", None, 4),
        Entry(("4",), "sadness", None, 5),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("00001 144 2", "label '2'; choose one of 0 happiness, 1 sadness"),
        ("00001 144 -1", "label '-1'"),
        ("00001 144 fear", "label 'fear'"),
        ("00001", "does not have the form '<folder> <number of frames> <label>'"),
        ("00001 1", "does not have the form '<folder> <number of frames> <label>'"),
        ("00001 many 1", "does not have the form '<folder> <number of frames> <label>'"),
    ],
)
def test_invalid_lines_are_named(line: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"00000 1 0\n{line}\n")
    with pytest.raises(DatasetError) as error:
        read_list(path, ORDER)
    assert f"{path}, line 2: " in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"\n \n", "is empty"), (b"\xff\xfe\x00", "UTF-8")]
)
def test_files_that_are_not_lists(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        read_list(path, ORDER)
    path.unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        read_list(path, ORDER)


def test_the_longest_tail_wins(tmp_path: Path) -> None:
    for folder in ("frames/1", "a/frames/1", "1", "home/frames/1"):
        (tmp_path / folder).mkdir(parents=True)
    locator = Locator(tmp_path, homes=("home",))
    assert locator.find([("x", "a", "frames", "1")]) == [(tmp_path / "a" / "frames" / "1", True)]
    assert locator.find([("x", "b", "frames", "1")]) == [(tmp_path / "frames" / "1", True)]
    assert locator.find([("1",)]) == [(tmp_path / "1", True)]
    assert locator.find([("frames", "2")]) == [(tmp_path / "frames" / "2", False)]
    assert locator.find([]) == []


def test_a_split_is_searched_in_one_folder(tmp_path: Path) -> None:
    for folder in ("crops/1", "crops/2", "scenes/1", "scenes/2", "scenes/3", "3"):
        (tmp_path / folder).mkdir(parents=True)
    locator = Locator(tmp_path, homes=("crops", "scenes"))
    for prefix in (("crops",), ("gone", "crops")):
        places = [(*prefix, name) for name in "123"]
        assert locator.find(places) == [
            (tmp_path / "crops" / "1", True),
            (tmp_path / "crops" / "2", True),
            (tmp_path / "crops" / "3", False),  # not that of the scenes, nor that of the root
        ]
    locator = Locator(tmp_path, homes=("none", "scenes", "crops"))
    assert [path for path, _ in locator.find([("1",), ("2",)])] == [
        tmp_path / "scenes" / name for name in "12"
    ]


def test_paths_of_two_machines_in_one_list(tmp_path: Path) -> None:
    for name in "12":
        (tmp_path / "frames" / name).mkdir(parents=True)
    places = [("a", "long", "way", "frames", "1"), ("frames", "2")]
    assert Locator(tmp_path).find(places) == [(tmp_path / "frames" / n, True) for n in "12"]


def test_a_tail_may_not_be_too_short(tmp_path: Path) -> None:
    (tmp_path / "Happy" / "1").mkdir(parents=True)
    (tmp_path / "1").mkdir()
    for parts, place, found in (
        (2, ("x", "Happy", "1"), (tmp_path / "Happy" / "1", True)),
        (2, ("x", "Sad", "1"), (tmp_path / "Sad" / "1", False)),
        (3, ("Happy", "1"), (tmp_path / "Happy" / "1", False)),
    ):
        assert Locator(tmp_path, parts=parts).find([place]) == [found]


def test_videos_and_folders(tmp_path: Path) -> None:
    (tmp_path / "7.avi").touch()
    (tmp_path / "7.mp4").touch()
    (tmp_path / "00008").mkdir()
    (tmp_path / "00008.mp4").touch()
    (tmp_path / "00009.txt").touch()
    (tmp_path / "folder.mp4").mkdir()
    assert Locator(tmp_path).find([("00007",), ("00008",), ("00009",), ("00000",)]) == [
        (tmp_path / "7.avi", True),
        (tmp_path / "00008", True),
        (tmp_path / "00009", False),
        (tmp_path / "00000", False),
    ]


def test_each_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
        for number in range(50):
            (folder / f"{number:04d}.mp4").touch()
    entries = [
        Entry(("gone", str(f), f"{n:04d}"), "fear", None, 1) for f in range(3) for n in range(60)
    ]
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    samples, missing = locate(entries, Locator(tmp_path, parts=2))
    assert sorted(listed) == folders
    assert (len(samples), len(missing)) == (180, 30)
    assert samples[0].id == "0/0000"
