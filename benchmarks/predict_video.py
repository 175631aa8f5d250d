"""Speed of `predict` with face detection in every frame and in some frames.

    python benchmarks/predict_video.py VIDEO [--detector yunet|haar] [--model nano] [--threads 2]

Prints computing time and speed relative to real time for both, their ratio, and how the predictions differ. The model
is loaded and has processed the video once before the timing starts.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

import peclip
from peclip import Prediction, PredictOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--detector", default="yunet")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = peclip.load(arguments.model, device="cpu")
    found: dict[float, tuple[float, Prediction]] = {}
    for rate in (math.inf, arguments.rate):
        options = PredictOptions(detector=arguments.detector, detect_rate=rate)
        model.predict(arguments.video, options)
        seconds = []
        for _ in range(arguments.repeats):
            begin = time.perf_counter()
            prediction = model.predict(arguments.video, options)
            seconds.append(time.perf_counter() - begin)
        found[rate] = min(seconds), prediction
    (every, before), (some, after) = found.values()
    duration = after.metadata["video"]["duration_s"]
    for name, seconds_taken in (("every frame", every), (f"{arguments.rate:g} a second", some)):
        print(
            f"{name:<14} {seconds_taken:6.2f} s for {duration:.2f} s: {duration / seconds_taken:.1f} x"
        )
    print(f"ratio {every / some:.2f}")
    known = {(row.track_id, row.window): row for row in before.rows}
    rows = [
        (known[row.track_id, row.window], row)
        for row in after.rows
        if (row.track_id, row.window) in known
    ]
    print(
        f"{len(before.rows)} and {len(after.rows)} rows, {len(rows)} of the same person and window"
    )
    apart = max(abs(a.scores.get(k, 0) - p) for a, b in rows for k, p in b.scores.items())
    same = sum(a.label == b.label for a, b in rows)
    print(f"{same} of {len(rows)} labels equal, probabilities at most {apart:.3f} apart")


if __name__ == "__main__":
    main()
