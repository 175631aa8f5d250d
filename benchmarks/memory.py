"""Peak memory of predicting a long video against a short one.

    python benchmarks/memory.py --minutes 60

Makes two videos of the astronaut portrait, of one minute and of `--minutes`, predicts each in a process of
its own, and prints the peaks of resident memory and their difference.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av

PREDICT = """
import json, resource, sys
from peclip import PEClip, PredictOptions
model = PEClip.from_pretrained(sys.argv[2], device="cpu")
rows = sum(1 for _ in model.stream(sys.argv[1], PredictOptions(detector=sys.argv[3])))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"rows": rows, "peak_mb": round(peak, 1)}))
"""


def loop(source: Path, target: Path, minutes: float, rate: int) -> None:
    """Repeats a video until it has a length."""
    with av.open(str(source)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    options = {"preset": "ultrafast", "crf": "30"}
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = (
            frames[0].shape[1],
            frames[0].shape[0],
            "yuv420p",
        )
        for number in range(round(minutes * 60 * rate)):
            frame = av.VideoFrame.from_ndarray(frames[number % len(frames)], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def measure(video: Path, model: str, detector: str) -> dict[str, float]:
    started = time.monotonic()
    command = [sys.executable, "-c", PREDICT, str(video), model, detector]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout) | {"seconds": round(time.monotonic() - started, 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=10, help="frames per second of both videos")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--detector", default="haar")
    arguments = parser.parse_args()
    portrait = Path(__file__).parents[1] / "examples" / "astronaut.mp4"
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, minutes in {"short": 1.0, "long": arguments.minutes}.items():
            video = Path(folder) / f"{name}.mp4"
            loop(portrait, video, minutes, arguments.rate)
            results[name] = measure(video, arguments.model, arguments.detector)
            print(name, f"{minutes:g} min", json.dumps(results[name]), flush=True)
    difference = results["long"]["peak_mb"] - results["short"]["peak_mb"]
    print(f"difference of the peaks: {difference:.1f} MB")
