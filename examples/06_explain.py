"""Explain a prediction: which frames, parts of the face and phrases it rests on.

python examples/06_explain.py
"""

from __future__ import annotations

from pathlib import Path

import peclip
from peclip.explain import explain, save

video = Path(__file__).with_name("astronaut.mp4")
why = explain(peclip.load("nano"), video, at=1.2, methods=["leave-one-out", "rollout", "words"])
print(f"{why.label}: probability {why.scores[why.label]:.3f}, log-odds {why.log_odds:.2f}")
for time, fall in zip(why.times_s, why.findings["leave-one-out"].frames, strict=True):
    print(f"  without the frame at {time:.2f} s, the log-odds fall by {fall:+.3f}")
for word in why.findings["words"].words:
    if word.label == why.label:
        print(f"  {word.text}: {word.similarity:+.2f}")
save(why, "why.json")  # or a picture, "why.png", with the extra `plot`
