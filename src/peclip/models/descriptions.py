"""The texts that describe labels for the text encoder.

A style is one file of `peclip/models/texts/`, keyed by emotion name: `names`, `sentences`, or `action_units`.
The Action-Unit texts of the seven basic emotions are Table 1 of PE-CLIP (Saadi et al., 2025). The paper
gives none for contempt, anxiety, helplessness and disappointment: peclip adds those four, written with the
same Action-Unit vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from peclip.errors import ConfigError
from peclip.labels import LabelSet, canonical
from peclip.text.bounds import read_text
from peclip.text.parsing import parse_json, parse_yaml

STYLES = ("action_units", "names", "sentences")

EXPRESSION, VIDEO = "a person with an expression of {}.", "a video of {}."
"""Sentences for names without a text, for models that read face crops and for those that read whole frames."""


def load_descriptions(style: str) -> dict[str, str]:
    """Returns the texts of a style by emotion name.

    Raises:
        ConfigError: the style is not one of `STYLES`.
    """
    if style not in STYLES:
        raise ConfigError(
            f"Unknown description style {style!r}; choose one of {', '.join(STYLES)}."
        )
    text = (resources.files("peclip.models") / "texts" / f"{style}.json").read_text(
        encoding="utf-8"
    )
    return dict(json.loads(text))


def describe(
    labels: LabelSet,
    style: str,
    own: Mapping[str, str] | None = None,
    *,
    sentence: str = EXPRESSION,
) -> tuple[str, ...]:
    """Returns one text per label, in the order of the label set.

    Custom texts take precedence over the texts of the style. A name missing from the style is put into
    the sentence, since a bare word is a weak prompt for CLIP; `Recognizer.texts` shows the texts in use.
    """
    known = load_descriptions(style) | {canonical(name): text for name, text in (own or {}).items()}
    return tuple(known.get(canonical(name), sentence.format(name)) for name in labels)


def read_label_file(path: Path) -> tuple[LabelSet, dict[str, str]]:
    """Reads a label set from a YAML or JSON file: a list of names, or a mapping of names to texts.

    Raises:
        ConfigError: the file is missing, invalid, or holds neither a list nor a mapping.
    """
    try:
        parse = parse_json if path.suffix.lower() == ".json" else parse_yaml
        content = parse(read_text(path))
    except ConfigError as error:
        raise ConfigError(f"The label file {str(path)!r} {error}.") from None
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return LabelSet.of(content), {}
    if isinstance(content, dict) and all(
        isinstance(key, str) and (value is None or isinstance(value, str))
        for key, value in content.items()
    ):
        own = {canonical(name): text for name, text in content.items() if text}
        return LabelSet.of(content), own
    raise ConfigError(
        f"The label file {str(path)!r} must contain a list of names, or a mapping from each name "
        "to its description."
    )
