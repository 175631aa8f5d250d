"""A real Ray cluster on this machine, with two workers."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peclip import PEClip
from peclip.cli.app import run
from peclip.engines.base import Engine, Job, Pool
from peclip.engines.ray_data import Attempts, Worker, import_ray
from peclip.engines.registry import ENGINES
from peclip.errors import ConfigError, DeviceError, InternalError, MissingExtraError
from peclip.inference.session import Session
from peclip.predict_options import PredictOptions
from peclip.recognizers.recognizer import Recognizer
from peclip.video.sources import Source

QUICK = ["-m", "debug", "--device", "cpu", "--precision", "fp32", "--no-face-crop"]
JOB = Job("debug", "cpu", "fp32", options=PredictOptions(face_crop=False), pool=Pool(workers=2))
RAY = ["--engine", "ray", "--workers", "2"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    try:
        ray = import_ray()
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    before = signal.getsignal(signal.SIGTERM)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    signal.signal(signal.SIGTERM, before)
    yield ray
    ray.shutdown()


@pytest.fixture
def videos(astronaut: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(9):
        shutil.copy(astronaut, folder / f"{number}.mp4")
    (folder / "bad.mp4").write_text("no video")
    shutil.copy(astronaut, folder / "für.mp4")
    return folder


def rows_of(path: Path) -> list[Any]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(rows, key=lambda row: (row["source"], row["window"]))


def workers() -> list[int]:
    """Returns the processes of this test's cluster that have the model and read sources."""
    parents, actors = dict[int, int](), list[int]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(process.name)] = int(
                (process / "stat").read_text().rpartition(")")[2].split()[1]
            )
            if b"ray::MapWorker" in (process / "cmdline").read_bytes():
                actors.append(int(process.name))
        except OSError:  # it has ended meanwhile
            continue

    def ours(process: int) -> bool:
        return process == os.getpid() or (process in parents and ours(parents[process]))

    return [actor for actor in actors if ours(actor)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
@pytest.mark.filterwarnings("default")
def test_killed_workers_neither_lose_nor_duplicate_rows(
    cluster: Any,
    videos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ray_data, killed = ENGINES["ray"], list[int]()

    @contextmanager
    def with_killer(job: Job) -> Iterator[Engine]:
        with ray_data(job) as engine:
            read = engine.read

            def killing(sources: Any) -> Iterator[Any]:
                for number, reading in enumerate(read(sources)):
                    yield reading
                    if number == 1:
                        killed.append(workers()[0])
                        os.kill(killed[0], signal.SIGKILL)

            engine.read = killing  # type: ignore[method-assign]
            yield engine

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ENGINES, "ray", with_killer)
    command = ["predict", "videos", *QUICK]
    assert run([*command, *RAY, "-o", "ray.jsonl", "--resume"]) == 6
    assert killed
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("peclip: error:") == 1
    assert run([*command, "-o", "local.jsonl"]) == 6
    assert rows_of(tmp_path / "ray.jsonl") == rows_of(tmp_path / "local.jsonl")
    # The engines may follow each other: what one has predicted, the other skips.
    before = (tmp_path / "ray.jsonl").read_text()
    assert run([*command, "-o", "ray.jsonl", "--resume"]) == 6
    assert (tmp_path / "ray.jsonl").read_text() == before


class Poisoned(Job):
    """A source of the name `poison` ends the process that reads it."""

    def load(self) -> Recognizer:
        recognizer = Job.load(self)
        whole = recognizer.open

        def poisoned(video: Any, *arguments: Any) -> Session:
            session = whole(video, *arguments)
            if "poison" in str(video):
                session.rows = lambda: os._exit(1)  # type: ignore[method-assign]
            return session

        recognizer.open = poisoned  # type: ignore[method-assign, assignment]
        return recognizer


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_source_that_crashes_its_worker_gives_an_error_row(
    cluster: Any, astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr("peclip.engines.ray_data._ATTEMPTS", 1)
    names = [tmp_path / name for name in ("a.mp4", "poison.mp4", "b.mp4")]
    for name in names:
        shutil.copy(astronaut, name)
    job = Poisoned(JOB.model, JOB.device, JOB.precision, options=JOB.options, pool=Pool(workers=1))
    with ENGINES["ray"](job) as engine:
        readings = list(engine.read([Source(str(name), name) for name in names]))
    found = {Path(reading.source).name: reading for reading in readings}
    assert len(readings) == 3
    assert found["a.mp4"].failure is found["b.mp4"].failure is None
    assert len(list(found["a.mp4"].rows())) == len(list(found["b.mp4"].rows())) == 5
    assert [row.status for row in found["poison.mp4"].rows()] == ["decode_error"]
    assert "crashed its worker" in str(found["poison.mp4"].failure)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_unsupported_cluster_options_are_a_one_line_error(
    cluster: Any, astronaut: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(astronaut), "-o", str(tmp_path / "rows.csv"), *RAY]
    for arguments, code, message in (
        ([*QUICK, "--worker-gpus", "64"], 5, "64 GPUs"),
        (["-m", "no-such-model"], 2, "no-such-model"),
    ):
        assert run([*command, *arguments]) == code
        lines = [line for line in capsys.readouterr().err.splitlines() if "peclip: error:" in line]
        assert len(lines) == 1
        assert message in lines[0]
    assert not list(tmp_path.iterdir())


def test_without_ray_the_error_gives_the_install_command(
    astronaut: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(["predict", str(astronaut), *QUICK, *RAY]) == 5
    assert 'pip install "ray[data]' in capsys.readouterr().err


def test_a_worker_predicts_as_the_local_engine(astronaut: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    worker = Worker(JOB, os.getcwd())
    for path in (astronaut, bad):
        with ENGINES["local"](Job("debug", "cpu", options=JOB.options)) as engine:
            (reading,) = engine.read([Source(str(path), path)])
            rows = list(reading.rows())
        read = worker.predict(str(path), str(path))
        assert list(read.rows()) == rows
        assert str(read.failure) == str(reading.failure)
        assert read.failure is None or read.failure.exit_code == reading.failure.exit_code  # type: ignore[union-attr]
        assert read.prediction().to_dict() == reading.prediction().to_dict()
    assert worker.predict("videos/a.mp4", str(astronaut)).source == "videos/a.mp4"
    given_up = worker.give_up("a.mp4", str(astronaut))
    assert [row.status for row in given_up.rows()] == ["decode_error"]
    assert given_up.prediction().metadata["error"] == str(given_up.failure)


def test_a_worker_resolves_paths_of_the_caller(
    astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths of the model and the captions are relative to the caller's working directory."""
    (tmp_path / "elsewhere").mkdir()
    PEClip.from_pretrained("debug", device="cpu").save_pretrained(tmp_path / "runs/model")
    monkeypatch.chdir(tmp_path / "elsewhere")
    worker = Worker(Job("runs/model", "cpu", options=JOB.options), str(tmp_path))
    assert worker.facts()[1]["model"] == "runs/model"
    name = os.fsdecode(b"caf\xe9.mp4")
    with ENGINES["local"](Job("runs/model", "cpu", options=JOB.options)) as engine:
        (reading,) = engine.read([Source(name, Path(name))])
    assert worker.predict(name, str(astronaut)).source == reading.source


def test_a_bug_in_a_worker_gives_an_error_row_and_stays_a_bug(
    astronaut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Session) -> Iterator[Any]:
        raise ZeroDivisionError("of peclip")
        yield

    worker = Worker(JOB, os.getcwd())
    with monkeypatch.context() as patched:
        patched.setattr(Session, "__iter__", broken)
        read = pickle.loads(pickle.dumps(worker.predict("a.mp4", str(astronaut))))
    assert isinstance(read.failure, InternalError)
    assert read.failure.exit_code == 1
    assert "a.mp4 triggered a bug in peclip: ZeroDivisionError: of peclip" in str(read.failure)
    assert [row.status for row in read.rows()] == ["decode_error"]
    assert worker.predict("b.mp4", str(astronaut)).failure is None


def test_only_started_unfinished_attempts_count() -> None:
    attempts = Attempts()
    assert [attempts.begin(7), attempts.begin(7), attempts.begin(8)] == [1, 2, 1]
    attempts.end(7)
    assert [attempts.begin(7), attempts.begin(8)] == [1, 2]


def test_a_camera_is_refused_on_a_cluster() -> None:
    from peclip.engines.ray_data import _place

    with pytest.raises(ConfigError, match=r"camera:0 is a local camera.*--engine local"):
        _place(Source("camera:0", 0))
    with pytest.raises(ConfigError, match=r"rtsp://a:\*\*\*@b/c is a live source.*--engine local"):
        _place(Source("c", "rtsp://a:secret@b/c"))


def test_a_worker_that_fits_nowhere_is_not_waited_for() -> None:
    from peclip.engines.ray_data import _check_room

    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0}},
        {"Alive": True, "Resources": {"CPU": 1.0, "GPU": 2.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    _check_room(nodes, 4, 0)
    _check_room(nodes, 1, 2)
    with pytest.raises(DeviceError, match=r"2 CPUs and 1 GPUs.*have at most 4 and 2"):
        _check_room(nodes, 2, 1)
