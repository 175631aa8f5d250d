"""Many sources on a Ray cluster: Ray Data hands them to workers that have the model loaded.

Ray holds work back where it is not fetched, starts lost workers again and repeats what they were at.
This process alone writes, each source once.
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
from peclip.errors import ConfigError, DeviceError, MissingExtraError, UserError, VideoError
from peclip.inference.session import Session, called
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.video.sources import Source

Facts = tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]
"""Labels, `Recognizer.describe()`, and what the rows are made with."""

_MAX_BLOCKS = 10_000
"""Ray keeps a record of each block in this process, at about 1 ms; beyond it, sources share a block."""
_ATTEMPTS = 4
"""A source that brings its worker down as often is given up."""


@dataclass
class Answered:
    """A reading that is over: what a worker sent back."""

    answer: Prediction
    error: tuple[int, str] | None = None
    """Exit code and message; an exception of a library does not always survive the way."""
    position_s: float = 0.0
    duration_s: float | None = None

    @property
    def source(self) -> str:
        return self.answer.source

    @property
    def failure(self) -> UserError | None:
        return None if self.error is None else _failure(*self.error)

    def rows(self) -> Iterator[Row]:
        yield from self.answer.rows

    def note(self, error: str) -> None:
        """Nothing to say: the source is complete."""

    def prediction(self) -> Prediction:
        return self.answer


class Attempts:
    """An actor: counts how often each source was begun and not ended."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        self._begun[number] += 1
        return self._begun[number]

    def end(self, number: int) -> None:
        del self._begun[number]


class Worker:
    """An actor: loads the model once, then answers about sources.

    Args:
        job: its names of files are those of the caller.
        folder: where the caller stands; a worker has a folder of its own.
    """

    def __init__(self, job: Job, folder: str) -> None:
        if os.path.isdir(folder):
            os.chdir(folder)
        self._recognizer, self._options = job.load(), job.options

    def facts(self) -> Facts:
        """Returns the labels, what describes the model, and what the rows are made with."""
        recognizer = self._recognizer
        described = recognizer.describe()
        return recognizer.labels.names, described, fingerprint(recognizer, self._options)

    def answer(self, source: str, place: str) -> Answered:
        """Reads a source at an absolute place, and calls it as the user does."""
        session = self._session(source, place)
        try:
            for _ in session.rows():
                pass
        except Exception as error:  # a bug in one of a million videos does not stop the others
            session.fail(UserError(f"{source} met a bug in peclip, see --engine local: {error!r}"))
        return _answered(session)

    def give_up(self, source: str, place: str) -> Answered:
        """Answers that a source is not read any more."""
        session = self._session(source, place)
        session.fail(VideoError(f"{source} brought its worker down {_ATTEMPTS} times."))
        return _answered(session)

    def _session(self, source: str, place: str) -> Session:
        session = self._recognizer.open(place, self._options)
        session.source = called(source)
        return session


def _failure(exit_code: int, message: str) -> UserError:
    failure = UserError(message)
    failure.exit_code = exit_code
    return failure


def _answered(session: Session) -> Answered:
    failure = session.failure
    told = None if failure is None else (failure.exit_code, str(failure))
    return Answered(session.prediction(), told, session.position_s, session.duration_s)


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

        answered = set[int]()
        try:
            for number, answer in _answers(self._job, sources):
                # Ray repeats what a lost worker was at; the first answer is the one that counts.
                if number not in answered:
                    answered.add(number)
                    yield answer
        except RayError as error:
            cause = " ".join(str(error).split())[-300:]
            raise DeviceError(
                "The Ray cluster cannot go on; what was done is written, and JSON Lines can be gone on "
                f"with by --resume. It says: … {cause}"
            ) from None


def _answers(job: Job, sources: Sequence[Source]) -> Iterator[tuple[int, Answered]]:
    import ray.data
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # On this machine: were it on another, losing that one would end the run.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    attempts = ray.remote(num_cpus=0, scheduling_strategy=here)(Attempts).remote()
    folder = os.getcwd()

    class Pooled(Worker):  # sent by value with what is in it, which so outlives any machine
        def __init__(self) -> None:
            super().__init__(job, folder)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            number, answers = int(batch["number"][0]), np.empty(1, dtype=object)
            source, place = os.fsdecode(batch["source"][0]), os.fsdecode(batch["place"][0])
            tries = ray.get(attempts.begin.remote(number))
            ask = self.answer if tries <= _ATTEMPTS else self.give_up
            answers[0] = ask(source, place)
            ray.get(attempts.end.remote(number))
            return {"number": batch["number"], "answer": answers}

    items = [
        {"number": number, "source": os.fsencode(str(source.location)), "place": _place(source)}
        for number, source in enumerate(sources)
    ]
    if not items:
        return
    answers = ray.data.from_items(items, override_num_blocks=min(len(items), _MAX_BLOCKS))
    pool = ray.data.ActorPoolStrategy(min_size=job.pool.workers or 1, max_size=job.pool.workers)
    for row in answers.map_batches(Pooled, batch_size=1, compute=pool, **_share(job)).iter_rows():
        yield int(row["number"]), row["answer"]


def _place(source: Source) -> bytes:
    """Returns what finds the source from any folder: workers have one of their own."""
    if isinstance(source.location, int):
        raise ConfigError(f"{source.name} is a camera of this machine; use --engine local.")
    if isinstance(source.location, Path):
        return os.fsencode(source.location.absolute())
    return os.fsencode(source.location)


def _share(job: Job) -> dict[str, float]:
    cpus = 1.0 if job.pool.cpus is None else job.pool.cpus
    return {"num_cpus": cpus, "num_gpus": job.pool.gpus or 0.0}


def _probe(job: Job) -> Facts:
    """Asks one worker what it would answer with: this machine may have neither the model nor a GPU."""
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
    """Returns the package, which is told at its import what it may print.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    # What it says of lost workers it would print among our rows, on standard output.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # and report its use over the network
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError("--engine ray", "ray") from None
    return ray


@contextmanager
def open_ray(job: Job) -> Iterator[Engine]:
    """Joins the cluster of RAY_ADDRESS or of this machine, or starts one here for as long as it lasts.

    Raises:
        MissingExtraError: Ray is not installed.
        DeviceError: no machine of the cluster is large enough for a worker.
        UserError: the model cannot be loaded by a worker.
    """
    ray = import_ray()
    ours = not ray.is_initialized()
    if ours:
        stop = signal.getsignal(signal.SIGTERM)
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        signal.signal(signal.SIGTERM, stop)  # Ray has put its own in place
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        _check_room(ray.nodes(), **_share(job))
        yield _RayData(job)
    finally:
        if ours:
            ray.shutdown()


def _check_room(nodes: Sequence[dict[str, Any]], num_cpus: float, num_gpus: float) -> None:
    """Says that a worker fits on no machine, for which Ray would wait for ever."""
    rooms = [node["Resources"] for node in nodes if node["Alive"]]
    if any(room.get("CPU", 0) >= num_cpus and room.get("GPU", 0) >= num_gpus for room in rooms):
        return
    most = {kind: max(room.get(kind, 0.0) for room in rooms) for kind in ("CPU", "GPU")}
    raise DeviceError(
        f"A worker was asked to have {num_cpus:g} CPUs and {num_gpus:g} GPUs, and the machines of the "
        f"cluster have {most['CPU']:g} and {most['GPU']:g} at the most. Change --worker-cpus or "
        "--worker-gpus, or add a machine."
    )
