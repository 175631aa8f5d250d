"""Loads a model with a network by name, as the class of its architecture."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

from peclip.literals import Precision
from peclip.models.registry import ARCHITECTURES
from peclip.recognizers.recognizer import Recognizer
from peclip.runtime import choose_device, choose_precision
from peclip.settings import load_settings
from peclip.weights.resolve import resolve


def recognizer_class(architecture: str) -> type[Recognizer]:
    """Returns the public class of an architecture."""
    kind: type[Recognizer] = resolve_name(ARCHITECTURES[architecture].recognizer)
    return kind


def load_pretrained(
    name: str | Path | None = None,
    *,
    revision: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Recognizer:
    """Loads a model with a network by name, as the class of its architecture; see `Recognizer.from_pretrained`."""
    chosen, settings = choose_device(device), load_settings()
    checkpoint = resolve(name, settings=settings, revision=revision)
    kind = recognizer_class(checkpoint.config.architecture)
    return kind.from_checkpoint(checkpoint, chosen, choose_precision(precision, chosen), settings)
