"""`peclip predict` in formats with one file per source, and for Excel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from canned import make_row

from peclip.cli.app import run
from peclip.cli.console import RowTable

Output = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("engine")


def told(capsys: Output) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_one_source_is_a_file(videos: Path, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "a.srt"
    assert run(["predict", str(videos / "a.mp4"), "-o", str(path)]) == 0
    merged = "1\n00:00:00,000 --> 00:00:03,000\nperson 0: anger\n\n"
    assert path.read_text() == merged
    capsys.readouterr()
    assert run(["predict", str(videos / "a.mp4"), "-f", "srt"]) == 0
    assert capsys.readouterr().out == merged


def test_several_sources_are_a_folder(videos: Path, tmp_path: Path, capsys: Output) -> None:
    folder = tmp_path / "out"
    arguments = ["predict", str(videos), "-f", "vtt", "-o", str(folder)]
    assert run(arguments) == 6
    assert sorted(path.name for path in folder.iterdir()) == ["a.vtt", "b.vtt"]
    assert run(arguments) == 2
    assert "--overwrite" in told(capsys)
    assert run([*arguments, "--overwrite"]) == 6


@pytest.mark.parametrize("more", [[], ["-o", "-"], ["-o", "all.srt"]])
def test_several_sources_do_not_fit_into_a_file(
    more: list[str], videos: Path, capsys: Output
) -> None:
    assert run(["predict", str(videos), "-f", "srt", *more]) == 2
    assert "-o FOLDER" in told(capsys)


def test_a_table_of_episodes_has_all_sources(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "episodes.tsv"
    assert run(["predict", str(videos), "-o", str(path)]) == 6
    lines = path.read_text().splitlines()
    assert lines[0].startswith("source\ttrack_id\tepisode\tlabel\tonset_s")
    assert [Path(line.split("\t")[0]).name for line in lines[1:]] == ["a.mp4", "b.mp4"]


def test_excel(videos: Path, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "rows.csv"
    assert run(["predict", str(videos), "-o", str(path), "--excel"]) == 6
    assert path.read_bytes().startswith(b"\xef\xbb\xbfsource,")
    people = tmp_path / "people.csv"
    assert run(["summarise", str(path), "--excel", "-o", str(people)]) == 0
    assert people.read_bytes().startswith(b"\xef\xbb\xbfsource,")
    for arguments in ([], ["-o", str(tmp_path / "rows.jsonl")]):
        assert run(["predict", str(videos), "--excel", *arguments]) == 2
        assert "--excel requires" in told(capsys)
    assert run(["summarise", str(path), "--excel", "-o", str(tmp_path / "a.json")]) == 2
    assert "--excel requires .csv files" in told(capsys)


@pytest.mark.parametrize("rows", ["rows.csv", "rows.jsonl", None])
def test_excel_applies_to_a_summary(rows: str | None, videos: Path, tmp_path: Path) -> None:
    people, other = tmp_path / "people.csv", tmp_path / "people.json"
    more = [] if rows is None else ["-o", str(tmp_path / rows)]
    assert run(["predict", str(videos), "--excel", "--summary", str(people), *more]) == 6
    assert people.read_bytes().startswith(b"\xef\xbb\xbfsource,")
    if rows is not None:
        marked = (tmp_path / rows).read_bytes().startswith(b"\xef\xbb\xbf")
        assert marked == (rows == "rows.csv")
    if rows != "rows.csv":
        assert run(["predict", str(videos), "--excel", "--summary", str(other), "--overwrite"]) == 2


def test_labels_that_look_equally_probable_keep_their_order(capsys: Output) -> None:
    scores = {"a": 0.001, "anger": 0.9, "b": 0.003, "c": 0.096}
    RowTable(4).write_row(replace(make_row(), label="anger", score=0.9, scores=scores))
    assert capsys.readouterr().out.splitlines()[-1].endswith("c 0.10, a 0.00, b 0.00")
