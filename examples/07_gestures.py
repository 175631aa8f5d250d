"""Something other than faces: gestures, from videos in class folders to a trained model and its predictions.

    python examples/07_gestures.py [FOLDER]

Draws short videos of a hand that swipes left, swipes right, waves or is still, and trains a model on whole frames. A
swipe to the left is a swipe to the right played backwards, so only the order of the frames tells them apart. The
backbone is `debug`, random and frozen, so that nothing is downloaded and only PE-CLIP's adapters can learn. It takes
about a minute on two CPU cores. docs/other_tasks.md has the same steps as commands, and advice for real data sets.
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

from peclip import DataConfig, EvaluateOptions, PEClip, PredictOptions, TrainConfig, evaluate_dataset, load
from peclip.data import load_split

WIDTH, HEIGHT, RATE, FRAMES = 96, 64, 8, 12
VIDEOS = {"train": 40, "test": 15}
"""Videos of each gesture."""

TEXTS = {
    "swipe left": "a hand that swipes to the left.",
    "swipe right": "a hand that swipes to the right.",
    "wave": "a hand that waves.",
    "still": "a hand that does not move.",
}
"""The folders of the videos, and what the model's text encoder reads."""


def path_of(gesture: str, rng: np.random.Generator) -> list[float]:
    """Returns where the hand is in each frame, from -1 (left) to 1 (right)."""
    times = np.linspace(0, 1, FRAMES)
    if gesture == "still":
        return [rng.uniform(-0.6, 0.6)] * FRAMES
    if gesture == "wave":
        start, speed = rng.uniform(0, 2 * math.pi), rng.uniform(1.5, 2.5)
        return [0.6 * math.sin(start + 2 * math.pi * speed * time) for time in times]
    ends = sorted(rng.uniform(0.5, 0.9, 2) * [-1, 1], reverse=gesture == "swipe left")
    return list(np.interp(times, [0, 1], ends))


def draw_video(path: Path, gesture: str, rng: np.random.Generator) -> None:
    """Draws a hand, a disc with five fingers, in front of a wall, and writes an MP4 video."""
    wall = tuple(int(level) for level in rng.integers(40, 110, 3))
    skin = tuple(int(level) for level in rng.integers([190, 150, 120], [250, 210, 180]))
    height, size = rng.uniform(0.4, 0.6) * HEIGHT, rng.uniform(8, 11)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, place in enumerate(path_of(gesture, rng)):
            picture = Image.new("RGB", (WIDTH, HEIGHT), wall)
            pen, x = ImageDraw.Draw(picture), (1 + 0.6 * place) * WIDTH / 2
            pen.ellipse([x - size, height - size, x + size, height + size], fill=skin)
            for finger in range(-2, 3):
                angle = math.radians(25 * finger)
                tip = (x + 2 * size * math.sin(angle), height - 2 * size * math.cos(angle))
                pen.line([(x, height), tip], fill=skin, width=4)
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
                draw_video(place / f"{number:02d}.mp4", gesture, rng)


def main(folder: Path) -> None:
    write_videos(folder / "videos")
    model = PEClip.from_pretrained("debug", device="cpu").with_labels(TEXTS)
    data = DataConfig(dataset="folder", root=folder / "videos")
    settings = {"mixing": {"mixup": 0, "fmix": 0}, "augment": {"flip": 0, "crop_scale": (1, 1), "crop_ratio": (1, 1)}}
    config = TrainConfig.model_validate(
        {"epochs": 20, "batch_size": 16, "lr": {"adapters": 0.005, "prompts": 0.001}, "warmup_epochs": 1, "workers": 0}
        | settings
    )
    model.fit(load_split(data), config=config)
    model.save_pretrained(folder / "model")

    for frames in ("as-recorded", "reversed"):
        found = evaluate_dataset(model, data, EvaluateOptions(split="test", frames=frames, workers=0))
        report = found.folds[0].report
        print(f"{frames}: accuracy {report.in_words('war')}, recall", {n: round(r, 2) for n, r in report.recall.items()})

    clip = folder / "videos" / "test" / "swipe left" / "00.mp4"
    whole = PredictOptions(face_crop=False, window=float("inf"))
    print(clip.parent.name, "->", load(folder / "model").predict(clip, whole).label)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
