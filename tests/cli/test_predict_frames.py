"""`peclip predict --save-video` and `--per-frame` as a person types them."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import av
import pytest
from command_line import refused
from fake_yunet import FakeYuNet, face_row, install
from synthetic_videos import write_video

from peclip.cli.app import run
from peclip.cli.run_remarks import RunRemarks
from peclip.results.overlay import render_overlay

DEBUG = ["-m", "debug", "--device", "cpu", "--detector", "yunet"]

Output = pytest.CaptureFixture[str]


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch) -> None:
    """One face in each frame."""
    install(monkeypatch, FakeYuNet(lambda _: [face_row(10, 8, 30, 30, 0.9)]))


def frames_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_video_and_rows_per_frame_of_one_source(tmp_path: Path, face: None) -> None:
    clip = write_video(tmp_path / "clip.mp4")
    outputs = ["--save-video", str(tmp_path / "out.mp4"), "--per-frame", str(tmp_path / "f.csv")]
    code = run(
        ["predict", str(clip), *DEBUG, "-o", str(tmp_path / "rows.jsonl"), *outputs, "--blur-all"]
    )
    assert code == 0
    assert count(tmp_path / "out.mp4") == 30
    frames = frames_of(tmp_path / "f.csv")
    assert [int(one["frame"]) for one in frames] == list(range(30))
    assert {one["face_id"] for one in frames} == {"0"}
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    by_window = {row["window"]: row for row in rows}
    for one in frames:
        window = by_window[int(one["window"])]
        assert one["label"] == window["label"]
        assert window["start_frame"] <= int(one["frame"]) <= window["end_frame"]
    assert not list(tmp_path.glob(".*"))  # neither temporary nor lock files


def test_several_sources_have_a_folder_of_videos_and_one_table(tmp_path: Path, face: None) -> None:
    clips = [write_video(tmp_path / name) for name in ("a.mp4", "b.mkv")]
    folder, table = tmp_path / "videos", tmp_path / "frames.parquet"
    code = run(
        [
            "predict",
            *map(str, clips),
            *DEBUG,
            "-o",
            str(tmp_path / "rows.csv"),
            "--save-video",
            str(folder),
            "--per-frame",
            str(table),
        ]
    )
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["a.mp4", "b.mp4"]
    import pyarrow.parquet as pq

    sources = pq.read_table(table).column("source").to_pylist()
    assert sources == [str(clips[0])] * 30 + [str(clips[1])] * 30


def test_without_face_detection_the_whole_frame_has_id_minus_one(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4")
    table = tmp_path / "frames.jsonl"
    code = run(
        [
            "predict",
            str(clip),
            "-m",
            "debug",
            "--device",
            "cpu",
            "--no-face-crop",
            "-o",
            str(tmp_path / "rows.csv"),
            "--per-frame",
            str(table),
            "--save-video",
            str(tmp_path / "out.mp4"),
        ]
    )
    assert code == 0
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert {(r["face_id"], r["success"], r["confidence"]) for r in rows} == {(-1, 1, None)}
    assert rows[0]["label"] is not None
    assert (rows[0]["x"], rows[0]["y"], rows[0]["w"], rows[0]["h"]) == (8.0, 0.0, 48.0, 48.0)


def test_an_unreadable_source_has_no_video(tmp_path: Path, face: None) -> None:
    good, bad = write_video(tmp_path / "good.mp4"), tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video")
    folder = tmp_path / "videos"
    code = run(
        [
            "predict",
            str(bad),
            str(good),
            *DEBUG,
            "-o",
            str(tmp_path / "rows.csv"),
            "--save-video",
            str(folder),
        ]
    )
    assert code == 6
    assert [path.name for path in folder.iterdir()] == ["good.mp4"]


def test_ctrl_c_ends_the_drawing_at_once_and_keeps_the_rows(
    tmp_path: Path, face: None, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def interrupted(*arguments: object, on_frame: object, **options: object) -> None:
        def press(time: float) -> None:
            signal.raise_signal(signal.SIGINT)

        render_overlay(*arguments, on_frame=press, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("peclip.results.overlay.render_overlay", interrupted)
    clip, rows = write_video(tmp_path / "clip.mp4"), tmp_path / "rows.json"
    code = run(
        ["predict", str(clip), *DEBUG, "-o", str(rows), "--save-video", str(tmp_path / "out.mp4")]
    )
    assert code == 130
    assert "interrupted" in capsys.readouterr().err
    assert len(json.loads(rows.read_text())["rows"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "rows.json"]


def test_resumed_runs_draw_the_sources_that_are_left(tmp_path: Path, face: None) -> None:
    first, second = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4")
    rows, folder = tmp_path / "rows.jsonl", tmp_path / "videos"
    assert run(["predict", str(first), *DEBUG, "-o", str(rows), "--resume"]) == 0
    code = run(
        [
            "predict",
            str(first),
            str(second),
            *DEBUG,
            "-o",
            str(rows),
            "--resume",
            "--save-video",
            str(folder),
        ]
    )
    assert code == 0
    assert [path.name for path in folder.iterdir()] == ["b.mp4"]


def test_what_cannot_be_written_is_refused_before_the_model_is_loaded(
    tmp_path: Path, capsys: Output
) -> None:
    a, b = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4")
    (tmp_path / "old.mp4").touch()

    def told(*arguments: str) -> str:
        return refused(capsys, "predict", "-m", "missing/model", *arguments)

    out = str(tmp_path / "out.mp4")
    assert "live source 0. Record it first" in told("0", "--save-video", out)
    assert "live source 0. Record it first" in told("0", "--per-frame", str(tmp_path / "f.csv"))
    assert "Download the file" in told("https://example.org/a.mp4", "--save-video", out)
    assert "2 sources" in told(str(a), str(b), "--save-video", out)
    assert "--overwrite" in told(str(a), "--save-video", str(tmp_path / "old.mp4"))
    assert "would replace the source" in told(str(a), "--save-video", str(a), "--overwrite")
    assert "would replace the source" in told(
        str(a), str(b), "--save-video", str(tmp_path), "--overwrite"
    )
    assert "use one of .mp4" in told(str(a), "--save-video", str(tmp_path / "out.avi"))
    assert ".parquet" in told(str(a), "--per-frame", str(tmp_path / "f.xlsx"))
    assert "--save-video FILE.mp4" in told(str(a), "--blur-all")
    assert "only one" in told(str(a), "--save-video", out, "--blur-all", "--blur-others")
    assert "--no-face-crop" in told(str(a), "--save-video", out, "--blur-all", "--no-face-crop")
    assert "--engine local" in told(str(a), "--save-video", out, "--engine", "ray")
    assert "Remove --resume" in told(
        *(str(a), "-o", str(tmp_path / "r.jsonl"), "--resume"),
        *("--per-frame", str(tmp_path / "f.csv")),
    )


def test_labels_that_are_shown_as_numbers_have_a_key(
    tmp_path: Path, face: None, capsys: Output
) -> None:
    clip, out = write_video(tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    assert (
        run(["predict", str(clip), *DEBUG, "--labels", "开心,sad,怒", "--save-video", str(out)])
        == 0
    )
    lines = capsys.readouterr().err.splitlines()
    assert "labels in the video: #1 开心, #3 怒" in lines
    assert f"writing {out}" in lines
    assert lines[-1].endswith(str(out))


def test_people_without_a_baseline_are_named_with_the_limit(capsys: Output) -> None:
    remarks = RunRemarks()
    for name, tracks in (("a.mp4", [0, 2]), ("b.mp4", []), ("c.mp4", [0, 1, 2, 3, -1])):
        remarks.add(name, {"without_baseline": tracks}, is_faceless=False)
    remarks.print()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--baseline changed nothing for person 0 of a.mp4, person 2 of a.mp4, ")
    assert "person 2 of c.mp4 and 2 more: it needs at least 10 windows" in line
