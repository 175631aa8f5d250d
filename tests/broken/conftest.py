"""How a case of broken input is run: the real command line, and nothing may be left behind."""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import broken_videos
import pytest
from decoders import DECODERS
from outcomes import Outcome, Predict, checked, open_files, threads, threads_left

from peclip.cli.app import run
from peclip.engines import base
from peclip.recognizers.pe_clip import PEClip

SECONDS = 20
"""After which a case counts as hanging."""

LINUX_CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1 << 1
CAP_DAC_READ_SEARCH = 1 << 2
"""The rights of root to pass over the permissions of files (capabilities(7))."""


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


@pytest.fixture(scope="session")
def _warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Libraries open files and start threads at their first use; those are not leaks."""
    folder = tmp_path_factory.mktemp("warm")
    video = broken_videos.faststart(folder / "a.mp4")
    for decoder in DECODERS:
        arguments = ["--decoder", decoder, "-m", "debug", "--device", "cpu", "--detector", "haar"]
        assert run(["predict", str(video), *arguments, "-o", str(folder / f"{decoder}.csv")]) == 0
    gc.collect()
    gc.freeze()  # what the libraries made stays: the collections below look at the rest alone
    yield
    gc.unfreeze()


_load = functools.cache(base.load)


@pytest.fixture
def predict(
    _warm: None,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Predict:
    """Runs `peclip predict` and checks what holds of every run, whatever its input.

    The exit code is documented and agrees with the rows; each failure is one line; the output is whole;
    no file stays open and no thread stays alive. The model, which is good, is loaded once for all.
    """
    monkeypatch.setattr(base, "load", _load)

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
        assert threads_left(alive) == 0
        out, err = capfd.readouterr()
        assert out == ""
        return checked(code, output, err)

    return predict


@pytest.fixture
def powerless() -> Callable[[], AbstractContextManager[None]]:
    """Runs as somebody to whom permissions apply, also where the tests run as root."""
    if os.geteuid() != 0:
        return nullcontext
    if sys.platform != "linux":
        pytest.skip("root on a system without capabilities: permissions do not apply")

    @contextmanager
    def run_without() -> Iterator[None]:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
        held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: 32 bits each, twice
        assert libc.capget(header, held) == 0
        fewer = type(held)(*held)
        fewer[0] &= ~(CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH)
        assert libc.capset(header, fewer) == 0
        try:
            yield
        finally:
            assert libc.capset(header, held) == 0

    return run_without


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Good videos by name, to be broken."""
    folder = tmp_path_factory.mktemp("good")
    paths = [
        broken_videos.faststart(folder / "front.mp4"),
        broken_videos.small_video(folder / "back.mp4"),
        broken_videos.small_video(folder / "plain.mkv"),
        broken_videos.small_video(folder / "plain.avi", codec="mpeg4", g="4"),
        broken_videos.small_video(folder / "plain.ts"),
        broken_videos.small_video(folder / "plain.gif", codec="gif", pix_fmt="rgb8"),
        broken_videos.small_video(folder / "plain.h264"),
        broken_videos.faststart(folder / "long.mp4", count=60),
        broken_videos.small_video(folder / "long.mkv", count=60),
    ]
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a good model."""
    folder = tmp_path_factory.mktemp("model")
    PEClip.from_pretrained("debug", device="cpu").save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return broken_videos.faststart(tmp_path_factory.mktemp("video") / "a.mp4")
