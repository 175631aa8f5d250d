"""Time of `predict` stage by stage, and with all stages running concurrently.

    python benchmarks/stages.py --seconds 60 --width 1280 --height 720 --people 1

Generates a video and processes it alternately in two ways: sequentially, with a timer for each stage (decoding; face
detection with tracking and crops; the model), and with `predict`. The slowest stage is the lower bound; the time of
`predict` relative to it is printed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from videos import crowd, write_video

import peclip
from peclip import PredictOptions
from peclip.recognizers.recognizer import Recognizer
from peclip.runtime import device_name
from peclip.video.observer import Observer
from peclip.video.reader import open_video
from peclip.video.windows import FaceWindow, cut_windows

Item = TypeVar("Item")
BATCH = 8


class Clocks:
    """Seconds per stage, without the time spent in the stages it waits for."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, stage: str, call: Callable[[], Item]) -> Item:
        before, start = sum(self.seconds.values()), time.perf_counter()
        try:
            return call()
        finally:
            inner = sum(self.seconds.values()) - before
            spent = time.perf_counter() - start - inner
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def follow(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        iterator, end = iter(items), object()
        while (item := self.run(stage, lambda: next(iterator, end))) is not end:
            yield item  # type: ignore[misc]


def sequential(
    model: Recognizer, video: Path, options: PredictOptions
) -> tuple[dict[str, float], int]:
    """Returns the seconds per stage, and the number of windows with a person."""
    clocks, preprocess, count = Clocks(), model.config.preprocess, 0
    observer = Observer(
        model.detector(options),
        size=preprocess.image_size,
        margin=preprocess.face_margin,
        shift=preprocess.face_shift,
        align=preprocess.align,
        detect_rate=options.detect_rate,
    )
    waiting: list[FaceWindow] = []
    with open_video(video, decoder=options.decoder) as reader:
        decoded = clocks.follow("decode", reader.chunks())
        found = clocks.follow("faces", observer.observe(decoded))
        windows = cut_windows(
            found,
            window=options.window,
            hop=options.hop,
            num_frames=model.config.num_frames,
            size=preprocess.image_size,
        )
        for people in clocks.follow("faces", windows):
            waiting += [window for window in people if len(window.crops)]
            while len(waiting) >= BATCH:
                asked, waiting = waiting[:BATCH], waiting[BATCH:]
                count += len(clocks.run("model", lambda asked=asked: model.score(asked)))
        if waiting:
            count += len(clocks.run("model", lambda: model.score(waiting)))
    return clocks.seconds, count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--rate", type=int, default=30)
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--detector", default="yunet")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    model = peclip.load(arguments.model, device=arguments.device, precision=arguments.precision)
    options = PredictOptions(detector=arguments.detector)
    count = round(arguments.seconds * arguments.rate)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        frames = crowd(count, arguments.people, arguments.width, arguments.height)
        write_video(video, frames, arguments.rate)
        best: dict[str, float] = {}
        overlapped = float("inf")
        rows = 0
        for _ in range(arguments.repeat + 1):  # the first round warms up
            stages, rows = sequential(model, video, options)
            start = time.perf_counter()
            prediction = model.predict(video, options)
            seconds = time.perf_counter() - start
            if not best:
                best = dict.fromkeys(stages, float("inf"))
                continue
            if sum(stages.values()) < sum(best.values()):
                best = stages
            overlapped = min(overlapped, seconds)
        asked = sum(row.label is not None for row in prediction.rows)
        assert asked == rows, f"{asked} windows of predict, {rows} stage by stage"
    total, slowest = sum(best.values()), max(best.values())
    print(
        f"{device_name(model.device)}, {torch.get_num_threads()} threads, {arguments.model} "
        f"{model.precision}, {arguments.detector}; {arguments.seconds:g} s of "
        f"{arguments.width}x{arguments.height} at {arguments.rate} fps, {len(prediction.tracks)} people, "
        f"{rows} windows"
    )
    for stage, seconds in best.items():
        print(f"{stage:8s} {seconds:7.2f} s  {100 * seconds / total:5.1f} %")
    print(f"sequential          {total:7.2f} s, {arguments.seconds / total:.1f} x real time")
    print(
        f"predict             {overlapped:7.2f} s, {arguments.seconds / overlapped:.1f} x real time; ratio "
        f"{total / overlapped:.2f}; {overlapped / slowest:.2f} times the slowest stage alone"
    )
    print(json.dumps({"stages": best, "predict": overlapped, "windows": rows}))


if __name__ == "__main__":
    main()
