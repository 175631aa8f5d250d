"""How a case of broken input is run: the real command line, and nothing may be left behind."""

from __future__ import annotations

import faulthandler
import gc
import json
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import makers
import pytest

from peclip.cli import run

SECONDS = 20
"""After which a case counts as hanging."""

ERROR = "peclip: error: "
NOTE = "debug on cpu in fp32"

Rows = list[dict[str, object]]


@dataclass(frozen=True)
class Outcome:
    """What a run of `peclip predict` left."""

    code: int
    rows: Rows
    errors: list[str]
    warnings: list[str]

    @property
    def recognised(self) -> Rows:
        return [row for row in self.rows if row["status"] != "decode_error"]


Predict = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """Fails a case that hangs; one that hangs within a library ends the run with a traceback."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"hanging for {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def open_files() -> list[str]:
    """What this process holds open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:  # the listing's own
            continue
    return sorted(found)


def threads() -> int:
    """Threads of this process, those of libraries too."""
    return len(os.listdir("/proc/self/task"))


@pytest.fixture(scope="session")
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Libraries open files and start threads at their first use; those are no leak."""
    folder = tmp_path_factory.mktemp("warm")
    video = makers.faststart(folder / "a.mp4")
    for decoder in ("auto", "pyav"):
        arguments = ["--decoder", decoder, "-m", "debug", "--device", "cpu", "--detector", "haar"]
        assert run(["predict", str(video), *arguments, "-o", str(folder / f"{decoder}.csv")]) == 0
    gc.collect()
    gc.freeze()  # what the libraries made stays: the collections below look at the rest alone


@pytest.fixture
def predict(_warm: None, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Predict:
    """Runs `peclip predict` and checks what holds of every run, whatever its input.

    The exit code is documented and agrees with the rows; each failure is one line; the output is whole;
    no file stays open and no thread stays alive.
    """

    def predict(
        *sources: str | Path,
        crop: bool = False,
        decoder: str = "auto",
        within: AbstractContextManager[object] | None = None,
    ) -> Outcome:
        output = tmp_path / "rows.jsonl"
        output.unlink(missing_ok=True)
        gc.collect()
        capfd.readouterr()
        held, alive = open_files(), threads()
        arguments = ["-m", "debug", "--device", "cpu", "--decoder", decoder, "-o", str(output)]
        arguments += ["--detector", "haar"] if crop else ["--no-face-crop"]
        with within or nullcontext():
            code = run(["predict", *arguments, "--", *map(str, sources)])
        gc.collect()
        assert open_files() == held
        assert threads() <= alive
        assert threading.active_count() == 1
        out, err = capfd.readouterr()
        assert out == ""
        return checked(code, output, err)

    return predict


def checked(code: int, output: Path, err: str) -> Outcome:
    """Checks the promises of docs/output.md, and returns what came out."""
    lines = err.splitlines()
    errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    warnings = [line for line in lines if line.startswith("peclip: warning: ")]
    noise = [x for x in lines if not x.startswith((ERROR, "peclip: warning: ")) and x != NOTE]
    assert noise == [], "only the program's own lines belong on standard error"
    content = output.read_text() if output.exists() else ""
    assert content.endswith("\n") or not content
    outcome = Outcome(code, [json.loads(line) for line in content.splitlines()], errors, warnings)
    assert code in {0, 3, 6}
    for row in outcome.recognised:
        scores = [value for name, value in row.items() if name.startswith("prob_")]
        if row["status"] != "no_face":
            assert sum(scores) == pytest.approx(1, abs=1e-4)  # type: ignore[arg-type]
        assert all(math.isfinite(float(row[name])) for name in ("start_s", "end_s"))  # type: ignore[arg-type]
        assert float(row["start_s"]) <= float(row["end_s"])  # type: ignore[arg-type]
    failed = [row for row in outcome.rows if row["status"] == "decode_error"]
    if code == 0:
        assert outcome.recognised
        assert failed == []
        assert errors == []
    elif code == 6:
        assert outcome.recognised
        assert len(failed) == len(errors) >= 1
    else:
        assert outcome.recognised == []
        assert errors
    assert all(len(line) < 600 for line in errors)
    return outcome


@pytest.fixture
def powerless(tmp_path: Path) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Runs as somebody to whom permissions apply, also where the tests run as root."""
    above = [path for path in (tmp_path, *tmp_path.parents) if "pytest" in str(path)]
    modes = {path: path.stat().st_mode for path in above}

    @contextmanager
    def run_without() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        for path, mode in modes.items():
            path.chmod(mode | 0o011)
        tmp_path.chmod(0o777)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    yield run_without
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Good videos by name, to be broken."""
    folder = tmp_path_factory.mktemp("good")
    paths = [
        makers.faststart(folder / "front.mp4"),
        makers.small_video(folder / "back.mp4"),
        makers.small_video(folder / "plain.mkv"),
        makers.small_video(folder / "plain.avi", codec="mpeg4", g="4"),
        makers.small_video(folder / "plain.ts"),
        makers.small_video(folder / "plain.gif", codec="gif", pix_fmt="rgb8"),
        makers.small_video(folder / "plain.h264"),
        makers.faststart(folder / "long.mp4", count=60),
        makers.small_video(folder / "long.mkv", count=60),
    ]
    return {path.name: path.read_bytes() for path in paths}
