"""Videos with mirrored and changing pictures, through face detection and the packaged model."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip import PEClip


@pytest.mark.parametrize(
    ("name", "end_s", "travel"),
    [("mirrored_hflip_matrix.mp4", 3.0, 30), ("resolution_changes.webm", 9.0, 6)],
)
def test_one_happy_person(
    name: str, end_s: float, travel: int, shared_data: Path, yunet: Path
) -> None:
    prediction = PEClip.from_pretrained("nano", device="cpu").predict(shared_data / "hard" / name)
    assert prediction.label == "happiness"
    assert {row.track_id for row in prediction.rows} == {0}
    assert {(row.status, row.label, row.face_coverage) for row in prediction.rows} == {
        ("ok", "happiness", 1.0)
    }
    assert prediction.rows[-1].end_s == pytest.approx(end_s, abs=0.05)
    # In pixels of the reference frame, the first portrait sways and the second one is still.
    centres = [row.box[0] + row.box[2] / 2 for row in prediction.rows if row.box is not None]
    assert max(centres) - min(centres) < travel


def test_one_wrong_time_stamp_is_one_person(shared_data: Path, yunet: Path) -> None:
    """72 frames at 24 a second, one of them 1,000 s ahead."""
    path = shared_data / "hard" / "one_pts_glitch.ts"
    prediction = PEClip.from_pretrained("nano", device="cpu").predict(path)
    assert {(row.track_id, row.status) for row in prediction.rows} == {(0, "ok")}
    assert prediction.rows[-1].end_s == pytest.approx(3.0, abs=0.05)
