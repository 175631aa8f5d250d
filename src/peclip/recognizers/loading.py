"""`load`: any model by name. This module does not import torch, which a file of `EXPORTED` does not need."""

from __future__ import annotations

from pathlib import Path, PurePath
from pkgutil import resolve_name

from peclip.exported.registry import EXPORTED
from peclip.inference.predictor import VideoPredictor
from peclip.literals import Precision

_PRETRAINED = "peclip.recognizers.recognizer:Recognizer.from_pretrained"


def load(
    name: str | Path | None = None,
    *,
    revision: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> VideoPredictor:
    """Loads any model by name: as the class of its architecture, or a file written by `peclip export`.

    Args:
        name: as in `Recognizer.from_pretrained`, or a file such as `"model.onnx"`.
        revision: of a hub repository.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:N"` or `"mps"`; an exported model runs on the CPU.
        precision: as in `Recognizer.from_pretrained`; an exported model is computed in fp32.

    Returns:
        A `Recognizer`, which also trains and is saved, or an `ExportedModel`, which only predicts.

    Raises:
        ConfigError: the name is unknown, or an exported model is given a revision.
        WeightsError: the weights are unavailable, or the file is invalid.
        DeviceError: the device or precision is unavailable.
    """
    suffix = "" if name is None else PurePath(name).suffix.lower()
    loader = resolve_name(EXPORTED[suffix].load if suffix in EXPORTED else _PRETRAINED)
    loaded: VideoPredictor = loader(name, revision=revision, device=device, precision=precision)
    return loaded
