r"""Time and predictions of a model in a process of its own, for the version of peclip that PYTHONPATH names.

    PYTHONPATH=src python recipes/nano_speed.py time --model nano --video video.mp4
    PYTHONPATH=src python recipes/nano_speed.py ask --model nano --folder pictures

`nano_card.py` runs it for the new model and for the previous one, alternately. It uses only what both versions have.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import peclip
from peclip import PEClip, PredictOptions
from peclip.types import Batch
from peclip.video.faces import Image, resize_frame
from peclip.video.reader import open_video

FRAMES, WINDOWS, SECONDS = 8, 8, 10
Times = dict[str, float]


def measure(call: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Returns the least CPU seconds and the least seconds of some calls, after one that warms up."""
    call()
    cpu, wall = [], []
    for _ in range(repeat):
        start, begin = time.perf_counter(), time.process_time()
        call()
        cpu.append(time.process_time() - begin)
        wall.append(time.perf_counter() - start)
    return min(cpu), min(wall)


def measure_model(name: str, video: str) -> Times:
    """Returns seconds per window of prepared crops, and seconds of `predict` for the video."""
    model = PEClip.from_pretrained(name, device="cpu", precision="fp32")
    side = model.config.preprocess.image_size
    crops = torch.randint(0, 256, (WINDOWS, FRAMES, 3, side, side), dtype=torch.uint8)
    cpu, wall = measure(lambda: predictor(model)(Batch(model.preprocess(crops))), 3)
    model.predict(video, PredictOptions(end=1.0))
    video_cpu, video_wall = measure(lambda: model.predict(video), 1)
    return {
        "window_cpu": cpu / WINDOWS,
        "window_wall": wall / WINDOWS,
        "video_cpu": video_cpu,
        "video_wall": video_wall,
    }


def predictor(model: PEClip) -> Callable[[Batch], list[list[float]]]:
    """Returns the method that predicts a batch; a checkout with an earlier model may call it `answer`."""
    found: Callable[[Batch], list[list[float]]] = (
        getattr(model, "probabilities", None) or model.answer
    )  # type: ignore[attr-defined]
    return found


def ask_model(name: str, folder: Path) -> None:
    """Writes the probabilities for the pictures of each file, uint8 (N, H, W, 3), and prints the labels."""
    model = PEClip.from_pretrained(name, device="cpu", precision="fp32")
    side = model.config.preprocess.image_size
    for file in sorted(folder.glob("pictures-*.npy")):
        found: list[list[float]] = []
        shown = np.load(file, allow_pickle=False)
        for start in range(0, len(shown), 64):
            small = np.stack([resize_frame(one, side) for one in shown[start : start + 64]])
            crops = torch.from_numpy(small).permute(0, 3, 1, 2)
            found += predictor(model)(Batch(model.preprocess(crops)[:, None]))
        np.save(file.with_name(file.name.replace("pictures", "answers")), np.asarray(found))
    print(json.dumps({"labels": list(model.labels)}))


def run(checkout: Path | None, *arguments: str) -> dict[str, Any]:
    """Runs this file with the peclip of a checkout, by default with this one, and returns what it prints."""
    source = Path(peclip.__file__).parents[1] if checkout is None else checkout / "src"
    threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=os.environ | threads | {"PYTHONPATH": str(source.resolve())},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def ask_previous(
    checkout: Path, sets: Sequence[list[Image]]
) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
    """Returns what the embedded model of a checkout predicts for sets of pictures of one size, and its labels."""
    with tempfile.TemporaryDirectory() as folder:
        for number, pictures in enumerate(sets):
            np.save(Path(folder) / f"pictures-{number}.npy", np.stack(pictures))
        labels = run(checkout, "ask", "--folder", folder)["labels"]
        files = [Path(folder) / f"answers-{number}.npy" for number in range(len(sets))]
        return [np.load(file, allow_pickle=False) for file in files], tuple(labels)


def measure_in_turns(model: Path, previous: Path | None, clip: Path, turns: int) -> list[Times]:
    """Returns the best times of the model and, where there is one, of the previous model."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        write_wide_video(clip, video)
        found: dict[bool, list[Times]] = {}
        for _ in range(turns):
            for old in (False, True) if previous else (False,):
                name = "nano" if old else str(model)
                times = run(
                    previous if old else None, "time", "--model", name, "--video", str(video)
                )
                found.setdefault(old, []).append(times)
    return [{key: min(one[key] for one in runs) for key in runs[0]} for runs in found.values()]


def write_wide_video(clip: Path, video: Path) -> None:
    """Writes 480p video at 30 fps: the clip's first frames, scaled, with room at the sides, in a loop."""
    with open_video(clip) as reader:
        frames = next(iter(reader.chunks(64))).data
    wide = []
    for frame in frames:
        picture = np.full((480, 854, 3), 96, np.uint8)
        face = cv2.resize(frame, (round(480 * frame.shape[1] / frame.shape[0]), 480))[:, :854]
        left = (854 - face.shape[1]) // 2
        picture[:, left : left + face.shape[1]] = face
        wide.append(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    written = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 30, (854, 480))
    for number in range(30 * SECONDS):
        written.write(wide[number % len(wide)])
    written.release()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("time", "ask"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--video")
    parser.add_argument("--folder", type=Path, help="with pictures-0.npy and so on")
    arguments = parser.parse_args()
    if arguments.what == "time":
        print(json.dumps(measure_model(arguments.model, arguments.video)))
    else:
        ask_model(arguments.model, arguments.folder)


if __name__ == "__main__":
    main()
