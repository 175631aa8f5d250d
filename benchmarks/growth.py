"""How the cost of `predict` grows with the length of a video and the number of people in it.

    python benchmarks/growth.py --minutes 1 5 15 60 --people 1 2 5 10 20

Each row uses a video generated for it. The videos for the length have one person at 320x240 pixels and `--rate` frames a
second; the videos for the number of people last one minute at 1280x720.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from videos import crowd, portrait, repeat, write_video

import peclip
from peclip import PredictOptions
from peclip.recognizers.recognizer import Recognizer


def measure(model: Recognizer, video: Path, options: PredictOptions) -> tuple[float, int, int]:
    """Returns seconds, rows and people."""
    start = time.perf_counter()
    rows = list(model.stream(video, options))
    people = {row.track_id for row in rows if row.label is not None}
    return time.perf_counter() - start, len(rows), len(people)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 5, 15, 60])
    parser.add_argument("--people", type=int, nargs="*", default=[1, 2, 5, 10, 20])
    parser.add_argument("--rate", type=int, default=10)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--detector", default="yunet")
    arguments = parser.parse_args()
    model = peclip.load(arguments.model, device=arguments.device)
    options = PredictOptions(detector=arguments.detector)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        write_video(video, repeat(portrait(), 50), arguments.rate)
        measure(model, video, options)  # warms up
        print("| minutes | rows | seconds | seconds per minute |\n|---|---|---|---|")
        for minutes in arguments.minutes:
            count = round(60 * minutes * arguments.rate)
            write_video(video, repeat(portrait(), count), arguments.rate)
            seconds, rows, _ = measure(model, video, options)
            print(
                f"| {minutes:g} | {rows:,} | {seconds:.1f} | {seconds / minutes:.2f} |", flush=True
            )
        print("| people | found | rows | seconds | seconds per person |\n|---|---|---|---|---|")
        for people in arguments.people:
            write_video(video, crowd(60 * arguments.rate, people, 1280, 720), arguments.rate)
            seconds, rows, found = measure(model, video, options)
            print(
                f"| {people} | {found} | {rows:,} | {seconds:.1f} | {seconds / people:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
