"""The queue and the states of predictions, on a clock that the tests set."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from peclip.serving import jobs as module
from peclip.serving.jobs import JobStore, PredictionJob, QueueFullError
from peclip.serving.row_log import RowLog


class Clock:
    """Seconds that pass only when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> JobStore:
    return JobStore(tmp_path, queue=3, at_once=2, keep=60.0, clock=clock)


def submitted(store: JobStore) -> PredictionJob:
    job = store.receive()
    store.submit(job)
    return job


def test_uploads_count_as_places_in_the_queue(store: JobStore) -> None:
    uploads = [store.receive() for _ in range(3)]
    with pytest.raises(QueueFullError):
        store.receive()
    assert store.get(uploads[0].id) is None  # nobody may see it yet
    store.delete(uploads[0])
    assert not uploads[0].folder.exists()
    store.submit(store.receive())


def test_they_run_in_their_order_and_not_too_many_at_once(store: JobStore) -> None:
    jobs = [submitted(store) for _ in range(3)]
    assert store.startable() == jobs[:2]
    assert store.startable() == []
    store.finish(jobs[0])
    assert [job.state for job in jobs] == ["done", "running", "queued"]
    assert store.startable() == jobs[2:]
    store.finish(jobs[1], "damaged")
    assert (jobs[1].state, jobs[1].error) == ("failed", "damaged")
    store.finish(jobs[1])
    assert jobs[1].state == "failed"  # a final state remains


def test_finished_ones_expire_and_others_do_not(store: JobStore, clock: Clock) -> None:
    done, waiting = submitted(store), submitted(store)
    store.startable()
    store.finish(done)
    clock.now = 59.9
    store.expire()
    assert store.get(done.id) is done
    clock.now = 60.0
    store.expire()
    assert store.get(done.id) is None
    assert not done.folder.exists()
    assert store.get(waiting.id) is waiting


def test_a_new_one_takes_the_place_of_the_oldest(
    store: JobStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FINISHED", 2)
    finished = []
    for second in range(3):
        clock.now = second
        finished.append(submitted(store))
        store.startable()
        store.finish(finished[-1])
    store.receive()
    assert [store.get(job.id) is not None for job in finished] == [False, False, True]


def test_a_running_one_stalls_without_progress(store: JobStore, clock: Clock) -> None:
    job = submitted(store)
    clock.now = 500.0
    store.startable()
    clock.now = 509.9
    assert store.stalled(10.0) == []
    clock.now = 510.0
    assert store.stalled(10.0) == [job]
    job.progressed = 505.0
    assert store.stalled(10.0) == []


def test_a_delete_cancels(tmp_path: Path) -> None:
    forgotten: list[PredictionJob] = []
    store = JobStore(tmp_path, queue=1, at_once=1, keep=1, on_delete=forgotten.append)
    job = submitted(store)
    store.delete(job)
    store.delete(job)
    assert (job.state, forgotten) == ("cancelled", [job])


def test_who_has_gone_is_not_kept(store: JobStore) -> None:
    job = submitted(store)

    async def wait() -> None:
        waiting = asyncio.create_task(job.changed(60.0))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(wait())
    assert job._waiting == []


def test_the_folder_of_a_prediction_is_private(tmp_path: Path) -> None:
    """Also if the system has deleted the temporary folder of a server that runs for weeks."""
    store = JobStore(tmp_path / "deleted", queue=1, at_once=1, keep=1)
    assert store.receive().folder.stat().st_mode & 0o077 == 0


def test_ids_cannot_be_guessed(store: JobStore) -> None:
    names = {store.receive().id for _ in range(3)}
    assert len(names) == 3
    assert all(len(name) == 22 for name in names)  # 128 bits


def test_rows_are_read_in_ranges_while_others_are_added(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "rows.jsonl")
    assert (len(log), log.read(), [*log.pages()]) == (0, [], [])
    for number in range(5):
        log.add(f'{{"a": "é{number}"}}'.encode())
    assert log.read(3) == ['{"a": "é3"}'.encode(), '{"a": "é4"}'.encode()]
    assert log.read(1, 2) == ['{"a": "é1"}'.encode(), '{"a": "é2"}'.encode()]
    assert log.read(5) == log.read(99, 3) == []
    assert [len(page) for page in log.pages(2)] == [2, 2, 1]
    (tmp_path / "rows.jsonl").unlink()
    assert log.read() == []
