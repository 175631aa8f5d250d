"""Shards and resumed runs of `peclip predict`: together exactly the whole."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from canned import CannedEngine, CannedReading, opener

from peclip.cli.app import run
from peclip.engines.journal import journal_of
from peclip.engines.registry import ENGINES
from peclip.errors import UserError
from peclip.video.sources import Source

QUICK = ["-m", "debug", "--device", "cpu", "--no-face-crop"]
Output = pytest.CaptureFixture[str]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(7):
        (folder / f"{number}.mp4").touch()
    return folder


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CannedEngine:
    engine = CannedEngine()
    monkeypatch.setitem(ENGINES, "local", opener(engine))
    return engine


def rows_of(path: Path) -> list[tuple[str, int]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(Path(row["source"]).name, row["window"]) for row in rows]


def error_of(capsys: Output) -> str:
    """Returns the one error that was printed, whoever printed it, without the frame around it."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return " ".join(err.split())


@pytest.mark.parametrize("count", [1, 3, 9])
def test_the_shards_together_cover_every_source(
    count: int, videos: Path, engine: CannedEngine, tmp_path: Path
) -> None:
    found = []
    for number in range(1, count + 1):
        path = tmp_path / f"rows-{number}.jsonl"
        assert run(["predict", str(videos), "--shard", f"{number}/{count}", "-o", str(path)]) == 0
        found += rows_of(path)  # a shard of none has a file too
    assert sorted(found) == [(f"{n}.mp4", window) for n in range(7) for window in range(3)]


def test_the_shard_is_read_from_the_environment(
    videos: Path, engine: CannedEngine, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert run(["predict", str(videos), "--shard", "env", "-o", "-"]) == 0
    assert engine.asked == [str(videos / "2.mp4"), str(videos / "5.mp4")]
    assert "shard 3/3: 2 sources" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "env"])
def test_an_invalid_shard_is_a_one_line_error_and_exit_2(
    text: str, videos: Path, engine: CannedEngine, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert run(["predict", str(videos), "--shard", text]) == 2
    assert "--shard" in error_of(capsys)
    assert engine.asked == []


def test_a_single_source_in_a_shard_is_written_as_one_of_several(
    tmp_path: Path, engine: CannedEngine, capsys: Output
) -> None:
    for name in ("a.mp4", "bad.mp4"):
        (tmp_path / name).touch()
    path = tmp_path / "rows.jsonl"
    assert run(["predict", str(tmp_path), "--shard", "2/2", "-o", str(path)]) == 3
    assert rows_of(path) == [("bad.mp4", 0)]


def test_a_complete_run_keeps_its_rows(videos: Path, engine: CannedEngine, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert run(["predict", str(videos), "-o", str(path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl", "videos"]


def test_complete_sources_are_skipped_and_counted(
    videos: Path, engine: CannedEngine, tmp_path: Path, capsys: Output
) -> None:
    path, command = tmp_path / "rows.jsonl", ["predict", str(videos), "--resume"]
    (videos / "bad.mp4").touch()
    assert run([*command, "-o", str(path)]) == 6
    whole = path.read_text()
    # Killed in the middle: the last line is torn, and the source before it lacks a row.
    notes = journal_of(path).read_text().splitlines(keepends=True)
    journal_of(path).write_text("".join(notes[:4]) + notes[4][:9])
    path.write_text("".join(whole.splitlines(keepends=True)[:11]) + '{"source": "')
    engine.asked.clear()
    capsys.readouterr()
    assert run([*command, "-o", str(path)]) == 6
    message = error_of(capsys)
    assert "3 lines of unfinished sources" in message
    assert "3 of 8 sources have already been processed (0 of them failed)" in message
    assert len(engine.asked) == 5
    assert path.read_text() == whole

    engine.asked.clear()
    assert run([*command, "-o", str(path)]) == 6, "a source failed in the run before"
    assert "8 of 8 sources have already been processed (1 of them" in error_of(capsys)
    assert engine.asked == []
    assert path.read_text() == whole


def test_a_partly_read_source_counts_as_recognised_in_a_later_run(
    engine: CannedEngine, tmp_path: Path
) -> None:
    (tmp_path / "torn.mp4").touch()
    command = ["predict", str(tmp_path), "-o", str(tmp_path / "rows.jsonl"), "--resume"]
    assert [run(command), run(command)] == [6, 6]
    assert len(engine.asked) == 1


def test_two_spellings_of_a_path_give_its_videos_once(
    videos: Path, engine: CannedEngine, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(videos.parent)
    Path("link").symlink_to("videos")
    assert run(["predict", "videos", str(videos), "link", "-o", "-"]) == 0
    assert engine.asked == [f"videos/{number}.mp4" for number in range(7)]


def test_failures_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[weakref.ref[UserError]] = []
    alive: list[int] = []

    class Watched(CannedEngine):
        def read(self, sources: Sequence[Source]) -> Iterator[CannedReading]:
            for reading in super().read(sources):
                yield reading
                assert reading.failure is not None
                failures.append(weakref.ref(reading.failure))
                alive.append(sum(failure() is not None for failure in failures))

    for number in range(4):
        (tmp_path / f"bad{number}.mp4").touch()
    monkeypatch.setitem(ENGINES, "local", opener(Watched()))
    assert run(["predict", str(tmp_path), "-o", str(tmp_path / "rows.csv")]) == 3
    assert alive == [1, 1, 1, 1]


def test_shards_may_follow_each_other_into_one_output(
    videos: Path, engine: CannedEngine, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    for shard in ("2/2", "1/2", "1/1"):
        assert run(["predict", str(videos), "--shard", shard, "-o", str(path), "--resume"]) == 0
    assert len(engine.asked) == 7
    assert sorted(rows_of(path)) == [(f"{n}.mp4", window) for n in range(7) for window in range(3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "rows.csv", "--resume"], "-o rows.jsonl"),
        (["-o", "-", "--resume"], "-o rows.jsonl"),
        (["--resume"], "-o rows.jsonl"),
        (["-o", "rows.jsonl", "--resume", "--overwrite"], "--resume keeps"),
        (["-o", "there.jsonl", "--resume"], "there.jsonl.journal"),
        (["-o", "there.jsonl"], "--overwrite"),
        (["--workers", "2"], "--engine ray"),
        (["--worker-gpus", "0"], "--engine ray"),
        (["--engine", "spark"], "--engine"),
    ],
)
def test_invalid_usage_is_a_one_line_error_and_exit_2(
    arguments: list[str],
    message: str,
    astronaut: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.jsonl").write_text("precious\n")
    assert run(["predict", str(astronaut), *arguments, *QUICK]) == 2
    assert message in error_of(capsys)
    assert (tmp_path / "there.jsonl").read_text() == "precious\n"
    assert {p.name for p in tmp_path.iterdir()} <= {"there.jsonl"}


def test_rows_of_another_model_or_other_options_are_not_mixed(
    astronaut: Path, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "rows.jsonl"
    command = ["predict", str(astronaut), "-o", str(path), "--resume", *QUICK]
    assert run(command) == 0
    whole = path.read_text()
    for change, name in (
        (["--window", "2s"], "window 1.0"),
        (["--window", "all"], "window 1.0"),
        (["--labels", "awake, asleep"], "label_texts"),
        (["--precision", "bf16"], "precision"),
        (["-m", "nano"], "model 'debug'"),
    ):
        assert run([*command, *change]) == 2
        message = error_of(capsys)
        assert f"with different settings ({name}" in message
        assert "--overwrite" in message
    assert run([*command, "-b", "3"]) == 0, "the batch size does not change the predictions"
    assert path.read_text() == whole


def test_weights_changed_by_training_are_another_model(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    command = ["predict", str(videos), "-o", str(tmp_path / "rows.jsonl"), "--resume"]
    monkeypatch.setitem(ENGINES, "local", opener(CannedEngine(weights="1")))
    assert run(command) == 0
    monkeypatch.setitem(ENGINES, "local", opener(CannedEngine(weights="2")))
    assert run(command) == 2
    assert "different settings (weights_sha256 '1'" in error_of(capsys)


def test_the_digest_is_of_the_weights() -> None:
    import torch

    from peclip.engines.base import fingerprint
    from peclip.predict_options import PredictOptions
    from peclip.recognizers.loading import load

    options = PredictOptions(face_crop=False)
    model = load("debug", device="cpu")
    before = fingerprint(model, options)
    assert before == fingerprint(load("debug", device="cpu"), options)
    with torch.no_grad():
        next(model.model.parameters()).view(-1)[0] += 1
    changed = fingerprint(model, options)
    assert {name for name in before if before[name] != changed[name]} == {"weights_sha256"}


def test_the_help_describes_many_videos(capsys: Output) -> None:
    assert run(["predict", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Shards 1/N to N/N together cover each source exactly once" in out


def test_an_undecodable_name_is_read_once(astronaut: Path, tmp_path: Path) -> None:
    folder, path = tmp_path / "videos", tmp_path / "rows.jsonl"
    folder.mkdir()
    shutil.copy(astronaut, folder / os.fsdecode(b"caf\xe9.mp4"))
    command = ["predict", str(folder), "-m", "debug", "--device", "cpu", "--no-face-crop"]
    command += ["-o", str(path), "--resume"]
    assert run(command) == 0
    first = path.read_bytes()
    assert run(command) == 0
    assert path.read_bytes() == first


def test_a_missing_decoder_is_reported_before_any_source(
    astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """No source is marked as done, so a later run with the decoder reads them all."""
    monkeypatch.setattr("peclip.video.readers.torchcodec.load_problem", lambda: "no FFmpeg")
    command = ["predict", str(astronaut), str(astronaut.parent), "-m", "debug", "--device", "cpu"]
    command += ["--decoder", "torchcodec", "-o", str(tmp_path / "rows.jsonl"), "--resume"]
    assert run(command) == 5
    assert "no FFmpeg" in error_of(capsys)
    assert list(tmp_path.iterdir()) == []


def test_repeating_a_run_of_failures_fails_again(tmp_path: Path, capsys: Output) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("no video")
    command = ["predict", str(tmp_path), "-m", "debug", "--device", "cpu"]
    command += ["--no-face-crop", "-o", str(tmp_path / "rows.jsonl"), "--resume"]
    assert [run(command), run(command)] == [3, 3]
