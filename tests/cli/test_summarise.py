"""`peclip summarise` and `peclip predict --summary`: the same table, from rows and from a run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from canned import LABELS, CannedEngine, make_row

from peclip.cli.app import run
from peclip.engines.registry import ENGINES
from peclip.errors import UserError
from peclip.results.prediction import Prediction

Output = pytest.CaptureFixture[str]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    Prediction("in/a.mp4", LABELS, tuple(make_row("in/a.mp4", n) for n in range(3))).save(path)
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def told(capsys: Output) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_run_writes_the_summary_of_all_sources(
    engine: CannedEngine, videos: Path, tmp_path: Path
) -> None:
    people, output = tmp_path / "people.csv", tmp_path / "rows.jsonl"
    assert run(["predict", str(videos), "-o", str(output), "--summary", str(people)]) == 6
    found = table(people)
    assert [Path(line["source"]).name for line in found] == ["a.mp4", "b.mp4", "bad.mp4"]
    assert [line["seen_s"] for line in found] == ["3.0", "3.0", "0.0"]
    assert [line["decode_errors"] for line in found] == ["0", "0", "1"]
    assert [line["mean_prob_anger"] for line in found] == ["0.75", "0.75", ""]
    again = tmp_path / "again.csv"
    assert run(["summarise", str(output), "-o", str(again)]) == 0
    assert again.read_bytes() == people.read_bytes()


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_rows_of_each_format_have_the_summary_of_the_run(
    form: str, engine: CannedEngine, videos: Path, tmp_path: Path
) -> None:
    people, output = tmp_path / "people.json", tmp_path / f"rows.{form}"
    assert run(["predict", str(videos), "-o", str(output), "--summary", str(people)]) == 6
    again = tmp_path / "again.json"
    assert run(["summarise", str(output), "-o", str(again)]) == 0
    assert json.loads(again.read_text()) == json.loads(people.read_text())


def test_a_resumed_run_summarises_the_whole(
    engine: CannedEngine, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from canned import CannedReading

    people, output = tmp_path / "people.csv", tmp_path / "rows.jsonl"
    whole = CannedReading.rows

    def stopped(self: CannedReading):  # type: ignore[no-untyped-def]
        if self.source.endswith("b.mp4"):
            raise KeyboardInterrupt
        yield from whole(self)

    arguments = ["predict", str(videos), "-o", str(output), "--summary", str(people)]
    monkeypatch.setattr(CannedReading, "rows", stopped)
    assert run(arguments) == 130
    assert Path(table(people)[0]["source"]).name == "a.mp4"
    monkeypatch.setattr(CannedReading, "rows", whole)
    assert run([*arguments, "--resume"]) == 6
    assert [Path(name).name for name in engine.asked] == ["a.mp4", "b.mp4", "b.mp4", "bad.mp4"]
    assert [Path(line["source"]).name for line in table(people)] == ["a.mp4", "b.mp4", "bad.mp4"]


def test_a_single_unreadable_source_writes_no_summary(
    engine: CannedEngine, videos: Path, tmp_path: Path
) -> None:
    people = tmp_path / "people.csv"
    assert run(["predict", str(videos / "bad.mp4"), "--summary", str(people)]) == 3
    assert not people.exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("people.xlsx", ".csv, .jsonl, .json, .parquet"),
        ("none/people.csv", "existing folder"),
        ("old.csv", "--overwrite"),
        ("rows.csv", "-o and --summary both write to"),
    ],
)
def test_the_summary_is_checked_before_anything_is_computed(
    name: str, expected: str, videos: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: Output,
) -> None:  # fmt: skip
    def loaded(*given: object) -> None:
        raise UserError("opened an engine")

    monkeypatch.setitem(ENGINES, "local", loaded)
    (tmp_path / "old.csv").write_text("precious")
    files = ["-o", str(tmp_path / "rows.csv"), "--summary", str(tmp_path / name)]
    assert run(["predict", str(videos), *files]) == 2
    assert expected in told(capsys)
    assert (tmp_path / "old.csv").read_text() == "precious"


def test_a_short_table_is_printed(rows: Path, capsys: Output) -> None:
    assert run(["summarise", str(rows)]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        *("source", "track_id", "seen", "(s)", "label", "share", "of", "time", "episodes", "ok"),
    ]
    assert line.split() == ["in/a.mp4", "0", "3.0", "anger", "anger", "100%", "1", "100%"]


def test_a_dash_prints_the_table(rows: Path, capsys: Output) -> None:
    assert run(["summarise", str(rows), "-o", "-"]) == 0
    (line,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert line["share_anger"] == "1.0"


def test_participants_join_and_group(rows: Path, tmp_path: Path, capsys: Output) -> None:
    second = tmp_path / "rows-2.jsonl"
    Prediction("in/b.mp4", LABELS, (make_row("in/b.mp4"),)).save(second)
    participants = tmp_path / "participants.csv"
    participants.write_text("source,age,condition\na,20,x\nz,30,y\n", encoding="utf-8")
    files = ["summarise", str(rows), str(second), "--join", str(participants)]
    people, groups = tmp_path / "people.csv", tmp_path / "groups.csv"
    assert run([*files, "-o", str(people)]) == 0
    (remark,) = capsys.readouterr().err.splitlines()
    assert remark == (
        f"{participants}: 1 of 2 sources are not in the table (in/b.mp4); 1 of its 2 rows match "
        "no source (z)"
    )
    assert [[line[k] for k in ("source", "age", "condition")] for line in table(people)] == [
        ["in/a.mp4", "20", "x"],
        ["in/b.mp4", "", ""],
    ]
    assert run([*files, "--by", "condition", "-o", str(groups)]) == 0
    assert [(g["condition"], g["people"], g["seen_s"]) for g in table(groups)] == [
        ("x", "1", "3.0"),
        ("", "1", "1.0"),
    ]
    assert run([*files, "--by", "condition"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["x", "(none)"]
    assert run([*files, "--by", "height"]) == 2
    assert "source, track_id, age, condition" in told(capsys)


def test_episodes_and_transitions_are_long_tables(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    header = "source,track_id,start_s,end_s,status,label,prob_anger,prob_fear\n"
    lines = ["a,0,0,1,ok,anger,0.75,0.25", "a,0,1,2,ok,fear,0,1", "a,0,2,3,ok,fear,0.5,0.5"]
    path.write_text(header + "\n".join(lines), encoding="utf-8")
    episodes, transitions = tmp_path / "episodes.csv", tmp_path / "transitions.csv"
    files = ["--episodes", str(episodes), "--transitions", str(transitions)]
    assert run(["summarise", str(path), *files]) == 0
    assert episodes.read_text() == (
        "source,track_id,episode,label,onset_s,apex_s,offset_s,duration_s,apex_prob,mean_prob,num_windows\n"
        "a,0,0,anger,0.0,0.5,1.0,1.0,0.75,0.75,1\n"
        "a,0,1,fear,1.0,1.5,3.0,2.0,1.0,0.75,2\n"
    )
    assert transitions.read_text() == (
        "source,track_id,from_label,to_label,count\na,0,anger,fear,1\n"
    )


def test_empty_long_tables_have_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "source,track_id,start_s,end_s,status,label,prob_anger,prob_fear\na,-1,0,1,no_face,,,\n",
        encoding="utf-8",
    )
    files = ["--episodes", str(tmp_path / "e.csv"), "--transitions", str(tmp_path / "t.csv")]
    assert run(["summarise", str(path), *files]) == 0
    assert (tmp_path / "e.csv").read_text().startswith("source,track_id,episode,label,onset_s,")
    assert (tmp_path / "t.csv").read_text() == "source,track_id,from_label,to_label,count\n"


def test_outputs_are_checked_first(rows: Path, tmp_path: Path, capsys: Output) -> None:
    same = str(tmp_path / "a.csv")
    assert run(["summarise", "none.csv", "-o", same, "--episodes", same]) == 2
    assert "Two tables would be written to" in told(capsys)
    assert run(["summarise", "none.csv", "-o", str(rows)]) == 2
    assert "--overwrite" in told(capsys)
    assert run(["summarise", "none.csv"]) == 2
    assert "none.csv" in told(capsys)
