"""Ctrl-C and SIGTERM leave valid files with what was done, whatever line they arrive at."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from canned import CannedEngine, opener
from sweeps import sweep

import peclip
from peclip.cli.app import run
from peclip.cli.interruption import Interruption
from peclip.engines.registry import ENGINES

PACKAGE = Path(peclip.__file__).parent
WATCHED = {str(PACKAGE / "cli" / f"{name}.py") for name in ("batch", "output", "predict")}
WATCHED |= {
    str(PACKAGE / name)
    for name in ("cli/interruption.py", "results/writers.py", "engines/journal.py")
}
WATCHED |= {str(path) for path in (PACKAGE / "results" / "formats").glob("*.py")}
WATCHED |= {contextlib.__file__}
MOMENTS = 40


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "bad.mp4", "c.mp4"):
        (folder / name).touch()
    return folder


@contextmanager
def signalled(number: signal.Signals, line: int) -> Iterator[list[int]]:
    """Sends a signal at the so-manieth line that runs while signals are taken care of."""
    count = [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in WATCHED:
            return None
        handler = signal.getsignal(signal.SIGTERM)
        if event == "line" and isinstance(getattr(handler, "__self__", None), Interruption):
            count[0] += 1
            if count[0] == line:
                signal.raise_signal(number)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


def sources_of(path: Path) -> list[str]:
    """Reads a file of any format; fails if it is not valid. Returns the source of each row."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return [str(name) for name in pq.read_table(path).column("source").to_pylist()]
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert all(None not in row and None not in row.values() for row in rows)
        return [row["source"] for row in rows]
    if path.suffix == ".jsonl":
        assert not text or text.endswith("\n")
        return [json.loads(line)["source"] for line in text.splitlines()]
    content = json.loads(text)
    documents = content if isinstance(content, list) else [content]
    return [row["source"] for document in documents for row in document["rows"]]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
@sweep("ending", ["csv", "jsonl", "json", "parquet"], default=["csv"])
def test_at_any_line(
    ending: str,
    number: signal.Signals,
    code: int,
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = videos.parent / f"rows.{ending}"
    command = ["predict", str(videos), "-o", str(path)]
    handler = signal.getsignal(number)

    def attempt(line: int) -> tuple[int, int, CannedEngine]:
        engine = CannedEngine()
        monkeypatch.setitem(ENGINES, "local", opener(engine))
        for file in videos.parent.glob("rows.*"):
            file.unlink()
        with signalled(number, line) as count:
            return run(command), count[0], engine

    whole, lines, _ = attempt(0)
    assert whole == 6
    every = sources_of(path)
    capsys.readouterr()
    assert lines > 100
    for line in random.Random(ending).sample(range(1, lines + 1), MOMENTS):
        stopped, _, engine = attempt(line)
        finished = len(engine.ended) == 4  # it came while the files were closed
        assert stopped == code or (finished and stopped == 6), f"at line {line}"
        assert signal.getsignal(number) is handler
        messages = [text for text in capsys.readouterr().err.splitlines() if "interrupted" in text]
        assert len(messages) <= 1
        if not path.exists():
            assert not engine.ended, f"at line {line}"
            continue
        found = sources_of(path)
        assert found == every[: len(found)], f"at line {line}"
        done = [name for name in every if name in engine.ended]
        assert found[: len(done)] == done, f"at line {line}"
        if ending == "jsonl" and stopped == code:
            assert run([*command, "--resume"]) == 6, f"at line {line}"
            assert sources_of(path) == every, f"at line {line}"
            capsys.readouterr()


def test_a_second_signal_does_not_tear_the_output(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twice(CannedEngine):
        def read(self, sources: Any) -> Iterator[Any]:
            try:
                yield from super().read(sources)
            finally:
                signal.raise_signal(signal.SIGINT)

    class Stopped(Twice):
        def read(self, sources: Any) -> Iterator[Any]:
            for reading in super().read(sources):
                yield reading
                signal.raise_signal(signal.SIGTERM)

    monkeypatch.setitem(ENGINES, "local", opener(Stopped()))
    path = videos.parent / "rows.json"
    assert run(["predict", str(videos), "-o", str(path)]) == 143
    assert sources_of(path) == [str(videos / "a.mp4")] * 3


def test_one_line_says_where_the_rows_are(
    videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stopped(CannedEngine):
        def read(self, sources: Any) -> Iterator[Any]:
            yield from super().read(sources[:1])
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setitem(ENGINES, "local", opener(Stopped()))
    for ending, more in (("csv", ""), ("jsonl", "; to resume, repeat the command with --resume")):
        path = videos.parent / f"rows.{ending}"
        assert run(["predict", str(videos), "-o", str(path)]) == 143
        _, *lines = capsys.readouterr().err.splitlines()
        assert lines == [f"interrupted; finished rows are in {path}{more}"]


@pytest.mark.slow
def test_a_terminated_process_keeps_its_rows(astronaut: Path, tmp_path: Path) -> None:
    """A real process, signalled from outside after a number of its messages that the seed chose."""
    videos, path = tmp_path / "videos", tmp_path / "rows.jsonl"
    videos.mkdir()
    for number in range(8):
        shutil.copy(astronaut, videos / f"{number:02}.mp4")
        (videos / f"{number:02}-bad.mp4").touch()  # says so on standard error, when its turn comes
    command = ["predict", str(videos), "-o", str(path), "-m", "debug", "--no-face-crop"]
    command += ["--device", "cpu", "--precision", "fp32"]
    with subprocess.Popen(
        [sys.executable, "-m", "peclip", *command],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        text=True,
    ) as process:
        assert process.stderr is not None
        for _ in range(random.Random(20260101).randint(2, 5)):
            assert process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 143
    assert rest.count("interrupted; finished rows are in") == 1
    assert "Traceback" not in rest
    before = sources_of(path)
    assert before
    assert run([*command, "--resume"]) == 6
    after = sources_of(path)
    assert len(set(after)) == 16
    assert len(after) == 8 * 5 + 8
