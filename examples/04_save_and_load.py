"""Save a model as a folder (config.json, model.safetensors and a model card) and load it again.

python examples/04_save_and_load.py
"""

from __future__ import annotations

from pathlib import Path

import peclip

model = peclip.load("nano").with_labels(["happiness", "anger", "neutral"])
model.save_pretrained("my-model")
again = peclip.load("my-model")
print(sorted(path.name for path in Path("my-model").iterdir()))
print(again.labels.names, again.texts == model.texts)
# again.push_to_hub("me/my-model")  # private unless private=False
