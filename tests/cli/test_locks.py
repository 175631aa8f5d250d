"""One writer per output: a second one is refused, and an output that is removed is an error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from canned import CannedEngine, CannedReading
from command_line import Output, command, refused

from peclip.cli.app import run
from peclip.data.preparation.crop_record import CropConfig
from peclip.data.preparation.face_crops import prepare
from peclip.data.samples import Sample
from peclip.errors import ConfigError, TrainingError
from peclip.files import locked
from peclip.runs.run_files import CONFIG
from peclip.runs.run_folder import RunFolder

HOLD = """
import sys
from pathlib import Path
from peclip.files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(output: Path) -> Iterator[subprocess.Popen[str]]:
    """Locks an output in another process, which is killed in the end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(output)], **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_lock_ends_with_its_process(kind: str, tmp_path: Path) -> None:
    output = other = tmp_path / "output"
    if kind == "folder":
        output.mkdir()
    if kind == "link":
        other = tmp_path / "other name"
        other.symlink_to(output)
    with held_by_another_process(output) as process:
        with pytest.raises(ConfigError, match="Another run is writing"), locked(other):
            pass
        process.kill()
        process.wait()
        with locked(other):
            pass
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("name", ["-", os.devnull])
def test_what_is_not_a_file_is_not_locked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with locked(Path(name), None), locked(Path(name)):
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl", "rows.parquet"])
def test_two_predictions_do_not_share_an_output(
    name: str, videos: Path, engine: CannedEngine, tmp_path: Path, capsys: Output
) -> None:
    output = tmp_path / name
    output.write_text("of the other run")
    with held_by_another_process(output):
        arguments = ["predict", str(videos), "-o", str(output), "--overwrite"]
        assert "Another run is writing" in refused(capsys, *arguments)
        assert engine.asked == []
        assert output.read_text() == "of the other run"
    assert run(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"videos", name}


def test_two_predictions_do_not_share_a_new_folder(
    videos: Path, engine: CannedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run starts once the first has created the folder."""
    output, codes = tmp_path / "out", list[int]()
    arguments = ["predict", str(videos), "-f", "srt", "-o", str(output), "--overwrite"]
    read = CannedReading.rows

    def rows(self: CannedReading) -> Iterator[object]:
        if self.source.endswith("b.mp4"):
            with pytest.raises(ConfigError, match="Another run"), locked(folder=output):
                pass
            codes.append(run(arguments))
        yield from read(self)

    monkeypatch.setattr(CannedReading, "rows", rows)
    with locked(folder=output):  # before anything is written
        assert run(arguments) == 2
    assert not output.exists()
    assert run(arguments) == 0
    assert codes == [2]
    assert {path.name for path in tmp_path.iterdir()} == {"videos", "out"}
    assert {path.name for path in output.iterdir()} == {"a.srt", "b.srt"}


def test_a_summary_is_locked(
    videos: Path, engine: CannedEngine, tmp_path: Path, capsys: Output
) -> None:
    summary = tmp_path / "people.csv"
    with held_by_another_process(summary):
        arguments = ["predict", str(videos), "--summary", str(summary)]
        assert "people.csv" in refused(capsys, *arguments)
        assert engine.asked == []
    assert run(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"videos", "people.csv"}


@pytest.mark.parametrize("option", ["-o", "--episodes", "--transitions"])
def test_a_table_of_summarise_is_locked(
    option: str, videos: Path, engine: CannedEngine, tmp_path: Path, capsys: Output
) -> None:
    rows, table = tmp_path / "rows.csv", tmp_path / "table.csv"
    assert run(["predict", str(videos), "-o", str(rows)]) == 0
    arguments = ["summarise", str(rows), option, str(table)]
    with held_by_another_process(table):
        assert "Another run is writing" in refused(capsys, *arguments)
    assert run(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"videos", "rows.csv", "table.csv"}


def test_a_new_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="cannot be created: No such file"),
        locked(folder=tmp_path / "missing" / "out"),
    ):
        pass


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.touch()
    os.replace(other, path)


@pytest.mark.parametrize("change", [Path.unlink, replace])
@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl"])
def test_an_output_that_is_removed_is_an_error(
    name: str,
    change: Callable[[Path], object],
    videos: Path,
    engine: CannedEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    output = tmp_path / name
    read = CannedReading.rows

    def rows(self: CannedReading) -> Iterator[object]:
        if self.source.endswith("b.mp4"):
            change(output)
        yield from read(self)

    monkeypatch.setattr(CannedReading, "rows", rows)
    said = refused(capsys, "predict", str(videos), "-o", str(output))
    assert f"{name}' was removed or replaced" in said
    assert "Run the command again" in said


def test_two_trainings_do_not_share_a_run_folder(
    root: Path, tmp_path: Path, capsys: Output
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / CONFIG).write_text("of the other run")
    with held_by_another_process(out):
        said = refused(capsys, *command(root, out, "--overwrite"))
        assert "Another run is writing" in said
        assert (out / CONFIG).read_text() == "of the other run"


def test_a_run_folder_that_is_removed_is_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(overwrite=False)
    folder.write(CONFIG, "")
    folder.log("begun")
    shutil.rmtree(folder.path)
    (folder.path / "checkpoints").mkdir(parents=True)  # as the next state does
    with pytest.raises(TrainingError, match="was removed while it was being written"):
        folder.log("epoch 2")


def test_two_evaluations_do_not_share_their_predictions(
    root: Path, tmp_path: Path, capsys: Output
) -> None:
    output = tmp_path / "predictions.csv"
    data = ["evaluate", "--dataset", "folder", "--data-root", str(root), "-m", "debug"]
    with held_by_another_process(output):
        said = refused(capsys, *data, "--save-predictions", str(output))
    assert "Another run is writing" in said


def test_two_preparations_do_not_share_a_folder(tmp_path: Path) -> None:
    output = tmp_path / "crops"
    output.mkdir()
    config = CropConfig(size=32, margin=0.1, shift=0, align=False, detector="none", threshold=0.5)
    samples = [Sample(tmp_path / "data" / f"{name}.mp4", "happy", name) for name in "ab"]

    def remove() -> None:
        shutil.rmtree(output)
        raise AssertionError("the detector is not needed")

    with held_by_another_process(output), pytest.raises(ConfigError, match="Another run"):
        prepare(samples, tmp_path / "data", output, config, lambda: None)
    assert [path.name for path in output.iterdir()] == [".lock"]
    with pytest.raises(ConfigError, match="crops' was removed while it was being written"):
        prepare(samples, tmp_path / "data", output, config, remove, workers=1)
    assert not output.exists()


def test_the_package_imports_nothing() -> None:
    """Before its command line can handle Ctrl-C, nothing slow is imported."""
    program = (
        "import sys; before = set(sys.modules); import peclip; print(set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "{'peclip'}\n"


@pytest.mark.parametrize(
    "module",
    [
        *("peclip.cli", "signal", "peclip.cli.app", "typer"),
        pytest.param("torch", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_during_an_import_ends_without_a_traceback(module: str, tmp_path: Path) -> None:
    """The first module that is imported presses Ctrl-C: in the command line, and in a command."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), 2)\n"  # without importing signal
        "sys.meta_path.insert(0, Finder())\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = ["predict", str(tmp_path / "a.mp4"), "-m", "debug", "--device", "cpu"]
    (tmp_path / "a.mp4").touch()
    done = subprocess.run(
        [sys.executable, "-m", "peclip", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
