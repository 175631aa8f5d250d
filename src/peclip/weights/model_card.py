"""The model card that is saved next to weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from peclip.config import ModelConfig
from peclip.errors import ConfigError
from peclip.files import replacing
from peclip.text.bounds import read_text
from peclip.text.display import markdown
from peclip.text.parsing import parse_yaml

CARD = "README.md"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

ETHICS = (
    "This model describes what a face shows; it cannot know what a person feels, and its errors "
    "differ between groups of people. Inferring emotions at work and in education is prohibited "
    "in the European Union (AI Act, Art. 5(1)(f)), and other uses are high-risk. Inform the "
    "people you record and get their consent."
)
"""The sentences in the card of every model that reads faces."""

_NO_FACES = (
    "This model reads whole frames. It recognises only the labels above, in videos like those it was trained on; "
    "any other video gets one of them, too. If the videos show people, inform them and get their consent."
)

NOT_RECORDED = "Training data and scores: not recorded by `save_pretrained`; please add them here."

FACES = "facial-expression-recognition", "facial expression recognition", ETHICS
WHOLE_FRAMES = "video-classification", "recognition", _NO_FACES
"""Tag, task and use of models that read face crops, and of those that read whole frames."""


def model_card(
    name: str,
    config: ModelConfig,
    texts: Sequence[str],
    *,
    full: bool,
    trained: bool = True,
    story: str = NOT_RECORDED,
) -> str:
    """Returns a model card in Markdown with the metadata that the hub reads.

    Args:
        name: of the model.
        config: its configuration.
        texts: of its labels.
        full: whether all of its weights are in the folder.
        trained: whether it has weights besides the backbone's: CLIP itself has none.
        story: its training data and scores.
    """
    tag, task, use = FACES if config.preprocess.face_crop else WHOLE_FRAMES
    return f"""---
library_name: peclip
license: other
license_name: research-only
tags: [{tag}, video, clip, {config.architecture}]
---

# {markdown(name)}

A {config.architecture} model for {task} in video. This folder contains
{_stored(config, full, trained)}.

```python
import peclip

print(peclip.load("{_place(name)}").predict("video.mp4").label)
```

| label | text |
|---|---|
{_rows(config.labels, texts)}

{_input(config)}

{story}

## Use

{use}
"""


def _place(name: str) -> str:
    return name if _HUB_NAME.fullmatch(name) else "path/to/this/folder"


def licence_of(folder: Path) -> str:
    """Returns the licence in the metadata of a model's card, or `"unknown"`."""
    try:
        text = read_text(folder / CARD)
        _, metadata, _ = text.split("---\n", 2)
        facts = parse_yaml(metadata)
    except ValueError:  # no card, or one that somebody wrote without metadata; a ConfigError is one
        return "unknown"
    facts = facts if isinstance(facts, dict) else {}
    return " ".join(str(facts.get("license_name") or facts.get("license") or "unknown").split())


def _stored(config: ModelConfig, full: bool, trained: bool) -> str:
    if full:
        return "all weights"
    own = "the trained weights" if trained else "no trained weights"
    return f"{own}; the backbone is {markdown(config.backbone)} with the weights {markdown(str(config.pretrained))}"


def _rows(labels: Sequence[str], texts: Sequence[str]) -> str:
    pairs = zip(labels, texts, strict=True)
    return "\n".join(f"| {markdown(label)} | {markdown(text)} |" for label, text in pairs)


def _input(config: ModelConfig) -> str:
    crop = config.preprocess
    shown, crops = ("a face", f"face margin {crop.face_margin}")
    if not crop.face_crop:
        shown, crops = "the scene", "the centre square of each frame"
    return (
        f"Input: {config.num_frames} frames of {shown}, {crop.image_size}x{crop.image_size} pixels,\n"
        f"{'grey' if crop.grayscale else 'colour'}, mean {crop.mean}, standard deviation {crop.std},\n"
        f"{crops}."
    )


def write_card(
    folder: Path,
    name: str | None,
    config: ModelConfig,
    texts: Sequence[str],
    *,
    full: bool,
    trained: bool = True,
    story: str = NOT_RECORDED,
) -> None:
    """Writes the model card into a model directory, unless there is one already; see `model_card`.

    Without a name, the card uses the folder's.

    Raises:
        ConfigError: the file cannot be written.
    """
    card = folder / CARD
    if card.exists():
        return
    name = name or folder.resolve().name
    whole = full or config.pretrained is None
    try:
        text = model_card(name, config, texts, full=whole, trained=trained, story=story)
        with replacing(card) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"{str(card)!r} cannot be written: {error.strerror}.") from None
