"""Peak memory of prediction on a long and a short video.

    python benchmarks/memory.py --minutes 60

Makes two videos of the astronaut portrait, of one minute and of `--minutes`, predicts each in its own process, and prints
both peaks of resident memory and their difference.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from videos import portrait, repeat, write_video

PREDICT = """
import json, resource, sys
from peclip import PEClip, PredictOptions
model = PEClip.from_pretrained(sys.argv[2], device="cpu")
rows = sum(1 for _ in model.stream(sys.argv[1], PredictOptions(detector=sys.argv[3])))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"rows": rows, "peak_mb": round(peak, 1)}))
"""


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
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, minutes in {"short": 1.0, "long": arguments.minutes}.items():
            video = Path(folder) / f"{name}.mp4"
            count = round(minutes * 60 * arguments.rate)
            write_video(video, repeat(portrait(), count), arguments.rate)
            results[name] = measure(video, arguments.model, arguments.detector)
            print(name, f"{minutes:g} min", json.dumps(results[name]), flush=True)
    difference = results["long"]["peak_mb"] - results["short"]["peak_mb"]
    print(f"difference of the peaks: {difference:.1f} MB")
