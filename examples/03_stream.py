"""Stream rows from a long video or a webcam in constant memory.

python examples/03_stream.py [VIDEO or webcam index]
"""

from __future__ import annotations

import sys
from pathlib import Path

from peclip import PEClip

source = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).with_name("astronaut.mp4"))

model = PEClip.from_pretrained()
for row in model.stream(int(source) if source.isdigit() else source):
    print(f"{row.start_s:6.2f} s  person {row.track_id}  {row.label or row.status}", flush=True)
