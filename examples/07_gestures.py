"""Something other than faces: gestures, from videos in class folders to a trained model and its predictions.

    python examples/07_gestures.py [FOLDER]

Draws short videos of a hand that swipes left, swipes right, waves or is still, and trains a model on whole frames. A
swipe to the left is a swipe to the right played backwards, so only the order of the frames tells them apart. The
backbone is `debug`, random and frozen, so that nothing is downloaded, and only PE-CLIP's adapters and a temporal head
can learn. It takes two minutes of CPU time. docs/other_tasks.md has advice for real data sets.
"""

from __future__ import annotations

import math
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from peclip import DataConfig, EvaluateOptions, PredictOptions, evaluate_dataset, load
from peclip.cli.app import run

SIZE, RATE, FRAMES = 64, 8, 8
VIDEOS = {"train": 100, "test": 20}
"""Videos of each gesture."""

TEXTS = {
    "swipe left": "a hand that swipes to the left.",
    "swipe right": "a hand that swipes to the right.",
    "wave": "a hand that waves.",
    "still": "a hand that does not move.",
}
"""The folders of the videos, and what the model's text encoder reads."""


def places(gesture: str, rng: np.random.Generator) -> list[float]:
    """Returns where the hand is in each frame, from -1 (left) to 1 (right)."""
    times = np.linspace(0, 1, FRAMES)
    if gesture == "still":
        return [rng.uniform(-0.6, 0.6)] * FRAMES
    if gesture == "wave":
        start, speed = rng.uniform(0, 2 * math.pi), rng.uniform(1.5, 2)
        return [0.8 * math.sin(start + 2 * math.pi * speed * time) for time in times]
    ends = sorted(rng.uniform(0.7, 1, 2) * [-1, 1], reverse=gesture == "swipe left")
    return list(np.interp(times, [0, 1], ends))


def draw_video(path: Path, gesture: str, rng: np.random.Generator) -> None:
    """Draws a hand, a disc with five fingers, in front of a wall, and writes an MP4 video."""
    wall = tuple(int(level) for level in rng.integers(10, 60, 3))
    skin = tuple(int(level) for level in rng.integers([200, 160, 130], [250, 200, 180]))
    y, size = rng.uniform(0.45, 0.6) * SIZE, rng.uniform(12, 15)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for number, place in enumerate(places(gesture, rng)):
            picture = Image.new("RGB", (SIZE, SIZE), wall)
            pen, x = ImageDraw.Draw(picture), (1 + 0.7 * place) * SIZE / 2
            pen.ellipse([x - size, y - size, x + size, y + size], fill=skin)
            for finger in range(-2, 3):
                angle = math.radians(25 * finger)
                tip = (x + 2 * size * math.sin(angle), y - 2 * size * math.cos(angle))
                pen.line([(x, y), tip], fill=skin, width=6)
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_videos(folder: Path) -> None:
    """Writes train/GESTURE/NUMBER.mp4 and test/GESTURE/NUMBER.mp4."""
    rng = np.random.default_rng(0)
    for split, count in VIDEOS.items():
        for gesture in TEXTS:
            place = folder / split / gesture
            place.mkdir(parents=True)
            for number in range(count):
                draw_video(place / f"{number:03d}.mp4", gesture, rng)


def train(videos: Path, folder: Path) -> None:
    """Trains adapters and a temporal head on the videos of the split train; part of them selects the epoch."""
    (folder / "texts.yaml").write_text("".join(f"{name}: {text}\n" for name, text in TEXTS.items()))
    settings = {
        "model.temporal_head.heads": "4",
        "model.temperature": "0.1",
        "train.lr.adapters": "0.005",
        "train.lr.prompts": "0.001",
        "train.lr.head": "0.005",
        "train.warmup_epochs": "1",
        "train.mixing": "{mixup: 0, fmix: 0}",
        # A mirrored swipe to the left is a swipe to the right, with the wrong label.
        "train.augment": "{flip: 0, crop_scale: [1, 1], crop_ratio: [1, 1], brightness: 0}",
    }
    arguments = [
        "--dataset",
        "folder",
        "--data-root",
        str(videos),
        "-m",
        "debug",
        "--device",
        "cpu",
    ]
    arguments += ["--no-face-crop", "--labels", str(folder / "texts.yaml")]
    arguments += ["--epochs", "25", "--batch-size", "16", "--out", str(folder / "run")]
    for field, value in settings.items():
        arguments += ["--set", f"{field}={value}"]
    if code := run(["train", *arguments]):
        raise SystemExit(code)


def main(folder: Path) -> dict[str, float]:
    """Returns the accuracy in per cent by the order of frames in the test videos."""
    videos = folder / "videos"
    write_videos(videos)
    train(videos, folder)
    model = load(folder / "run", device="cpu")
    found = {}
    for order in ("as-recorded", "reversed", "repeat-peak"):
        options = EvaluateOptions(split="test", frames=order)
        data = DataConfig(dataset="folder", root=videos)
        report = evaluate_dataset(model, data, options).folds[0].report
        recall = ", ".join(
            f"{name} {100 * (value or 0):.0f}" for name, value in report.recall.items()
        )
        print(f"{order}: accuracy {report.in_words('war')}; recall: {recall}")
        found[order] = 100 * report.war

    clip = videos / "test" / "swipe left" / "000.mp4"
    # The model knows that it reads whole frames; a window is as long as the videos of the training.
    prediction = model.predict(clip, PredictOptions(window=math.inf))
    print(f"{clip.parent.name}: predicted as {prediction.label}")
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        results = main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            results = main(Path(temporary))
