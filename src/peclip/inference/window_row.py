"""The row of one person in one window, with its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from peclip.literals import FaceMeasure
from peclip.predict_options import PredictOptions
from peclip.results.rows import Row, Status
from peclip.video.face_measures import Range, unlike
from peclip.video.windows import FaceWindow


def window_row(
    window: FaceWindow,
    scores: Mapping[str, float],
    *,
    source: str,
    model: tuple[str, str],
    options: PredictOptions,
    ranges: Mapping[FaceMeasure, Range],
    detected: bool,
) -> Row:
    """Makes a row.

    Args:
        window: one person, or nobody, in a time interval.
        scores: probability by label, empty without a face.
        source: name of the source.
        model: its name and revision.
        options: the thresholds of the status.
        ranges: of the measures of the faces that the model was trained on, if known.
        detected: whether faces were detected, instead of declaring whole frames to be faces.
    """
    best = max(scores, key=lambda name: scores[name]) if scores else None
    status = _status(window, options, detected=detected)
    if status == "ok" and best is not None and scores[best] < options.min_score:
        status = "uncertain"
    label = None if status == "uncertain" else best
    box, measures = window.box, window.measures
    return Row(
        source=source,
        model=model[0],
        model_revision=model[1],
        track_id=window.track_id,
        window=window.window,
        start_s=window.start_s,
        end_s=window.end_s,
        start_frame=window.start_frame,
        end_frame=window.end_frame,
        num_frames_used=window.num_frames_used,
        n_faces=window.n_faces,
        status=status,
        label=label,
        score=None if label is None else scores[label],
        scores=scores,
        face_conf=None if box is None or not detected else box.score,
        face_coverage=window.coverage,
        box=None if box is None else (box.x, box.y, box.width, box.height),
        **({} if measures is None else asdict(measures)),
        unlike_training=unlike(ranges, measures, box.side) if ranges and box and measures else None,
    )


def _status(window: FaceWindow, options: PredictOptions, *, detected: bool) -> Status:
    if window.box is None:
        return "no_face"
    if not detected:
        return "ok"  # the user declares the frame to be a face
    small = window.box.side < options.min_face
    seldom = window.coverage < options.min_coverage
    return "low_quality" if small or seldom else "ok"
