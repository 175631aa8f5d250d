"""Sources in this process: one after the other, or several at the same time, as for a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from frame_folders import coloured, write_frames

from peclip.engines.base import Job
from peclip.engines.registry import ENGINES
from peclip.errors import VideoError
from peclip.inference.shared_scorer import SharedScorer
from peclip.predict_options import PredictOptions
from peclip.results.rows import Row
from peclip.video.sources import Source


def test_rows_are_not_kept_after_they_are_read(astronaut: Path) -> None:
    """The rows of a camera that runs for days would fill the memory."""
    options = PredictOptions(face_crop=False)
    found = []
    for keep_rows, kept in ((True, 5), (False, 1)):
        with ENGINES["local"](Job("debug", "cpu", options=options, keep_rows=keep_rows)) as engine:
            (reading,) = engine.read([Source("astronaut.mp4", astronaut)])
            found.append(list(reading.rows()))
            assert len(reading.prediction().rows) == kept
    assert found[0] == found[1]
    assert len(found[0]) == 5


OPTIONS = PredictOptions(face_crop=False, window=0.2, hop=0.2)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Six sources of 5 to 30 frames, of which the third does not exist."""
    random, found = np.random.default_rng(0), []
    for number in range(6):
        folder = tmp_path / f"{number}"
        if number != 2:
            pictures = coloured((40 * number, 90, 9), random, 5 * (1 + number), size=40)
            write_frames(folder, pictures)
        found.append(Source(folder.name, folder))
    return found


def read(sources: list[Source]) -> dict[str, tuple[list[Row], str]]:
    found = {}
    with ENGINES["local"](Job("debug", "cpu", options=OPTIONS)) as engine:
        for reading in engine.read(sources):
            rows = list(reading.rows())
            found[reading.source] = rows, type(reading.failure).__name__
            assert list(reading.prediction().rows) == rows
            assert (reading.position_s > 0) == (reading.failure is None)
    return found


def test_sources_read_at_the_same_time_give_the_same_rows_in_the_same_order(
    sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(sources)
    assert [len(rows) for rows, _ in expected.values()][:3] == [1, 2, 1]
    monkeypatch.setattr("peclip.runtime.sources_at_once", lambda device: 3)
    before = threading.active_count()
    found = read(sources)
    assert threading.active_count() == before
    assert list(map(str, found)) == list(map(str, expected))
    for (rows, failure), (others, other_failure) in zip(
        found.values(), expected.values(), strict=True
    ):
        assert failure == other_failure
        for row, other in zip(rows, others, strict=True):
            assert (row.window, row.status, row.label) == (other.window, other.status, other.label)
            assert row.scores == pytest.approx(other.scores, abs=1e-6)
    assert found[next(name for name in found if name.endswith("2"))][1] == VideoError.__name__


def test_an_interrupted_run_leaves_no_thread(
    sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a source has more rows than may wait, and the readings are still referred to."""
    monkeypatch.setattr("peclip.runtime.sources_at_once", lambda device: 3)
    monkeypatch.setattr("peclip.engines.read_ahead._MOST_ROWS", 1)
    before = set(threading.enumerate())
    with ENGINES["local"](Job("debug", "cpu", options=OPTIONS)) as engine:
        readings = engine.read([sources[number] for number in (5, 4, 3)])
        assert next(readings).source.endswith("5")
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("peclip-source"):
            readings.close()  # type: ignore[attr-defined]  # joins them
    assert not any(thread.name.startswith("peclip") for thread in threading.enumerate())


def test_cameras_and_addresses_are_read_one_after_the_other(
    sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peclip.runtime.sources_at_once", lambda device: 3)
    monkeypatch.setattr("peclip.engines.local.read_ahead", lambda *_, **__: pytest.fail("ahead"))
    with ENGINES["local"](Job("debug", "cpu", options=OPTIONS)) as engine:
        for other in (Source("camera", 99), Source("page", "http://localhost/a.mp4")):
            first = next(engine.read([sources[0], other]))
            assert len(list(first.rows())) == 1


def test_requests_that_wait_are_scored_together() -> None:
    """The first call holds the device until three more threads wait; of their 3, 2 and 4 windows 5 fit."""
    go_on, calls = threading.Event(), list[list[int]]()

    def score(windows: list[int]) -> list[list[float]]:
        calls.append(windows)
        if len(calls) == 1:
            assert go_on.wait(60)
        return [[float(window)] for window in windows]

    shared = SharedScorer(score, most=6)  # type: ignore[arg-type]
    found: dict[int, list[list[float]]] = {}

    def ask(first: int, count: int) -> None:
        found[first] = shared(list(range(first, first + count)))  # type: ignore[arg-type]

    threads = [threading.Thread(target=ask, args=(0, 1))]
    threads[0].start()
    waits = threading.Event()
    while not calls:
        waits.wait(0.001)
    for first, count in ((10, 3), (20, 2), (30, 4)):
        threads.append(threading.Thread(target=ask, args=(first, count)))
        threads[-1].start()
        while len(shared._waiting) < len(threads) - 1:
            waits.wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert calls == [[0], [10, 11, 12, 20, 21], [30, 31, 32, 33]]
    assert found[20] == [[20.0], [21.0]]
    assert found[30] == [[30.0], [31.0], [32.0], [33.0]]


def test_an_error_reaches_all_whose_windows_were_in_the_batch() -> None:
    def fail(windows: object) -> Iterator[list[float]]:
        raise VideoError("damaged")

    shared = SharedScorer(fail, most=6)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(VideoError, match="damaged"):
            shared([])
