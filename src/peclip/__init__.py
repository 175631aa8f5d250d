"""peclip: facial expression recognition in video with CLIP.

from peclip import PEClip

prediction = PEClip.from_pretrained().predict("video.mp4")
print(prediction.label, prediction.scores)
"""

# Imports nothing here, not even typing: until peclip.cli runs, Ctrl-C would end in a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from peclip.data.config import DataConfig
    from peclip.errors import PEClipError, UserError
    from peclip.exporting.export import export_model
    from peclip.labels import LabelSet
    from peclip.models.fine_cliper_config import FineCLIPERConfig
    from peclip.models.pe_clip_config import PEClipConfig
    from peclip.predict_options import PredictOptions
    from peclip.recognizers.fine_cliper import FineCLIPER
    from peclip.recognizers.loading import load
    from peclip.recognizers.pe_clip import PEClip
    from peclip.recognizers.recognizer import Recognizer
    from peclip.results.prediction import Prediction
    from peclip.results.rows import Row
    from peclip.runs.dataset_evaluation import evaluate_dataset
    from peclip.runs.evaluate_options import EvaluateOptions
    from peclip.training.config import TrainConfig
    from peclip.video.frames import Frames

# Names are loaded on first use (PEP 562): importing peclip must not import torch.
_HOMES = {
    "DataConfig": "peclip.data.config",
    "EvaluateOptions": "peclip.runs.evaluate_options",
    "FineCLIPER": "peclip.recognizers.fine_cliper",
    "FineCLIPERConfig": "peclip.models.fine_cliper_config",
    "Frames": "peclip.video.frames",
    "LabelSet": "peclip.labels",
    "PEClip": "peclip.recognizers.pe_clip",
    "PEClipConfig": "peclip.models.pe_clip_config",
    "PEClipError": "peclip.errors",
    "PredictOptions": "peclip.predict_options",
    "Prediction": "peclip.results.prediction",
    "Recognizer": "peclip.recognizers.recognizer",
    "Row": "peclip.results.rows",
    "TrainConfig": "peclip.training.config",
    "UserError": "peclip.errors",
    "evaluate_dataset": "peclip.runs.dataset_evaluation",
    "export_model": "peclip.exporting.export",
    "load": "peclip.recognizers.loading",
}

__all__ = [
    "DataConfig",
    "EvaluateOptions",
    "FineCLIPER",
    "FineCLIPERConfig",
    "Frames",
    "LabelSet",
    "PEClip",
    "PEClipConfig",
    "PEClipError",
    "PredictOptions",
    "Prediction",
    "Recognizer",
    "Row",
    "TrainConfig",
    "UserError",
    "evaluate_dataset",
    "export_model",
    "load",
]


def __getattr__(name: str) -> "Any":
    if name == "__version__":
        from peclip.version import VERSION

        return VERSION
    if name not in _HOMES:
        raise AttributeError(f"module 'peclip' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
