"""Sources one after the other, in this process."""

from __future__ import annotations

from pathlib import Path

from peclip.engines.base import Job
from peclip.engines.registry import ENGINES
from peclip.predict_options import PredictOptions
from peclip.video.sources import Source


def test_rows_are_not_kept_after_they_are_read(astronaut: Path) -> None:
    """The rows of a camera that runs for days would fill the memory."""
    options = PredictOptions(face_crop=False)
    found = []
    for keep_rows, kept in ((True, 5), (False, 1)):
        with ENGINES["local"](Job("debug", "cpu", options=options, keep_rows=keep_rows)) as engine:
            (reading,) = engine.read([Source("astronaut.mp4", astronaut)])
            found.append(list(reading.rows()))
            assert len(reading.prediction().rows) == kept
    assert found[0] == found[1]
    assert len(found[0]) == 5
