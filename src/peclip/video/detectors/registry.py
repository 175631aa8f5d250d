"""The face detectors by name, as for `peclip predict --detector`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from peclip.downloads.direct import RemoteFile
from peclip.errors import ConfigError, WeightsError
from peclip.literals import DetectorName
from peclip.settings import Settings
from peclip.video.detectors.detector import FaceDetector
from peclip.video.detectors.haar import load_haar
from peclip.video.detectors.yunet import YUNET, load_yunet

log = logging.getLogger("peclip")


@dataclass(frozen=True, slots=True)
class Detector:
    """A face detector that can be chosen by name."""

    load: Callable[[Settings, float], FaceDetector]
    """Takes the settings and the confidence threshold."""
    file: RemoteFile | None = None
    """Its weights, for `peclip models download NAME` and `peclip doctor`."""
    about: str = ""
    """Message of `peclip doctor` if the weights are not cached."""


def _load_best(settings: Settings, threshold: float) -> FaceDetector:
    try:
        return load_yunet(settings, threshold)
    except WeightsError as error:
        log.warning(
            "YuNet is unavailable; falling back to OpenCV's less accurate Haar cascade (frontal "
            "faces only): %s",
            error,
        )
        return load_haar(settings, threshold)


DETECTORS: dict[DetectorName, Detector] = {
    "auto": Detector(_load_best),
    "yunet": Detector(
        load_yunet,
        YUNET,
        "The face detector is downloaded on first use (0.2 MB); without it, the Haar cascade finds "
        "only frontal faces.",
    ),
    "haar": Detector(load_haar),
}
"""`DetectorName` has the same names; a test compares them."""


def load_detector(
    name: DetectorName = "auto", *, settings: Settings, threshold: float = 0.7
) -> FaceDetector:
    """Loads a face detector; `"auto"` is YuNet, or Haar with one warning if YuNet is unavailable.

    Raises:
        ConfigError: the name is unknown.
        WeightsError: YuNet was requested but is neither cached nor downloadable.
    """
    if name not in DETECTORS:
        raise ConfigError(f"Unknown face detector {name!r}; choose one of {', '.join(DETECTORS)}.")
    return DETECTORS[name].load(settings, threshold)
