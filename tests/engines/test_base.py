"""What all workers of a job have in common."""

from __future__ import annotations

import pytest

from peclip import PEClip
from peclip.engines.base import Job, fingerprint, pinned
from peclip.predict_options import PredictOptions


@pytest.mark.parametrize("crop", [True, False])
def test_all_workers_use_the_choices_of_the_first(crop: bool) -> None:
    """No worker may take another detector or precision than the one whose facts stand with the rows."""
    job = Job("debug", "cpu", options=PredictOptions(face_crop=crop, hop=0.25))
    first = PEClip.from_pretrained("debug", device="cpu", precision="bf16")
    chosen = fingerprint(first, PredictOptions(face_crop=crop, hop=0.25, detector="haar"))
    found = pinned(job, chosen)
    assert (job.precision, found.precision) == ("auto", "bf16")
    assert found.options.detector == ("haar" if crop else "auto")
    assert found.options.hop == 0.25
    again = fingerprint(found.load(), found.options)
    assert again == chosen
