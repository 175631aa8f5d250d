"""Deletion and insertion curves, by hand and on evidence."""

from __future__ import annotations

import numpy as np
import pytest
from evidence import FRAMES, build_seeing_model, draw_evidence, window_of

from peclip import PEClip
from peclip.explain import faithfulness
from peclip.explain.registry import METHODS


@pytest.fixture(scope="module")
def seeing() -> PEClip:
    return build_seeing_model()


def test_the_area_is_that_of_trapezoids() -> None:
    # probabilities 0.5, 0.75 and 0.25: (0.625 + 0.5) / 2
    assert faithfulness.area(np.log([1.0, 3.0, 1 / 3])) == pytest.approx(0.5625)


def test_deleting_the_evidence_first_lowers_the_curve(seeing: PEClip) -> None:
    window = window_of(seeing, seeing.model, draw_evidence(1, range(4, 8), (0, 1)), 1)
    importance = METHODS["leave-one-out"].find(window).frames
    best, worst = (faithfulness.delete_frames(window, sign * importance) for sign in (1, -1))
    assert len(best) == FRAMES
    assert best[0] == worst[0] == pytest.approx(float(window.predict(window.batch)))
    assert best[4] < best[0] - 1  # without the evidence
    assert worst[8] > worst[0]  # with nothing but the evidence
    added = faithfulness.insert_frames(window, importance)
    assert added[-1] == pytest.approx(best[0])
    assert faithfulness.area(added) > faithfulness.area(best)


def test_covering_the_evidence_first_lowers_the_curve(seeing: PEClip) -> None:
    window = window_of(seeing, seeing.model, draw_evidence(0, range(FRAMES), (1, 0)), 0)
    maps = METHODS["rollout"].find(window).maps
    best, worst = (faithfulness.delete_pixels(window, sign * maps) for sign in (1, -1))
    assert faithfulness.area(best) < faithfulness.area(worst)
    assert best[-1] == pytest.approx(worst[-1])  # everything is covered
    added = faithfulness.insert_pixels(window, maps)
    assert added[0] == pytest.approx(best[-1])
    assert added[-1] == pytest.approx(best[0])


def test_the_first_pixels_are_those_of_the_largest_cell(seeing: PEClip) -> None:
    window = window_of(seeing, seeing.model, draw_evidence(0, range(FRAMES), (1, 0)), 0)
    ranks = faithfulness._pixel_ranks(window, np.array([[[0.0, 1.0], [0.0, 0.0]]]))
    assert ranks.shape == (1, 32, 32)
    assert ranks.flatten().sort().values.tolist() == pytest.approx([n / 1024 for n in range(1024)])
    assert (
        ranks[0, :8, 24:] < 64 / 1024 + 1e-9
    ).all()  # the plateau outside the centres of the cells


def test_random_weights_keep_mean_and_deviation(seeing: PEClip) -> None:
    drawn = faithfulness.randomise(seeing.model, seed=1)
    for (name, old), new in zip(seeing.model.named_parameters(), drawn.parameters(), strict=True):
        assert new is not old
        if old.numel() > 1000:
            assert float(new.detach().std()) == pytest.approx(float(old.detach().std()), rel=0.2), (
                name
            )
    again = faithfulness.randomise(seeing.model, seed=1)
    assert all((a == b).all() for a, b in zip(drawn.parameters(), again.parameters(), strict=True))
