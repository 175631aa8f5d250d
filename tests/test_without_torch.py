"""Reading a video, finding faces, cutting windows and writing rows need no torch."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from peclip.cli import app

PROGRAM = """
import sys

sys.modules["torch"] = None  # every import of torch fails

from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import numpy as np

import peclip
from peclip import PEClipConfig, PredictOptions
from peclip.inference.session import Session
from peclip.results.writers import open_writer
from peclip.settings import load_settings
from peclip.video.drawing import draw_parts
from peclip.video.detectors.haar import HaarDetector
from peclip.video.parts import Parts, load_parts, save_parts

for package in ("downloads", "inference", "metrics", "results", "video"):
    home = import_module(f"peclip.{package}")
    for module in walk_packages(home.__path__, home.__name__ + "."):
        import_module(module.name)
for module in ("errors", "files", "labels", "literals", "predict_options", "results.figures"):
    import_module(f"peclip.{module}")

video, folder = Path(sys.argv[1]), Path(sys.argv[2])
config = PEClipConfig()
crops = []

def score(windows):  # replaces the model
    crops.extend(window.crops for window in windows)
    return [[0.4, *[0.1] * 6] for _ in windows]

session = Session(
    str(video),
    score,
    HaarDetector(),
    config=config,
    labels=config.label_set,
    model=("constant", ""),
    options=PredictOptions(decoder="pyav", window=1, hop=1),
    settings=load_settings(),
    metadata={},
)
with open_writer("csv", folder / "rows.csv", config.labels) as writer:
    for row in session:
        writer.write_row(row)
assert session.prediction().metadata["decoder"] == "pyav"
assert {(crop.dtype.name, crop.shape) for crop in crops} == {("uint8", (16, 224, 224, 3))}

parts = Parts(np.full((16, 478, 2), 0.5, np.float32), np.ones(16, bool))
save_parts(folder / "parts", parts)
assert (load_parts(folder / "parts").landmarks == parts.landmarks).all()
assert draw_parts(parts, crops[0]).shape == (16, 2, 224, 224, 3)
"""


def test_a_video_becomes_rows_in_a_process_that_cannot_import_torch(
    astronaut: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(astronaut), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for number, row in enumerate(rows):
        assert (row["window"], row["track_id"], row["status"]) == (str(number), "0", "ok")
        assert float(row["w"]) > 50
        assert (row["prob_neutral"], row["label"]) == ("0.1", "happiness")


REFUSED = """
import json, sys

sys.modules["torch"] = None  # every import of torch fails

from peclip.cli.app import run

print(*[run(arguments) for arguments in json.loads(sys.argv[1])])
"""


def test_commands_that_need_torch_say_so(astronaut: Path, tmp_path: Path) -> None:
    rows, model = tmp_path / "rows.csv", tmp_path / "model.onnx"
    commands = [
        ["predict", str(astronaut), "--detector", "haar", "-o", str(rows)],
        ["explain", str(astronaut)],
        ["export", "nano", "-o", str(model)],
    ]
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "1000"},
    )
    assert done.stdout.split() == ["5"] * len(commands), done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("peclip: error: ")]
    assert len(errors) == len(commands)
    for line in errors:
        assert "'torch'" in line
        assert "-m FILE.onnx" in line
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_module_of_peclip_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'peclip.old'", name="peclip.old")

    # A name of its own, because the application of a command is kept.
    monkeypatch.setitem(app.COMMANDS, "failing", f"{__name__}:failing")
    monkeypatch.setattr(sys.modules[__name__], "failing", fail, raising=False)
    with pytest.raises(ModuleNotFoundError, match="peclip.old"):
        app.run(["failing"])
