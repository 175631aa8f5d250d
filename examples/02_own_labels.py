"""Other labels, without a training: names, or names with the text that describes them (zero-shot).

    python examples/02_own_labels.py [VIDEO]

With a real CLIP, e.g. `PEClip.from_pretrained("clip:ViT-B-16-quickgelu/openai")`, free texts mean something.
The embedded `nano` has read little more than seven emotions: see its model card.
"""

from __future__ import annotations

import sys
from pathlib import Path

from peclip import PEClip

video = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("astronaut.mp4")

model = PEClip.from_pretrained().with_labels(
    {
        "smiling": "Cheek Raiser, Lip Corner Puller.",
        "serious": "Relaxed Muscles, Even Eyebrows, Closed Lips, Calm Eyes, Smooth Forehead.",
    }
)
print(model.texts)
print(model.predict(video).scores)
