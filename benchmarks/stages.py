"""CPU time of `predict` stage by stage: before and after a change, with partial and full search for faces.

    python benchmarks/stages.py --people 1 6 --against REVISION
    python benchmarks/stages.py --people 1 --video talk.mp4

The code of `--against` (any git revision) is checked out into a temporary folder. For each video, the ways run
alternately, each in a process of its own, and the medians of their CPU seconds and the ratios are printed, per stage:
decoding, detection with tracking, crops, and the model. Stages run one after the other, so that each can be timed.
`predict`, with concurrent stages, gives the rows, which are compared, and the total. `full search` is the code of this
checkout with `full_search`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

Item = TypeVar("Item")
ROOT = Path(__file__).parents[1]
BATCH = 8
STAGES = ("decode", "search", "crops", "model")


class Clocks:
    """CPU seconds of this process per stage, without the time spent in the stages it waits for."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    def run(self, stage: str, call: Callable[[], Item]) -> Item:
        before, start = sum(self.seconds.values()), time.process_time()
        try:
            return call()
        finally:
            inner = sum(self.seconds.values()) - before
            self.seconds[stage] += time.process_time() - start - inner

    def follow(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        iterator, end = iter(items), object()
        while (item := self.run(stage, lambda: next(iterator, end))) is not end:
            yield item  # type: ignore[misc]

    def watch(self, stage: str, owner: Any, name: str) -> None:
        """Counts the calls of a function for a stage."""
        call = getattr(owner, name)
        setattr(owner, name, lambda *given, **named: self.run(stage, lambda: call(*given, **named)))


def worker(video: str, options: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Prints the CPU seconds of the stages and the rows; runs with the code on the path, old or new."""
    try:
        from peclip.cli.app import ENVIRONMENT
    except ImportError:  # before all variables of the command had one place
        ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    import numpy as np

    import peclip
    from peclip import PredictOptions
    from peclip.inference import session
    from peclip.video import faces, observer, windows

    model = peclip.load(arguments.model, device=arguments.device, precision=arguments.precision)
    given = PredictOptions(detector=arguments.detector, **options)
    model.predict(video, PredictOptions(detector=arguments.detector, end=2.0, **options))
    start = time.process_time()
    prediction = model.predict(video, given)
    total = time.process_time() - start
    # Another model, since this one remembers what it computed for the frames of the video.
    model = peclip.load(arguments.model, device=arguments.device, precision=arguments.precision)
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), np.uint8)
    model.predict(noise, PredictOptions(face_crop=False))  # warms up, and shares no frames
    clocks, session_class = Clocks(), session.Session
    # The stages in turn, each with a clock: the functions are those that the session calls.
    session.run_ahead = session.in_turn
    if hasattr(observer, "crop_face"):
        clocks.watch("crops", observer, "crop_face")
    else:
        clocks.watch("crops", faces.FaceCrop, "cut")
        clocks.watch("crops", observer, "Sighting")
    made = windows.cut_windows
    session.cut_windows = lambda *all_of, **named: clocks.follow("search", made(*all_of, **named))
    reading = session_class._followed
    session_class._followed = lambda self, chunks: reading(self, clocks.follow("decode", chunks))
    opened = model.open(video, given)
    clocks.watch("model", opened, "_score")
    count = sum(row.label is not None for row in opened)
    assert count == sum(row.label is not None for row in prediction.rows)
    rows = [(row.track_id, row.window, row.scores and dict(row.scores)) for row in prediction.rows]
    print(json.dumps({"stages": clocks.seconds, "predict": total, "rows": rows}))


def measured(
    source: Path, video: Path, options: dict[str, Any], arguments: list[str]
) -> dict[str, Any]:
    """Returns what a worker with the code in a folder prints."""
    command = [sys.executable, __file__, "--worker", str(video), "--options", json.dumps(options)]
    environment = os.environ | {"PYTHONPATH": str(source / "src")}
    done = subprocess.run(
        [*command, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Returns how the rows of two runs differ."""
    old = {(person, window): scores or {} for person, window, scores in before["rows"]}
    new = {(person, window): scores or {} for person, window, scores in after["rows"]}
    both = old.keys() & new.keys()
    apart = [abs(old[k].get(n, 0) - p) for k in both for n, p in new[k].items()]
    return (
        f"{len(old)} and {len(new)} rows, {len(both)} of the same person and window, "
        f"probabilities at most {max(apart, default=0):.4f} apart"
    )


def report(runs: dict[str, list[dict[str, Any]]]) -> None:
    first, *others = runs
    print(f"{'stage':<12}" + "".join(f"{name:>14}{'ratio':>8}" for name in runs))
    totals = {name: [sum(run["stages"].values()) for run in runs[name]] for name in runs}
    for stage in (*STAGES, "all stages", "predict"):
        line = f"{stage:<12}"
        for name, found in runs.items():
            values = {
                "all stages": totals[name],
                "predict": [run["predict"] for run in found],
            }.get(stage) or [run["stages"][stage] for run in found]
            base = values if name == first else base  # noqa: F821  # the first name comes first
            # Runs of the same round are compared, because the speed of the machine varies.
            ratio = median(ours / theirs for ours, theirs in zip(values, base, strict=True))
            line += f"{median(values):12.2f} s{ratio:8.2f}"
        print(line, flush=True)
    for name in others:
        print(f"{name} compared with {first}: {compare(runs[first][-1], runs[name][-1])}")


def checkout(revision: str, folder: Path) -> Path:
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision, "src"], check=True, capture_output=True
    )
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--rate", type=int, default=30)
    parser.add_argument("--people", type=int, nargs="*", default=[1])
    parser.add_argument("--video", type=Path, nargs="*", default=[], help="instead of people")
    parser.add_argument("--clips", type=Path, nargs="*", help="videos of faces for the people")
    parser.add_argument("--against", help="a git revision")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--detector", default="yunet")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, default={}, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    if arguments.worker is not None:
        worker(arguments.worker, arguments.options, arguments)
        return
    passed = [
        f"--{name}={getattr(arguments, name)}"
        for name in ("model", "device", "precision", "detector")
    ]
    with tempfile.TemporaryDirectory() as folder:
        videos = list(arguments.video)
        for people in [] if videos else arguments.people:
            from videos import PORTRAIT, crowd, write_video

            clips = arguments.clips or [PORTRAIT]
            videos.append(Path(folder) / f"{people}_people.mp4")
            count = round(arguments.seconds * arguments.rate)
            frames = crowd(count, people, arguments.width, arguments.height, clips)
            write_video(videos[-1], frames, arguments.rate)
        ways: dict[str, tuple[Path, dict[str, Any]]] = {
            "full search": (ROOT, {"full_search": True})
        }
        if arguments.against is not None:
            ways = {arguments.against[:12]: (checkout(arguments.against, Path(folder)), {})}
        ways["this code"] = (ROOT, {})
        for video in videos:
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
            for _ in range(arguments.repeat):
                for name, (source, options) in ways.items():
                    runs[name].append(measured(source, video, options, passed))
            print(f"{video.name}, {arguments.model}, {arguments.detector}, CPU seconds, medians")
            report(runs)


if __name__ == "__main__":
    main()
