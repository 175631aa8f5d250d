"""Adds the sound of a source to its windows, for models that read it."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclip.config import SoundFormat
from peclip.errors import VideoError
from peclip.literals import SoundUse
from peclip.video.sound import find_sound, middle, open_sound
from peclip.video.windows import FaceWindow

if TYPE_CHECKING:
    from peclip.video.readers.pyav_sound import SoundReader

logger = logging.getLogger(__name__)


class WindowSound:
    """Adds the sound of a source to its windows, unless it is masked.

    Everyone visible in a window shares its sound, because who speaks is not known.

    Args:
        sound: what the model reads; `None` leaves windows unchanged.
        use: the windows whose sound is used.
        name: of the source in warnings.
    """

    def __init__(self, sound: SoundFormat | None, use: SoundUse, name: str) -> None:
        self._sound, self._use, self._name = sound, use, name
        self._reader: SoundReader | None = None
        self._counts: Counter[str] = Counter()
        self._problem: str | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The number of windows with and without sound, for `Prediction.metadata`; empty if the model reads none."""
        if self._sound is None:
            return {}
        reader = self._reader
        counts = {name: self._counts[name] for name in ("used", "missing", "several_people", "off")}
        return {
            "sound": {
                "rate": self._sound.rate,
                "tracks": 0 if reader is None else reader.num_tracks,
                "windows": counts,
                "problem": self._problem if reader is None else reader.problem,
            }
        }

    def open(self, source: object, origin_s: float, stack: ExitStack) -> None:
        """Opens the sound of a source.

        Args:
            source: only a file or a folder of frames has sound that can be read.
            origin_s: seconds from the start of its container, the earliest stream, to time 0 of the windows.
            stack: closes it.
        """
        if self._sound is None or self._use == "off":
            return
        file = find_sound(source) if isinstance(source, Path) else None
        try:
            if file is None:
                self._problem = "it has no sound that can be read"
            else:
                reader = open_sound(file, self._sound.rate, origin_s=origin_s)
                self._reader = stack.enter_context(reader)
                self._problem = reader.problem
        except VideoError as error:
            self._problem = str(error).rstrip(".")
        if self._problem is not None:
            logger.warning(
                "%s: %s, so its predictions are based on the frames alone.",
                self._name,
                self._problem,
            )
        elif self._reader is not None and self._reader.num_tracks > 1:
            logger.warning(
                "%s has %d sound tracks; only the first is used.",
                self._name,
                self._reader.num_tracks,
            )

    def add_to(self, window: FaceWindow) -> FaceWindow:
        """Returns a window with its sound, or unchanged."""
        if self._sound is None or not len(window.crops):
            return window
        if self._use == "off":
            self._counts["off"] += 1
            return window
        if self._use == "single" and window.n_faces > 1:
            self._several()
            return window
        span = middle(window.start_s, window.end_s, self._sound.seconds)
        reader = self._reader
        before = None if reader is None else reader.problem
        samples = None if reader is None else reader.read(*span)
        if reader is not None and before is None and reader.problem is not None:
            logger.warning("%s: %s.", self._name, reader.problem)
        self._counts["missing" if samples is None else "used"] += 1
        return replace(window, sound=samples)

    def _several(self) -> None:
        if not self._counts["several_people"]:
            logger.warning(
                "%s shows several people in the same window, and it is not known who speaks, so the sound of these windows "
                "is not used. To use it for everyone, add --sound everyone.",
                self._name,
            )
        self._counts["several_people"] += 1
