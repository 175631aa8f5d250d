"""`--config FILE`: a file sets options by their names, and the command line takes precedence."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from peclip.cli.app import run
from peclip.engines.base import Engine, Job
from peclip.engines.registry import ENGINES
from peclip.errors import ConfigError
from peclip.predict_options import PredictOptions

YAML = """
model: debug
window: 2
hop: 500ms
end: all
face-crop: false
min-face: 40.5
"""
TOML = """
model = "debug"
window = 2
hop = "500ms"
end = "all"
no-face-crop = true
min-face = 40.5
"""


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Receives the job of each `peclip predict`, which then ends with exit code 2."""
    received: list[Job] = []

    def opener(job: Job) -> AbstractContextManager[Engine]:
        received.append(job)
        raise ConfigError("That is enough.")

    monkeypatch.setitem(ENGINES, "local", opener)
    return received


@pytest.fixture
def video(tmp_path: Path) -> str:
    path = tmp_path / "a.mp4"
    path.touch()
    return str(path)


@pytest.mark.parametrize(("ending", "text"), [("yaml", YAML), ("toml", TOML)])
def test_a_file_sets_options(
    ending: str, text: str, video: str, jobs: list[Job], tmp_path: Path
) -> None:
    path = tmp_path / f"options.{ending}"
    path.write_text(text)
    assert run(["predict", video, "--config", str(path)]) == 2
    (job,) = jobs
    assert job.model == "debug"
    options = job.options
    assert (options.window, options.hop, options.end) == (2.0, 0.5, None)
    assert (options.face_crop, options.min_face) == (False, 40.5)
    assert options.detect_rate == 10.0, "the default"


def test_the_command_line_takes_precedence(video: str, jobs: list[Job], tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(YAML)
    more = ["--window", "all", "--face-crop", "-m", "nano"]
    assert run(["predict", *more, video, "--config", str(path)]) == 2
    (job,) = jobs
    assert (job.model, job.options.window, job.options.face_crop) == ("nano", math.inf, True)
    assert job.options.hop == 0.5


def test_options_that_repeat_are_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(
        "dataset: folder\ndata-root: .\nset: [train.lr.adapters=1e-4, train.nonsense=3]\n"
    )
    assert run(["train", "--config", str(path)]) == 2
    assert "train.nonsense" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("o.yaml", "windw: 2", ["'windw'", "peclip predict", "hop, labels,", "window"]),
        ("o.yaml", "config: other.yaml", ["'config'"]),
        ("o.yaml", "device: off", ["device", "'False'", "in quotes"]),
        ("o.yaml", "window: [1, 2]", ["window", "'[1, 2]'"]),
        ("o.yaml", "face-crop: maybe", ["face-crop", "'maybe'", "true or false"]),
        ("o.yaml", "face-crop: true\nno-face-crop: true", ["no-face-crop", "twice"]),
        ("o.yaml", "- window", ["window: 2s"]),
        ("o.yaml", "window: {", ["not valid YAML"]),
        ("o.toml", "window: 2", ["not valid TOML"]),
        ("o.txt", "window: 2", ["'o.txt'", ".toml, .yaml, .yml"]),
        ("o.yaml", "window: 8 weeks", ["'8 weeks'", "500ms"]),
        ("o.yaml", "min-face: -1", ["min_face", "-1"]),
    ],
)
def test_an_invalid_file_is_an_error(
    name: str,
    text: str,
    parts: list[str],
    video: str,
    jobs: list[Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    assert run(["predict", video, "--config", name]) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert all(part in said for part in parts), said
    assert jobs == []


def test_an_empty_file_sets_nothing(video: str, jobs: list[Job], tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("# nothing\n")
    assert run(["predict", video, "--config", str(path)]) == 2
    assert jobs[0].options == PredictOptions()


def test_an_option_that_score_lacks_is_refused_from_a_file_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("data-root: crops\n")
    assert run(["evaluate", "--predictions", "rows.csv", "--config", str(path)]) == 2
    assert "--data-root" in capsys.readouterr().err


def test_shells_complete_commands_without_torch() -> None:
    code = (
        "import sys; from peclip.cli.app import run; code = run([]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    asked = {"_PECLIP_COMPLETE": "complete_bash", "COMP_WORDS": "peclip pre", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | asked,
    )
    assert done.stdout.split() == ["predict"], done.stderr
