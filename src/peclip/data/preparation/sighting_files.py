"""Stores the crops of everyone in a video as files until the main person is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from peclip.errors import ConfigError
from peclip.video.observer import Observation


def join_people(
    observation: Observation, folder: Path, seen: dict[int, list[dict[str, Any]]]
) -> None:
    """Merges the crops of people recognised after their first frames with their earlier crops."""
    for new, earlier in observation.renamed.items():
        if new not in seen:
            continue
        (folder / str(earlier)).mkdir(exist_ok=True)
        for file in (folder / str(new)).iterdir():
            file.rename(folder / str(earlier) / file.name)
        (folder / str(new)).rmdir()
        seen.setdefault(earlier, []).extend(seen.pop(new))


def write_sightings(
    observation: Observation, folder: Path, seen: dict[int, list[dict[str, Any]]]
) -> None:
    """Writes the crops in one frame, in one folder per person, and records them as seen.

    Raises:
        ConfigError: a file cannot be written.
    """
    for sighting in observation.sightings:
        place = folder / str(sighting.track_id)
        place.mkdir(exist_ok=True)
        name = f"{observation.index:06d}.jpg"
        pixels = cv2.cvtColor(sighting.crop, cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(place / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95]):
            raise ConfigError(
                f"{str(place / name)!r} cannot be written; check that the disk is not full."
            )
        face = sighting.face
        seen.setdefault(sighting.track_id, []).append(
            {
                "file": name,
                "time_s": round(observation.time, 6),
                "box": [round(v, 1) for v in (face.x, face.y, face.width, face.height)],
                "face_conf": round(face.score, 4),
            }
        )
