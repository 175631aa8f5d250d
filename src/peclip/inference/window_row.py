"""The row of one person in one window, with its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

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
    box, measures = window.box, window.measures
    row = Row(
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
        status=_status(window, options, detected=detected),
        face_conf=None if box is None or not detected else box.score,
        face_coverage=window.coverage,
        box=None if box is None else (box.x, box.y, box.width, box.height),
        **({} if measures is None else asdict(measures)),
        unlike_training=unlike(ranges, measures, box.side) if ranges and box and measures else None,
    )
    return decided(row, scores, options.min_score) if scores else row


def decided(row: Row, scores: Mapping[str, float], min_score: float) -> Row:
    """Returns a row with probabilities, the label and the status that follow from them.

    Args:
        row: with the status `ok`, `low_quality` or `uncertain`.
        scores: probability by label.
        min_score: an `ok` window whose highest probability is below it becomes `uncertain`, without a label.
    """
    best = max(scores, key=lambda name: scores[name])
    good = row.status != "low_quality"
    if good and scores[best] < min_score:
        return replace(row, status="uncertain", label=None, score=None, scores=scores)
    status = "ok" if good else row.status
    return replace(row, status=status, label=best, score=scores[best], scores=scores)


def _status(window: FaceWindow, options: PredictOptions, *, detected: bool) -> Status:
    if window.box is None:
        return "no_face"
    if not detected:
        return "ok"  # the user declares the frame to be a face
    small = window.box.side < options.min_face
    seldom = window.coverage < options.min_coverage
    return "low_quality" if small or seldom else "ok"
