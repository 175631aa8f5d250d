"""Which words: how similar the video is to the text of each label, and to the single phrases of it.

A phrase is compared as the model would compare a label with this text, so that the similarities are those of the
prediction: cosines for PE-CLIP; for FineCLIPER, the weighted differences of cosines between both polarities. One pass,
two for a model that averages mirror images.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from peclip.explain.explained_window import ExplainedWindow
from peclip.explain.explanation import Finding, Word
from peclip.labels import MAX_LABELS, MAX_NAME, LabelSet, canonical

_UNRELIABLE = (
    "The text encoder of this model has learned only the whole texts of its labels, so the similarities of phrases are "
    "unreliable."
)


def find_words(window: ExplainedWindow) -> Finding:
    """Returns the similarities of the texts, and of the phrases of texts that have several."""
    network = window.network
    texts = dict(zip(network.labels, network.texts, strict=True))
    parts = [(name, phrase) for name, text in texts.items() for phrase in phrases(text)]
    own = {canonical(phrase): f"{phrase}." for _, phrase in parts}
    similar = _similarities(window, own)
    whole = [
        Word(text, name, float(value), False)
        for (name, text), value in zip(texts.items(), similar[: len(texts)], strict=True)
    ]
    by_phrase = dict(zip(own, similar[len(texts) :].tolist(), strict=True))
    single = [Word(phrase, name, by_phrase[canonical(phrase)], True) for name, phrase in parts]
    return Finding(
        "words",
        len(window.views(window.batch)),
        words=(*whole, *single),
        unit="similarity",
        remark=_UNRELIABLE if single and window.has_closed_vocabulary else "",
    )


def phrases(text: str) -> list[str]:
    """Returns the phrases between commas and full stops, lower-case; none if there is only one."""
    found = [part.strip().lower() for part in re.split(r"[,;.]", text)]
    found = [part[:MAX_NAME] for part in found if part]
    return list(dict.fromkeys(found)) if len(found) > 1 else []


@torch.no_grad()
def _similarities(window: ExplainedWindow, own: dict[str, str]) -> Tensor:
    """Returns the similarities of the labels and then of other texts, by name."""
    features, network = [window.label_features], window.network
    names = list(own)
    for start in range(0, len(names), MAX_LABELS):
        some = names[start : start + MAX_LABELS]
        padded = some if len(some) > 1 else [*some, "neutral"]  # a label set has two names
        encoded = network.with_labels(LabelSet(tuple(padded)), own).encode_labels()
        features.append(encoded[..., : len(some), :])
    every = torch.cat(features, dim=-2)
    outputs = [network(view.batch, every) for view in window.views(window.batch)]
    window.forward_passes += len(outputs)
    logits = torch.stack([output.logits for output in outputs]).mean(0)[0]
    return logits.float().cpu() * network.temperature
