"""The bar of `peclip predict`: length, speed and time left, also between two rows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from canned import CannedEngine, opener

from peclip.cli import console, reading_bar
from peclip.cli.app import run
from peclip.cli.reading_bar import ReadingBar, overall_position, source_position
from peclip.cli.row_count import RowCount
from peclip.engines.registry import ENGINES
from peclip.results.rows import Row


def test_the_position_in_a_source() -> None:
    assert source_position(0.0, 60.0, 0.5) == "0.0 of 60.0 s"
    # 12 s in 3 s are four times real time; the other 48 s take 12 s.
    assert source_position(12.0, 60.0, 3.0) == "12.0 of 60.0 s, 4.0x real time, 0:12 left"
    assert source_position(12.0, None, 24.0) == "12.0 s, 0.5x real time", "a webcam has no end"


def test_the_position_in_all_sources() -> None:
    assert overall_position(0, 0.0, 50, 1.0) == "0 of 50 sources"
    # Two and a half of ten in 5 minutes: the other 7.5 take 15 minutes.
    assert overall_position(2, 2.5, 10, 300.0) == "2 of 10 sources, 15:00 left"


def test_a_bar_moves_without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(reading_bar.time, "monotonic", lambda: now[0])
    reading: Any = SimpleNamespace(source="videos/a.mp4", position_s=0.0, duration_s=None)
    with console.progress_bar(enabled=False) as bar:
        shown = ReadingBar(bar, end=40.0)
        shown.begin(4)
        with shown.follow(reading):
            reading.duration_s, reading.position_s, now[0] = 60.0, 10.0, 105.0
            list(bar.get_renderables())
            overall, source = bar.tasks
            assert source.description == "a.mp4"
            assert (source.total, source.completed) == (40.0, 10.0), "--end 40s"
            assert source.fields["position"] == "10.0 of 40.0 s, 2.0x real time, 0:15 left"
            assert (overall.total, overall.completed) == (4, 0.25)
            # A quarter of one source in 5 s: 3.75 sources take 75 s.
            assert overall.fields["position"] == "0 of 4 sources, 1:15 left"
        list(bar.get_renderables())
        (overall,) = bar.tasks
        assert overall.completed == 1


def test_one_source_has_one_bar() -> None:
    with console.progress_bar(enabled=False) as bar:
        ReadingBar(bar, end=None).begin(1)
        assert bar.tasks == []


def row(track: int, label: str | None = "anger") -> Row:
    scores = {} if label is None else {label: 1.0}
    return Row("a", "m", "", track, 0, 0.0, 1.0, 0, 3, 4, 1, "ok", label=label, scores=scores)


def test_counts() -> None:
    count = RowCount()
    count.add(row(0))
    count.end_source(failed=False)
    assert count.text() == "1 row, 1 video, 1 person"
    for track in (0, 2, 0, -1):
        count.add(row(track, None if track < 0 else "anger"))
    count.end_source(failed=True)
    assert count.text() == "5 rows, 2 videos (1 failed), 3 people"


def test_whole_frames_are_not_people() -> None:
    count = RowCount()
    count.add(row(-1))
    count.end_source(failed=False)
    assert count.text() == "1 row, 1 video"


def test_a_video_without_a_face_has_no_people() -> None:
    count = RowCount()
    count.add(row(-1, None))
    count.end_source(failed=False)
    assert count.text() == "1 row, 1 video, 0 people"


@pytest.mark.parametrize(("encoding", "arrow"), [("utf-8", "→"), ("ascii", "->"), (None, "->")])
def test_the_arrow_fits_the_terminal(
    encoding: str | None, arrow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", SimpleNamespace(encoding=encoding))
    assert console.arrow() == arrow


def test_the_last_line_counts_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENGINES, "local", opener(CannedEngine()))
    monkeypatch.setattr(console, "arrow", lambda: "->")
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").touch()
    path = tmp_path / "rows.csv"
    assert run(["predict", str(tmp_path), "-o", str(path)]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"6 rows, 2 videos, 2 people -> {path}"
    assert run(["predict", str(tmp_path), "-o", str(path), "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_the_last_line_of_a_resumed_run_counts_earlier_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENGINES, "local", opener(CannedEngine()))
    monkeypatch.setattr(console, "arrow", lambda: "->")
    rows, people = tmp_path / "rows.jsonl", tmp_path / "people.csv"
    command = ["predict", str(tmp_path), "-o", str(rows), "--resume"]

    def last() -> str:
        return capsys.readouterr().err.splitlines()[-1]

    (tmp_path / "a.mp4").touch()
    assert run(command) == 0
    assert last() == f"3 rows, 1 video, 1 person -> {rows}"
    (tmp_path / "b.mp4").touch()
    assert run(command) == 0
    assert last() == f"new: 3 rows, 1 video, 1 person; 1 video from earlier runs -> {rows}"
    assert run(command) == 0
    assert last() == f"nothing new, 2 videos from earlier runs -> {rows}"
    assert run([*command, "--summary", str(people)]) == 0
    assert last() == f"nothing new, 2 videos from earlier runs -> {rows}, {people}"
    assert len(people.read_text().splitlines()) == 3
