"""Remarks at the end of `peclip predict`: what is missing from its output, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peclip.cli import console
from peclip.cli.row_count import number_of
from peclip.text.display import one_line

_SHOWN = 5
"""People listed in a line."""


class RunRemarks:
    """Collects what the sources of a run have in common, so that each remark is one line."""

    def __init__(self) -> None:
        self._first_faceless, self._num_faceless, self._faceless_hint = "", 0, ""
        self._others = self._left_out = 0
        self._without_baseline, self._num_without_baseline = list[str](), 0

    def add(self, source: str, metadata: Mapping[str, Any], *, is_faceless: bool) -> None:
        """Adds a source.

        Args:
            source: its name.
            metadata: of its prediction.
            is_faceless: whether it was read to its end, and no face was found.
        """
        left_out = metadata.get("left_out", {})
        self._others += left_out.get("people", 0)
        self._left_out += left_out.get("rows", 0)
        tracks = metadata.get("without_baseline", ())
        self._num_without_baseline += len(tracks)
        self._without_baseline += [
            f"{'whole frame' if track < 0 else f'person {track}'} of {one_line(source)}"
            for track in tracks[: _SHOWN - len(self._without_baseline)]
        ]
        if is_faceless:
            if not self._num_faceless:
                self._first_faceless = source
                self._faceless_hint = _faceless_hint(metadata)
            self._num_faceless += 1

    def print(self) -> None:
        """Prints the remarks to standard error."""
        if self._num_faceless:
            more = f" and {self._num_faceless - 1} more" if self._num_faceless > 1 else ""
            console.note(f"{one_line(self._first_faceless)}{more}: {self._faceless_hint}")
        if self._others:
            console.note(
                f"--max-people omitted {number_of(self._left_out, 'row')} of "
                f"{number_of(self._others, 'other person', 'other people')}"
            )
        if self._without_baseline:
            console.note(self._baseline_remark())

    def _baseline_remark(self) -> str:
        from peclip.inference.baseline import MIN_WINDOWS

        others = self._num_without_baseline - len(self._without_baseline)
        more = f" and {others:,} more" if others else ""
        return (
            f"--baseline changed nothing for {', '.join(self._without_baseline)}{more}: it needs at "
            f"least {MIN_WINDOWS} windows of a person"
        )


def _faceless_hint(metadata: Mapping[str, Any]) -> str:
    """Returns which faces were not found, and the options that find others."""
    from peclip.video.search import smallest_face

    video, options = metadata["video"], metadata["options"]
    pixels = smallest_face(
        max(video["width"], video["height"], 1),
        detect_size=options["detect_size"],
        min_face=options["min_face"],
    )
    frontal = (
        "The Haar cascade detects only frontal faces; run `peclip models download yunet`. "
        if metadata["face_detector"] == "haar"
        else ""
    )
    return (
        f"no face found. Faces smaller than about {pixels} pixels are not detected; to detect them, "
        "raise --detect-size or lower --min-face. For uncertain detections, lower --face-threshold. "
        f"{frontal}Use --no-face-crop only for videos that are already cropped to a face."
    )
