"""Reading a video, finding faces, cutting windows and writing rows need no torch."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

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
