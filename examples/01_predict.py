"""Predict the expressions in a video from Python.

python examples/01_predict.py [VIDEO]
"""

from __future__ import annotations

import sys
from pathlib import Path

from peclip import PEClip, PredictOptions

video = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("astronaut.mp4")

model = PEClip.from_pretrained()  # "nano", embedded in the package
prediction = model.predict(video, PredictOptions(window=1.0, hop=0.5))

print(prediction.label, prediction.scores)
for track in prediction.tracks.values():
    print(f"person {track.track_id}: {track.label}")
    for row in track.rows:
        print(f"  {row.start_s:5.2f} s to {row.end_s:5.2f} s: {row.label} {row.score:.2f}")

prediction.save("rows.csv")  # or .jsonl, .json, .parquet
prediction.plot().savefig("timeline.png", dpi=120)
