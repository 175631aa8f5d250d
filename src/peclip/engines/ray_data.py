"""Many sources on a Ray cluster: Ray Data distributes them to workers with a loaded model.

Ray applies backpressure, restarts lost workers and repeats their work. Only this process writes, each
source once.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from peclip.engines.base import Engine, Job, Reading, fingerprint, pinned
from peclip.errors import (
    ConfigError,
    DeviceError,
    InternalError,
    MissingExtraError,
    PEClipError,
    UserError,
    VideoError,
)
from peclip.inference.session import Session
from peclip.inference.source_name import called
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.video.sources import Source, is_live_address

Facts = tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]
"""Labels, `VideoPredictor.describe()`, and the fingerprint of the rows."""

_MAX_BLOCKS = 10_000
"""Ray tracks each block in this process, at about 1 ms; above this number, sources share a block."""
_ATTEMPTS = 4
"""Number of worker crashes after which a source is skipped."""


@dataclass
class FinishedReading:
    """A finished reading sent back by a worker."""

    result: Prediction
    error: tuple[int, str] | None = None
    """Exit code and message; library exceptions cannot always be pickled."""
    position_s: float = 0.0
    duration_s: float | None = None

    @property
    def source(self) -> str:
        return self.result.source

    @property
    def failure(self) -> PEClipError | None:
        return None if self.error is None else _failure(*self.error)

    def rows(self) -> Iterator[Row]:
        yield from self.result.rows

    def note(self, error: str) -> None:
        """Does nothing: the source is complete."""

    def prediction(self) -> Prediction:
        return self.result


class Attempts:
    """An actor: counts the unfinished attempts of each source."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        self._begun[number] += 1
        return self._begun[number]

    def end(self, number: int) -> None:
        del self._begun[number]


class Worker:
    """An actor: loads the model once, then predicts sources.

    Args:
        job: with file names relative to the caller.
        folder: the caller's working directory; a worker's differs.
    """

    def __init__(self, job: Job, folder: str) -> None:
        if os.path.isdir(folder):
            os.chdir(folder)
        self._recognizer, self._options = job.load(), job.options

    def facts(self) -> Facts:
        """Returns the labels, the description of the model, and the fingerprint of the rows."""
        recognizer = self._recognizer
        described = recognizer.describe()
        return recognizer.labels.names, described, fingerprint(recognizer, self._options)

    def predict(self, source: str, place: str) -> FinishedReading:
        """Reads a source at an absolute path, and reports it under the user's name."""
        session = self._session(source, place)
        for _ in session.rows():
            pass
        return _finished(session)

    def give_up(self, source: str, place: str) -> FinishedReading:
        """Returns a failed reading of a source that is not retried."""
        session = self._session(source, place)
        session.fail(VideoError(f"{source} crashed its worker {_ATTEMPTS} times."))
        return _finished(session)

    def _session(self, source: str, place: str) -> Session:
        session = self._recognizer.open(place, self._options)
        session.source = called(source)
        return session


def _failure(exit_code: int, message: str) -> PEClipError:
    bug = exit_code == InternalError.exit_code
    failure = InternalError(message) if bug else UserError(message)
    failure.exit_code = exit_code
    return failure


def _finished(session: Session) -> FinishedReading:
    failure = session.failure
    told = None if failure is None else (failure.exit_code, str(failure))
    return FinishedReading(session.prediction(), told, session.position_s, session.duration_s)


class _RayData:
    def __init__(self, job: Job) -> None:
        self._labels, self._facts, self._fingerprint = _probe(job)
        self._job = pinned(job, self._fingerprint)

    @property
    def labels(self) -> Sequence[str]:
        return self._labels

    def describe(self) -> dict[str, Any]:
        return dict(self._facts)

    def fingerprint(self) -> dict[str, Any]:
        return self._fingerprint

    def read(self, sources: Sequence[Source]) -> Iterator[Reading]:
        from ray.exceptions import RayError

        done = set[int]()
        try:
            for number, reading in _readings(self._job, sources):
                # Ray repeats the work of a lost worker; the first result counts.
                if number not in done:
                    done.add(number)
                    yield reading
        except RayError as error:
            cause = " ".join(str(error).split())[-300:]
            raise DeviceError(
                "The Ray cluster failed; finished rows have been written, and a JSON Lines "
                f"output can be resumed with --resume. Cause: … {cause}"
            ) from None


def _readings(job: Job, sources: Sequence[Source]) -> Iterator[tuple[int, FinishedReading]]:
    import ray.data
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # On this machine: if it were on another one, losing that one would end the run.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    attempts = ray.remote(num_cpus=0, scheduling_strategy=here)(Attempts).remote()
    folder = os.getcwd()

    class Pooled(Worker):  # pickled by value with its closure, which so outlives any machine
        def __init__(self) -> None:
            super().__init__(job, folder)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            number, readings = int(batch["number"][0]), np.empty(1, dtype=object)
            source, place = os.fsdecode(batch["source"][0]), os.fsdecode(batch["place"][0])
            tries = ray.get(attempts.begin.remote(number))
            read = self.predict if tries <= _ATTEMPTS else self.give_up
            readings[0] = read(source, place)
            ray.get(attempts.end.remote(number))
            return {"number": batch["number"], "reading": readings}

    items = [
        {"number": number, "source": os.fsencode(str(source.location)), "place": _place(source)}
        for number, source in enumerate(sources)
    ]
    if not items:
        return
    rows = ray.data.from_items(items, override_num_blocks=min(len(items), _MAX_BLOCKS))
    pool = ray.data.ActorPoolStrategy(min_size=job.pool.workers or 1, max_size=job.pool.workers)
    for row in rows.map_batches(Pooled, batch_size=1, compute=pool, **_share(job)).iter_rows():
        yield int(row["number"]), row["reading"]


def _place(source: Source) -> bytes:
    """Returns an absolute location: workers have different working directories."""
    if isinstance(source.location, int):
        raise ConfigError(f"{source.name} is a local camera, which requires --engine local.")
    if isinstance(source.location, str) and is_live_address(source.location):
        name = called(source.location)
        raise ConfigError(f"{name} is a live source, which requires --engine local.")
    if isinstance(source.location, Path):
        return os.fsencode(source.location.absolute())
    return os.fsencode(source.location)


def _share(job: Job) -> dict[str, float]:
    cpus = 1.0 if job.pool.cpus is None else job.pool.cpus
    return {"num_cpus": cpus, "num_gpus": job.pool.gpus or 0.0}


def _probe(job: Job) -> Facts:
    """Gets the facts from one worker: this machine may have neither the model nor a GPU."""
    import ray

    folder = os.getcwd()

    def facts() -> Facts | tuple[int, str]:
        try:
            return Worker(job, folder).facts()
        except UserError as error:
            return error.exit_code, str(error)

    found = ray.get(ray.remote(**_share(job))(facts).remote())
    if len(found) == 2:
        raise _failure(*found)
    return cast(Facts, found)


def import_ray() -> Any:
    """Imports Ray, with its output configured beforehand.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    # Otherwise Ray prints messages about lost workers to standard output, among the rows.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault(
        "RAY_USAGE_STATS_ENABLED", "0"
    )  # Ray would also report its use over the network
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError("--engine ray", "ray") from None
    return ray


@contextmanager
def open_ray(job: Job) -> Iterator[Engine]:
    """Joins the cluster of RAY_ADDRESS or of this machine, or starts a temporary local one.

    Raises:
        MissingExtraError: Ray is not installed.
        DeviceError: no machine of the cluster is large enough for a worker.
        UserError: a worker cannot load the model.
    """
    ray = import_ray()
    ours = not ray.is_initialized()
    if ours:
        stop = signal.getsignal(signal.SIGTERM)
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        signal.signal(signal.SIGTERM, stop)  # replaces Ray's handler
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        _check_room(ray.nodes(), **_share(job))
        yield _RayData(job)
    finally:
        if ours:
            ray.shutdown()


def _check_room(nodes: Sequence[dict[str, Any]], num_cpus: float, num_gpus: float) -> None:
    """Raises if a worker fits on no machine, for which Ray would wait forever."""
    rooms = [node["Resources"] for node in nodes if node["Alive"]]
    if any(room.get("CPU", 0) >= num_cpus and room.get("GPU", 0) >= num_gpus for room in rooms):
        return
    most = {kind: max(room.get(kind, 0.0) for room in rooms) for kind in ("CPU", "GPU")}
    raise DeviceError(
        f"A worker requires {num_cpus:g} CPUs and {num_gpus:g} GPUs, but machines in the cluster "
        f"have at most {most['CPU']:g} and {most['GPU']:g}. Change --worker-cpus or "
        "--worker-gpus, or add a machine."
    )
