"""Files of a prediction that the worker process writes into its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2

from peclip.downloads.address import LiveStream, without_password
from peclip.downloads.direct import Progress, open_remote
from peclip.errors import VideoError
from peclip.results.face_pictures import portraits
from peclip.results.prediction import Prediction
from peclip.serving.jobs import SOURCE
from peclip.settings import load_settings
from peclip.video.sources import is_live_address


def fetch(
    address: str,
    folder: Path,
    *,
    max_bytes: int,
    seconds: float,
    allow_private: bool,
    progress: Progress | None = None,
) -> Path:
    """Downloads a video into the folder, and returns its path.

    Raises:
        VideoError: it cannot be downloaded, is too large, is a live stream, or its server is not public.
    """
    settings = load_settings()
    bounds = {
        "max_download_bytes": min(max_bytes, settings.max_download_bytes),
        "download_timeout": min(seconds, settings.download_timeout),
    }
    live = VideoError(
        f"{without_password(address)} is a live stream, which this server does not read. Use "
        f"peclip predict {without_password(address)}."
    )
    if is_live_address(address):
        raise live
    path = folder / SOURCE
    try:
        with open_remote(
            address,
            settings=settings.model_copy(update=bounds),
            suffix="",
            public_only=not allow_private,
            progress=progress,
        ) as downloaded:
            os.replace(downloaded, path)
    except LiveStream:
        raise live from None
    return path


def save_results(prediction: Prediction, video: Path, folder: Path) -> list[int]:
    """Writes the prediction, its summary and a picture of each person; returns whom there are pictures of."""
    document = json.dumps(prediction.to_dict(), indent=2)
    (folder / "prediction.json").write_text(document, encoding="utf-8")
    prediction.summary().save(folder / "summary.csv")
    found = portraits(prediction, video=video, size=96)
    for track, picture in found.items():
        done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        assert done
        (folder / f"person{track}.png").write_bytes(data.tobytes())
    return list(found)
