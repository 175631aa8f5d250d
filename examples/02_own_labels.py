"""Custom labels without training: names, or names with a text description (zero-shot).

    python examples/02_own_labels.py [VIDEO]

Free text needs a web-pretrained CLIP, for example `PEClip.from_pretrained("clip:ViT-B-16-quickgelu/openai")`.
The embedded `nano` was trained on the texts of seven emotions only: see its model card.
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
